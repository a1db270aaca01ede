"""Numbers in weights that arithmetic does not like, and quantized operators that do not fit together."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx

from onnxnull.errors import Code
from tests.hostile.case import harmless, listed
from tests.hostile.cases.common import W, model, node, value


def with_entry(entry: float) -> onnx.ModelProto:
    weight = W.copy()
    weight[2, 1] = entry
    return model([node("MatMul", ["x", "W"], ["y"])], {"W": weight})


@listed(Code.NONFINITE)
def nan(folder: Path) -> onnx.ModelProto:
    """A NaN in a weight."""
    return with_entry(float("nan"))


@listed(Code.NONFINITE)
def infinity(folder: Path) -> onnx.ModelProto:
    """An Inf in a weight."""
    return with_entry(float("-inf"))


@harmless
def denormals(folder: Path) -> onnx.ModelProto:
    """Nothing but denormal numbers, float32 and float64."""
    weights = {"W": np.full((4, 3), 1e-45, np.float32), "V": np.full((3, 2), 5e-324)}
    cast = node("Cast", ["h"], ["d"], to=onnx.TensorProto.DOUBLE)
    return model([node("MatMul", ["x", "W"], ["h"]), cast, node("MatMul", ["d", "V"], ["y"])], weights)


@harmless
def largest_and_smallest(folder: Path) -> onnx.ModelProto:
    """float64 entries from the smallest denormal to the largest number, whose squares overflow and vanish."""
    weight = np.array([[1.7e308, 5e-324], [-1.7e308, 1.0], [1e-300, 1e300]])
    return model([node("MatMul", ["x", "W"], ["y"])], {"W": weight}, inputs=[value("x", [1, 3], onnx.TensorProto.DOUBLE)])


@harmless
def integers_beyond_doubles(folder: Path) -> onnx.ModelProto:
    """int64 entries that no double holds."""
    weight = np.array([[1 << 62, (1 << 62) - 1], [-(1 << 63), (1 << 63) - 1]])
    inputs = [value("x", [1, 2], onnx.TensorProto.INT64)]
    return model([node("MatMul", ["x", "W"], ["y"])], {"W": weight}, inputs=inputs)


@harmless
def alpha_that_overflows(folder: Path) -> onnx.ModelProto:
    """A Gemm whose alpha takes the weight beyond float32."""
    return model([node("Gemm", ["x", "W"], ["y"], alpha=3e38)], {"W": W * np.float32(1e30)})


@listed(Code.CONSTANT)
def quantized_scales_that_do_not_fit(folder: Path) -> onnx.ModelProto:
    """A DequantizeLinear of three columns with 2²⁰ scales."""
    constants = {"q": np.ones((4, 3), np.int8), "s": np.ones(1 << 20, np.float32)}
    return model([node("DequantizeLinear", ["q", "s"], ["w"], axis=1), node("MatMul", ["x", "w"], ["y"])], constants)


@listed(Code.CONSTANT)
def quantized_along_no_axis(folder: Path) -> onnx.ModelProto:
    """A DequantizeLinear along axis 2⁴⁰."""
    constants = {"q": np.ones((4, 3), np.int8), "s": np.ones(3, np.float32)}
    return model([node("DequantizeLinear", ["q", "s"], ["w"], axis=1 << 40), node("MatMul", ["x", "w"], ["y"])], constants)
