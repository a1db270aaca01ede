"""Operators on codes: scales, products of integers, and shapes."""

from __future__ import annotations

from onnxnull.graph.contrib import shaped_like
from onnxnull.graph.entries import EntryKind, treats_entries
from onnxnull.graph.evaluable import evaluated
from onnxnull.operators.flatness import is_flat, keeps_entries
from onnxnull.operators.linear_use import holds_no_weight
from onnxnull.operators.parameters import has_scales
from onnxnull.operators.products import Product, computes_on_codes, gives_product

_MICROSOFT = "com.microsoft"

_OF_TWO = ((0, 1), (3, 4), (None, 6))
has_scales("DequantizeLinear", "QuantizeLinear", scales=((0, 1),))
has_scales("DequantizeLinear", "QuantizeLinear", scales=((0, 1),), domain=_MICROSOFT)
has_scales("QLinearConv", scales=((0, 1), (None, 6)))
has_scales("QLinearMatMul", scales=_OF_TWO)
has_scales("QLinearAdd", "QLinearMul", scales=_OF_TWO, domain=_MICROSOFT)

gives_product(Product(1, of_codes=True, of_patches=True), "ConvInteger", "QLinearConv")
gives_product(Product(1, of_codes=True, of_patches=True), "QLinearConv", domain=_MICROSOFT)
gives_product(Product(-1, of_codes=True), "MatMulInteger", "QLinearMatMul")
gives_product(Product(-1, of_codes=True), "MatMulInteger16", "QGemm", domain=_MICROSOFT)

computes_on_codes("ConvInteger", "DynamicQuantizeLinear", "MatMulInteger", "QLinearConv", "QLinearMatMul", "QuantizeLinear")
computes_on_codes(
    *("DynamicQuantizeLSTM", "DynamicQuantizeMatMul", "MatMulIntegerToFloat", "QAttention", "QEmbedLayerNormalization"),
    *("QGemm", "QLinearAdd", "QLinearAveragePool", "QLinearConcat", "QLinearConv", "QLinearGlobalAveragePool"),
    *("QLinearLeakyRelu", "QLinearMul", "QLinearSigmoid", "QLinearSoftmax", "QMoE", "QuantizeLinear"),
    domain=_MICROSOFT,
)

shaped_like("MatMul", "DynamicQuantizeMatMul", "MatMulIntegerToFloat", operands=(0, 1), typed=None)
shaped_like("Gemm", "QGemm", operands=(0, 3), typed=8)
shaped_like("Conv", "QLinearConv", operands=(0, 3), typed=7)
shaped_like("Add", "QLinearAdd", operands=(0, 3))
shaped_like("Mul", "QLinearMul", operands=(0, 3))
shaped_like("AveragePool", "QLinearAveragePool")
shaped_like("GlobalAveragePool", "QLinearGlobalAveragePool")
shaped_like("ReduceMean", "QLinearReduceMean")
shaped_like("Identity", "QLinearLeakyRelu", "QLinearSigmoid", "QLinearSoftmax")
shaped_like("Identity", "QuantizeLinear", typed=2)
shaped_like("Concat", "QLinearConcat", operands=slice(2, None, 3), typed=1)

# Codes and scales, entry by entry.
holds_no_weight("DequantizeLinear DynamicQuantizeLinear QuantizeLinear")
evaluated("DequantizeLinear DynamicQuantizeLinear QuantizeLinear")
treats_entries(EntryKind.CHANGES, "DequantizeLinear", "DynamicQuantizeLinear", "QuantizeLinear")
treats_entries(EntryKind.CHANGES, "DequantizeLinear", "QuantizeLinear", domain=_MICROSOFT)
holds_no_weight(
    """
    DequantizeBFP DequantizeLinear DequantizeWithOrder MulInteger QEmbedLayerNormalization QLinearAdd QLinearAveragePool
    QLinearConcat QLinearGlobalAveragePool QLinearLeakyRelu QLinearMul QLinearReduceMean QLinearSigmoid QLinearSoftmax
    QLinearWhere QOrderedGelu QOrderedLayerNormalization QuantizeBFP QuantizeLinear QuantizeWithOrder
    """,
    domain=_MICROSOFT,
)

is_flat("QuantizeLinear")
keeps_entries("DequantizeLinear")
