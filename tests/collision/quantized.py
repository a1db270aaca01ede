"""Small models behind a quantizer, written node by node, with weights of int8."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import helper

from tests.helpers import model, value

node = helper.make_node
SCALE, ZERO = np.float32(0.02), np.uint8(10)
"""Of the static quantizer: codes 0 … 255 are −0.2 … 4.9."""


def codes(*shape: int, seed: int = 0, bound: int = 100) -> np.ndarray:
    """A weight of int8."""
    return np.random.default_rng(seed).integers(-bound, bound + 1, shape).astype(np.int8)


def grey(*shape: int, seed: int = 0) -> np.ndarray:
    """Inputs in the middle of the static quantizer's range, off its grid."""
    return np.random.default_rng(seed).uniform(1.0, 3.5, shape).astype(np.float32)


def _constants(w: np.ndarray, outputs: int) -> dict[str, Any]:
    return {
        "xs": SCALE,
        "xz": ZERO,
        "w": w,
        "ws": np.random.default_rng(9).uniform(0.001, 0.003, outputs).astype(np.float32),
        "wz": np.zeros(outputs, np.int8),
        "ys": np.float32(0.05),
        "yz": np.uint8(128),
    }


_QUANTIZE = node("QuantizeLinear", ["x", "xs", "xz"], ["q"], name="quantizer")
_PRODUCT = ["q", "xs", "xz", "w", "ws", "wz", "ys", "yz"]
_BACK = node("DequantizeLinear", ["p", "ys", "yz"], ["y"])


def mlp(w: np.ndarray, rows: int = 2) -> onnx.ModelProto:
    """QuantizeLinear → QLinearMatMul → DequantizeLinear."""
    nodes = [_QUANTIZE, node("QLinearMatMul", _PRODUCT, ["p"], name="layer"), _BACK]
    return model(nodes, _constants(w, w.shape[1]), inputs=[value("x", [rows, len(w)])])


def stem(w: np.ndarray, size: int, **attributes: Any) -> onnx.ModelProto:
    """QuantizeLinear → QLinearConv, images of `size`: a patch embedding where stride is kernel."""
    nodes = [_QUANTIZE, node("QLinearConv", _PRODUCT, ["p"], name="layer", **attributes), _BACK]
    return model(nodes, _constants(w, w.shape[0]), inputs=[value("x", [1, w.shape[1], size, size])])


def qdq(w: np.ndarray, size: int, **attributes: Any) -> onnx.ModelProto:
    """QuantizeLinear → Transpose → DequantizeLinear → Conv with a dequantized weight: floats run, on the grid. x is NHWC."""
    nodes = [
        _QUANTIZE,
        node("Transpose", ["q"], ["t"], perm=[0, 3, 1, 2]),
        node("DequantizeLinear", ["t", "xs", "xz"], ["d"]),
        node("DequantizeLinear", ["w", "ws", "wz"], ["f"], axis=0),
        node("Conv", ["d", "f"], ["c"], name="layer", **attributes),
        node("Relu", ["c"], ["y"]),
    ]
    return model(nodes, _constants(w, w.shape[0]), inputs=[value("x", [1, size, size, w.shape[1]])])


def dynamic(w: np.ndarray, rows: int = 2) -> onnx.ModelProto:
    """DynamicQuantizeLinear → MatMulInteger → Mul by both scales, then a layer of floats."""
    nodes = [
        node("DynamicQuantizeLinear", ["x"], ["q", "s", "z"], name="quantizer"),
        node("MatMulInteger", ["q", "w", "z"], ["n"], name="layer"),
        node("Cast", ["n"], ["c"], to=1),
        node("Mul", ["s", "ws"], ["both"]),
        node("Mul", ["c", "both"], ["y"]),
    ]
    constants = {"w": w, "ws": np.float32(0.01)}
    return model(nodes, constants, inputs=[value("x", [rows, len(w)])])
