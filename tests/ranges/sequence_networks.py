"""Loops, Scans and SequenceMaps followed round by round, and the sequences that they build."""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import GraphProto, NodeProto, TensorProto, helper

from onnxnull.ranges.results import Effect

from .networks import FLOAT, INT64, NAN_EFFECT, SAME, Network, W, n

_BOOL = TensorProto.BOOL
_CONSTANTS: dict[str, Any] = {
    "w": W,
    "nought": 0.0,
    "half": 0.5,
    "true": np.array(True),
    "first": np.array(0),
    "second": np.array(1),
    "two": np.array(2),
    "three": np.array(3),
    "many": np.array(100),
}
_LOST_NUMBER = (n("Sub", "x x", "zero"), n("Div", "zero zero", "p"))
_MIXED = (n("MatMul", "x w", "p"),)


def _value(name: str, sequence: bool, shape: Any = None) -> Any:
    make = helper.make_tensor_sequence_value_info if sequence else helper.make_tensor_value_info
    return make(name, FLOAT, shape)


def _body(nodes: tuple[NodeProto, ...], sequence: bool) -> GraphProto:
    inputs = [helper.make_tensor_value_info("i", INT64, []), helper.make_tensor_value_info("go", _BOOL, [])]
    outputs = [helper.make_tensor_value_info("on", _BOOL, []), _value("t", sequence)]
    return helper.make_graph([n("Identity", "go", "on"), *nodes], "body", [*inputs, _value("s", sequence)], outputs)


def _network(name: str, nodes: list[NodeProto], effect: Effect | None, nonfinite: int = 0, asks: bool = False) -> Network:
    read = {each for node in nodes for each in node.input}
    for node in nodes:
        read.update(each for a in node.attribute if a.HasField("g") for inner in a.g.node for each in inner.input)
    given: dict[str, Any] = {"x": (FLOAT, (2, 4))} | ({"m": (INT64, ())} if asks else {})
    constants = {key: value for key, value in _CONSTANTS.items() if key in read}
    return Network(name, nodes, constants, effect, nonfinite, inputs=given)


def built(
    name: str,
    effect: Effect | None,
    *body: NodeProto,
    then: tuple[NodeProto, ...],
    start: str = "",
    rounds: str = "three",
    nonfinite: int = 0,
) -> Network:
    """A Loop that changes a sequence s → t of the tensors `start`; then nodes from h to y."""
    first = n("SequenceConstruct", start, "s0") if start else n("SequenceEmpty", "", "s0", dtype=FLOAT)
    loop = n("Loop", f"{rounds} true s0", "h", body=_body(body, sequence=True))
    return _network(name, [first, loop, *then], effect, nonfinite, rounds == "m")


def carried(name: str, effect: Effect | None, *body: NodeProto, start: str = "x", rounds: str = "three") -> Network:
    """A Loop that changes s → t; y is t at last."""
    loop = n("Loop", f"{rounds} true {start}", "y", body=_body(body, sequence=False))
    first = [n("Mul", "x nought", "z")] if start == "z" else []
    return _network(name, [*first, loop], effect, asks=rounds == "m")


def mapped(name: str, effect: Effect | None, *body: NodeProto) -> Network:
    """A SequenceMap e → o over two tensors, whose results are joined."""
    graph = helper.make_graph(list(body), "body", [_value("e", sequence=False)], [_value("o", sequence=False)])
    nodes = [n("SequenceConstruct", "x x", "s"), n("SequenceMap", "s", "h", body=graph), _JOIN[0]]
    return _network(name, nodes, effect)


_JOIN = (n("ConcatFromSequence", "h", "y", axis=0),)
_INSERT = n("SequenceInsert", "s p", "t")


def _taken(place: str) -> tuple[NodeProto, ...]:
    return n("SequenceAt", f"h {place}", "a"), n("MatMul", "a w", "y")


_COUNT = (n("SequenceLength", "h", "l"), n("Cast", "l", "f", to=FLOAT), n("Mul", "x f", "y"))

SEQUENCES_BROKEN = [
    built("each-of-zeros", SAME, n("Mul", "x nought", "p"), _INSERT, then=_JOIN),
    built("each-of-nan", NAN_EFFECT, *_LOST_NUMBER, _INSERT, then=_JOIN),
    built("nan-is-taken", NAN_EFFECT, *_LOST_NUMBER, _INSERT, then=_taken("second"), start="x"),
    built("hundred-of-nan", NAN_EFFECT, *_LOST_NUMBER, _INSERT, then=_JOIN, rounds="many"),
    built("erased-to-nothing", SAME, n("SequenceErase", "s first", "t"), then=_COUNT, start="x x", rounds="two"),
    carried("zero-stays-zero", SAME, n("Mul", "s half", "t"), start="z"),
    carried("zero-stays-zero-long", SAME, n("Mul", "s half", "t"), start="z", rounds="many"),
    carried("zero-stays-zero-as-often-as-asked", SAME, n("Mul", "s half", "t"), start="z", rounds="m"),
    mapped("mapped-to-zero", SAME, n("Mul", "e nought", "o")),
    mapped("mapped-to-nan", NAN_EFFECT, n("Sub", "e e", "z"), n("Div", "z z", "o")),
]
"""As `networks.BROKEN`."""

SEQUENCES_MISFITS = [
    built("none-left-to-take", None, n("SequenceErase", "s first", "t"), then=_taken("first"), start="x x", rounds="two"),
    built("fourth-of-three", None, *_MIXED, _INSERT, then=_taken("three")),
]
"""As `further_networks.MISFITS`."""

SEQUENCES_HEALTHY = [
    built("each-a-product", None, *_MIXED, _INSERT, then=_JOIN),
    built("x-is-taken", None, *_LOST_NUMBER, _INSERT, then=_taken("first"), start="x"),
    built("one-left", None, n("SequenceErase", "s first", "t"), then=_taken("first"), start="x x", rounds="second"),
    built(
        "erased-and-inserted",
        None,
        n("SequenceErase", "s first", "e"),
        *_MIXED,
        n("SequenceInsert", "e p", "t"),
        then=_JOIN,
        start="x",
    ),
    carried("zero-and-x", None, n("Add", "s x", "t"), start="z"),
    carried("zero-and-x-long", None, n("Add", "s x", "t"), start="z", rounds="many"),
    carried("decays", None, n("Mul", "s half", "t"), rounds="many"),
    carried("rotates", None, n("MatMul", "s w", "m1"), n("Tanh", "m1", "t")),
    mapped("mapped", None, n("Tanh", "e", "o")),
]
"""As `networks.HEALTHY`."""
