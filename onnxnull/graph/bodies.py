"""The bodies of If, Loop and Scan, and how values pass into them, from round to round, and out of them.

Loop (opset 1 to 25): operands are the trip count, a condition and the initial states; the body takes the round's number, the
condition and the states, and gives the condition, the states and one slice of each scan output. Scan (opset 9 to 25): operands
are the initial states and what is scanned, of which each round takes a slice along its `scan_input_axes`, from the end where
`scan_input_directions` is 1. (Scan of opset 8 scanned batches, with an operand of lengths in front.)
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx_ir as ir

_CONTROL = ("Loop", "Scan")


@dataclass(frozen=True, slots=True, eq=False)
class State:
    """A value that rounds hand on.

    Attributes:
        inner: what the body reads.
        operand: index of the initial value among the node's inputs.
        after: what the body hands on.
        output: index of the final value among the node's outputs.
    """

    inner: ir.Value
    operand: int
    after: ir.Value
    output: int


@dataclass(frozen=True, slots=True, eq=False)
class Scanned:
    """A tensor of which each round reads a slice.

    Attributes:
        inner: the slice, which the body reads.
        operand: index of the tensor among the node's inputs.
        axis: along which it is cut; negative from the end.
    """

    inner: ir.Value
    operand: int
    axis: int


def subgraphs(node: ir.Node) -> Iterator[tuple[str, ir.Graph]]:
    """The bodies of a control-flow node with their attribute's name, in the order of the attributes."""
    import onnx_ir as ir

    for attribute in node.attributes.values():
        if attribute.type == ir.AttributeType.GRAPH:
            yield attribute.name, attribute.as_graph()
        elif attribute.type == ir.AttributeType.GRAPHS:
            yield from ((f"{attribute.name}[{i}]", graph) for i, graph in enumerate(attribute.as_graphs()))


def body_of(node: ir.Node) -> ir.Graph | None:
    """The body of a Loop or a Scan; None for other nodes."""
    if node.domain not in ("", "ai.onnx") or node.op_type not in _CONTROL:
        return None
    return next((body for name, body in subgraphs(node) if name == "body"), None)


def is_batched_scan(node: ir.Node, version: int) -> bool:
    """Whether a node is a Scan of opset 8."""
    return node.op_type == "Scan" and version < 9


def states(node: ir.Node) -> tuple[State, ...]:
    """The states of a Loop or a Scan (opset 9 on), as far as the node and its body agree on how many they are."""
    body = body_of(node)
    if body is None:
        return ()
    first = 2 if node.op_type == "Loop" else 0
    given = 1 if node.op_type == "Loop" else 0
    count = len(node.inputs) - first - _scanned_count(node)
    count = min(count, len(body.inputs) - first, len(body.outputs) - given, len(node.outputs))
    return tuple(State(body.inputs[first + i], first + i, body.outputs[given + i], i) for i in range(count))


def scanned(node: ir.Node) -> tuple[Scanned, ...]:
    """What a Scan (opset 9 on) cuts into slices."""
    body, count = body_of(node), _scanned_count(node)
    if body is None or not 0 < count <= min(len(node.inputs), len(body.inputs)):
        return ()
    axes = node.attributes["scan_input_axes"].as_ints() if "scan_input_axes" in node.attributes else [0] * count
    first, inner = len(node.inputs) - count, len(body.inputs) - count
    return tuple(Scanned(body.inputs[inner + i], first + i, axis) for i, axis in zip(range(count), axes, strict=False))


def unchanged(state: State) -> bool:
    """Whether every round hands the state on as it got it: directly, by Identity, or through a loop inside that does."""
    value: ir.Value | None = state.after
    for _ in range(10_000):
        if value is state.inner:
            return True
        node = None if value is None else value.producer()
        if node is None or value is None:
            return False
        if node.op_type == "Identity" and node.domain in ("", "ai.onnx"):
            value = node.inputs[0]
            continue
        inside = next((s for s in states(node) if node.outputs[s.output] is value), None)
        if inside is None or not unchanged(inside):
            return False
        value = node.inputs[inside.operand]
    return False


def captured(body: ir.Graph) -> Iterator[ir.Value]:
    """The values of outer graphs that a body reads."""
    own = {*body.inputs, *body.initializers.values()}
    nodes = list(body.all_nodes())
    for node in nodes:
        own.update(node.outputs)
        for _, inner in subgraphs(node):
            own.update((*inner.inputs, *inner.initializers.values()))
    read = [value for node in nodes for value in node.inputs] + list(body.outputs)
    yield from (value for value in read if value is not None and value not in own)


def _scanned_count(node: ir.Node) -> int:
    if node.op_type != "Scan" or "num_scan_inputs" not in node.attributes:
        return 0
    return int(node.attributes["num_scan_inputs"].as_int())
