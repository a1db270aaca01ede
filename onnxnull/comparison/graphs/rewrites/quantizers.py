"""Quantizers of activations, and weights that are stored as codes.

1. Where one of the two graphs quantizes activations and the other does not, QuantizeLinear, DequantizeLinear and
   DynamicQuantizeLinear of a variable are nothing: from there on integers stand for the floats they came from, and scales that
   are computed are 1, if they are used as scales (`dynamic_scales`). A zero point at the end of its type cuts off what is
   negative: that is `Saturate`, which may stand for a Relu or a Clip (see `places`). Else quantizers stay what they are.
2. DequantizeLinear of QuantizeLinear with the same scale and zero point rounds to a `Grid` from its lowest to its highest code
   less the zero point: codes with and without a sign are the same.
3. DequantizeLinear of rows that are picked from constant codes picks them from S∘(Wq − Z).
"""

from __future__ import annotations

import numpy as np

from onnxnull.comparison.graphs import constants as c
from onnxnull.comparison.graphs.algebra import Algebra
from onnxnull.comparison.graphs.dynamic_scales import scales_once
from onnxnull.comparison.graphs.rewrites import Const, ReadNode, Result, Term, Value, rule
from onnxnull.comparison.graphs.rewrites.arithmetic import ONE
from onnxnull.comparison.graphs.rewrites.signs import is_not_negative
from onnxnull.comparison.numbering import digest

MICROSOFT = "com.microsoft"
_RANGES = {"UINT8": (0, 255), "INT8": (-128, 127), "UINT16": (0, 65535), "INT16": (-32768, 32767)}


def quantized(node: ReadNode, x: Value, scale: Value | None, zero: Value | None, dtype: str) -> Value:
    """Rule 1: what QuantizeLinear gives; a zero point has the type of the codes."""
    dtype = zero.dtype.upper() if isinstance(zero, Const) and zero.kind == "i" else dtype
    if not node.quantizers:
        return _kept(node.terms, x, scale, zero if zero is not None else c.const(np.array(0, np.int64)), dtype)
    if not isinstance(x, Term) or not isinstance(scale, Const) or scale.size != 1:
        return x
    lowest, highest = _RANGES.get(dtype, (None, 0))
    point = int(zero.value.ravel()[0]) if isinstance(zero, Const) and zero.size == 1 else 0
    inner = x
    while inner.op in ("Transpose", "Reshape", "Slice"):
        inner = inner.variables[0]
    if lowest is None or point != lowest or inner.op == "Input" or is_not_negative(x):
        return x
    step = c.reshaped(scale, ())
    most = c.times(step, c.scalar(float(highest - lowest)))
    return node.terms.elementwise(x, lambda t: node.terms.make("Saturate", [t], constants=[step, most], shape=t.shape))


def _kept(terms: Algebra, x: Value, scale: Value | None, zero: Value, dtype: str) -> Value:
    """QuantizeLinear as it is: of DequantizeLinear of the same scale it is nothing; a Clip that it does itself falls away."""
    number = isinstance(scale, Const) and isinstance(zero, Const) and scale.size == zero.size == 1
    if not isinstance(x, Term) or not number or not isinstance(scale, Const) or not isinstance(zero, Const):
        return terms.apply("Quantize", [x, scale, zero], [("to", dtype)], shape=x.shape, kind="i")

    width = c.reshaped(scale, ())

    def make(t: Term) -> Value:
        if t.op == "Dequantize" and len(t.constants) == 2 and t.attribute("from") in (None, dtype):
            one, point = t.constants
            if one is not None and point is not None and one.key == scale.key and point.key == zero.key:
                return t.variables[0]
        ends = (t.attribute("lowest"), t.attribute("highest")) if t.op == "Grid" else None
        if ends is not None and _codes(dtype, zero) == ends and [k and k.key for k in t.constants] == [width.key]:
            return make(t.variables[0])
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
        if x.kind == "f":  # a constant that went through a quantizer
            return x if node.quantizers else None
        return weight_of(x, scale, zero, axis)
    if isinstance(scale, Const) and scale.size == 1 and _picks(x):
        return node.terms.elementwise(x, lambda t: _picked(node, t, scale, zero))
    if node.quantizers:
        return x if x.kind == "f" else None
    if not isinstance(scale, Const) or scale.size != 1:
        return None
    point = zero if zero is not None else c.const(np.array(0, np.int64))
    return node.terms.elementwise(x, lambda t: _back(node.terms, t, scale, point))


