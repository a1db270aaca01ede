"""The guarantee: which models may not have it, which must, and what onnxruntime says to those that do."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from tests.frontier.judge import dense_nullity, frontiers, kernel_is_invisible, nullity, only_frontier
from tests.helpers import BOOL, FLOAT, INT64, model, value, weight

node = helper.make_node
IMAGE = value("x", (1, 3, 8, 8))
ROWS = value("x", (4, 6))
STEM = node("Conv", ["x", "w"], ["s"], name="stem")
CONSTANTS: dict[str, Any] = {
    "w": weight(4, 3, 3, 3),
    "w1": weight(5, 3, 1, 1, seed=1),
    "wide": weight(6, 3, seed=2),
    "bias": weight(3, seed=3),
    "two": np.float32(2),
    "zero": np.float32(0),
    "shape": np.array([1, 3, 8, 8]),
    "scale": np.float32(0.1),
    "point": np.uint8(3),
    "half": np.float32(0.5),
    "true": np.array(True),
    "false": np.array(False),
    "rows": np.array([0, 2]),
    "starts": np.array([0]),
    "ends": np.array([4]),
    "axes": np.array([3]),
    "all_axes": np.array([1, 2, 3]),
    "channel": np.ones(3, np.float32),
    "more": np.array([1, 1, 2, 2], np.float32),
    "roi": np.array([], np.float32),
    "trip": np.array(2),
}


def body(nodes: Sequence[onnx.NodeProto], output: str, inputs: Sequence[onnx.ValueInfoProto] = ()) -> onnx.GraphProto:
    """A body of If, with one float output of unknown shape."""
    return helper.make_graph(list(nodes), "body", list(inputs), [value(output, None)])


def loop(nodes: Sequence[onnx.NodeProto], carried: str) -> onnx.GraphProto:
    """A body of Loop: (iteration, condition, state) → (condition, `carried`)."""
    inputs = [value("i", (), INT64), value("go", (), BOOL), value("state", None)]
    keep = node("Identity", ["go"], ["going"])
    return helper.make_graph([keep, *nodes], "body", inputs, [value("going", (), BOOL), value(carried, None)])


NOT_GUARANTEED: dict[str, tuple[onnx.ValueInfoProto, list[onnx.NodeProto]]] = {
    "a second use through Relu": (IMAGE, [STEM, node("Relu", ["x"], ["r"]), node("ReduceMax", ["r"], ["y"])]),
    "MatMul(x, x)": (value("x", (4, 4)), [node("MatMul", ["x", "x"], ["y"])]),
    "MatMul(x·W, x)": (value("x", (6, 6)), [node("MatMul", ["x", "wide"], ["a"]), node("MatMul", ["x", "a"], ["y"])]),
    "a Mul of two paths": (
        ROWS,
        [node("MatMul", ["x", "wide"], ["a"]), node("Neg", ["x"], ["n"]), node("Mul", ["x", "n"], ["y"])],
    ),
    "a gate on the input": (
        IMAGE,
        [STEM, node("ReduceMax", ["s"], ["m"], keepdims=0), node("Mul", ["x", "m"], ["g"]), node("Conv", ["g", "w"], ["y"])],
    ),
    "Div by the input": (
        ROWS,
        [node("MatMul", ["x", "wide"], ["a"]), node("Div", ["two", "x"], ["d"]), node("Add", ["d", "d"], ["y"])],
    ),
    "Gemm's C": (value("x", (6, 3)), [node("MatMul", ["wide", "x"], ["a"]), node("Gemm", ["a", "bias33", "x"], ["y"])]),
    "Conv's bias": (
        IMAGE,
        [node("ReduceMean", ["x"], ["m"], axes=[0, 2, 3], keepdims=0), node("Conv", ["x", "w33", "m"], ["y"])],
    ),
    "an image of the input as output": (IMAGE, [STEM, node("Transpose", ["x"], ["y"], perm=[0, 2, 3, 1])]),
    "the mean of the input as output": (IMAGE, [STEM, node("GlobalAveragePool", ["x"], ["y"])]),
    "the input plus what is behind": (ROWS, [node("MatMul", ["x", "square"], ["a"]), node("Add", ["x", "a"], ["y"])]),
    "a condition": (
        ROWS,
        [node("MatMul", ["x", "square"], ["a"]), node("Greater", ["x", "zero"], ["c"]), node("Where", ["c", "a", "a"], ["y"])],
    ),
    "a branch of Where": (
        ROWS,
        [node("MatMul", ["x", "square"], ["a"]), node("Greater", ["a", "zero"], ["c"]), node("Where", ["c", "x", "a"], ["y"])],
    ),
    "Resize with antialias": (
        IMAGE,
        [node("Resize", ["x", "", "more"], ["u"], mode="linear", antialias=1), node("Conv", ["u", "w"], ["y"])],
    ),
    "Cast to float16": (IMAGE, [node("Cast", ["x"], ["h"], to=TensorProto.FLOAT16), node("Conv", ["h", "w16"], ["y"])]),
    "Cast to integers": (
        ROWS,
        [node("Cast", ["x"], ["n"], to=INT64), node("Cast", ["n"], ["f"], to=FLOAT), node("MatMul", ["f", "wide"], ["y"])],
    ),
    "Dropout in training": (IMAGE, [node("Dropout", ["x", "half", "true"], ["d"]), node("Conv", ["d", "w"], ["y"])]),
    "BatchNormalization in training": (
        IMAGE,
        [
            node("BatchNormalization", ["x", *["channel"] * 4], ["b", "m", "v"], training_mode=1),
            node("Conv", ["b", "w"], ["y"]),
        ],
    ),
    "BatchNormalization, scale from the input": (
        IMAGE,
        [
            node("ReduceMean", ["x"], ["m"], axes=[0, 2, 3], keepdims=0),
            node("BatchNormalization", ["x", "m", "channel", "channel", "channel"], ["b"]),
            node("Conv", ["b", "w"], ["y"]),
        ],
    ),
    "BatchNormalization, mean from the input": (
        IMAGE,
        [
            node("ReduceMean", ["x"], ["m"], axes=[0, 2, 3], keepdims=0),
            node("BatchNormalization", ["x", "channel", "channel", "m", "channel"], ["b"]),
            node("Conv", ["b", "w"], ["y"]),
        ],
    ),
    "Reshape to sizes from the input": (
        ROWS,
        [
            node("ReduceSum", ["x"], ["t"], keepdims=0),
            node("Cast", ["t"], ["n"], to=INT64),
            node("Mul", ["n", "int0"], ["z"]),
            node("Unsqueeze", ["z", "starts"], ["z1"]),
            node("Concat", ["z1", "six"], ["to"], axis=0),
            node("Reshape", ["x", "to"], ["r"]),
            node("MatMul", ["r", "wide"], ["y"]),
        ],
    ),
    "Expand to sizes from the input": (
        ROWS,
        [
            node("ReduceMax", ["x"], ["t"], keepdims=1),
            node("Cast", ["t"], ["n"], to=INT64),
            node("Reshape", ["n", "ends1"], ["n1"]),
            node("Abs", ["n1"], ["n2"]),
            node("Expand", ["two", "n2"], ["y"]),
        ],
    ),
    "Gather by the input": (
        ROWS,
        [
            node("MatMul", ["x", "wide"], ["a"]),
            node("Cast", ["x"], ["n"], to=INT64),
            node("Clip", ["n", "int0", "int1"], ["c"]),
            node("Gather", ["bias", "c"], ["y"]),
        ],
    ),
    "Scatter into the input, times it": (
        ROWS,
        [node("ScatterND", ["x", "place", "rowof6"], ["a"], reduction="mul"), node("MatMul", ["a", "wide"], ["y"])],
    ),
    "Slice up to an end from the input": (
        ROWS,
        [
            node("ReduceMax", ["x"], ["t"], keepdims=0),
            node("Cast", ["t"], ["n"], to=INT64),
            node("Unsqueeze", ["n", "starts"], ["e"]),
            node("Slice", ["x", "starts", "e"], ["p"]),
            node("MatMul", ["p", "wide"], ["y"]),
        ],
    ),
    "Pad with a value from the input": (
        IMAGE,
        [
            node("ReduceMax", ["x"], ["t"], keepdims=0),
            node("Pad", ["x", "pads", "t"], ["p"]),
            node("Conv", ["p", "w"], ["y"]),
        ],
    ),
    "an LSTM's initial state": (
        value("x", (1, 2, 5)),
        [node("LSTM", ["sequence", "lw", "lr", "", "", "x"], ["y"], hidden_size=5)],
    ),
    "an LSTM's sequence and initial state": (
        value("x", (3, 2, 6)),
        [
            node("Slice", ["x", "starts", "int1v", "starts"], ["first"]),
            node("Slice", ["first", "starts", "ends5", "int2v"], ["h"]),
            node("LSTM", ["x", "lw6", "lr", "", "", "h"], ["y"], hidden_size=5),
        ],
    ),
    "QuantizeLinear, and codes that are scaled": (
        IMAGE,
        [
            node("QuantizeLinear", ["x", "scale", "point"], ["q"]),
            node("DequantizeLinear", ["q", "scale", "point"], ["d"]),
            node("Neg", ["d"], ["m"]),
            node("Conv", ["m", "w"], ["y"]),
        ],
    ),
    "a body that captures the input": (
        IMAGE,
        [
            STEM,
            node("ReduceMax", ["s"], ["m"], keepdims=0),
            node("Greater", ["m", "zero"], ["c"]),
            node(
                "If",
                ["c"],
                ["y"],
                then_branch=body([node("Sigmoid", ["x"], ["t"])], "t"),
                else_branch=body([node("Identity", ["w"], ["e"])], "e"),
            ),
        ],
    ),
    "a body that hands the input out": (
        IMAGE,
        [
            STEM,
            node("ReduceMax", ["s"], ["m"], keepdims=0),
            node("Greater", ["m", "zero"], ["c"]),
            node(
                "If",
                ["c"],
                ["b"],
                then_branch=body([node("Neg", ["x"], ["t"])], "t"),
                else_branch=body([node("Identity", ["shape4"], ["e"])], "e"),
            ),
            node("Conv", ["b", "w"], ["y"]),
        ],
    ),
    "a loop over the input": (
        IMAGE,
        [
            node("Loop", ["trip", "true", "x"], ["l"], body=loop([node("Mul", ["state", "state"], ["o"])], "o")),
            node("Conv", ["l", "w"], ["y"]),
        ],
    ),
    "a loop that captures the input": (
        ROWS,
        [
            node("MatMul", ["x", "square"], ["a"]),
            node("Loop", ["trip", "true", "a"], ["y"], body=loop([node("Mul", ["state", "x"], ["o"])], "o")),
        ],
    ),
    "a loop that adds the input": (
        ROWS,
        [
            node("MatMul", ["x", "square"], ["a"]),
            node("Loop", ["trip", "true", "a"], ["y"], body=loop([node("Add", ["state", "x"], ["o"])], "o")),
        ],
    ),
    "a scan over the input": (
        ROWS,
        [
            node(
                "Scan",
                ["x"],
                ["y"],
                num_scan_inputs=1,
                body=helper.make_graph([node("Exp", ["row"], ["o"])], "body", [value("row", (6,))], [value("o", (6,))]),
            )
        ],
    ),
    "an unknown operator": (ROWS, [node("MatMul", ["x", "wide"], ["a"]), node("Shape", ["x"], ["y"], domain="custom")]),
    "a sequence": (
        ROWS,
        [
            node("SequenceConstruct", ["x"], ["q"]),
            node("ConcatFromSequence", ["q"], ["c"], axis=0),
            node("MatMul", ["c", "wide"], ["y"]),
        ],
    ),
    "a Mul by Inf": (ROWS, [node("Mul", ["x", "inf"], ["i"]), node("MatMul", ["i", "wide"], ["y"])]),
    "a Div by 0": (ROWS, [node("Div", ["x", "zero"], ["i"]), node("MatMul", ["i", "wide"], ["y"])]),
    "Conv with filters from the input": (
        IMAGE,
        [STEM, node("Slice", ["x", "starts", "ends", "axes"], ["k"]), node("Conv", ["x", "k"], ["y"])],
    ),
}
MORE: dict[str, Any] = {
    "bias33": weight(3, 3, seed=4),
    "w33": weight(3, 3, 3, 3, seed=5),
    "square": weight(6, 6, seed=6),
    "w16": weight(4, 3, 3, 3).astype(np.float16),
    "int0": np.array(0),
    "int1": np.array(1),
    "int1v": np.array([1]),
    "int2v": np.array([2]),
    "six": np.array([6]),
    "ends1": np.array([1]),
    "ends5": np.array([5]),
    "place": np.array([[1]]),
    "rowof6": weight(1, 6, seed=7),
    "pads": np.array([0, 0, 1, 1, 0, 0, 1, 1]),
    "sequence": weight(3, 2, 7, seed=8),
    "lw": weight(1, 20, 7, seed=9),
    "lw6": weight(1, 20, 6, seed=9),
    "lr": weight(1, 20, 5, seed=10),
    "shape4": weight(1, 3, 8, 8, seed=11),
    "inf": np.array([1, np.inf, 1, 1, 1, 1], np.float32),
}


def built(described: onnx.ValueInfoProto, nodes: list[onnx.NodeProto], **options: Any) -> onnx.ModelProto:
    """The model with the constants that its nodes, and the bodies in them, read."""
    constants = CONSTANTS | MORE
    read = {name for n in nodes for name in _reads(n)}
    used = {name: constants[name] for name in constants if name in read}
    return model(nodes, used, inputs=[described], imports={"custom": 1}, **options)


def _reads(n: onnx.NodeProto) -> list[str]:
    inner = [name for a in n.attribute for m in a.g.node for name in _reads(m)]
    return [*n.input, *inner]


@pytest.mark.parametrize("case", NOT_GUARANTEED)
def test_no_guarantee(case: str, tmp_path: Path) -> None:
    described, nodes = NOT_GUARANTEED[case]
    found = only_frontier(built(described, nodes), tmp_path)
    assert not found.guaranteed, found.layers
    assert found.obstacle


def test_integer_inputs_have_no_continuous_kernel(tmp_path: Path) -> None:
    nodes = [node("Cast", ["x"], ["f"], to=FLOAT), node("MatMul", ["f", "wide"], ["y"])]
    found = only_frontier(built(value("x", (4, 6), INT64), nodes), tmp_path)
    assert not found.guaranteed
    assert "no continuous kernel" in (found.obstacle or "")


@pytest.mark.parametrize(("version", "outputs"), [(6, ["b"]), (9, ["b", "m", "v", "sm", "sv"])])
def test_batch_normalization_that_trains_in_old_opsets(version: int, outputs: list[str], tmp_path: Path) -> None:
    nodes = [node("BatchNormalization", ["x", *["channel"] * 4], outputs), node("Conv", ["b", "w"], ["y"])]
    assert not only_frontier(built(IMAGE, nodes, opset=version), tmp_path).guaranteed


def test_statistics_per_entry_are_no_step(tmp_path: Path) -> None:
    nodes = [node("BatchNormalization", ["x", *["shape4"] * 4], ["b"], spatial=0), node("Conv", ["b", "w"], ["y"])]
    assert not only_frontier(built(IMAGE, nodes, opset=7), tmp_path).guaranteed


GUARANTEED: dict[str, tuple[onnx.ValueInfoProto, list[onnx.NodeProto], tuple[int, int]]] = {
    # name → (input, nodes, joint nullity told by hand)
    "Resize, nearest, in front of a layer that reads one of four": (
        IMAGE,
        [node("Resize", ["x", "", "more"], ["u"], mode="nearest"), node("Conv", ["u", "w1"], ["y"], strides=[4, 4])],
        (192 - 48, 192 - 48),
    ),
    "nothing reads it": (IMAGE, [node("Shape", ["x"], ["y"])], (192, 192)),
    "sizes only, beside a weight": (
        ROWS,
        [
            node("MatMul", ["x", "wide"], ["a"]),
            node("Shape", ["x"], ["s"]),
            node("Cast", ["s"], ["f"], to=FLOAT),
            node("ReduceSum", ["f"], ["t"], keepdims=0),
            node("Mul", ["a", "t"], ["y"]),
        ],
        (12, 12),
    ),
    "a matrix on rows": (ROWS, [node("MatMul", ["x", "wide"], ["y"])], (12, 12)),
    "a stem without padding": (IMAGE, [STEM, node("Relu", ["s"], ["y"])], (192 - 144, 192 - 144)),
    "a residual over the stem": (
        ROWS,
        [
            node("MatMul", ["x", "square"], ["a"]),
            node("Relu", ["a"], ["r"]),
            node("Add", ["x", "r"], ["b"]),
            node("MatMul", ["b", "wide"], ["y"]),
        ],
        (0, 0),
    ),
    "a zero factor": (
        ROWS,
        [node("Mul", ["x", "mask"], ["m"]), node("MatMul", ["m", "square"], ["y"])],
        (4, 4),
    ),
    "the input minus itself": (ROWS, [node("Sub", ["x", "x"], ["z"]), node("MatMul", ["z", "square"], ["y"])], (24, 24)),
    "unread pixels": (IMAGE, [node("Conv", ["x", "w1"], ["s"], strides=[2, 2]), node("Relu", ["s"], ["y"])], (144, 144)),
    "the mean of the image": (
        IMAGE,
        [node("GlobalAveragePool", ["x"], ["m"]), node("Flatten", ["m"], ["f"]), node("Gemm", ["f", "bias33"], ["y"])],
        (189, 189),
    ),
    "Slice in one branch, the rest in another": (
        ROWS,
        [
            node("Slice", ["x", "starts", "ends3", "int1v"], ["l"]),
            node("Slice", ["x", "ends3", "ends6", "int1v"], ["r"]),
            node("MatMul", ["l", "bias33"], ["a"]),
            node("MatMul", ["r", "bias33"], ["b"]),
            node("Mul", ["a", "b"], ["y"]),
        ],
        (0, 0),
    ),
    "weights in both bodies": (
        IMAGE,
        [
            STEM,
            node("ReduceMax", ["s"], ["m"], keepdims=0),
            node("Greater", ["m", "zero"], ["c"]),
            node(
                "If",
                ["c"],
                ["y"],
                then_branch=body([node("Conv", ["x", "w"], ["t"])], "t"),
                else_branch=body([node("Neg", ["x"], ["e0"]), node("Conv", ["e0", "w"], ["e"])], "e"),
            ),
        ],
        (48, 48),
    ),
    "an LSTM's sequence": (value("x", (3, 2, 6)), [node("LSTM", ["x", "lw6", "lr"], ["y"], hidden_size=5)], (0, 0)),
    "a small weight beside a large one": (
        ROWS,
        [node("MatMul", ["x", "huge"], ["a"]), node("MatMul", ["x", "tiny"], ["b"]), node("Concat", ["a", "b"], ["y"], axis=1)],
        (0, 0),
    ),
}
MORE |= {
    "mask": np.array([1, 1, 0, 1, 1, 1], np.float32),
    "ends3": np.array([3]),
    "ends6": np.array([6]),
    "huge": 1e12 * weight(6, 3, seed=12),
    "tiny": 1e-12 * weight(6, 3, seed=13),
}


@pytest.mark.parametrize("case", GUARANTEED)
def test_guarantee(case: str, tmp_path: Path) -> None:
    described, nodes, expected = GUARANTEED[case]
    proto = built(described, nodes)
    found = only_frontier(proto, tmp_path)
    assert found.guaranteed, found.obstacle
    assert nullity(found) == expected
    if case != "a small weight beside a large one":  # its dense matrix spans 24 orders of magnitude
        assert dense_nullity(found) == nullity(found)[0]
    x = np.random.default_rng(1).standard_normal([d.dim_value for d in described.type.tensor_type.shape.dim])
    if found.layers and case != "the input minus itself" and nullity(found) != (0, 0):
        kernel_is_invisible(proto, found, {"x": x.astype(np.float32)})


def test_small_filters_beside_large_ones_of_the_same_geometry(tmp_path: Path) -> None:
    """They are merged into one convolution: the small ones must not drown below the large ones' cut-off."""
    huge, tiny = (factor * weight(6, 3, 1, 1, seed=seed)[:, :] for seed, factor in ((1, 1e12), (2, 1e-12)))
    nodes = [node("Conv", ["x", "a"], ["p"]), node("Conv", ["x", "b"], ["q"]), node("Concat", ["p", "q"], ["y"], axis=1)]
    proto = model(nodes, {"a": huge[:1], "b": tiny[:2]}, inputs=[value("x", (1, 3, 5, 5))])
    assert nullity(only_frontier(proto, tmp_path)) == (0, 0)
    proto = model(nodes, {"a": huge[:1], "b": tiny[:1]}, inputs=[value("x", (1, 3, 40, 40))])
    assert nullity(only_frontier(proto, tmp_path)) == (1600, 1600)


