"""Networks whose first steps are linear though their operators seldom are: guaranteed, and onnxruntime agrees."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from onnxnull.frontier import JointKernel, joint_nullity
from onnxnull.kernel.rank import Notion
from tests.frontier.judge import dense_nullity, kernel_is_invisible, moved, nullity, only_frontier
from tests.helpers import FLOAT, model, value, weight

node = helper.make_node
DOUBLE, HALF = TensorProto.DOUBLE, TensorProto.FLOAT16
ROWS = value("x", (4, 6))
IMAGE = value("x", (1, 2, 6, 6))
WIDE = node("MatMul", ["s", "wide"], ["y"])
CONV = node("Conv", ["s", "w"], ["y"])
CONSTANTS: dict[str, Any] = {
    "wide": weight(6, 4, seed=1),
    "w": weight(3, 2, 3, 3, seed=2),
    "wide64": weight(6, 4, seed=1).astype(np.float64),
    "wide16": weight(6, 4, seed=1).astype(np.float16),
    "half": np.array([0.5, 1, 2, 0.25, 1, 4]),
    "offset": np.array(3.0),
    "odd": np.arange(6) % 2 == 1,
    "row": weight(6, seed=3),
    "updates": weight(2, 6, seed=4),
    "places": np.array([[0], [3]]),
    "columns": np.array([[0, 5, 2, 3, 1, 4]]),
    "zero": np.array(0),
    "one": np.array(1),
    "lowest": np.float32(-np.inf),
    "highest": np.float32(3.4028234663852886e38),
    "six": np.float32(6),
    "f0": np.float32(0),
    "lengths": np.array([6, 2, 4, 1]),
    "scales": np.array([1, 1, 1.3, 1], np.float32),
    "axes": np.array([1]),
    "true": np.array(True),
}

Network = tuple[onnx.ValueInfoProto, list[onnx.NodeProto]]


def branch(nodes: Sequence[onnx.NodeProto], output: str) -> onnx.GraphProto:
    """A body of If."""
    return helper.make_graph(list(nodes), "body", [], [value(output, None)])


GUARANTEED: dict[str, Network] = {
    "float, double, float": (
        ROWS,
        [node("Cast", ["x"], ["d"], to=DOUBLE), node("Cast", ["d"], ["s"], to=FLOAT), WIDE],
    ),
    "normalised in double": (
        ROWS,
        [
            node("Cast", ["x"], ["d"], to=DOUBLE),
            node("Sub", ["d", "offset"], ["c"]),
            node("Mul", ["c", "half"], ["m"]),
            node("Cast", ["m"], ["s"], to=FLOAT),
            WIDE,
        ],
    ),
    "half, float, half": (
        value("x", (4, 6), HALF),
        [node("Cast", ["x"], ["f"], to=FLOAT), node("Cast", ["f"], ["s"], to=HALF), node("MatMul", ["s", "wide16"], ["y"])],
    ),
    "double, double": (
        value("x", (4, 6), DOUBLE),
        [node("Cast", ["x"], ["s"], to=DOUBLE), node("MatMul", ["s", "wide64"], ["y"])],
    ),
    "a mask": (ROWS, [node("Where", ["odd", "x", "row"], ["s"]), WIDE]),
    "two paths, interleaved": (ROWS, [node("Neg", ["x"], ["n"]), node("Where", ["odd", "x", "n"], ["s"]), WIDE]),
    "running sums": (ROWS, [node("CumSum", ["x", "one"], ["s"], exclusive=1), WIDE]),
    "running sums of rows, backwards": (ROWS, [node("CumSum", ["x", "zero"], ["s"], reverse=1), WIDE]),
    "a triangle": (ROWS, [node("Trilu", ["x"], ["s"], upper=0), WIDE]),
    "rows written over": (ROWS, [node("ScatterND", ["x", "places", "updates"], ["s"]), WIDE]),
    "rows added to": (ROWS, [node("ScatterND", ["x", "places", "updates"], ["s"], reduction="add"), WIDE]),
    "entries written over": (ROWS, [node("ScatterElements", ["x", "columns", "row2d"], ["s"], axis=1), WIDE]),
    "the mean with a constant": (ROWS, [node("Mean", ["x", "row", "x"], ["s"]), WIDE]),
    "the mean of one": (ROWS, [node("Mean", ["x"], ["s"]), WIDE]),
    "no bounds": (ROWS, [node("Clip", ["x"], ["s"]), WIDE]),
    "bounds of the type": (ROWS, [node("Clip", ["x", "lowest", "highest"], ["s"]), WIDE]),
    "a transposing Einsum": (value("x", (6, 4)), [node("Einsum", ["x"], ["s"], equation="ij->ji"), WIDE]),
    "a summing Einsum": (value("x", (3, 4, 6)), [node("Einsum", ["x"], ["s"], equation="kij->ij"), WIDE]),
    "a scaling Einsum": (ROWS, [node("Einsum", ["x", "row"], ["s"], equation="ij,j->ij"), WIDE]),
    "reversed rows": (ROWS, [node("ReverseSequence", ["x", "lengths"], ["s"], batch_axis=0, time_axis=1), WIDE]),
    "a mean that keeps its axis": (value("x", (4, 3, 6)), [node("ReduceMean", ["x"], ["s"], axes=[1], keepdims=0), WIDE]),
    "a Resize that copies": (IMAGE, [node("Resize", ["x", "", "scales"], ["s"], mode="linear"), CONV]),
    "Identity in both branches": (
        ROWS,
        [
            node("MatMul", ["x", "wide"], ["p"]),
            node("ReduceMax", ["p"], ["m"], keepdims=0),
            node("Greater", ["m", "f0"], ["c"]),
            node(
                "If",
                ["c"],
                ["y"],
                then_branch=branch([node("Identity", ["x"], ["t"]), node("MatMul", ["t", "wide"], ["u"])], "u"),
                else_branch=branch([node("Neg", ["x"], ["e"]), node("MatMul", ["e", "wide"], ["v"])], "v"),
            ),
        ],
    ),
}
NOT_GUARANTEED: dict[str, Network] = {
    "float, half, float": (ROWS, [node("Cast", ["x"], ["h"], to=HALF), node("Cast", ["h"], ["s"], to=FLOAT), WIDE]),
    "double, float": (value("x", (4, 6), DOUBLE), [node("Cast", ["x"], ["s"], to=FLOAT), WIDE]),
    "double, float, double": (
        value("x", (4, 6), DOUBLE),
        [node("Cast", ["x"], ["f"], to=FLOAT), node("Cast", ["f"], ["s"], to=DOUBLE), node("MatMul", ["s", "wide64"], ["y"])],
    ),
    "float, bfloat16, float": (
        ROWS,
        [node("Cast", ["x"], ["h"], to=TensorProto.BFLOAT16), node("Cast", ["h"], ["s"], to=FLOAT), WIDE],
    ),
    "half, bfloat16, float": (
        value("x", (4, 6), HALF),
        [node("Cast", ["x"], ["h"], to=TensorProto.BFLOAT16), node("Cast", ["h"], ["s"], to=FLOAT), WIDE],
    ),
    "like a half": (ROWS, [node("CastLike", ["x", "wide16"], ["h"]), node("Cast", ["h"], ["s"], to=FLOAT), WIDE]),
    "a bound from above": (ROWS, [node("Clip", ["x", "", "six"], ["s"]), WIDE]),
    "a bound from below": (ROWS, [node("Clip", ["x", "f0"], ["s"]), WIDE]),
    "a mask of what enters": (
        ROWS,
        [node("Greater", ["x", "f0"], ["c"]), node("Where", ["c", "x", "row"], ["s"]), WIDE],
    ),
    "the largest of two": (ROWS, [node("ScatterND", ["x", "places", "updates"], ["s"], reduction="max"), WIDE]),
    "a square in Einsum": (value("x", (6, 6)), [node("Einsum", ["x", "x"], ["s"], equation="ij,jk->ik"), WIDE]),
    "what If hands on": (
        ROWS,
        [
            node("MatMul", ["x", "wide"], ["p"]),
            node("ReduceMax", ["p"], ["m"], keepdims=0),
            node("Greater", ["m", "f0"], ["c"]),
            node(
                "If",
                ["c"],
                ["s"],
                then_branch=branch([node("Identity", ["x"], ["t"])], "t"),
                else_branch=branch([node("Neg", ["x"], ["e"])], "e"),
            ),
            WIDE,
        ],
    ),
}


def built(network: Network) -> onnx.ModelProto:
    described, nodes = network
    constants = CONSTANTS | {"row2d": weight(1, 6, seed=5)}
    read = {name for n in nodes for name in n.input} | {
        name for n in nodes for a in n.attribute for m in a.g.node for name in m.input
    }
    kind = DOUBLE if "wide64" in read else HALF if "wide16" in read and described.type.tensor_type.elem_type == HALF else FLOAT
    outputs = [value("y", None, kind)]
    return model(
        nodes,
        {n: constants[n] for n in constants if n in read},
        inputs=[described],
        outputs=outputs,
        opset=18 if any(a.name == "reduction" and a.s == b"max" for n in nodes for a in n.attribute) else 17,
    )


@pytest.mark.parametrize("name", GUARANTEED)
def test_guaranteed(name: str, tmp_path: Path) -> None:
    described, _ = GUARANTEED[name]
    proto = built(GUARANTEED[name])
    found = only_frontier(proto, tmp_path)
    assert found.guaranteed, found.obstacle
    assert nullity(found) == (dense_nullity(found),) * 2
    tensor = described.type.tensor_type
    x = np.random.default_rng(1).standard_normal([d.dim_value for d in tensor.shape.dim])
    kinds: dict[int, Any] = {FLOAT: np.float32, DOUBLE: np.float64, HALF: np.float16}
    kernel_is_invisible(
        proto, found, {"x": x.astype(kinds[tensor.elem_type])}, tolerance=1e-2 if tensor.elem_type == HALF else 2e-5
    )


@pytest.mark.parametrize("name", NOT_GUARANTEED)
def test_not_guaranteed(name: str, tmp_path: Path) -> None:
    assert not only_frontier(built(NOT_GUARANTEED[name]), tmp_path).guaranteed


def test_a_condition_that_picks_rows(tmp_path: Path) -> None:
    """Compress: linear; its shape follows from the condition, whatever the file says."""
    nodes = [node("Compress", ["x", "rows"], ["s"], axis=0), WIDE]
    constants = {"rows": np.array([True, False, True]), "wide": CONSTANTS["wide"]}
    plain = model(nodes, constants, inputs=[ROWS])
    plain.graph.value_info.append(value("s", (3, 6)))
    found = only_frontier(plain, tmp_path)
    assert found.guaranteed
    assert nullity(found) == (16, 16)
    kernel_is_invisible(plain, found, {"x": weight(4, 6, seed=9)})


@pytest.mark.parametrize("step", ["cubic", "averages", "a mean"])
def test_rounded_products_are_not_taken_for_independent(step: str, tmp_path: Path) -> None:
    """Over ℚ a path that mixes entries loses the rank that it loses in float64: entries of the product are rounded."""
    first = {
        "cubic": node("Resize", ["x", "", "", "sizes"], ["s"], mode="cubic"),
        "averages": node("AveragePool", ["x"], ["s"], kernel_shape=[3, 3], pads=[2, 2, 2, 2]),
        "a mean": node("ReduceMean", ["x"], ["s"], axes=[2, 3], keepdims=1),
    }[step]
    last = node("Conv", ["s", "w1"], ["y"])
    constants: dict[str, Any] = {"w1": weight(3, 2, 1, 1, seed=2)} | (
        {"sizes": np.array([1, 2, 9, 9])} if step == "cubic" else {}
    )
    found = only_frontier(model([first, last], constants, inputs=[IMAGE], opset=13), tmp_path)
    exact = joint_nullity(found, Notion.EXACT)
    assert (exact.lower, exact.upper) == (dense_nullity(found),) * 2
    assert not exact.proved


def test_a_path_of_small_scale_beside_another_counts_in_full(tmp_path: Path) -> None:
    """What is multiplied by 1e-20 in front of a layer, and by 1e20 behind it, is not below the other layer's cut-off."""
    nodes = [
        node("MatMul", ["x", "a"], ["p"]),
        node("Mul", ["x", "small"], ["m"]),
        node("MatMul", ["m", "b"], ["n"]),
        node("Mul", ["n", "large"], ["q"]),
        node("Concat", ["p", "q"], ["y"], axis=1),
    ]
    constants = {"a": weight(6, 2), "b": weight(6, 3, seed=1), "small": np.float32(1e-20), "large": np.float32(1e20)}
    proto = model(nodes, constants, inputs=[ROWS])
    found = only_frontier(proto, tmp_path)
    assert nullity(found) == (4, 4)
    x, wish = np.random.default_rng(0).standard_normal((2, 4, 6))
    change = JointKernel(found).project(wish)
    assert np.linalg.norm(change) > 0.1
    assert moved(proto, {"x": x.astype(np.float32)}, "x", change) < 2e-5