def _back(terms: Algebra, x: Term, scale: Const, zero: Value) -> Value:
    """Rule 2, and DequantizeLinear as it is."""
    if x.op == "Quantize" and isinstance(zero, Const) and [k and k.key for k in x.constants] == [scale.key, zero.key]:
        codes = _codes(str(x.attribute("to")), zero)
        if codes is not None:
            ends = [("lowest", codes[0]), ("highest", codes[1])]
            return terms.make("Grid", x.variables, attributes=ends, constants=[c.reshaped(scale, ())], shape=x.shape)
    return terms.apply("Dequantize", [x, scale, zero], shape=x.shape)


def _codes(dtype: str, zero: Const) -> tuple[int, int] | None:
    """The lowest and the highest code less the zero point."""
    if dtype not in _RANGES or zero.size != 1:
        return None
    lowest, highest = _RANGES[dtype]
    point = int(zero.value.ravel()[0])
    return lowest - point, highest - point


def _picks(x: Term) -> bool:
    """Whether these are rows of constant codes, moved or not."""
    while x.op in ("Transpose", "Reshape", "ReshapeTo"):
        x = x.variables[0]
    return x.op == "ai.onnx.Gather" and x.kind == "i" and x.attribute("operands") == "cv"


def _picked(node: ReadNode, rows: Term, scale: Const, zero: Value | None) -> Value:
    """Rule 3."""
    table = weight_of(rows.constants[0], scale, zero, -1)
    kept = [(name, value) for name, value in rows.attributes if name != "operands"]
    return rows if table is None else node.terms.apply(rows.op, [table, *rows.variables], kept, shape=rows.shape)


def weight_of(codes: Value | None, scale: Value | None, zero: Value | None, axis: int) -> Const | None:
    """S∘(Wq − Z), with its step; scales and zero points that are vectors follow `axis`."""
    if not isinstance(codes, Const) or isinstance(zero, Term) or isinstance(scale, Term):
        return None
    parts = [scale, zero]
    roots = (*codes.roots, *(scale.roots if scale is not None else ()))

    def spread(value: np.ndarray) -> np.ndarray:
        if value.size == 1:
            return value.reshape(())
        return value.reshape([-1 if i == axis % len(codes.shape) else 1 for i in range(len(codes.shape))])

    key = digest("dequantized", codes.key, str(axis), *(b"" if p is None else p.key for p in parts))

    def thunk() -> c.Numbers:
        s, z = (np.array(d) if k is None else spread(k.value.astype(np.float64)) for k, d in ((scale, 1.0), (zero, 0.0)))
        slack = np.zeros(()) if scale is None else spread(np.broadcast_to(scale.numbers.slack, scale.value.shape))
        counts = codes.value.astype(np.float64) - z
        return c.Numbers(counts * s, 2.0**-23 * np.abs(counts * s) + np.abs(counts) * slack, np.abs(s))

    dtype = scale.dtype if scale is not None and scale.dtype in c.UNITS else "float32"
    return Const(key, codes.shape, "f", dtype, roots, True, thunk)


def output_type(node: ReadNode, index: int) -> str:
    """The name of the type of an output, empty where it is not known."""
    out = node.view.outputs[index]
    return "" if out is None or out.dtype is None else out.dtype.name


@rule("QuantizeLinear")
def quantize(node: ReadNode) -> Result:
    """Rule 1."""
    x, scale = node.operand(0), node.operand(1)
    if not isinstance(x, Term) or (not node.quantizers and not (isinstance(scale, Const) and scale.size == 1)):
        return None
    return quantized(node, x, scale, node.operand(2), output_type(node, 0) or "UINT8")


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
    """Rule 1."""
    x = node.operand(0)
    codes, scale, zero = (None if o is None else o.value for o in node.view.outputs)
    if not node.quantizers or not isinstance(x, Term) or codes is None or scale is None or not scales_once(codes, scale, zero):
        return None
    return [x, ONE, c.const(np.array(0, np.int64))]
