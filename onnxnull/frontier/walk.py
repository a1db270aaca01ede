"""Find the input frontier: follow a graph input through linear steps to the weights that read it.

A change of the input that lies in the kernel of every layer of the frontier leaves everything behind it as it was, so it
reaches no output: that is the guarantee. It is lost where a node that is not linear reads the input's values first, or where
an output shows them. A value that adds something from behind the frontier (a residual over the stem) may be followed all the
same: on the kernel, what is behind does not move.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from onnxnull.errors import one_line
from onnxnull.frontier.quantizer import Quantizer, QuantizerTrail, is_quantizer, rounds_by_itself
from onnxnull.graph.bodies import subgraphs
from onnxnull.graph.evaluable import is_one_by_one
from onnxnull.graph.flow import Flow
from onnxnull.graph.model import GraphInput
from onnxnull.graph.node import Node
from onnxnull.kernel.maps.linear_map import LinearMap, Stack
from onnxnull.kernel.maps.selection import add, compose, identity
from onnxnull.operators import LinearUse, Refusal, linear_uses
from onnxnull.operators.steps import FLOATS, LARGEST, UnknownShapeError, fixed_shape, holds, step_of

if TYPE_CHECKING:
    import onnx_ir as ir

_READ_NO_VALUES = {"Shape", "Size"}
_MOST_ENTRIES = 1 << 27
"""Of all tensors together that one input is followed through: a bound on time."""
_MOST_AT_A_TIME = 1 << 25
"""Of all tensors that are followed side by side: a bound on memory."""
_MOST_TERMS = 100
"""Maps that a path may be made of, where they do not collapse into one."""
_LOOP = 64
"""How many entries that are moved at once take the time of one that is moved alone."""
_PRINTED = {"FLOAT", "FLOATS", "INT", "INTS", "STRING", "STRINGS"}
_ONNX_NAMES = {"float16": "FLOAT16", "bfloat16": "BFLOAT16", "float32": "FLOAT", "float64": "DOUBLE"}


@dataclass(frozen=True, slots=True, eq=False)
class Layer:
    """A weight of the frontier, as one node reads the input through it.

    Attributes:
        node: name of the node.
        path: from the graph input to the tensor that the weight multiplies, constant parts left out; None where a shape on
            the way is not known, or too large.
        view: the node.
        on_grid: whether it reads codes: then its matrix is S∘(Wq − Z) where its weight is quantized, and `path` is in steps.
    """

    node: str
    use: LinearUse
    path: LinearMap | None
    view: Node | None = None
    on_grid: bool = False

    def matrix(self) -> np.ndarray:
        """What the layer multiplies by, (g, q, p) in float64. Raises `EvaluationError`."""
        rational = self.use.rational_blocks() if self.on_grid else None
        return self.use.matrix() if rational is None else self.use.scale * rational

    @property
    def key(self) -> tuple[object, ...]:
        """Equal for two layers that are one map of the input: the same weight, used in the same way, behind the same path."""
        if self.view is None:
            return (id(self),)
        attributes = sorted((a.name, _printed(a)) for a in self.view.node.attributes.values())
        return (self.use.signature, id(self.path), self.use.activation, self.view.op_type, *attributes)

    def map(self) -> LinearMap:
        """The layer as a linear map of the graph input, A∘L. Raises `UnknownShapeError`, `EvaluationError`."""
        if self.path is None:
            raise UnknownShapeError(f"a shape between the input and {self.node!r} is not known, or too large")
        matrix = self.matrix()
        try:
            return self.use.linear_map(matrix, self.path.output_shape) @ self.path
        except (ValueError, LookupError, ArithmeticError) as error:
            raise UnknownShapeError(f"the weight of {self.node!r} does not fit what it reads: {one_line(error)}") from None


def _printed(attribute: ir.Attr) -> str:
    """Equal for equal numbers and texts; of a tensor or a graph nothing is printed."""
    return repr(attribute.value) if attribute.type.name in _PRINTED else f"at {id(attribute.value)}"


@dataclass(frozen=True, slots=True, eq=False)
class Frontier:
    """How a network reads one of its inputs.

    Attributes:
        layers: the linear layers that read it, in graph order.
        entries: number of entries of the input; None where its shape is not known.
        obstacle: why a collision of these layers is not guaranteed to leave every output as it is; None if it is.
        sized: whether its shape is read, by a Shape or a Size that something uses.
        quantizer: what rounds the input first; then all that is said is of changes in its whole steps that do not saturate.
    """

    input: GraphInput
    layers: tuple[Layer, ...]
    obstacle: str | None
    entries: int | None
    quantizer: Quantizer | None = None
    sized: bool = False

    @property
    def guaranteed(self) -> bool:
        """Whether a change of the input in the joint kernel of the layers is guaranteed to reach no output."""
        return self.obstacle is None

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the input: of one sample where the batch size is open. Raises `UnknownShapeError`."""
        if self.input.shape is None or self.entries is None:
            raise UnknownShapeError(f"the shape of input {self.input.name!r} is not known")
        return tuple(1 if d is None else d for d in self.input.shape)

    @property
    def distinct(self) -> tuple[Layer, ...]:
        """The layers, those that are the same map of the input once."""
        return tuple({layer.key: layer for layer in self.layers}.values())

    def map(self) -> LinearMap:
        """All layers stacked: its kernel is the joint kernel. Raises `UnknownShapeError`, `EvaluationError`."""
        return Stack(tuple(layer.map() for layer in self.layers))


