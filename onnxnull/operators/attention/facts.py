"""Attention: biases."""

from __future__ import annotations

from onnxnull.operators.linear_use import holds_no_weight
from onnxnull.operators.parameters import holds_parameters

_MICROSOFT = "com.microsoft"

holds_parameters("Attention", inputs=(2,), domain=_MICROSOFT)
holds_parameters("MultiHeadAttention", inputs=(3,), domain=_MICROSOFT)

# Rotations by a rule; masks and positions.
holds_no_weight("RotaryEmbedding")
holds_no_weight(
    """
    GemmaRotaryEmbedding LinearAttentionGate MRotaryEmbedding PackedSparseAttentionIndexer RelativePositionBias
    RotaryEmbedding SparseAttentionIndexer
    """,
    domain=_MICROSOFT,
)
