"""Inputs of absurd sizes: a convolution's kernel on whole images depends on them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx

from tests.hostile.case import harmless
from tests.hostile.cases.common import INT, X, model, node, value


def conv(*shape: int, filters: tuple[int, ...] = (8, 3, 3, 3), **attributes: Any) -> onnx.ModelProto:
    weight = np.random.default_rng(0).standard_normal(filters).astype(np.float32)
    return model([node("Conv", ["x", "W"], ["y"], **attributes)], {"W": weight}, inputs=[value("x", shape)])


@harmless
def image_of_a_terapixel(folder: Path) -> onnx.ModelProto:
    """A Conv on an image of 2²⁰ × 2²⁰ pixels."""
    return conv(1, 3, 1 << 20, 1 << 20, strides=[2, 2])


@harmless
def image_that_overflows(folder: Path) -> onnx.ModelProto:
    """A Conv on an image of 2⁶² × 2⁶² pixels."""
    return conv(1, 3, 1 << 62, 1 << 62)


@harmless
def image_of_ten_gigapixels(folder: Path) -> onnx.ModelProto:
    """A Conv on an image of 10⁵ × 10⁵ pixels."""
    return conv(1, 3, 100_000, 100_000)


@harmless
def video_of_everything(folder: Path) -> onnx.ModelProto:
    """A Conv on an image of six axes of 4096."""
    return conv(1, 3, *[4096] * 6, filters=(2, 3, *[2] * 6))


@harmless
def padding_of_a_gigapixel(folder: Path) -> onnx.ModelProto:
    """A Conv on an image of 8 × 8 pixels, padded by 30,000 on every side."""
    return conv(1, 3, 8, 8, pads=[30_000] * 4)


@harmless
def dilation_of_a_million(folder: Path) -> onnx.ModelProto:
    """A Conv on an image of 8 × 8 pixels with dilations and pads of a million."""
    return conv(1, 3, 8, 8, pads=[1 << 20] * 4, dilations=[1 << 20] * 2)


@harmless
def stride_of_a_trillion(folder: Path) -> onnx.ModelProto:
    """A ConvTranspose of 3 × 3 pixels with strides of 2⁴⁰."""
    weight = np.ones((3, 2, 3, 3), np.float32)
    inputs = [value("x", [1, 3, 3, 3])]
    return model([node("ConvTranspose", ["x", "W"], ["y"], strides=[1 << 40] * 2)], {"W": weight}, inputs=inputs)


@harmless
def output_of_a_declared_size(folder: Path) -> onnx.ModelProto:
    """A ConvTranspose that says its output has 10⁵ × 10⁵ pixels."""
    weight = np.ones((3, 2, 3, 3), np.float32)
    inputs = [value("x", [1, 3, 3, 3])]
    nodes = [node("ConvTranspose", ["x", "W"], ["y"], output_shape=[100_000, 100_000])]
    return model(nodes, {"W": weight}, inputs=inputs)


@harmless
def batch_of_a_trillion(folder: Path) -> onnx.ModelProto:
    """A Conv on 2⁴⁰ images at a time."""
    return conv(1 << 40, 3, 8, 8)


@harmless
def eight_large_views(folder: Path) -> onnx.ModelProto:
    """Eight views of an input of 2²⁴ entries, all of them read by the weight."""
    nodes = [node("Transpose", ["x"], [f"v{i}"], perm=[1, 0] if i % 2 else [0, 1]) for i in range(8)]
    nodes += [node("MatMul", [f"v{i}", "W"], [f"y{i}"]) for i in range(8)]
    return model(nodes, {"W": np.ones((4096, 2), np.float32)}, inputs=[value("x", [4096, 4096])])


@harmless
def expanded_input(folder: Path) -> onnx.ModelProto:
    """An input of one entry, expanded to 2⁴⁰ in front of the weight."""
    nodes = [node("Expand", ["x", "s"], ["e"]), node("MatMul", ["e", "W"], ["y"])]
    constants = {"s": np.array([1 << 38, 4]), "W": np.ones((4, 3), np.float32)}
    return model(nodes, constants, inputs=[value("x", [1, 1])])


@harmless
def resized_input(folder: Path) -> onnx.ModelProto:
    """An input of 2²⁰ entries in a row, resized to twice as many: a dense matrix of that has 2⁴¹ entries."""
    nodes = [node("Resize", ["x", "", "z"], ["e"], mode="linear"), node("Conv", ["e", "W"], ["y"])]
    constants = {"z": np.array([1, 1, 2], np.float32), "W": np.ones((2, 1, 3), np.float32)}
    return model(nodes, constants, inputs=[value("x", [1, 1, 1 << 20])])


@harmless
def pooled_input(folder: Path) -> onnx.ModelProto:
    """An AveragePool of windows of 2³⁰ × 2³⁰, most of them padding, in front of the weight."""
    pool: dict[str, Any] = {"kernel_shape": [1 << 30] * 2, "pads": [1 << 29] * 4, "strides": [1, 1], "count_include_pad": 1}
    nodes = [node("AveragePool", ["x"], ["p"], **pool), node("Conv", ["p", "W"], ["y"])]
    return model(nodes, {"W": np.ones((2, 1, 1, 1), np.float32)}, inputs=[value("x", [1, 1, 8, 8])])


@harmless
def slow_step(folder: Path) -> onnx.ModelProto:
    """A GatherND of two million places in the input, which the evaluator visits one by one."""
    nodes = [node("GatherND", ["x", "j"], ["e"]), node("MatMul", ["e", "W"], ["y"])]
    places = np.zeros((1 << 19, 4, 2), INT)
    return model(nodes, {"j": places, "W": np.ones((4, 3), np.float32)}, inputs=[X])


@harmless
def many_slow_steps(folder: Path) -> onnx.ModelProto:
    """Two hundred Slices of an input of four million entries."""
    constants = {"b": np.array([0]), "e": np.array([1 << 22]), "W": np.ones((1 << 22, 1), np.float32)}
    nodes = [node("Slice", ["x" if i == 0 else f"v{i}", "b", "e"], [f"v{i + 1}"]) for i in range(200)]
    return model([*nodes, node("MatMul", ["v200", "W"], ["y"])], constants, inputs=[value("x", [1 << 22])])
