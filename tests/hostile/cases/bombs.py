"""Chains of ops over constants that grow: a few bytes in the file, terabytes or hours in whoever evaluates them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper

from onnxnull.errors import Code
from tests.hostile.case import harmless, listed
from tests.hostile.cases.common import BOOL, FLOAT, INT, INT64, W, X, body, chain, model, node, repeated, value

HUGE = np.array([1 << 20, 1 << 20])
BIG = np.array([1 << 15, 1 << 14])
"""2²⁹ entries, 2 GiB: most limits on a single tensor let them pass."""


@listed(Code.CONSTANT)
def constant_of_shape(folder: Path) -> onnx.ModelProto:
    """ConstantOfShape of 2⁴⁰ entries."""
    return chain([node("ConstantOfShape", ["s"], ["w"])], {"s": HUGE})


@listed(Code.CONSTANT)
def constant_of_shape_below_the_limit(folder: Path) -> onnx.ModelProto:
    """ConstantOfShape of 2 GiB."""
    return chain([node("ConstantOfShape", ["s"], ["w"])], {"s": BIG})


@listed(Code.CONSTANT)
def many_middling_constants(folder: Path) -> onnx.ModelProto:
    """A thousand weights of 4 MiB each, none of them stored."""
    nodes = []
    for i in range(1000):
        nodes += [node("ConstantOfShape", ["s"], [f"w{i}"]), node("MatMul", ["x", f"w{i}"], [f"y{i}"])]
    return model(nodes, {"s": np.array([1024, 1024])}, inputs=[value("x", [1, 1024])])


@listed(Code.CONSTANT)
def expand(folder: Path) -> onnx.ModelProto:
    """Expand of one entry to 2⁴⁰."""
    return chain([node("Expand", ["a", "s"], ["w"])], {"a": W[:1, :1], "s": HUGE})


@listed(Code.CONSTANT)
def tile(folder: Path) -> onnx.ModelProto:
    """Tile of 12 entries, 2⁴⁰ times."""
    return chain([node("Tile", ["a", "s"], ["w"])], {"a": W, "s": HUGE})


@listed(Code.CONSTANT)
def range_of_a_trillion(folder: Path) -> onnx.ModelProto:
    """Range from 0 to 2⁴⁰."""
    nodes = [node("Range", ["a", "b", "c"], ["r"]), node("Reshape", ["r", "s"], ["w"])]
    return chain(nodes, {"a": INT(0), "b": INT(1 << 40), "c": INT(1), "s": HUGE})


@listed(Code.CONSTANT)
def range_whose_length_overflows(folder: Path) -> onnx.ModelProto:
    """Range from −2⁶³ to 2⁶³ − 1 in steps of 2³⁴: inference sees no entries, 2³⁰ come."""
    nodes = [node("Range", ["a", "b", "c"], ["r"]), node("Reshape", ["r", "s"], ["w"])]
    constants = {"a": INT(-(2**63)), "b": INT(2**63 - 1), "c": INT(1 << 34), "s": np.array([1 << 15, 1 << 15])}
    return chain(nodes, constants)


@listed(Code.CONSTANT)
def range_of_declared_length(folder: Path) -> onnx.ModelProto:
    """Range in a type whose length inference does not know; the file declares three entries, 2⁴⁰ come."""
    halves = {"a": np.float16(0), "b": np.float16(65504), "c": np.float16(6e-8), "s": np.array([3, 1])}
    nodes = [node("Range", ["a", "b", "c"], ["r"]), node("Reshape", ["r", "s"], ["w"])]
    made = chain(nodes, halves)
    made.graph.value_info.append(value("r", [3], onnx.TensorProto.FLOAT16))
    return made


@listed(Code.CONSTANT)
def pad(folder: Path) -> onnx.ModelProto:
    """Pad by 2²⁰ on two sides."""
    return chain([node("Pad", ["a", "p"], ["w"])], {"a": W, "p": np.array([0, 0, 1 << 20, 1 << 20])})


@listed(Code.CONSTANT)
def resize(folder: Path) -> onnx.ModelProto:
    """Resize by 2¹⁸ along two axes."""
    nodes = [node("Resize", ["a", "", "z"], ["b"]), node("Squeeze", ["b"], ["w"])]
    return chain(nodes, {"a": W.reshape(1, 1, 4, 3), "z": np.array([1, 1, 1 << 18, 1 << 18], np.float32)})


@listed(Code.CONSTANT)
def slow_resize(folder: Path) -> onnx.ModelProto:
    """Resize to 2²⁰ entries, which the evaluator makes one by one."""
    nodes = [node("Resize", ["a", "", "z"], ["b"], mode="cubic"), node("Squeeze", ["b"], ["w"])]
    return chain(nodes, {"a": W.reshape(1, 1, 4, 3), "z": np.array([1, 1, 256, 341], np.float32)})


@listed(Code.CONSTANT)
def upsample(folder: Path) -> onnx.ModelProto:
    """Upsample by 10³⁰ along two axes."""
    nodes = [node("Upsample", ["a", "z"], ["b"]), node("Squeeze", ["b"], ["w"])]
    return chain(nodes, {"a": W.reshape(1, 1, 4, 3), "z": np.array([1, 1, 1e30, 1e30], np.float32)}, opset=9)


@listed(Code.CONSTANT)
def doubling(folder: Path) -> onnx.ModelProto:
    """Concat of a value with itself, forty times."""
    return chain(repeated("Concat", 40, ["{}", "{}"], axis=1), {"a": W})


@listed(Code.CONSTANT)
def one_hot(folder: Path) -> onnx.ModelProto:
    """OneHot of depth 2⁴⁰."""
    constants = {"i": np.arange(4), "d": INT(1 << 40), "v": np.array([0, 1], np.float32)}
    return chain([node("OneHot", ["i", "d", "v"], ["w"])], constants)


@listed(Code.CONSTANT)
def gather_with_many_indices(folder: Path) -> onnx.ModelProto:
    """Gather at 4096 places, of what Gather gave at 4096 places, four times."""
    return chain(repeated("Gather", 4, ["{}", "i"]), {"a": W, "i": np.zeros((64, 64), INT)})


@listed(Code.CONSTANT)
def slow_gather(folder: Path) -> onnx.ModelProto:
    """GatherND at two million places, which the evaluator visits one by one."""
    nodes = [node("Expand", ["i", "s"], ["j"]), node("GatherND", ["a", "j"], ["b"]), node("Reshape", ["b", "t"], ["w"])]
    constants = {"a": W, "i": np.array([[0, 0]]), "s": np.array([1 << 21, 2]), "t": np.array([2048, 1024])}
    return chain(nodes, constants)


@listed(Code.CONSTANT)
def outer_product(folder: Path) -> onnx.ModelProto:
    """MatMul of a column with a row: 2³² entries of 2¹⁷ stored ones."""
    column = np.ones((1 << 16, 1), np.float32)
    return chain([node("MatMul", ["a", "b"], ["w"])], {"a": column, "b": column.T.copy()})


@listed(Code.CONSTANT)
def outer_product_by_broadcast(folder: Path) -> onnx.ModelProto:
    """Mul of a column with a row, and Mul of that with the next."""
    nodes = [node("Mul", ["a", "b"], ["c"]), node("Mul", ["c", "d"], ["e"]), node("Reshape", ["e", "s"], ["w"])]
    axis = {name: np.ones(shape, np.float32) for name, shape in (("a", (4096, 1, 1)), ("b", (4096, 1)), ("d", (4096,)))}
    return chain(nodes, {**axis, "s": np.array([4096, -1])})


@listed(Code.CONSTANT)
def einsum(folder: Path) -> onnx.ModelProto:
    """Einsum of ten labels: 60¹⁰ products for 3600 entries."""
    return chain([node("Einsum", ["a"] * 5, ["w"], equation="ab,cd,ef,gh,ij->ab")], {"a": np.ones((60, 60), np.float32)})


@listed(Code.CONSTANT)
def powers_of_a_matrix(folder: Path) -> onnx.ModelProto:
    """Five hundred products of 1024 × 1024 matrices."""
    return chain(repeated("MatMul", 500, ["{}", "{}"]), {"a": np.ones((1024, 1024), np.float32)})


@listed(Code.CONSTANT)
def convolution_of_constants(folder: Path) -> onnx.ModelProto:
    """A Conv of a constant image of 1024 × 1024 pixels with 32 constant filters."""
    nodes = [node("Conv", ["a", "f"], ["b"]), node("Squeeze", ["b", "z"], ["w"])]
    constants = {"a": np.ones((1, 1, 1024, 1024), np.float32), "f": np.ones((32, 1, 9, 9), np.float32), "z": np.array([0])}
    return chain(nodes, constants)


@listed(Code.CONSTANT)
def pooling_of_constants(folder: Path) -> onnx.ModelProto:
    """A MaxPool of a constant image with a window of 2³⁰ entries, all but nine of them padding."""
    attributes: dict[str, Any] = {"kernel_shape": [1 << 15, 1 << 15], "pads": [1 << 15] * 4, "strides": [1 << 14] * 2}
    nodes = [node("MaxPool", ["a"], ["b"], **attributes), node("Squeeze", ["b"], ["w"])]
    return chain(nodes, {"a": np.ones((1, 1, 3, 3), np.float32)})


@listed(Code.CONSTANT)
def determinant(folder: Path) -> onnx.ModelProto:
    """Determinants of 3000 × 3000 matrices."""
    nodes = [node("ConstantOfShape", ["s"], ["a"]), node("Det", ["a"], ["d"]), node("Mul", ["v", "d"], ["w"])]
    return chain(nodes, {"s": np.array([3000, 3000]), "v": W})


@listed(Code.CONSTANT)
def loops_in_an_attribute(folder: Path) -> onnx.ModelProto:
    """A TfIdfVectorizer that skips up to 2³¹ words."""
    attributes: dict[str, Any] = {
        "max_gram_length": 2,
        "max_skip_count": (1 << 31) - 1,
        "min_gram_length": 1,
        "mode": "TF",
        "ngram_counts": [0, 3],
        "ngram_indexes": [0, 1, 2, 3],
        "pool_int64s": [1, 2, 3, 4, 5],
    }
    nodes = [node("TfIdfVectorizer", ["i"], ["t"], **attributes), node("Mul", ["v", "t"], ["w"])]
    return chain(nodes, {"i": np.arange(12).reshape(3, 4), "v": np.ones((3, 4), np.float32)})


@listed(Code.CONSTANT)
def window_of_a_trillion(folder: Path) -> onnx.ModelProto:
    """A HannWindow of 2⁴⁰ entries."""
    nodes = [node("HannWindow", ["n"], ["h"]), node("Reshape", ["h", "s"], ["w"])]
    return chain(nodes, {"n": INT(1 << 40), "s": HUGE})


@listed(Code.CONSTANT)
def running_sums(folder: Path) -> onnx.ModelProto:
    """A thousand CumSums of a matrix of 4 MiB."""
    return chain(repeated("CumSum", 1000, ["{}", "k"]), {"a": np.ones((1024, 1024), np.float32), "k": INT(0)})


@listed(Code.CONSTANT)
def weights_along_a_chain(folder: Path) -> onnx.ModelProto:
    """Every link of a chain of a thousand is a weight: each would be evaluated from the first link on."""
    nodes = repeated("Neg", 1000)
    made = [node("MatMul", ["x", each.output[0]], [f"y{i}"]) for i, each in enumerate(nodes)]
    return model([*nodes, *made], {"a": np.ones((100, 100), np.float32)}, inputs=[value("x", [1, 100])])


@listed(Code.CONSTANT)
def loop_over_constants(folder: Path) -> onnx.ModelProto:
    """A Loop of 2⁶² rounds that makes a weight."""
    inputs = [value("i", [], INT64), value("go", [], BOOL), value("v", [4, 3])]
    step = [node("Add", ["v", "v"], ["u"]), node("Identity", ["go"], ["on"])]
    inner = helper.make_graph(step, "body", inputs, [value("on", [], BOOL), value("u", [4, 3])])
    constants = {"n": INT(1 << 62), "t": np.array(True), "a": W}
    return model([node("Loop", ["n", "t", "a"], ["w"], body=inner), node("MatMul", ["x", "w"], ["y"])], constants, inputs=[X])


@listed(Code.CONSTANT)
def scan_over_constants(folder: Path) -> onnx.ModelProto:
    """A Scan over 2⁴⁰ entries that makes a weight."""
    step = helper.make_graph([node("Neg", ["v"], ["u"])], "body", [value("v", [1])], [value("u", [1])])
    nodes = [
        node("ConstantOfShape", ["s"], ["a"]),
        node("Scan", ["a"], ["w"], body=step, num_scan_inputs=1),
        node("MatMul", ["x", "w"], ["y"]),
    ]
    return model(nodes, {"s": np.array([1 << 40, 1])}, inputs=[value("x", None)])


@listed(Code.CONSTANT)
def sequence_of_constants(folder: Path) -> onnx.ModelProto:
    """A sequence of one tensor a thousand times, put together again."""
    nodes = [
        node("SequenceConstruct", ["a"] * 1000, ["q"]),
        node("ConcatFromSequence", ["q"], ["w"], axis=0),
        node("MatMul", ["x", "w"], ["y"]),
    ]
    return model(nodes, {"a": np.ones((1024, 1024), np.float32)}, inputs=[value("x", None)])


@listed(Code.CONSTANT)
def constants_in_a_branch(folder: Path) -> onnx.ModelProto:
    """Expand to 2⁴⁰ entries in the branch of an If."""
    branch = body([node("Expand", ["a", "s"], ["w"]), node("MatMul", ["x", "w"], ["b"])], "b")
    inputs = [value("x", None), value("c", [], BOOL)]
    nodes = [node("If", ["c"], ["y"], then_branch=branch, else_branch=branch)]
    return model(nodes, {"a": W[:1, :1], "s": HUGE}, inputs=inputs)


@listed(Code.CONSTANT)
def image_in_a_constant(folder: Path) -> onnx.ModelProto:
    """An ImageDecoder of a constant: a picture from a stranger."""
    nodes = [
        node("ImageDecoder", ["i"], ["p"], pixel_format="RGB"),
        node("Cast", ["p"], ["w"], to=FLOAT),
        node("MatMul", ["x", "w"], ["y"]),
    ]
    return model(nodes, {"i": np.zeros(60, np.uint8)}, inputs=[value("x", None)], opset=20)


@harmless
def diamonds(folder: Path) -> onnx.ModelProto:
    """Sixty Adds of a value to itself: 2⁶⁰ paths, and sixty sums."""
    return chain(repeated("Add", 60, ["{}", "{}"]), {"a": np.ones((100, 100), np.float32)})
