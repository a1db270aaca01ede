"""Attention operators whose constant queries, keys and values are not analysed."""

from __future__ import annotations

from onnxnull.operators.refusals import refuses

_MICROSOFT = "com.microsoft"
_LEARNED_QUERIES = (
    "a constant query, key or value of this kind of attention is not analysed: what it meets is no single product"
)

refuses("LinearAttention", reason=_LEARNED_QUERIES, operands=slice(3))
refuses(
    *("DecoderMaskedMultiHeadAttention", "DynamicSparseAttention", "EngramGate", "GatedDeltaNet", "GroupQueryAttention"),
    "LinearAttention",
    *("PackedMultiHeadAttention", "PagedAttention", "SparseAttention", "SparsePagedAttention"),
    reason=_LEARNED_QUERIES,
    domain=_MICROSOFT,
    operands=slice(3),
)
