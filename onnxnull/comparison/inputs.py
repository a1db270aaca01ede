"""The inputs of one network as inputs of the other: what exporters change of layout, order of channels and preprocessing.

For an input of each model the candidates are: as it is; axes exchanged (channels first or last); and whatever makes the first
layers read the same numbers, L_b⁻¹·Π·L_a, where L are the paths to them and Π puts channels in b's order. The one under which
the first layers compute most nearly the same of a random input is taken.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from onnxnull.comparison.judging import Judged
from onnxnull.comparison.results import InputMap
from onnxnull.frontier import Frontier, Layer
from onnxnull.graph.model import GraphInput
from onnxnull.kernel.linear_map import Array
from onnxnull.kernel.selection import Selection, compose, identity
from onnxnull.operators.steps import UnknownShapeError

_CLOSE = 0.3
"""Relative difference of what first layers compute that still counts as the same: int8 and 4 bits stay below."""
_FLOATS = ("float", "bfloat")


@dataclass(frozen=True, slots=True, eq=False)
class Link:
    """How an input of a becomes one of b: `linear` is a bijection of their entries; None where there is no way.

    Attributes:
        sites: the first layers of a and of b that the link was found with.
    """

    a: GraphInput
    b: GraphInput
    mapped: InputMap
    linear: Selection | None
    reason: str | None = None
    sites: tuple[Layer, Layer] | None = None

    def to_b(self, x: np.ndarray) -> np.ndarray:
        """An input of a, or a change of it, as one of b."""
        assert self.linear is not None, "there is a way"
        return self.linear.apply(x) if x.dtype.kind == "f" else x

    def to_a(self, x: np.ndarray) -> np.ndarray:
        """The way back."""
        assert self.linear is not None, "there is a way"
        return inverse(self.linear).apply(x) if x.dtype.kind == "f" else x


def links(a: tuple[Frontier, ...], b: tuple[Frontier, ...], judged: Mapping[tuple[str, str], Judged]) -> tuple[Link, ...]:
    """The inputs in pairs, by name where all names are the same, else in order.

    Args:
        a, b: the frontier of every input.
        judged: (node of a, node of b) → the verdict on their weights.
    """
    named = {front.input.name: front for front in b}
    in_order = [front.input.name for front in a] != [front.input.name for front in b] and set(named) != {
        front.input.name for front in a
    }
    pairs = zip(a, b, strict=False) if in_order else ((front, named[front.input.name]) for front in a)
    return tuple(_link(one, other, judged) for one, other in pairs)


def inverse(selection: Selection) -> Selection:
    """Of a bijection of entries."""
    factors = np.broadcast_to(selection.factors, selection.indices.shape).ravel()
    indices, back = np.empty(selection.inputs, dtype=np.int64), np.empty(selection.inputs)
    indices[selection.indices.ravel()] = np.arange(selection.outputs)
    back[selection.indices.ravel()] = 1.0 / factors
    return Selection(selection.output_shape, indices.reshape(selection.shape), back.reshape(selection.shape))


def carried(front: Frontier, linear: Selection, described: GraphInput) -> Frontier:
    """The frontier of b, read from a's input `described` through the link."""
    layers = tuple(replace(layer, path=None if layer.path is None else compose(layer.path, linear)) for layer in front.layers)
    return replace(front, input=described, layers=layers, entries=linear.inputs)


def _link(a: Frontier, b: Frontier, judged: Mapping[tuple[str, str], Judged]) -> Link:
    if not (a.input.dtype.startswith(_FLOATS) and b.input.dtype.startswith(_FLOATS)):
        if a.input.dtype == b.input.dtype and a.input.shape == b.input.shape:
            shape = tuple(d or 1 for d in a.input.shape or ())
            return Link(a.input, b.input, InputMap.SHAPE, identity(shape))
        return Link(a.input, b.input, InputMap.NONE, None, _types(a.input, b.input))
    candidates = list(_candidates(a, b, judged))
    read = [
        (one, other, judged[one.node, other.node])
        for one in a.layers
        for other in b.layers
        if (one.node, other.node) in judged and one.path is not None and other.path is not None
    ]
    scored = []
    for mapped, linear in candidates:
        differences = [d for site in read if (d := _difference(*site, linear)) is not None]
        if differences:
            scored.append((max(differences), len(scored), mapped, linear))
    if scored:
        difference, _, mapped, linear = min(scored, key=lambda entry: (round(entry[0], 9), entry[1]))
        if difference <= _CLOSE:
            return Link(a.input, b.input, mapped, linear, sites=read[0][:2])
    for mapped, linear in candidates:
        if mapped is not InputMap.READ:
            return Link(a.input, b.input, InputMap.SHAPE if mapped is InputMap.SAME else mapped, linear)
    return Link(a.input, b.input, InputMap.NONE, None, _types(a.input, b.input))


