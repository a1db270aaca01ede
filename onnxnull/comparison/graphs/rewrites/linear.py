"""Products by constants and convolutions.

1. Gemm is alpha·A'·B' + beta·C (ONNX opset 1 to 13), and onnxruntime's FusedGemm and FusedMatMul with transposes and alpha
   are too; FusedConv is Conv (+ Z), then its activation.
2. auto_pad is written out where shapes are known; attributes that are left out have the defaults that follow from the weight.
3. Pad by zeros in front of Conv is padding of the Conv.
4. A bias is a sum behind it.
"""

from __future__ import annotations

from onnxnull.comparison.graphs import constants as c
from onnxnull.comparison.graphs.rewrites import Const, ReadNode, Result, Term, Value, rule
from onnxnull.comparison.graphs.rewrites.activations import activated
from onnxnull.comparison.graphs.rewrites.arithmetic import ONE
from onnxnull.comparison.graphs.rewrites.windows import padded, slid_shape, steps
from onnxnull.comparison.graphs.terms import known, rank

MICROSOFT = "com.microsoft"


@rule("MatMul")
def products(node: ReadNode) -> Result:
    """The rules of `algebra`."""
    a, b = node.operand(0), node.operand(1)
    if a is None or b is None or not node.all_floats():
        return None
    return node.terms.matmul(a, b, node.shape())


def swapped(node: ReadNode, x: Value, *, wanted: bool) -> Value:
    """The last two axes exchanged, if so wanted."""
    length = rank(x)
    if not wanted or length is None or length < 2:
        return x
    return node.terms.transpose(x, [*range(length - 2), length - 1, length - 2])


def _gemm(node: ReadNode) -> Result:
    a, b, shift = node.operand(0), node.operand(1), node.operand(2)
    if a is None or b is None or not node.all_floats() or (node.version < 7 and node.op == "Gemm"):
        return None
    one = swapped(node, a, wanted=bool(node.attribute("transA", 0)))
    other = swapped(node, b, wanted=bool(node.attribute("transB", 0)))
    parts = [(_scalar(node.attribute("alpha", 1.0)), node.terms.matmul(one, other, node.shape()))]
    if shift is not None:
        parts.append((_scalar(node.attribute("beta", 1.0)), shift))
    return node.terms.sum(parts)


def _scalar(number: float) -> Const:
    return ONE if number == 1.0 else c.scalar(number)


@rule("Gemm")
def gemm(node: ReadNode) -> Result:
    """Rule 1."""
    return _gemm(node)


@rule("FusedGemm", domain=MICROSOFT)
def fused_gemm(node: ReadNode) -> Result:
    """Rule 1."""
    made = _gemm(node)
    numbers = [node.attribute(name) for name in ("activation_alpha", "activation_beta", "activation_gamma")]
    return activated(node.terms, node.attribute("activation", ""), numbers, made) if isinstance(made, Term) else None


@rule("FusedMatMul", "TransposeMatMul", domain=MICROSOFT)
def fused_matmul(node: ReadNode) -> Result:
    """Rule 1."""
    a, b = node.operand(0), node.operand(1)
    if a is None or b is None or node.attribute("transBatchA", 0) or node.attribute("transBatchB", 0):
        return None
    one = swapped(node, a, wanted=bool(node.attribute("transA", 0)))
    other = swapped(node, b, wanted=bool(node.attribute("transB", 0)))
    shape = node.shape()
    return node.terms.sum([(_scalar(node.attribute("alpha", 1.0)), node.terms.matmul(one, other, shape))])


def convolution(node: ReadNode, x: Value, weight: Value, bias: Value | None, *, last: bool = False) -> Value | None:
    """Conv or ConvTranspose with a constant weight (rules 2 to 4).

    Args:
        last: whether the node's own shapes have the channels last; x has them in front.
    """
    transposed = "Transpose" in node.op
    if not isinstance(x, Term) or not isinstance(weight, Const) or len(weight.shape) < 3:
        return None
    spatial = len(weight.shape) - 2
    strides, dilations = steps(node, weight.shape[2:])
    attributes: list[tuple[str, object]] = [
        ("strides", strides),
        ("dilations", dilations),
        ("group", int(node.attribute("group", 1))),
    ]
    if transposed:
        if node.attribute("auto_pad", "NOTSET") not in ("NOTSET", "VALID") or node.attribute("output_shape"):
            return None
        attributes.append(("output_padding", tuple(node.attribute("output_padding") or (0,) * spatial)))
    pads = padded(node, x, weight.shape[2:], strides, dilations)
    if pads is None:
        return None
    if x.op == "Pad" and not transposed and x.attribute("zeros") and isinstance(widths := x.attribute("pads"), tuple):
        half = len(widths) // 2
        if not any((*widths[:2], *widths[half : half + 2])) and min(widths) >= 0 and half == spatial + 2:
            pads = tuple(a + b for a, b in zip(pads, (*widths[2:half], *widths[half + 2 :]), strict=True))
            x = x.variables[0]
    attributes.append(("pads", pads))
    shape = node.shape()
    if (not transposed and known(shape) is None) or last:
        shape = slid_shape(x.shape, weight.shape[0], weight.shape[2:], strides, dilations, pads) or shape
    made = node.terms.linear("ConvTranspose" if transposed else "Conv", x, weight, attributes, shape)
    if bias is None:
        return made
    if not isinstance(bias, Const):
        return None
    return node.terms.sum([(ONE, made)], c.reshaped(bias, (bias.size, *(1,) * spatial)))


@rule("Conv", "ConvTranspose")
def convolutions(node: ReadNode) -> Result:
    """Rules 2 to 4."""
    x, weight = node.operand(0), node.operand(1)
    return None if x is None or weight is None else convolution(node, x, weight, node.operand(2))


@rule("FusedConv", domain=MICROSOFT)
def fused_convolutions(node: ReadNode) -> Result:
    """Rule 1."""
    x, weight, beside = node.operand(0), node.operand(1), node.operand(3)
    made = None if x is None or weight is None else convolution(node, x, weight, node.operand(2))
    if made is None:
        return None
    if beside is not None:
        made = node.terms.sum([(ONE, made), (ONE, beside)])
    return activated(node.terms, node.attribute("activation", ""), node.attribute("activation_params") or [], made)


@rule("Pad")
def pads(node: ReadNode) -> Result:
    """A Pad by constants whose widths are known; nothing where there are none."""
    x, widths = node.operand(0), node.integers(1, "pads") or node.integers(1, "paddings")
    axes = node.operand(3)
    mode = node.attribute("mode", "constant")
    if not isinstance(x, Term) or widths is None or isinstance(axes, Term) or x.shape is None:
        return None
    length = len(x.shape)
    if axes is not None:
        whole = [0] * (2 * length)
        numbers = [int(axis) % length for axis in axes.value.ravel()]
        for i, axis in enumerate(numbers):
            whole[axis], whole[axis + length] = widths[i], widths[i + len(numbers)]
        widths = whole
    if not any(widths):
        return x
    value = node.operand(2)
    filling = c.scalar(float(node.attribute("value", 0.0))) if value is None else value
    if isinstance(filling, Term):
        return None
    attributes: list[tuple[str, object]] = [("pads", tuple(widths)), ("mode", mode)]
    constant = mode == "constant"
    zeros = constant and filling.kind == "f" and filling.is_all(0.0)
    constants = [c.reshaped(filling, ())] if constant and not zeros else []
    return node.terms.make(
        "Pad", [x], attributes=[*attributes, ("zeros", zeros)], constants=constants, shape=node.shape(), kind=x.kind
    )
