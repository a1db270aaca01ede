"""Shapes are what onnxruntime gives, whatever the file declares of bodies, branches and values in between."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

from onnxnull.graph.flow import Flow
from onnxnull.operators import LinearUse
from tests.helpers import BOOL, INT64, model, opened, run, uses, value, weight

node = helper.make_node
X = value("x", [2, 4])
ROUNDS = {"m": np.array(2), "yes": np.array(True)}
W = weight(4, 4)


def loop(*nodes: onnx.NodeProto, declared: Any = None, collected: tuple[str, ...] = (), states: str = "s") -> onnx.GraphProto:
    """Hands on s → s2 (and t → t2); the body and its states are declared as told."""
    inputs = [value("i", [], INT64), value("go", [], BOOL), *(value(each, declared) for each in states.split())]
    outputs = [value("on", [], BOOL), *(value(f"{each}2", declared) for each in states.split())]
    made = [node("Identity", ["go"], ["on"]), *nodes]
    return helper.make_graph(made, "body", inputs, [*outputs, *(value(name, None) for name in collected)])


def looped(*nodes: onnx.NodeProto, declared: Any = None, states: str = "s") -> onnx.ModelProto:
    """A Loop of two rounds, every state of which begins with x; y is the first at last."""
    results = ["y", *states.split()[1:]]
    made = node("Loop", ["m", "yes", *(["x"] * len(results))], results, body=loop(*nodes, declared=declared, states=states))
    return model([made], {**ROUNDS, "w": W, "axes": np.array([0])}, inputs=[X])


WIDER = node("Concat", ["s", "s"], ["s2"], axis=1)
KEPT = node("MatMul", ["s", "w"], ["s2"])
BRANCHES = {
    name: helper.make_graph([node("MatMul", ["x", matrix], ["b"])], name, [], [value("b", None)])
    for name, matrix in (("then_branch", "w"), ("else_branch", "wide"))
}
CHOICE = model([node("If", ["c"], ["y"], **BRANCHES)], {"w": W, "wide": weight(4, 5)}, inputs=[X, value("c", [], BOOL)])


def lying(proto: onnx.ModelProto, name: str, shape: list[int], kind: int = onnx.TensorProto.FLOAT) -> onnx.ModelProto:
    """The model with a declaration of a value."""
    proto.graph.value_info.append(value(name, shape, kind))
    return proto


@pytest.mark.parametrize(
    ("proto", "shape"),
    [
        (looped(KEPT), (2, 4)),
        (looped(node("Tanh", ["s"], ["s2"]), declared=[2, 5]), (2, 4)),
        (looped(WIDER), (2, None)),
        (looped(WIDER, declared=[2, 4]), (2, None)),
        (looped(node("Unsqueeze", ["s", "axes"], ["s2"]), declared=[2, 4]), None),
        # the second state is the first one of the round before: a third walk opens what it hands on
        (looped(WIDER, node("Identity", ["s"], ["t2"]), states="s t"), (2, None)),
        (looped(node("Identity", ["t"], ["s2"]), node("Concat", ["t", "t"], ["t2"], axis=1), states="s t"), (2, None)),
        (CHOICE, (2, None)),
    ],
    ids=["kept", "kept-and-declared", "wider", "wider-and-declared", "gains-an-axis", "beside", "passed-on", "branches"],
)
def test_shapes_of_states_and_branches(proto: onnx.ModelProto, shape: tuple[int | None, ...] | None, tmp_path: Path) -> None:
    flow = Flow(opened(proto, tmp_path))
    assert flow.operand(flow.model.graph.outputs[0]).shape == shape
    if shape is None:
        return
    for condition in (True, False):
        feeds = {"x": weight(2, 4), "c": np.array(condition)}
        given = run(proto, {each.name: feeds[each.name] for each in proto.graph.input})[0].shape
        assert all(mine in (None, theirs) for mine, theirs in zip(shape, given, strict=True))


GROWN = [node("Shape", ["s"], ["sh"]), node("Gather", ["sh", "one"], ["k"]), node("Sub", ["k", "four"], ["by"])]
PICKED = [node("Clip", ["by", "nought", "one"], ["index"]), node("Gather", ["bank", "index"], ["g"])]
BANK = {"bank": weight(2, 4, 4), "one": np.array(1), "four": np.array(4), "nought": np.array(0)}


def matrices(proto: onnx.ModelProto, folder: Path) -> list[str]:
    """Which of the bank are weights."""
    return [use.index for _, use in uses(proto, folder) if isinstance(use, LinearUse)]


def test_a_weight_that_the_shape_of_a_state_picks_is_no_constant(tmp_path: Path) -> None:
    """Declared (2, 4) in every round, it is (2, 8) in the second, which takes the other matrix of the bank."""
    body = loop(WIDER, *GROWN, *PICKED, node("MatMul", ["x", "g"], ["p"]), declared=[2, 4], collected=("p",))
    made = node("Loop", ["m", "yes", "x"], ["h", "y"], body=body)
    assert matrices(model([made], {**ROUNDS, **BANK}, inputs=[X]), tmp_path) == ["[0]", "[1]"]


def test_a_weight_that_a_declared_shape_picks_is_no_constant(tmp_path: Path) -> None:
    """(2, 8) where x has no zero, whatever the file declares."""
    made = [node("NonZero", ["x"], ["s"]), *GROWN, *PICKED, node("MatMul", ["x", "g"], ["y"])]
    proto = lying(model(made, BANK, inputs=[X]), "s", [2, 4], INT64)
    assert matrices(proto, tmp_path) == ["[0]", "[1]"]
    run(proto, {"x": np.ones((2, 4), np.float32)})
