"""Poolings: no stored weights."""

from __future__ import annotations

from onnxnull.operators.linear_use import holds_no_weight

_MICROSOFT = "com.microsoft"

# Linear by a rule, or not linear.
holds_no_weight("AveragePool GlobalAveragePool GlobalLpPool GlobalMaxPool LpPool MaxPool MaxUnpool")
holds_no_weight("MaxpoolWithMask NhwcMaxPool", domain=_MICROSOFT)
