"""Arithmetic and comparisons: what follows of NaN in a constant."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from onnxnull.graph.constants import Constant
from onnxnull.graph.entries import EntryKind, treats_entries
from onnxnull.graph.evaluable import EvaluationRule, evaluated
from onnxnull.graph.node import Node
from onnxnull.operators.flatness import is_flat, keeps_entries
from onnxnull.operators.linear_use import holds_no_weight
from onnxnull.operators.parameters import NO_NUMBER, accounts_for, hands_on_nan
from onnxnull.operators.range_rules import Operands, given, tells_zeros_apart
from onnxnull.operators.traits import TypeAttribute, handles_nonfinite, is_commutative, names_type

if TYPE_CHECKING:
    import onnx_ir as ir

_MICROSOFT = "com.microsoft"


def _trains(node: ir.Node, version: int, operands: Sequence[Constant | None]) -> str | None:
    """Dropout: attribute is_test up to opset 6, always inference up to opset 11, input training_mode (2) since."""
    if version < 7:
        trains = "is_test" not in node.attributes or node.attributes["is_test"].as_int() == 0
    else:
        mode = operands[2] if len(operands) > 2 else None
        trains = mode is not None and bool(mode.array().any())
    return "op Dropout: it is random in training mode" if trains else None


evaluated(
    """
    Add And BitCast BitShift BitwiseAnd BitwiseNot BitwiseOr BitwiseXor Cast CastLike Clip Div Equal Greater
    GreaterOrEqual Identity IsInf IsNaN Less LessOrEqual Max Mean Min Mod Mul Neg Not Or Pow Sub Sum Where Xor
    """
)
evaluated("Dropout", EvaluationRule(against=_trains))
treats_entries(EntryKind.SCALES, "Div", "Mul")
treats_entries(EntryKind.SHIFTS, "Add", "Clip", "Max", "Mean", "Min", "Mod", "Pow", "Sub", "Sum")
treats_entries(EntryKind.CHANGES, "Cast", "CastLike", "Dropout", "Neg")
treats_entries(EntryKind.JOINS, "Where")

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
    *("Add", "And", "Cast", "CastLike", "Div", "Dropout", "Max", "Mean", "Min", "Mul", "Neg", "Not", "Or", "Sub", "Sum"),
    *("Where", "Xor"),
)
is_commutative("Add", "And", "BitwiseAnd", "BitwiseOr", "BitwiseXor", "Equal", "Max", "Mean", "Min", "Mul", "Or", "Sum", "Xor")
handles_nonfinite("Clip", "IsInf", "IsNaN", "Max", "Min", "Where")
names_type(TypeAttribute("to"), "Cast")


@tells_zeros_apart("BitCast")
def _reads_bits(node: Node, of: Operands) -> bool:
    return True


@tells_zeros_apart("Div", "Mod", "Pow")
def _divides_by_zero(node: Node, of: Operands) -> bool:
    """A power of 0 may be one."""
    return bool(given(of, 0 if node.op_type == "Pow" else 1).may_be_zero.any())
