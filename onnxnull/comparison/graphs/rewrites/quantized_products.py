"""Products and convolutions of codes.

1. QLinearConv, QLinearMatMul and QGemm are the operators of the floats between a DequantizeLinear and a QuantizeLinear;
   weights are S∘(Wq − Z). `channels_last` is a Transpose in front and one behind.
2. MatMulInteger and ConvInteger give the product of floats, and the scale of their input, which a Mul behind them reads, is 1.
3. MatMulNBits is a product by S∘(Wq − Z), whether activations are quantized or not.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from onnxnull.comparison.graphs import constants as c
from onnxnull.comparison.graphs.rewrites import Const, ReadNode, Result, Term, Value, rule
from onnxnull.comparison.graphs.rewrites.arithmetic import ONE
from onnxnull.comparison.graphs.rewrites.linear import convolution
from onnxnull.comparison.graphs.rewrites.quantizers import dequantized, output_type, quantized, weight_of
from onnxnull.comparison.numbering import digest

MICROSOFT = "com.microsoft"


@rule("QLinearConv")
def convolutions(node: ReadNode) -> Result:
    """Rule 1."""
    codes, bias = node.operand(0), node.operand(8)
    weight = weight_of(node.operand(3), node.operand(4), node.operand(5), 0)
    x = None if codes is None else dequantized(node, codes, node.operand(1), node.operand(2))
    if not isinstance(x, Term) or weight is None:
        return None
    scale, own = node.operand(1), node.operand(4)
    shift: Const | None = None
    if bias is not None:
        if not isinstance(scale, Const) or not isinstance(own, Const):
            return None
        shift = weight_of(bias, c.times(own, c.reshaped(scale, ())), None, 0)
    length, last = len(weight.shape), bool(node.attribute("channels_last", 0))
    image = node.terms.transpose(x, [0, length - 1, *range(1, length - 1)]) if last else x
    made = convolution(node, image, weight, shift, last=last)
    if made is None:
        return None
    whole = node.terms.transpose(made, [0, *range(2, length), 1]) if last else made
    return quantized(node, whole, node.operand(6), node.operand(7), output_type(node, 0))


@rule("QLinearConv", domain=MICROSOFT)
def convolutions_too(node: ReadNode) -> Result:
    """Rule 1."""
    return convolutions(node)


@rule("QLinearMatMul")
def products(node: ReadNode) -> Result:
    """Rule 2."""
    a, sa, za, b, sb, zb, sy, zy = (node.operand(i) for i in range(8))
    if a is None or b is None:
        return None
    one, other = dequantized(node, a, sa, za, -2), dequantized(node, b, sb, zb, -1)
    if one is None or other is None:
        return None
    return quantized(node, node.terms.matmul(one, other, node.shape()), sy, zy, output_type(node, 0))


@rule("QGemm", domain=MICROSOFT)
def gemm(node: ReadNode) -> Result:
    """Rule 2."""
    codes, sa, za, b, sb, zb, bias, sy, zy = (node.operand(i) for i in range(9))
    transposed = bool(node.attribute("transB", 0))
    weight = weight_of(b, sb, zb, 0 if transposed else 1)
    a = None if codes is None else dequantized(node, codes, sa, za)
    if not isinstance(a, Term) or weight is None or node.attribute("transA", 0):
        return None
    weight = c.transposed(weight, (1, 0)) if transposed else weight
    alpha = float(node.attribute("alpha", 1.0))
    parts = [(ONE if alpha == 1.0 else c.scalar(alpha), node.terms.matmul(a, weight, node.shape()))]
    if bias is not None:
        if not isinstance(sa, Const) or not isinstance(sb, Const):
            return None
        shift = weight_of(bias, c.times(sb, c.reshaped(sa, ())), None, -1)
        if shift is None:
            return None
        parts.append((ONE, shift))
    found = node.terms.sum(parts)
    return found if sy is None else quantized(node, found, sy, zy, output_type(node, 0))


@rule("MatMulInteger", "ConvInteger")
def integers(node: ReadNode) -> Result:
    """Rule 3."""
    x = node.operand(0)
    weight = weight_of(node.operand(1), None, node.operand(3), 1 if node.op == "MatMulInteger" else 0)
    if not node.quantizers or not isinstance(x, Term) or x.kind != "f" or weight is None:
        return None
    return node.terms.matmul(x, weight, node.shape()) if node.op == "MatMulInteger" else convolution(node, x, weight, None)


@rule("DynamicQuantizeMatMul", domain=MICROSOFT)
def dynamic_product(node: ReadNode) -> Result:
    """Rule 3."""
    x, b, scale, zero, bias = (node.operand(i) for i in range(5))
    weight = weight_of(b, scale, zero, 1)
    if not isinstance(x, Term) or x.kind != "f" or weight is None:
        return None
    if not node.quantizers:
        return _separate(node, x, b, scale, zero, bias)
    return _biased(node, node.terms.matmul(x, weight, node.shape()), bias)


@rule("MatMulIntegerToFloat", domain=MICROSOFT)
def product_to_float(node: ReadNode) -> Result:
    """Rule 3."""
    x, b, _, scale, _, zero, bias = (node.operand(i) for i in range(7))
    weight = weight_of(b, scale, zero, 1)
    if not node.quantizers or not isinstance(x, Term) or x.kind != "f" or weight is None:
        return None
    return _biased(node, node.terms.matmul(x, weight, node.shape()), bias)


def _separate(
    node: ReadNode, x: Term, b: Value | None, scale: Value | None, zero: Value | None, bias: Value | None
) -> Value | None:
    """DynamicQuantizeLinear, MatMulInteger, and a product by both scales, as they are."""
    if scale is None:
        return None
    terms = node.terms
    kinds = (("i", x.shape), ("f", ()), ("i", ()))
    parts = [
        terms.apply("ai.onnx.DynamicQuantizeLinear", [x], [("version", 0), ("output", i)], shape=shape, kind=kind)
        for i, (kind, shape) in enumerate(kinds)
    ]
    operands = [parts[0], b, parts[2], *([zero] if zero is not None else [])]
    made = terms.apply("ai.onnx.MatMulInteger", operands, [("version", 0), ("output", 0)], shape=node.shape(), kind="i")
    found = terms.product([(terms.unary("ToFloat", made, kind="f"), 1.0), (parts[1], 1.0), (scale, 1.0)])
    return _biased(node, found, bias)


def _biased(node: ReadNode, found: Value, bias: Value | None) -> Value:
    return found if bias is None else node.terms.sum([(ONE, found), (ONE, bias)])


@rule("MatMulNBits", domain=MICROSOFT)
def few_bits(node: ReadNode) -> Result:
    """Rule 4."""
    from onnxnull.operators import Refusal, linear_uses

    x, scale, bias = node.operand(0), node.operand(2), node.operand(5)
    uses = [use for use in linear_uses(node.view) if not isinstance(use, Refusal)]
    if not isinstance(x, Term) or not isinstance(scale, Const) or len(uses) != 1:
        return None
    rows, columns, block = (int(node.attribute(name, 0)) for name in ("K", "N", "block_size"))
    (use,) = uses

    def thunk() -> c.Numbers:
        rational = use.rational_blocks()
        value = np.asarray(use.blocks() if rational is None else rational, np.float64)[0]
        steps = np.repeat(scale.value.reshape(columns, -1), block, axis=1)[:, :rows].T
        return c.Numbers(value, 2.0**-23 * np.abs(value), np.abs(steps))

    operands: Sequence[Value | None] = node.operands[1:4]
    key = digest("few bits", *(o.key for o in operands if isinstance(o, Const)))
    weight = Const(key, (rows, columns), "f", "float32", scale.roots, True, thunk)
    return _biased(node, node.terms.matmul(x, weight, node.shape()), bias)