def test_two_inputs_that_share_a_layer(tmp_path: Path) -> None:
    nodes = [node("Add", ["x", "z"], ["s"]), node("MatMul", ["s", "wide"], ["a"]), node("Relu", ["a"], ["y"])]
    proto = model(nodes, {"wide": CONSTANTS["wide"]}, inputs=[ROWS, value("z", (4, 6))])
    both = frontiers(proto, tmp_path)
    rng = np.random.default_rng(0)
    feeds: dict[str, Any] = {name: rng.standard_normal((4, 6)).astype(np.float32) for name in ("x", "z")}
    for found in both.values():
        assert found.guaranteed
        assert nullity(found) == (12, 12)
        kernel_is_invisible(proto, found, feeds)


def test_one_input_scales_the_other(tmp_path: Path) -> None:
    nodes = [node("Mul", ["x", "z"], ["s"]), node("MatMul", ["s", "wide"], ["y"])]
    proto = model(nodes, {"wide": CONSTANTS["wide"]}, inputs=[ROWS, value("z", (4, 6))])
    assert not any(found.guaranteed for found in frontiers(proto, tmp_path).values())


def test_functions_are_looked_into(tmp_path: Path) -> None:
    imports = [helper.make_opsetid("", 17)]
    safe = helper.make_function("local", "F", ["a", "b"], ["c"], [node("MatMul", ["a", "b"], ["c"])], imports)
    unsafe = helper.make_function(
        "local",
        "F",
        ["a", "b"],
        ["c"],
        [node("MatMul", ["a", "b"], ["d"]), node("ReduceMax", ["a"], ["m"]), node("Add", ["d", "m"], ["c"])],
        imports,
    )
    for function, guaranteed in ((safe, True), (unsafe, False)):
        call = [node("F", ["x", "wide"], ["y"], domain="local")]
        proto = model(call, {"wide": CONSTANTS["wide"]}, inputs=[ROWS], imports={"local": 1}, functions=[function])
        assert only_frontier(proto, tmp_path).guaranteed is guaranteed
