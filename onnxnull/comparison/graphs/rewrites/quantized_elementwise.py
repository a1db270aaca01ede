"""onnxruntime's QLinear* (com.microsoft): the operators of the floats between a DequantizeLinear and a QuantizeLinear."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from onnxnull.comparison.graphs.rewrites import ReadNode, Result, Term, Value, rule
from onnxnull.comparison.graphs.rewrites.arithmetic import ONE
from onnxnull.comparison.graphs.rewrites.quantizers import dequantized, output_type, quantized
from onnxnull.comparison.graphs.terms import known

MICROSOFT = "com.microsoft"


def _operand(node: ReadNode, index: int) -> Value | None:
    """A quantized operand with its scale and zero point behind it."""
    x, scale, zero = (node.operand(index + i) for i in range(3))
    return None if x is None else dequantized(node, x, scale, zero)


@rule("QLinearAdd", "QLinearMul", domain=MICROSOFT)
def elementwise(node: ReadNode) -> Result:
    """Rule 2."""
    a, b = _operand(node, 0), _operand(node, 3)
    if a is None or b is None:
        return None
    found = node.terms.sum([(ONE, a), (ONE, b)]) if node.op == "QLinearAdd" else node.terms.product([(a, 1.0), (b, 1.0)])
    return quantized(node, found, node.operand(6), node.operand(7), output_type(node, 0))


@rule(
    "QLinearSigmoid", "QLinearLeakyRelu", "QLinearGlobalAveragePool", "QLinearAveragePool", "QLinearSoftmax", domain=MICROSOFT
)
def unary(node: ReadNode) -> Result:
    """Rule 2."""
    from onnxnull.comparison.graphs.rewrites import reductions

    x = _operand(node, 0)
    if not isinstance(x, Term) or x.shape is None:
        return None
    last = bool(node.attribute("channels_last", 0))
    found: Result = None
    if node.op == "QLinearSigmoid":
        found = node.terms.unary("Sigmoid", x)
    elif node.op == "QLinearLeakyRelu":
        found = node.terms.unary("LeakyRelu", x, alpha=float(np.float32(node.attribute("alpha", 0.01))))
    elif node.op == "QLinearSoftmax":
        found = reductions.softmax_of(node, "Softmax", x, int(node.attribute("opset", 0)))
    elif node.op == "QLinearAveragePool" and not last:
        found = reductions.pool(node, "AveragePool", x)
    elif node.op == "QLinearGlobalAveragePool":
        found = reductions.mean(node.terms, x, list(range(1, len(x.shape) - 1) if last else range(2, len(x.shape))))
    if not isinstance(found, Term):
        return None
    return quantized(node, found, node.operand(3), node.operand(4), output_type(node, 0))


@rule("QLinearConcat", domain=MICROSOFT)
def concat(node: ReadNode) -> Result:
    """Rule 2."""
    shape = node.shape()
    parts = [_operand(node, i) for i in range(2, len(node.operands), 3)]
    if shape is None:
        shape = _joined(parts, node.attribute("axis", 0))
    whole = [part for part in parts if part is not None]
    if shape is None or len(whole) != len(parts):
        return None
    found = node.terms.concat(whole, node.attribute("axis", 0) % len(shape), shape)
    return quantized(node, found, node.operand(0), node.operand(1), output_type(node, 0))


def _joined(parts: Sequence[Value | None], axis: int) -> tuple[int, ...] | None:
    """The shape of tensors side by side along an axis."""
    shapes = [None if part is None else known(part.shape) for part in parts]
    whole = [shape for shape in shapes if shape is not None]
    if len(whole) != len(shapes) or not whole:
        return None
    axis %= len(whole[0])
    return tuple(sum(shape[axis] for shape in whole) if i == axis else size for i, size in enumerate(whole[0]))
