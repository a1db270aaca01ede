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
from onnxnull.comparison.verdicts import InputMap
from onnxnull.frontier import Frontier, Layer
from onnxnull.graph.model import GraphInput
from onnxnull.kernel.maps.linear_map import Array
from onnxnull.kernel.maps.selection import Selection, compose, identity
from onnxnull.operators.steps import UnknownShapeError

_CLOSE = 0.3
"""Relative difference of what first layers compute that still counts as the same: int8 and 4 bits stay below."""
_FLOATS = ("float", "bfloat")
Key = tuple[str, tuple[object, ...]]
"""Name of a node, and the signature of one of its uses of a weight."""


@dataclass(frozen=True, slots=True, eq=False)
class Reads:
    """What a first layer reads of an input.

    Attributes:
        tensor: its name in the main graph.
        path: from the input to it, the constant part left out: a bijection of entries.
        onward: from it to what the other model's layer reads: channels in the other's order.
    """

    tensor: str
    path: Selection
    onward: Selection


@dataclass(frozen=True, slots=True, eq=False)
class Link:
    """How an input of a becomes one of b: `linear` is a bijection of their entries; None where there is no way.

    Attributes:
        reads: what first layers of a and of b read; None where that was not compared.
    """

    a: GraphInput
    b: GraphInput
    mapped: InputMap
    linear: Selection | None
    reason: str | None = None
    reads: tuple[Reads, Reads] | None = None

    def to_b(self, x: np.ndarray) -> np.ndarray:
        """An input of a, or a change of it, as one of b."""
        assert self.linear is not None, "there is a way"
        return self.linear.apply(x) if x.dtype.kind == "f" else x

    def to_a(self, x: np.ndarray) -> np.ndarray:
        """The way back."""
        assert self.linear is not None, "there is a way"
        return inverse(self.linear).apply(x) if x.dtype.kind == "f" else x


def links(a: tuple[Frontier, ...], b: tuple[Frontier, ...], judged: Mapping[tuple[Key, Key], Judged]) -> tuple[Link, ...]:
    """The inputs in pairs, by name where all names are the same, else in order.

    Args:
        a, b: the frontier of every input.
        judged: how a node of a and one of b use their weights → the verdict on these.
    """
    named = {front.input.name: front for front in b}
    same_names = set(named) == {front.input.name for front in a}
    pairs = [(front, named[front.input.name]) for front in a] if same_names else list(zip(a, b, strict=False))
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


def _link(a: Frontier, b: Frontier, judged: Mapping[tuple[Key, Key], Judged]) -> Link:
    if not (a.input.dtype.startswith(_FLOATS) and b.input.dtype.startswith(_FLOATS)):
        if a.input.dtype == b.input.dtype and a.input.shape == b.input.shape:
            shape = tuple(d or 1 for d in a.input.shape or ())
            return Link(a.input, b.input, InputMap.SHAPE, identity(shape))
        return Link(a.input, b.input, InputMap.NONE, None, _types(a.input, b.input))
    partners = [
        (one, other, judged[_key(one), _key(other)])
        for one in a.layers
        for other in b.layers
        if (_key(one), _key(other)) in judged
    ]
    reads = [found for site in partners if (found := _reads(a, b, *site)) is not None]
    candidates = [*_candidates(a.input, b.input), *((InputMap.READ, _as_read(found)) for found in reads)]
    scored: list[tuple[float, int, InputMap, Selection]] = []
    for mapped, linear in candidates:
        differences = [d for site in partners if (d := _difference(*site, linear)) is not None]
        if differences:
            scored.append((round(max(differences), 9), len(scored), mapped, linear))
    if scored:
        difference, _, mapped, linear = min(scored, key=lambda entry: entry[:2])
        if difference <= _CLOSE:
            return Link(a.input, b.input, mapped, linear, reads=reads[0] if reads else None)
    for mapped, linear in candidates:
        if mapped is not InputMap.READ:
            return Link(a.input, b.input, InputMap.SHAPE if mapped is InputMap.SAME else mapped, linear)
    return Link(a.input, b.input, InputMap.NONE, None, _types(a.input, b.input))


def _candidates(a: GraphInput, b: GraphInput) -> Iterator[tuple[InputMap, Selection]]:
    """What shapes alone suggest."""
    first, second = (one_sample(described) for described in (a, b))
    if first is None or second is None:
        return
    if first == second:
        yield InputMap.SAME, identity(first)
    for order in ((0, 2, 3, 1), (0, 3, 1, 2)) if len(first) == 4 and first != second else ():
        if tuple(first[axis] for axis in order) == second:
            yield InputMap.LAYOUT, Selection(first, np.arange(math.prod(first)).reshape(first).transpose(order), np.ones(()))


def _key(layer: Layer) -> Key:
    return layer.node, layer.use.signature


def _as_read(reads: tuple[Reads, Reads]) -> Selection:
    """L_b⁻¹·Π·L_a."""
    return inverse(reads[1].path).after(reads[0].onward.after(reads[0].path))


def _reads(a: Frontier, b: Frontier, one: Layer, other: Layer, judged: Judged) -> tuple[Reads, Reads] | None:
    """What the layers read; None where a path is no bijection of entries, or they read tensors of other shapes."""
    tensors = [_tensor(front, layer) for front, layer in ((a, one), (b, other))]
    paths = [layer.path for layer in (one, other)]
    first, second = (path if isinstance(path, Selection) and _is_bijection(path) else None for path in paths)
    if first is None or second is None or first.output_shape != second.output_shape:
        return None
    shape = first.output_shape
    order = _channels(judged.alignment.rows, shape, one)
    if order is None or tensors[0] is None or tensors[1] is None:
        return None
    axis, channels = order
    entries = np.arange(math.prod(shape)).reshape(shape)
    onward = Selection(shape, np.take(entries, channels, axis=axis), np.ones(()))
    return Reads(tensors[0], first, onward), Reads(tensors[1], second, inverse(onward))


def _tensor(front: Frontier, layer: Layer) -> str | None:
    """The name of what a layer reads, None where it lies in a branch's body."""
    if layer.view is None or layer.use.activation is None or layer.view.node.graph is None:
        return None
    operand = layer.view.inputs[layer.use.activation]
    in_main = any(value.name == front.input.name for value in layer.view.node.graph.inputs)
    return operand.name if operand is not None and in_main else None


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


def one_sample(described: GraphInput) -> tuple[int, ...] | None:
    """The shape, an open batch being one; None where more is open."""
    shape = described.shape
    if shape is None or None in shape[1:]:
        return None
    return tuple(1 if size is None else size for size in shape)


def _types(a: GraphInput, b: GraphInput) -> str:
    """Why one cannot become the other."""
    for described in (a, b):
        if one_sample(described) is None:
            return f"the shape of {described.name!r} is open: fix it with --input-shape NAME:D0,D1,..."
    first, second = (
        f"{i.dtype} {'?' if i.shape is None else '×'.join('?' if d is None else str(d) for d in i.shape)}" for i in (a, b)
    )
    return f"one is {first}, the other {second}"
