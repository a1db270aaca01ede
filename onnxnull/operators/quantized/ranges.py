"""Ranges of quantizers and of products of integers (all opsets). NaN and Inf may become any code."""

from __future__ import annotations

import numpy as np

from onnxnull.graph.node import Node
from onnxnull.intervals import arithmetic
from onnxnull.intervals.domain import Range, anything, bounds, collapsed, made, number
from onnxnull.operators.range_rules import Operands, finite_of_finite, given, gives, output_type

_MICROSOFT = "com.microsoft"


@gives("QuantizeLinear")
@gives("QuantizeLinear", domain=_MICROSOFT)
def quantized(node: Node, of: Operands) -> Range:
    """round(x / scale) + zero point, within the type."""
    zero, dtype = of(2), output_type(node)
    if dtype is None or not dtype.is_integer():
        return anything(dtype)
    steps = of.loosened(arithmetic.divided(collapsed(given(of, 0)), collapsed(given(of, 1))), relative=1e-5, absolute=0.0)
    codes = arithmetic.added(arithmetic.monotone(steps, np.round), number(0.0) if zero is None else collapsed(zero))
    least, most = bounds(dtype)
    wild = codes.nan | codes.infinite | codes.empty
    lo, hi = np.clip(codes.lo, least, most), np.clip(codes.hi, least, most)
    return made(np.where(wild, least, lo), np.where(wild, most, hi), fixed=codes.fixed, sized=codes.sized)


@gives("DequantizeLinear")
@gives("DequantizeLinear", domain=_MICROSOFT)
def dequantized(node: Node, of: Operands) -> Range:
    """(code − zero point) · scale."""
    codes, scale, zero = collapsed(given(of, 0)), collapsed(given(of, 1)), of(2)
    steps = arithmetic.subtracted(codes, number(0.0) if zero is None else collapsed(zero))
    return arithmetic.multiplied(steps, scale)


@gives("DynamicQuantizeLinear")
def dynamically(node: Node, of: Operands) -> list[Range]:
    """Codes, their scale (0 of a tensor of zeros) and their zero point."""
    a = given(of, 0)
    scale = made(0.0, np.inf) if a.tame else anything(output_type(node, 1))
    return [anything(output_type(node)), scale, anything(output_type(node, 2))]


finite_of_finite("QLinearConv", "QLinearMatMul", "ConvInteger", "MatMulInteger")
finite_of_finite(
    "DynamicQuantizeLSTM",
    "DynamicQuantizeMatMul",
    "MatMulBnb4",
    "MatMulFpQ4",
    "MatMulInteger16",
    "MatMulIntegerToFloat",
    "MatMulNBits",
    "QAttention",
    "QGemm",
    "QLinearAdd",
    "QLinearAveragePool",
    "QLinearConcat",
    "QLinearGlobalAveragePool",
    "QLinearLeakyRelu",
    "QLinearMul",
    "QLinearSigmoid",
    "QLinearSoftmax",
    "QLinearWhere",
    "QMoE",
    domain=_MICROSOFT,
)
