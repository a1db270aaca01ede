"""Operators whose weights are quantized in layouts that are not analysed."""

from __future__ import annotations

from onnxnull.operators.refusals import refuses

_MICROSOFT = "com.microsoft"

refuses(
    *("MatMulBlockQuantizedFp4Weight", "MatMulFpQ4", "QMoE", "QOrderedMatMul"),
    reason="weights quantized in a layout of one kind of GPU are not analysed yet",
    domain=_MICROSOFT,
)
refuses(
    *("QOrderedAttention", "QOrderedLongformerAttention"),
    reason="quantized weights fused into an attention operator are not analysed yet",
    domain=_MICROSOFT,
)
