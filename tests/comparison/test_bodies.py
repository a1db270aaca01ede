"""Bodies of If, Loop and Scan are read like the rest of a graph: what they compute of what their nodes hand over."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from onnxnull import Running
from onnxnull.comparison.verdicts import Outcome
from tests.comparison.small_networks import Net, V, W, compared, moved, node
from tests.helpers import value

SHAPE = [1, 6, 8]
RELUS = [node("Relu", "x", "r1"), node("Relu", "x", "r2")]


def looped(inner: Sequence[onnx.NodeProto], outer: Sequence[onnx.NodeProto] = (), *, w: np.ndarray = W) -> Net:
    """Three rounds of a body that makes s2 of s."""
    ins = [value("i", [], TensorProto.INT64), value("c", [], TensorProto.BOOL), value("s", SHAPE)]
    outs = [value("c2", [], TensorProto.BOOL), value("s2", SHAPE)]
    body = helper.make_graph([node("Identity", "c", "c2"), *inner], "body", ins, outs)
    constants = {"n": np.array(3), "w": w, "v": V, "half": np.float32(0.5), "two": np.float32(2)}
    return [*outer, node("Loop", "n - x", "y", body=body)], constants


def chosen(then: Sequence[onnx.NodeProto], other: Sequence[onnx.NodeProto], outer: Sequence[onnx.NodeProto] = ()) -> Net:
    """One of two bodies, by the sign of the largest entry."""
    bodies = [helper.make_graph(nodes, name, [], [value(name, SHAPE)]) for nodes, name in ((then, "t"), (other, "e"))]
    choice = [node("ReduceMax", "x", "top", keepdims=0), node("Greater", "top zero", "is")]
    return [*outer, *choice, node("If", "is", "y", then_branch=bodies[0], else_branch=bodies[1])], {
        "zero": np.float32(0),
        "w": W,
    }


def scanned(*inner: onnx.NodeProto) -> Net:
    """A running sum along the rows."""
    body = helper.make_graph(list(inner), "body", [value("s", [8]), value("row", [8])], [value("s2", [8]), value("out", [8])])
    nodes = [node("Squeeze", "x zero", "rows"), node("Scan", "start rows", "last y", body=body, num_scan_inputs=1)]
    return nodes, {"zero": np.array([0]), "start": np.zeros(8, np.float32), "half": np.float32(0.5), "two": np.float32(2)}


SAME: dict[str, tuple[Net, Net, Outcome]] = {
    "common subexpressions in Loop": (
        looped([node("Tanh", "s", "t1"), node("Tanh", "s", "t2"), node("Add", "t1 t2", "s2")]),
        looped([node("Tanh", "s", "t"), node("Add", "t t", "s2")]),
        Outcome.IDENTICAL,
    ),
    "common subexpressions that Loop reads": (
        looped([node("Add", "s r1", "t"), node("Mul", "t r2", "s2")], RELUS),
        looped([node("Add", "s r1", "t"), node("Mul", "r1 t", "s2")], RELUS[:1]),
        Outcome.IDENTICAL,
    ),
    "rewrites in Loop": (
        looped([node("MatMul", "s w", "m"), node("Div", "m two", "h"), node("Mul", "h h", "p"), node("Tanh", "p", "s2")]),
        looped(
            [
                node("MatMul", "s w", "m"),
                node("Mul", "m half", "h"),
                node("Identity", "h", "g"),
                node("Pow", "g two", "p"),
                node("Tanh", "p", "s2"),
            ]
        ),
        Outcome.SAME_GRAPH,
    ),
    "rewrites in Scan": (
        scanned(node("Add", "s row", "s2"), node("Div", "s2 two", "out")),
        scanned(node("Add", "row s", "s2"), node("Mul", "s2 half", "out")),
        Outcome.SAME_GRAPH,
    ),
    "common subexpressions in If": (
        chosen(
            [node("Relu", "x", "a"), node("Relu", "x", "b"), node("Add", "a b", "t")],
            [node("MatMul", "x w", "p"), node("MatMul", "x w", "q"), node("Mul", "p q", "e")],
        ),
        chosen([node("Add", "a a", "t")], [node("MatMul", "x w", "p"), node("Mul", "p p", "e")], [node("Relu", "x", "a")]),
        Outcome.IDENTICAL,
    ),
    "a constant If": (
        (
            [
                node(
                    "If",
                    "is",
                    "y",
                    then_branch=helper.make_graph([node("Relu", "x", "t")], "t", [], [value("t", SHAPE)]),
                    else_branch=helper.make_graph([node("Tanh", "x", "e")], "e", [], [value("e", SHAPE)]),
                )
            ],
            {"is": np.array(True)},
        ),
        ([node("Relu", "x", "y")], {}),
        Outcome.SAME_GRAPH,
    ),
}
OTHER: dict[str, tuple[Net, Net]] = {
    "another weight in Loop": (
        looped([node("MatMul", "s w", "s2")]),
        looped([node("MatMul", "s w", "s2")], w=moved(W, 3, 0.1)),
    ),
    "another weight is read": (looped([node("MatMul", "s w", "s2")]), looped([node("MatMul", "s v", "s2")])),
    "what is read of the outside, and what is handed over": (
        looped([node("Tanh", "s", "t"), node("Add", "t x", "s2")]),
        looped([node("Tanh", "x", "t"), node("Add", "t s", "s2")]),
    ),
    "a draw in every round, and one in front": (
        looped([node("RandomNormalLike", "s", "r"), node("Add", "s r", "s2")]),
        looped([node("Add", "s r", "s2")], [node("RandomNormalLike", "x", "r")]),
    ),
    "bodies exchanged": (
        chosen([node("Relu", "x", "t")], [node("Tanh", "x", "e")]),
        chosen([node("Tanh", "x", "t")], [node("Relu", "x", "e")]),
    ),
}


@pytest.mark.parametrize("name", SAME)
def test_bodies_that_are_the_same(name: str, tmp_path: Path) -> None:
    first, second, outcome = SAME[name]
    for a, b in ((first, second), (second, first)):
        found = compared(a, b, tmp_path, running=Running())
        assert found.outcome is outcome, found.because


@pytest.mark.parametrize("name", OTHER)
def test_bodies_that_are_not(name: str, tmp_path: Path) -> None:
    for running in (None, Running()):
        assert not compared(*OTHER[name], tmp_path, running=running).outcome.within(Outcome.AGREES)


def test_a_difference_in_a_body_is_named(tmp_path: Path) -> None:
    found = compared(*OTHER["another weight in Loop"], tmp_path)
    (difference,) = found.graph.differences
    assert difference.a == "w at MatMul 'Loop_0.body/MatMul_1'"
