"""Reductions: no stored weights."""

from __future__ import annotations

from onnxnull.graph.evaluable import evaluated
from onnxnull.operators.flatness import is_flat, keeps_entries
from onnxnull.operators.linear_use import holds_no_weight
from onnxnull.operators.range_rules import shaped_by_values

_MICROSOFT = "com.microsoft"

# Linear by a rule, or not linear; CDist and DynamicTimeWarping see every change of the input.
_EVALUATED = """
ArgMax ArgMin CumProd CumSum ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum
ReduceSumSquare TopK
"""
holds_no_weight(_EVALUATED)
evaluated(_EVALUATED)
holds_no_weight("Det")
holds_no_weight("CDist DynamicTimeWarping ReduceSumInteger", domain=_MICROSOFT)

is_flat("ArgMax", "ArgMin", "TopK")
keeps_entries("CumSum", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceSum")
shaped_by_values(
    *("ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd"),
    *("ReduceSum", "ReduceSumSquare", "TopK"),
)
