"""Resampling: no stored weights."""

from __future__ import annotations

from onnxnull.graph.evaluable import EvaluationRule, evaluated
from onnxnull.operators.flatness import keeps_entries
from onnxnull.operators.linear_use import holds_no_weight
from onnxnull.operators.range_rules import shaped_by_values

# Linear, by a rule and not by stored weights.
holds_no_weight("AffineGrid Resize Upsample")

evaluated("Resize Upsample", EvaluationRule(one_by_one=True))
keeps_entries("Resize", "Upsample")
shaped_by_values("Resize", operands=(1, 2, 3))
shaped_by_values("Upsample")
