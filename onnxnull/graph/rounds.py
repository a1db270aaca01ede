"""Shapes that the rounds of a Loop or a Scan hand on, and the round that cannot take what the one before it gave.

A Loop may hand on states that grow: onnxruntime takes in each round what the last one gave, whatever the file declares of the
body's inputs. So the body's types are inferred round by round from the initial states. What a Loop collects has one shape in
all rounds, and a Scan's states keep theirs: else onnxruntime (1.31) fails in that round, and not when the model loads.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from onnxnull.graph.bodies import body_of, is_batched_scan, scanned, states, subgraphs
from onnxnull.graph.constants import Constant
from onnxnull.graph.types import shape_of_type, tensor_type

if TYPE_CHECKING:
    import onnx
    import onnx_ir as ir

    from onnxnull.graph.flow import Flow
    from onnxnull.graph.node import Node

_ROUNDS = 16
"""Most rounds that are looked at."""
_DEPTH = 4
"""Most branches inside each other that are looked into."""
_INT64, _BOOL = 7, 9
_Types = dict["ir.Value", "onnx.TypeProto | None"]


@dataclass(frozen=True, slots=True)
class FailingRound:
    """A round that cannot run.

    Attributes:
        number: 1 for the first.
        why: in words.
        surely: whether it fails whatever branches are taken in it.
    """

    number: int
    why: str
    surely: bool = True


class _Fails(Exception):
    def __init__(self, why: str, surely: bool) -> None:
        super().__init__(why)
        self.why, self.surely = why, surely


def failing_round(flow: Flow, loop: Node, most: float) -> FailingRound | None:
    """The first of up to `most` rounds that fails by its shapes; None where none does, or a shape is not known."""
    body = body_of(loop.node)
    if body is None or is_batched_scan(loop.node, loop.version):
        return None
    handed = states(loop.node)
    kinds: _Types = {}
    for state in handed:
        initial = loop.node.inputs[state.operand]
        kinds[state.inner] = None if initial is None else flow.type_of(initial)
    collected: list[tuple[int | None, ...] | None] = []
    for number in range(1, 1 + int(min(most, _ROUNDS))):
        types: _Types = dict.fromkeys(body.inputs) | {part.inner: flow.type_of(part.inner) for part in scanned(loop.node)}
        if loop.op_type == "Loop":
            types |= zip(body.inputs[:2], (tensor_type(_INT64, ()), tensor_type(_BOOL, ())), strict=False)
        types |= {inner: kind for inner, kind in kinds.items() if not isinstance(flow.operand(inner).constant, Constant)}
        try:
            _walk(flow, body, types, _DEPTH)
            after = {state.inner: _of(flow, state.after, types) for state in handed}
            if loop.op_type == "Scan":
                _steady(kinds, after)
            gathered = [_shape(_of(flow, value, types)) for value in body.outputs[len(handed) + (loop.op_type == "Loop") :]]
            for value, before, now in zip(body.outputs[len(body.outputs) - len(gathered) :], collected, gathered, strict=False):
                if _differ(before, now):
                    raise _Fails(f"what is collected of {value.name!r} has another shape then", surely=True)
        except _Fails as failure:
            return FailingRound(number, failure.why, failure.surely)
        if after == kinds:
            return None
        kinds, collected = after, gathered
    return None


def _walk(flow: Flow, body: ir.Graph, types: _Types, depth: int) -> None:
    """Infer what a body computes, into `types`. Raises `_Fails` at the first node that cannot take what it reads."""
    for node in body:
        bodies = list(subgraphs(node))
        if bodies:
            types |= dict.fromkeys(node.outputs)
            if node.op_type == "If" and depth and len(bodies) == 2:
                _branches(flow, node, [branch for _, branch in bodies], types, depth - 1)
            continue
        if not any(value in types for value in node.inputs if value is not None):
            continue  # the same in every round
        try:
            found = flow.types_if(node, types)
        except Exception as error:
            known = all(value is None or _shape(_of(flow, value, types)) is not None for value in node.inputs)
            if known and "ShapeInferenceError" in str(error):
                raise _Fails(f"{node.op_type} {node.name or node.outputs[0].name!r} does not take its shapes", True) from error
            found = {}
        types |= {value: found.get(value) for value in node.outputs}


def _branches(flow: Flow, node: ir.Node, branches: list[ir.Graph], types: _Types, depth: int) -> None:
    """Both branches of an If: a failure in one of them is none if the other is taken."""
    failures = []
    for branch in branches:
        try:
            _walk(flow, branch, types, depth)
        except _Fails as failure:
            failures.append(failure)
    if failures:
        raise _Fails(failures[0].why, surely=len(failures) == len(branches) and all(each.surely for each in failures))
    for value, *results in zip(node.outputs, *(branch.outputs for branch in branches), strict=False):
        first, second = (_of(flow, result, types) for result in results)
        types[value] = first if first == second else None


def _steady(before: _Types, after: _Types) -> None:
    for inner, kind in after.items():
        if _differ(_shape(before[inner]), _shape(kind)):
            raise _Fails(f"the state {inner.name!r} has another shape afterwards", surely=True)


def _of(flow: Flow, value: ir.Value, types: _Types) -> onnx.TypeProto | None:
    return types[value] if value in types else flow.type_of(value)


def _shape(kind: onnx.TypeProto | None) -> tuple[int | None, ...] | None:
    return None if kind is None or not kind.HasField("tensor_type") else shape_of_type(kind)


def _differ(one: tuple[int | None, ...] | None, other: tuple[int | None, ...] | None) -> bool:
    """Whether two shapes are surely not the same."""
    if one is None or other is None:
        return False
    return len(one) != len(other) or any(None not in (a, b) and a != b for a, b in zip(one, other, strict=True))
