"""Activations: slopes, biases and shapes."""

from __future__ import annotations

from onnxnull.graph.contrib import shaped_like
from onnxnull.operators.parameters import holds_parameters

_MICROSOFT = "com.microsoft"

holds_parameters("PRelu", inputs=(1,))
holds_parameters("BiasGelu", "FastGelu", inputs=(1,), domain=_MICROSOFT)
shaped_like("Identity", "BiasGelu", "FastGelu", "Gelu", "QuickGelu")
