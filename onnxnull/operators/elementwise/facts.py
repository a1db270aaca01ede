"""Arithmetic and comparisons: what follows of NaN in a constant."""

from __future__ import annotations

from onnxnull.operators.flatness import is_flat, keeps_entries
from onnxnull.operators.linear_use import holds_no_weight
from onnxnull.operators.parameters import NO_NUMBER, accounts_for, hands_on_nan
from onnxnull.operators.range_rules import tells_zeros_apart

_MICROSOFT = "com.microsoft"

hands_on_nan("Add", "Div", "Max", "Mean", "Min", "Mul", "Sub", "Sum")
accounts_for("Pow", places=lambda node: [(0, NO_NUMBER), (1, NO_NUMBER)], all_operands=True)
accounts_for("Equal", "Greater", "GreaterOrEqual", "IsInf", "IsNaN", "Less", "LessOrEqual", all_operands=True)

# A constant operand scales or shifts each entry on its own: a diagonal.
holds_no_weight(
    """
    Add Affine And BitCast BitShift BitwiseAnd BitwiseNot BitwiseOr BitwiseXor Cast CastLike Clip Div Dropout Equal
    Greater GreaterOrEqual Identity ImageScaler IsInf IsNaN Less LessOrEqual Max Mean Min Mod Mul Neg Not Or Pow Scale
    Sub Sum Where Xor
    """
)
holds_no_weight("BiasAdd BiasDropout BitmaskBiasDropout BitmaskDropout GatedAdd IsAllFinite", domain=_MICROSOFT)

is_flat("Clip", "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual")
keeps_entries(
    "Add", "And", "Cast", "CastLike", "Div", "Dropout", "Max", "Min", "Mul", "Neg", "Not", "Or", "Sub", "Where", "Xor"
)
tells_zeros_apart("BitCast", "Div", "Mod", "Pow")
