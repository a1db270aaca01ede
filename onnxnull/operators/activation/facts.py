"""Activations: slopes, biases and shapes."""

from __future__ import annotations

from onnxnull.graph.contrib import shaped_like
from onnxnull.graph.entries import EntryKind, treats_entries
from onnxnull.graph.evaluable import evaluated
from onnxnull.graph.node import Node
from onnxnull.operators.flatness import is_flat, keeps_entries
from onnxnull.operators.linear_use import holds_no_weight
from onnxnull.operators.parameters import holds_parameters
from onnxnull.operators.range_rules import Operands, given, tells_zeros_apart
from onnxnull.operators.traits import errs_relative_to_one

_MICROSOFT = "com.microsoft"

holds_parameters("PRelu", factors=(1,))
holds_parameters("BiasGelu", "FastGelu", inputs=(1,), domain=_MICROSOFT)
shaped_like("Identity", "BiasGelu", "FastGelu", "Gelu", "QuickGelu")

# Slopes and biases act on each entry on its own.
_FUNCTIONS = """
Abs Acos Acosh Asin Asinh Atan Atanh Ceil Celu Cos Cosh Elu Erf Exp Floor Gelu HardSigmoid HardSwish LeakyRelu Log Mish PRelu
Reciprocal Relu Round Selu Shrink Sigmoid Sign Sin Sinh Softplus Softsign Sqrt Swish Tan Tanh ThresholdedRelu
"""
holds_no_weight(_FUNCTIONS)
evaluated(_FUNCTIONS)
treats_entries(EntryKind.CHANGES, "Abs", "Ceil", "Floor", "Round", "Sign")
holds_no_weight("ParametricSoftplus ScaledTanh SwiGLU")
holds_no_weight("BiasGelu BiasSplitGelu FastGelu Gelu QuickGelu ScaledSiLU", domain=_MICROSOFT)

is_flat(
    "Ceil", "Erf", "Floor", "HardSigmoid", "Relu", "Round", "Shrink", "Sigmoid", "Sign", "Softplus", "Tanh", "ThresholdedRelu"
)
keeps_entries("Abs")
errs_relative_to_one("Erf", "Sigmoid", "Tanh")


@tells_zeros_apart("Reciprocal")
def _inverts_zero(node: Node, of: Operands) -> bool:
    return bool(given(of, 0).may_be_zero.any())