def find(flow: Flow) -> tuple[Frontier, ...]:
    """The frontier of each graph input."""
    values = {value.name: value for value in flow.model.graph.inputs}
    whole = _Whole(flow)
    return tuple(_follow(whole, described, values[described.name]) for described in flow.model.inputs)


class _Whole:
    """What following any input needs to know of the network as a whole."""

    def __init__(self, flow: Flow) -> None:
        self.flow = flow
        self.order = {node.node: position for position, node in enumerate(flow.nodes)}
        self.shown = {value: f"output {value.name!r} shows" for value in flow.model.graph.outputs}
        for node in flow.nodes:
            for attribute, body in subgraphs(node.node):
                for value in body.outputs:
                    self.shown.setdefault(value, f"{node.name!r} ({node.op_type}) hands out of its {attribute}")

    def readers(self, value: ir.Value) -> set[int]:
        """Positions of the nodes that read a value."""
        return {self.order[node] for node, _ in value.uses() if node in self.order}


def _follow(whole: _Whole, described: GraphInput, start: ir.Value) -> Frontier:
    flow = whole.flow
    shape = flow.operand(start).shape
    entries = None if shape is None or None in shape else math.prod(d for d in shape if d is not None)
    known = None
    if shape is not None and entries is not None and entries <= LARGEST:
        known = identity(tuple(d for d in shape if d is not None))
    if described.dtype not in _ONNX_NAMES:
        why = f"input {described.name!r} is {described.dtype}: it has no continuous kernel"
        return Frontier(described, (), why, entries)
    # each value that is a linear image of the input → the map to it, None where a shape is unknown
    paths: dict[ir.Value, LinearMap | None] = {start: known}
    unread = {start: len(start.uses())}
    budget = _MOST_ENTRIES
    layers: list[Layer] = []
    grid = QuantizerTrail()
    sized = False

    def ends(why: str | None) -> Frontier:
        return Frontier(described, tuple(layers), why, entries, grid.quantizer, sized)

    live = 0 if known is None else known.outputs
    pending = sorted(whole.readers(start))
    seen = set(pending)
    while pending:
        node = flow.nodes[heapq.heappop(pending)]
        reads = [i for i, operand in enumerate(node.inputs) if operand is not None and operand.value in paths]
        if node.op_type in _READ_NO_VALUES and node.domain == "":
            sized = sized or any(value.uses() or value.is_graph_output() for value in node.node.outputs)
            continue
        uses = list(linear_uses(node))
        stepped: list[int] = []
        for index in reads:
            path, coded = paths[_value(node, index)], _value(node, index) in grid
            through = [use for use in uses if isinstance(use, LinearUse) and use.activation == index]
            layers.extend(Layer(node.name, use, path, node, coded) for use in through if not use.condition)
            if open_ := next((use.condition for use in through if use.condition), None):
                return ends(_first(node, f"its weight is {open_}"))
            if any(rounds_by_itself(node, index, use.integer) for use in through):
                return ends(_first(node, "it rounds what it reads by itself"))
            if through and coded and (leaves := grid.leaves_at(node, path)) is not None:
                return ends(leaves)
            if not through:
                stepped.append(index)
        if stepped:
            images, wrong = _passed(node, stepped, uses, paths, grid, min(budget, _MOST_AT_A_TIME - live), described.dtype)
            if wrong is not None:
                return ends(_first(node, wrong))
            for position in set().union(*(whole.readers(value) for value in images)) - seen:
                seen.add(position)
                heapq.heappush(pending, position)
            paths |= images
            live += sum(image.outputs for image in images.values() if image is not None)
            unread |= {value: len(value.uses()) for value in images}
            times = _LOOP if is_one_by_one(node) else 1
            budget -= times * sum(max(image.inputs, image.outputs) for image in images.values() if image is not None)
        for index in reads:  # a map that nothing needs any more is let go: chains of steps can be long
            value = _value(node, index)
            unread[value] -= 1
            path = paths[value]
            if unread[value] <= 0 and path is not None:
                live -= path.outputs
                paths[value] = None
    beside = next((layer.node for layer in layers if not layer.on_grid), None)
    if grid.quantizer is not None and beside is not None:
        return ends(f"{beside!r} reads the input itself, beside its quantizer {grid.quantizer.node!r}")
    shown = next((whole.shown[value] for value in paths if value in whole.shown), None)
    return ends(None if shown is None else f"{shown} the input's values, not only what a weight makes of them")


