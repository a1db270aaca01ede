"""Attention: biases."""

from __future__ import annotations

from onnxnull.operators.parameters import holds_parameters

_MICROSOFT = "com.microsoft"

holds_parameters("Attention", inputs=(2,), domain=_MICROSOFT)
holds_parameters("MultiHeadAttention", inputs=(3,), domain=_MICROSOFT)
