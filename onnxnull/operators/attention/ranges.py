"""Ranges of attention operators, and of rotary embeddings."""

from __future__ import annotations

from onnxnull.operators.range_rules import finite_of_finite

finite_of_finite("RotaryEmbedding")
finite_of_finite(
    *("Attention", "DecoderMaskedMultiHeadAttention", "GroupQueryAttention", "MultiHeadAttention", "RotaryEmbedding"),
    domain="com.microsoft",
)
