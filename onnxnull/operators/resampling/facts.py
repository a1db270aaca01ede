"""Resampling: no stored weights."""

from __future__ import annotations

from onnxnull.operators.linear_use import holds_no_weight

# Linear, by a rule and not by stored weights.
holds_no_weight("AffineGrid Resize Upsample")
