"""Quantized operators as operators of floats between quantizers.

1. Where one of the two graphs quantizes activations and the other does not, QuantizeLinear, DequantizeLinear and
   DynamicQuantizeLinear of a variable are nothing: from there on integers stand for the floats they came from. A zero point
   at the end of its type has swallowed a Relu, or a Clip: max(0, min(x, s·(levels − 1))). Else quantizers stay what they are.
2. QLinearConv, QLinearMatMul, QGemm and onnxruntime's QLinear* are the operators of the floats between a DequantizeLinear and a
   QuantizeLinear; weights are S∘(Wq − Z).
3. MatMulInteger and ConvInteger give the product of floats, and the scale of their input, which a Mul behind them reads, is 1.
4. MatMulNBits is a product by S∘(Wq − Z), whether activations are quantized or not.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from onnxnull.comparison.graphs import constants as c
from onnxnull.comparison.graphs.algebra import Algebra
from onnxnull.comparison.graphs.rewrites import Const, ReadNode, Result, Term, Value, rule
from onnxnull.comparison.graphs.rewrites.arithmetic import ONE
from onnxnull.comparison.graphs.rewrites.linear import convolution
from onnxnull.comparison.graphs.terms import known
from onnxnull.comparison.numbering import digest

MICROSOFT = "com.microsoft"
_NOT_NEGATIVE = ("Softmax", "Sigmoid", "Exp", "Abs")
_KEEPS_SIGN = frozenset(
    [
        "MaxPool",
        "AveragePool",
        "Transpose",
        "Reshape",
        "Slice",
        "Resize",
        "ReduceSum",
        "ReduceMax",
        "Concat",
        "Product",
        "ai.onnx.Slice",
        "ai.onnx.Expand",
        "ai.onnx.Reshape",
        "ai.onnx.Flatten",
        "ai.onnx.Resize",
    ]
)


def is_not_negative(x: Term) -> bool:
    """Whether no entry can be below 0, but for rounding."""
    return _least(x) >= -1e-5


def _least(x: Term) -> float:
    """A bound from below on all entries."""
    if x.op in _NOT_NEGATIVE:
        return 0.0
    if x.op in ("Erf", "Tanh"):
        return -1.0
    if x.op == "Clip" and x.constants[0] is not None:
        return float(x.constants[0].value)
    if x.op == "Sum":
        constants = [k for k in x.constants if k is not None]
        if any(k.size > c.SMALL or not np.all(k.value >= 0.0) for k in constants[:-1]):
            return -np.inf
        with np.errstate(invalid="ignore"):
            parts = [float(np.max(k.value)) * min(_least(t), 0.0) for k, t in zip(constants[:-1], x.variables, strict=True)]
        return sum(parts) + float(np.min(constants[-1].value)) if constants[-1].size <= c.SMALL else -np.inf
    if x.op == "Pad" and not x.attribute("zeros"):
        return -np.inf
    return 0.0 if (x.op in _KEEPS_SIGN or x.op == "Pad") and x.variables and all(map(is_not_negative, x.variables)) else -np.inf


def quantized(node: ReadNode, x: Value, scale: Value | None, zero: Value | None, dtype: str) -> Value:
    """Rule 1: what QuantizeLinear gives."""
    if not node.quantizers:
        return _kept(node.terms, x, scale, zero if zero is not None else c.const(np.array(0, np.int64)), dtype)
    if not isinstance(x, Term) or not isinstance(scale, Const) or scale.size != 1:
        return x
    lowest, levels = {"UINT8": (0, 256), "INT8": (-128, 256), "UINT16": (0, 1 << 16), "INT16": (-(1 << 15), 1 << 16)}.get(
        dtype, (None, 0)
    )
    point = int(zero.value.ravel()[0]) if isinstance(zero, Const) and zero.size == 1 else 0
    inner = x
    while inner.op in ("Transpose", "Reshape", "Slice"):
        inner = inner.variables[0]
    if lowest is None or point != lowest or inner.op == "Input" or is_not_negative(x):
        return x
    most = c.const(np.array(float(scale.value.ravel()[0]) * (levels - 1)), dtype="float32", step=np.array(np.inf))
    return node.terms.clip_at(x, c.scalar(0.0), most)


_RANGES = {"UINT8": (0, 255), "INT8": (-128, 127), "UINT16": (0, 65535), "INT16": (-32768, 32767)}


def _kept(terms: Algebra, x: Value, scale: Value | None, zero: Value, dtype: str) -> Value:
    """QuantizeLinear as it is: of DequantizeLinear of the same scale it is nothing; a Clip that it does itself falls away."""
    number = isinstance(scale, Const) and isinstance(zero, Const) and scale.size == zero.size == 1
    if not isinstance(x, Term) or not number or not isinstance(scale, Const) or not isinstance(zero, Const):
        return terms.apply("Quantize", [x, scale, zero], [("to", dtype)], shape=x.shape, kind="i")

    def make(t: Term) -> Value:
        if t.op == "Dequantize" and len(t.constants) == 2 and t.attribute("from") in (None, dtype):
            one, point = t.constants
            if one is not None and point is not None and one.key == scale.key and point.key == zero.key:
                return t.variables[0]
        if t.op == "Clip" and dtype in _RANGES:
            step, middle = float(scale.value.ravel()[0]), float(zero.value.ravel()[0])
            low, high = ((end - middle) * step for end in _RANGES[dtype])
            bounds = [float(k.value) for k in t.constants if k is not None]
            if bounds[0] <= low + step / 2.0 and bounds[1] >= high - step / 2.0:
                return make(t.variables[0])
        return terms.apply("Quantize", [t, scale, zero], [("to", dtype)], shape=t.shape, kind="i")

    return terms.elementwise(x, make)


def dequantized(node: ReadNode, x: Value, scale: Value | None, zero: Value | None, axis: int = -1) -> Value | None:
    """What DequantizeLinear gives: of a constant S∘(Wq − Z), of a variable as in rule 1."""
    if isinstance(x, Const):
        return weight_of(x, scale, zero, axis)
    if node.quantizers:
        return x if x.kind == "f" else None
    if not isinstance(scale, Const) or scale.size != 1:
        return None
    point = zero if zero is not None else c.const(np.array(0, np.int64))
    return node.terms.elementwise(x, lambda t: node.terms.apply("Dequantize", [t, scale, point], shape=t.shape))


def weight_of(codes: Value | None, scale: Value | None, zero: Value | None, axis: int) -> Const | None:
    """S∘(Wq − Z), with its step; scales and zero points that are vectors follow `axis`."""
    if not isinstance(codes, Const) or isinstance(zero, Term) or (scale is not None and not isinstance(scale, Const)):
        return None
    parts = [scale, zero]
    roots = (*codes.roots, *(scale.roots if isinstance(scale, Const) else ()))

    def spread(part: Value | None, default: float) -> np.ndarray:
        if not isinstance(part, Const):
            return np.array(default)
        value = part.value.astype(np.float64)
        if value.size == 1:
            return value.reshape(())
        return value.reshape([-1 if i == axis % len(codes.shape) else 1 for i in range(len(codes.shape))])

    key = digest("dequantized", codes.key, str(axis), *(b"" if p is None else p.key for p in parts))

    def thunk() -> c.Numbers:
        s, z = spread(scale, 1.0), spread(zero, 0.0)
        value = (codes.value.astype(np.float64) - z) * s
        return c.Numbers(value, 2.0**-23 * np.abs(value), np.asarray(s))

    return Const(key, codes.shape, "f", "float32", roots, True, thunk)


def _dtype(node: ReadNode, index: int) -> str:
    out = node.view.outputs[index]
    return "" if out is None or out.dtype is None else out.dtype.name


@rule("QuantizeLinear")
def quantize(node: ReadNode) -> Result:
    """Rule 1."""
    x, scale = node.operand(0), node.operand(1)
    if not isinstance(x, Term) or (not node.quantizers and not (isinstance(scale, Const) and scale.size == 1)):
        return None
    return quantized(node, x, scale, node.operand(2), _dtype(node, 0) or "UINT8")


@rule("QuantizeLinear", domain=MICROSOFT)
def quantize_too(node: ReadNode) -> Result:
    """Rule 1."""
    return quantize(node)


@rule("DequantizeLinear")
def dequantize(node: ReadNode) -> Result:
    """Rule 1."""
    x = node.operand(0)
    return dequantized(node, x, node.operand(1), node.operand(2)) if isinstance(x, Term) else None


@rule("DequantizeLinear", domain=MICROSOFT)
def dequantize_too(node: ReadNode) -> Result:
    """Rule 1."""
    return dequantize(node)


@rule("DynamicQuantizeLinear")
def dynamic(node: ReadNode) -> Result:
    """Rules 1 and 3."""
    x = node.operand(0)
    if not node.quantizers or not isinstance(x, Term):
        return None
    return [x, ONE, c.const(np.array(0, np.int64))]


@rule("QLinearConv")
def convolutions(node: ReadNode) -> Result:
    """Rule 2."""
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
    made = convolution(node, x, weight, shift)
    return None if made is None else quantized(node, made, node.operand(6), node.operand(7), _dtype(node, 0))


@rule("QLinearMatMul")
def products(node: ReadNode) -> Result:
    """Rule 2."""
    a, sa, za, b, sb, zb, sy, zy = (node.operand(i) for i in range(8))
    if a is None or b is None:
        return None
    one, other = dequantized(node, a, sa, za, -2), dequantized(node, b, sb, zb, -1)
    if one is None or other is None:
        return None
    return quantized(node, node.terms.matmul(one, other, node.shape()), sy, zy, _dtype(node, 0))


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
    return found if sy is None else quantized(node, found, sy, zy, _dtype(node, 0))


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
    return quantized(node, found, node.operand(6), node.operand(7), _dtype(node, 0))


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
        found = reductions.along(node.terms, "Softmax", x, node.attribute("axis", -1) % len(x.shape))
    elif node.op == "QLinearGlobalAveragePool" and not last:
        found = reductions.mean(node.terms, x, list(range(2, len(x.shape))))
    if not isinstance(found, Term):
        return None
    return quantized(node, found, node.operand(3), node.operand(4), _dtype(node, 0))


@rule("QLinearConcat", domain=MICROSOFT)
def concat(node: ReadNode) -> Result:
    """Rule 2."""
    shape = node.shape()
    parts = [_operand(node, i) for i in range(2, len(node.operands), 3)]
    if shape is None:
        shape = _joined(parts, node.attribute("axis", 0))
    if shape is None or any(part is None for part in parts):
        return None
    found = node.terms.apply("Concat", parts, [("axis", node.attribute("axis", 0) % len(shape))], shape=shape)
    return quantized(node, found, node.operand(0), node.operand(1), _dtype(node, 0))


def _joined(parts: Sequence[Value | None], axis: int) -> tuple[int, ...] | None:
    """The shape of tensors side by side along an axis."""
    shapes = [None if part is None else known(part.shape) for part in parts]
    whole = [shape for shape in shapes if shape is not None]
    if len(whole) != len(shapes) or not whole:
        return None
    axis %= len(whole[0])
    return tuple(sum(shape[axis] for shape in whole) if i == axis else size for i, size in enumerate(whole[0]))


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