def _first(node: Node, why: str) -> str:
    return f"{node.name!r} ({node.op_type}) reads the input first: {why}"


def _passed(
    node: Node,
    stepped: list[int],
    uses: list[LinearUse | Refusal],
    paths: Mapping[ir.Value, LinearMap | None],
    grid: QuantizerTrail,
    budget: int,
    dtype: str,
) -> tuple[dict[ir.Value, LinearMap | None], str | None]:
    """The outputs of a node that is no layer as images of the input, and why it is no linear step; None where it is one.

    `dtype` is the input's.
    """
    refusals = [use.reason for use in uses if isinstance(use, Refusal)]
    if refusals:
        return {}, refusals[0]
    read = {_value(node, index) for index in stepped}
    coded = {value in grid for value in read}
    output = node.outputs[0] if node.outputs else None
    if output is not None and stepped == [0] and coded == {False} and is_quantizer(node):
        path = paths[_value(node, 0)]
        return {output.value: path}, grid.enter(node, path)
    if output is not None and coded == {True} and all(grid.dequantizes(node, index) for index in stepped):
        images: dict[ir.Value, LinearMap | None] | None = {output.value: paths[_value(node, 0)]}
    else:
        images = _images(node, stepped, paths, budget) if len(coded) == 1 else None
    if images is not None and (narrow := _narrower(node, dtype, images)) is not None:
        return {}, f"it rounds to {narrow}"
    if images is None:
        return {}, "which is not a linear step"
    if grid.wraps(node, read):
        return {}, "it computes with a quantizer's integer codes, which wrap around"
    grid.step(node, read, images)
    return images, None


def _images(
    node: Node, indices: list[int], paths: Mapping[ir.Value, LinearMap | None], budget: int
) -> dict[ir.Value, LinearMap | None] | None:
    """The outputs of a linear step as images of the input: the sum over the operands; None if it is no linear step."""
    steps = {index: step_of(node, index) for index in indices}
    if any(step is None for step in steps.values()):
        return None
    images: dict[ir.Value, LinearMap | None] = {}
    for number, output in enumerate(node.outputs):
        if output is None:
            continue
        try:
            total: LinearMap | None = None
            for index, step in steps.items():
                path = paths[_value(node, index)]
                if path is None or step is None or path.outputs > budget:
                    raise UnknownShapeError
                if fixed_shape(node, index) != path.output_shape:
                    raise UnknownShapeError
                image = compose(step(number), path)
                total = image if total is None else add(total, image)
                if _terms(total) > _MOST_TERMS:
                    raise UnknownShapeError
            images[output.value] = total
        except (UnknownShapeError, ValueError, LookupError, ArithmeticError):  # the last three: shapes that do not fit
            images[output.value] = None
    return images


def _narrower(node: Node, dtype: str, images: Mapping[ir.Value, LinearMap | None]) -> str | None:
    """The float type of an image that does not hold every number of the input's type; None where all of them do.

    To a type that does, casting rounds no more than any other op of the network.
    """
    for output in node.outputs:
        found = output.dtype if output is not None and output.value in images else None
        if found is not None and found.name in FLOATS and not holds(found.name, _ONNX_NAMES[dtype]):
            return found.name.lower()
    return None


def _terms(linear_map: LinearMap) -> int:
    """How many maps a path is made of; what is used twice counts twice, since it is applied twice."""
    return sum(map(_terms, linear_map.components)) or 1


def _value(node: Node, index: int) -> ir.Value:
    operand = node.inputs[index]
    assert operand is not None
    return operand.value
