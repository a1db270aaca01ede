"""Arithmetic and comparisons: what follows of NaN in a constant."""

from __future__ import annotations

from onnxnull.operators.parameters import NO_NUMBER, accounts_for, hands_on_nan

hands_on_nan("Add", "Div", "Max", "Mean", "Min", "Mul", "Sub", "Sum")
accounts_for("Pow", places=lambda node: [(0, NO_NUMBER), (1, NO_NUMBER)], all_operands=True)
accounts_for("Equal", "Greater", "GreaterOrEqual", "IsInf", "IsNaN", "Less", "LessOrEqual", all_operands=True)
