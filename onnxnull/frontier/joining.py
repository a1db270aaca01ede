"""Layers on their paths, brought together: padding goes into a convolution, convolutions on the same patches become one."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from onnxnull.kernel.maps.batched import Batched
from onnxnull.kernel.maps.convolution import Convolution
from onnxnull.kernel.maps.linear_map import Composition, LinearMap, size
from onnxnull.kernel.maps.selection import NOTHING, Selection
from onnxnull.kernel.orthonormal import to_unit
from onnxnull.kernel.rank import Notion
from onnxnull.kernel.span import column_span


@dataclass(frozen=True, slots=True, eq=False)
class _PathConvolution:
    """A convolution of each of `count` samples, at the end of a path that selects entries."""

    convolution: Convolution
    count: int
    path: Selection

    @classmethod
    def of(cls, linear_map: LinearMap) -> _PathConvolution | None:
        """The map as such a convolution; None where it is something else."""
        match linear_map:
            case Composition(second=Batched(sample=Convolution() as convolution, count=count), first=Selection() as path):
                return cls(convolution, count, path)
        return None

    def reads_like(self, other: _PathConvolution) -> bool:
        """Whether both multiply the same patches by filters, without groups."""
        geometry = self.convolution.geometry
        same = self.count == other.count and geometry == other.convolution.geometry and geometry.groups == 1
        return same and self.path.equals(other.path)

    def map(self) -> LinearMap:
        """The map that it is."""
        return Composition(Batched(self.convolution, self.count), self.path)


def canonical(linear_map: LinearMap) -> tuple[LinearMap, Selection | None]:
    """A layer on a path as (core, selection), core∘selection having its kernel: zero padding goes into the convolution."""
    found = _PathConvolution.of(linear_map)
    folded = None if found is None else _fold_padding(found)
    if folded is not None:
        return folded
    if isinstance(linear_map, Composition) and isinstance(linear_map.first, Selection):
        return linear_map.second, linear_map.first
    return linear_map, None


def _fold_padding(found: _PathConvolution) -> tuple[LinearMap, Selection | None] | None:
    """Zero padding of the spatial axes, moved into the convolution's own; scaling in front of it does not move a kernel's
    dimension, but the kernel itself, so it stays in the selection.
    """
    selection, geometry = found.path, found.convolution.geometry
    pads = selection.padding()
    if pads is None or any(pad != (0, 0) for pad in pads[:2]):
        return None
    wider = replace(
        geometry,
        spatial=selection.shape[2:],
        pads_begin=tuple(p + b for p, (b, _) in zip(geometry.pads_begin, pads[2:], strict=True)),
        pads_end=tuple(p + e for p, (_, e) in zip(geometry.pads_end, pads[2:], strict=True)),
    )
    inside = selection.indices != NOTHING
    factors = np.broadcast_to(selection.factors, selection.indices.shape)[inside].reshape(selection.shape)
    scaling = None
    if not np.all(factors == 1.0):
        scaling = Selection(selection.shape, np.arange(size(selection.shape)).reshape(selection.shape), factors)
    return Batched(Convolution(wider, found.convolution.blocks), found.count), scaling


def merge(maps: list[LinearMap], notion: Notion) -> list[LinearMap]:
    """Convolutions of one geometry that read the same entries become one, with the filters of both.

    At the float64 cut-off these are replaced by orthonormal bases of what each certificate counts: the cut-off of the joined
    filters would drop what a layer of its own does not. Over ℚ they are brought to one scale.
    """
    merged: list[LinearMap | _PathConvolution] = []
    for one in maps:
        found = _PathConvolution.of(one)
        for i, other in enumerate(merged):
            if found is not None and isinstance(other, _PathConvolution) and other.reads_like(found):
                merged[i] = _joined(other, found, notion)
                break
        else:
            merged.append(one if found is None else found)
    return [one.map() if isinstance(one, _PathConvolution) else one for one in merged]


def _joined(first: _PathConvolution, second: _PathConvolution, notion: Notion) -> _PathConvolution:
    both = (first.convolution.blocks, second.convolution.blocks)
    exact = notion is Notion.EXACT
    filters = [to_unit(blocks) if exact else column_span(blocks, notion).stacked() for blocks in both]
    return replace(first, convolution=replace(first.convolution, blocks=np.concatenate(filters, axis=2)))


def spans_are_certified(maps: list[LinearMap], notion: Notion) -> bool:
    """Whether the ranks of all filters that `merge` may have joined are proved at the cut-off."""
    found = [one.convolution for one in map(_PathConvolution.of, maps) if one is not None]
    return notion is Notion.EXACT or all(column_span(one.blocks, notion).proved for one in found if one.geometry.groups == 1)
