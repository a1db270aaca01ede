"""Sums and products of floats (ONNX opset 1 to 24), into the normal forms of `algebra`.

1. Add, Sub, Neg, Sum, Mean are sums; Mul, Div, Reciprocal, Sqrt, Pow by a constant scalar are products.
2. Pow(x, 2) is x·x; Div(x, c) is x·(1/c). Integers divide otherwise and are left alone.
3. Greater is Less of exchanged operands, of any type.
4. A broadcast of opset 6 and before (`axis`) is left alone.
"""

from __future__ import annotations

from onnxnull.comparison.graphs import constants as c
from onnxnull.comparison.graphs.rewrites import Const, ReadNode, Result, Value, rule

ONE = c.scalar(1.0)
_SIGN = c.scalar(-1.0)


def _operands(node: ReadNode) -> list[Value] | None:
    if not node.all_floats() or _broadcasts_along(node):
        return None
    return [o for o in node.operands if o is not None]


@rule("Add", "Sub", "Sum", "Mean", "Neg")
def sums(node: ReadNode) -> Result:
    """Rule 1."""
    operands = _operands(node)
    if not operands:
        return None
    factors = {"Sub": [ONE, _SIGN], "Neg": [_SIGN], "Mean": [c.scalar(1.0 / len(operands))] * len(operands)}
    return node.terms.sum(list(zip(factors.get(node.op, [ONE] * len(operands)), operands, strict=True)))


@rule("Mul", "Div", "Reciprocal", "Sqrt")
def products(node: ReadNode) -> Result:
    """Rules 1 and 2."""
    operands = _operands(node)
    if not operands:
        return None
    exponents = {"Div": [1.0, -1.0], "Reciprocal": [-1.0], "Sqrt": [0.5]}.get(node.op, [1.0] * len(operands))
    return node.terms.product(list(zip(operands, exponents, strict=True)))


@rule("Pow")
def powers(node: ReadNode) -> Result:
    """Rules 1 and 2."""
    operands = _operands(node)
    exponent = node.operand(1)
    if (
        not operands
        or not isinstance(exponent, Const)
        or exponent.size != 1
        or len(exponent.shape) > len(operands[0].shape or ())
    ):
        return None
    number = float(exponent.value.ravel()[0])
    return node.terms.product([(operands[0], number)]) if number in (1.0, 2.0, 3.0, 4.0, 0.5, -1.0, -0.5) else None


@rule("Less", "Greater", "LessOrEqual", "GreaterOrEqual")
def comparisons(node: ReadNode) -> Result:
    """Rule 3."""
    a, b = node.operand(0), node.operand(1)
    if a is None or b is None or _broadcasts_along(node):
        return None
    operands = [b, a] if node.op.startswith("Greater") else [a, b]
    return node.terms.apply(node.op.replace("Greater", "Less"), operands, shape=node.shape(), kind="b")


def _broadcasts_along(node: ReadNode) -> bool:
    """Rule 4."""
    return node.attribute("axis") is not None or (node.version < 7 and bool(node.attribute("broadcast")))