def _candidates(a: Frontier, b: Frontier, judged: Mapping[tuple[str, str], Judged]) -> Iterator[tuple[InputMap, Selection]]:
    shapes = [_one_sample(front.input) for front in (a, b)]
    first, second = shapes
    if first is None or second is None:
        return
    if first == second:
        yield InputMap.SAME, identity(first)
    for order in ((0, 2, 3, 1), (0, 3, 1, 2)) if len(first) == 4 and first != second else ():
        if tuple(first[axis] for axis in order) == second:
            yield InputMap.LAYOUT, Selection(first, np.arange(math.prod(first)).reshape(first).transpose(order), np.ones(()))
    for one in a.layers:
        for other in b.layers:
            found = judged.get((one.node, other.node))
            linear = None if found is None else _as_read(one, other, found)
            if linear is not None:
                yield InputMap.READ, linear


def _as_read(a: Layer, b: Layer, judged: Judged) -> Selection | None:
    """L_b⁻¹·Π·L_a; None where a path is no bijection of entries, or the layers read tensors of other shapes."""
    if not (
        isinstance(a.path, Selection) and isinstance(b.path, Selection) and _is_bijection(a.path) and _is_bijection(b.path)
    ):
        return None
    if a.path.output_shape != b.path.output_shape:
        return None
    shape = a.path.output_shape
    order = _channels(judged.alignment.rows, shape, a)
    if order is None:
        return None
    axis, channels = order
    moved = np.take(np.arange(math.prod(shape)).reshape(shape), channels, axis=axis)
    return inverse(b.path).after(Selection(shape, moved, np.ones(())).after(a.path))


def _channels(rows: NDArray[np.intp] | None, shape: tuple[int, ...], layer: Layer) -> tuple[int, NDArray[np.intp]] | None:
    """(axis, order of the channels) that moves the rows so; None where it does more than to move channels."""
    axis = 1 if layer.use.on_images else len(shape) - 1
    if rows is None:
        return axis, np.arange(shape[axis])
    if layer.use.shape[0] != 1 or rows.size % shape[axis]:
        return None
    taps = rows.size // shape[axis]
    channels = rows.reshape(-1, taps)[:, 0] // taps
    whole = channels[:, None] * taps + np.arange(taps)
    return (axis, channels) if np.array_equal(whole.ravel(), rows) else None


def _difference(a: Layer, b: Layer, judged: Judged, linear: Selection) -> float | None:
    """Relative difference of what the layers make of a random input, factors and order of the outputs undone."""
    assert a.path is not None and b.path is not None, "chosen so"
    x = np.random.default_rng(0).standard_normal(linear.shape)
    try:
        first = a.map().apply(x)
        second = b.map().apply(linear.apply(x))
    except (UnknownShapeError, ValueError):
        return None
    axis = 1 if a.use.on_images and b.use.on_images else first.ndim - 1
    if first.shape != second.shape or axis >= first.ndim:
        return None
    columns = judged.alignment.columns
    if columns is not None:
        if columns.size != first.shape[axis]:
            return None
        first = np.take(first, columns, axis=axis)
    one, other = (_on_axis(y, factors, axis) for y, factors in zip((first, second), judged.outputs, strict=True))
    if one is None or other is None:
        return None
    size = float(np.linalg.norm(other)) or float(np.linalg.norm(one))
    return float(np.linalg.norm(one - other)) / size if size else 0.0


def _on_axis(y: Array, factors: Array, axis: int) -> Array | None:
    """Times factors (g, 1, p) along an axis; None where they are not one for each entry of it."""
    if factors.size == 1:
        return y * float(factors.ravel()[0])
    if y.shape[axis] != factors.size:
        return None
    scaled: Array = y * factors.reshape(-1, *(1,) * (y.ndim - axis - 1))
    return scaled


def _is_bijection(selection: Selection) -> bool:
    return selection.inputs == selection.outputs == selection.rank


def _one_sample(described: GraphInput) -> tuple[int, ...] | None:
    """The shape, an open batch being one; None where more is open."""
    shape = described.shape
    if shape is None or None in shape[1:]:
        return None
    return tuple(1 if size is None else size for size in shape)


def _types(a: GraphInput, b: GraphInput) -> str:
    first, second = (
        f"{i.dtype} {'?' if i.shape is None else '×'.join('?' if d is None else str(d) for d in i.shape)}" for i in (a, b)
    )
    return f"one is {first}, the other {second}"
