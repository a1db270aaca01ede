"""The joint kernel of a frontier: its dimension."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from onnxnull.frontier.walk import Frontier
from onnxnull.kernel.images.input_nullity import DENSE_LIMIT, image_nullities
from onnxnull.kernel.maps.batched import Batched
from onnxnull.kernel.maps.contraction import ContractionMap
from onnxnull.kernel.maps.convolution import Convolution, TransposedConvolution
from onnxnull.kernel.maps.linear_map import Array, Composition, LinearMap, Stack, Sum, size
from onnxnull.kernel.maps.patches import rearranges, stripped
from onnxnull.kernel.maps.primitives import BlockMatrix, Matrix, Scale
from onnxnull.kernel.maps.selection import NOTHING, Selection
from onnxnull.kernel.numerics.arithmetic import PRIME, FieldArray, Prime, residues
from onnxnull.kernel.project import norm_estimate, same_kernel
from onnxnull.kernel.rank import ExactPolicy, Notion, rank
from onnxnull.kernel.span import column_span
from onnxnull.operators.steps import UnknownShapeError

_DENSE_ENTRIES = 6_000_000


@dataclass(frozen=True, slots=True)
class Interval:
    """lower ≤ nullity ≤ upper. `proved`: both ends are theorems about the stored numbers in the notion that was asked for."""

    lower: int
    upper: int
    proved: bool


def joint_nullity(frontier: Frontier, notion: Notion) -> Interval:
    """Bounds on the dimension of the joint kernel of the frontier's layers, in the input's entries (one batch).

    It is the intersection of the layers' kernels, each at its own cut-off: a layer of small weights beside one of large ones
    counts in full.

    Raises:
        UnknownShapeError: a shape on a path is not known.
        ValueError: `notion` is the float32 cut-off; or a weight holds NaN or Inf.
    """
    if notion is Notion.FLOAT32:
        raise ValueError("a joint kernel is bounded at the float64 cut-off or over the rationals")
    layers = [layer.map() for layer in frontier.distinct]
    maps = merge(layers, notion)
    if not maps:  # nothing reads the input: every change of it is in the kernel
        if frontier.entries is None:
            raise UnknownShapeError(f"the shape of input {frontier.input.name!r} is not known")
        return Interval(frontier.entries, frontier.entries, True)
    inputs = maps[0].inputs
    whole = maps[0] if len(maps) == 1 else Stack(tuple(maps))
    if len(maps) > 1 and is_small(whole):
        return _dense(whole, notion)
    parts = [map_nullity(one, notion) for one in maps]
    # ranks add up at most: dim ∩ ker ≥ inputs − Σ rank; and an intersection is no larger than its smallest part
    lower = inputs - sum(inputs - part.lower for part in parts)
    proved = all(part.proved for part in parts) and (len(maps) == len(layers) or _spans_are_certified(layers, notion))
    return Interval(max(0, lower), min(part.upper for part in parts), proved)


def map_nullity(linear_map: LinearMap, notion: Notion) -> Interval:
    """Bounds on the nullity of one layer composed with its path."""
    core, selection = canonical(linear_map)
    found = _core_nullity(core, notion)
    if selection is None:
        return found
    # dim ker(A∘L) = dim ker L + dim(range L ∩ ker A), and range L has codimension outputs − rank
    lost, missing = selection.inputs - selection.rank, selection.outputs - selection.rank
    if missing and is_small(linear_map):
        return _dense(linear_map, notion)
    lower, upper = lost + max(0, found.lower - missing), lost + min(found.upper, selection.rank)
    return Interval(lower, upper, found.proved)


def canonical(linear_map: LinearMap) -> tuple[LinearMap, Selection | None]:
    """A layer on a path as (core, selection), core∘selection having its kernel: zero padding goes into the convolution."""
    if not isinstance(linear_map, Composition) or not isinstance(linear_map.first, Selection):
        return linear_map, None
    core, selection = linear_map.second, linear_map.first
    if isinstance(core, Batched) and isinstance(core.sample, Convolution):
        folded = _fold_padding(core, core.sample, selection)
        if folded is not None:
            return folded
    return core, selection


def merge(maps: list[LinearMap], notion: Notion) -> list[LinearMap]:
    """Convolutions of one geometry that read the same entries become one, with the filters of both.

    At the float64 cut-off these are replaced by orthonormal bases of what each certificate counts: the cut-off of the joined
    filters would drop what a layer of its own does not. Over ℚ they are brought to one scale.
    """
    merged: list[LinearMap] = []
    convolutions: list[int] = []
    for one in maps:
        if _convolution_of(one) is None:
            merged.append(one)
            continue
        for i in convolutions:
            joined = _side_by_side(merged[i], one, notion)
            if joined is not None:
                merged[i] = joined
                break
        else:
            convolutions.append(len(merged))
            merged.append(one)
    return merged


def _core_nullity(core: LinearMap, notion: Notion) -> Interval:
    core, _ = stripped(core)
    match core:
        case Batched(sample=sample, count=count):
            part = _core_nullity(sample, notion)
            return Interval(part.lower * count, part.upper * count, part.proved)
        case Convolution() | TransposedConvolution():
            float64, exact = image_nullities(core)
            bounds = exact if notion is Notion.EXACT else float64
            return Interval(bounds.lower, bounds.upper, bounds.proved)
        case Matrix(weight=weight, leading=leading):
            return _independent(weight[None], math.prod(leading), notion)
        case BlockMatrix(blocks=blocks, leading=leading):
            return _independent(blocks, math.prod(leading), notion)
        case ContractionMap(contraction=contraction, blocks=blocks):
            labels = contraction.activation
            if len(set(labels)) == len(labels):
                patches = core.inputs // (blocks.shape[0] * blocks.shape[1]) if blocks.shape[0] * blocks.shape[1] else 0
                return _independent(blocks, patches, notion)
    if is_small(core):
        return _dense(core, notion)
    # nothing is known of the map but its size: that is a theorem, if a weak one
    return Interval(max(0, core.inputs - core.outputs), core.inputs, True)


def _independent(blocks: Array, patches: int, notion: Notion) -> Interval:
    """Every patch meets the blocks on its own."""
    found = rank(blocks, notion, exact=ExactPolicy.CHEAP)
    inputs = blocks.shape[0] * blocks.shape[1]
    return Interval(patches * (inputs - found.upper), patches * (inputs - found.lower), found.certainty.is_proved)


def normalised(linear_map: LinearMap) -> LinearMap:
    """A map of the same kernel at the float64 cut-off of each weight, whose weights have orthonormal columns.

    Layers that are stacked are brought to one size, each as a whole.
    """
    match linear_map:
        case Stack(parts=parts):
            return Stack(tuple(_to_unit_norm(normalised(part)) for part in parts))
        case Composition(second=second, first=first) if rearranges(second):
            return Composition(second, normalised(first))
        case Composition(second=second, first=first):
            return Composition(normalised(second), first)
        case Batched(sample=sample, count=count):
            return Batched(normalised(sample), count)
        case TransposedConvolution(geometry=geometry, blocks=blocks):
            return TransposedConvolution(geometry, _to_unit(blocks))
        case ContractionMap(blocks=blocks) if blocks.size:
            span = column_span(blocks).stacked()
            return replace(linear_map, blocks=np.pad(span, ((0, 0), (0, 0), (0, blocks.shape[2] - span.shape[2]))))
    return same_kernel(linear_map)


def _to_unit_norm(linear_map: LinearMap) -> LinearMap:
    """Times the power of two that brings the norm to about 1: what a path scales down counts in full beside others."""
    exponent = int(np.frexp(norm_estimate(linear_map))[1])
    if exponent == 0:
        return linear_map
    return Composition(Scale(linear_map.output_shape, np.array(np.ldexp(1.0, -exponent))), linear_map)


def _to_unit(blocks: Array) -> Array:
    """Times the power of two that brings the largest entry to [½, 1), unless one underflows: ranks do not feel it."""
    exponent = np.frexp(np.abs(blocks).max(initial=0.0))[1]
    scaled: Array = np.ldexp(blocks, -exponent)
    return scaled if np.array_equal(np.ldexp(scaled, exponent), blocks) else blocks


def is_small(linear_map: LinearMap) -> bool:
    """Whether its dense matrix is cheap."""
    return linear_map.inputs <= DENSE_LIMIT and linear_map.inputs * linear_map.outputs <= _DENSE_ENTRIES


def _dense(linear_map: LinearMap, notion: Notion) -> Interval:
    """By the dense matrix, without proof: a path that scales or mixes rounds its entries.

    Over ℚ rounded entries would be independent where the true ones are not, so the product is formed modulo a prime.
    """
    if notion is Notion.EXACT:
        if not _can_be_written_down(linear_map):
            return Interval(max(0, linear_map.inputs - linear_map.outputs), linear_map.inputs, True)
        field = Prime()
        nullity = linear_map.inputs - field.rank(_residues(linear_map, field))
        return Interval(nullity, nullity, False)
    found = rank(normalised(linear_map).dense(), notion)
    return Interval(linear_map.inputs - found.upper, linear_map.inputs - found.lower, False)


def _can_be_written_down(linear_map: LinearMap) -> bool:
    """Whether the matrices of all parts of a map are small."""
    match linear_map:
        case Composition(second=second, first=first):
            return _can_be_written_down(first) and _can_be_written_down(second)
        case Stack(parts=parts) | Sum(terms=parts):
            return all(map(_can_be_written_down, parts))
    return linear_map.inputs * linear_map.outputs <= _DENSE_ENTRIES


def _residues(linear_map: LinearMap, field: Prime) -> FieldArray:
    """The matrix (inputs, outputs) of a map modulo the prime, of its parts as they are stored."""
    match linear_map:
        case Composition(second=second, first=first):
            return field.multiply(_residues(first, field), _residues(second, field))
        case Stack(parts=parts):
            return np.hstack([_residues(part, field) for part in parts])
        case Sum(terms=terms):
            return np.asarray(sum(_residues(term, field) for term in terms) % PRIME)
    return residues(linear_map.dense())


def _fold_padding(core: Batched, convolution: Convolution, selection: Selection) -> tuple[LinearMap, Selection | None] | None:
    """Zero padding of the spatial axes, moved into the convolution's own; scaling in front of it does not move a kernel's
    dimension, but the kernel itself, so it stays in the selection.
    """
    pads = selection.padding()
    if pads is None or any(pad != (0, 0) for pad in pads[:2]):
        return None
    geometry = convolution.geometry
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
    return Batched(Convolution(wider, convolution.blocks), core.count), scaling


def _convolution_of(linear_map: LinearMap) -> Convolution | None:
    """The ungrouped convolution that a map is on its path."""
    match linear_map:
        case Composition(second=Batched(sample=Convolution() as found), first=Selection()) if found.geometry.groups == 1:
            return found
    return None


def _spans_are_certified(maps: list[LinearMap], notion: Notion) -> bool:
    """Whether the ranks of all filters that `merge` may have joined are proved at the cut-off."""
    convolutions = [found for found in map(_convolution_of, maps) if found is not None]
    return notion is Notion.EXACT or all(column_span(one.blocks, notion).proved for one in convolutions)


def _side_by_side(first: LinearMap, second: LinearMap, notion: Notion) -> LinearMap | None:
    """Two convolutions of one geometry on one path, ungrouped, as one; None where they are not that."""
    match first, second:
        case (
            Composition(second=Batched(sample=Convolution() as a, count=m), first=Selection() as p),
            Composition(second=Batched(sample=Convolution() as b, count=n), first=Selection() as q),
        ) if m == n and a.geometry == b.geometry and a.geometry.groups == 1:
            if p.shape == q.shape and np.array_equal(p.indices, q.indices) and np.array_equal(p.factors, q.factors):
                both = (a.blocks, b.blocks)
                exact = notion is Notion.EXACT
                filters = [_to_unit(one) if exact else column_span(one, notion).stacked() for one in both]
                return Composition(Batched(Convolution(a.geometry, np.concatenate(filters, axis=2)), m), p)
    return None
