"""Ranges of what works entry by entry on two or more operands: arithmetic, comparisons, Where, Clip, Cast (all opsets)."""

from __future__ import annotations

from functools import reduce

import numpy as np

from onnxnull.graph.node import Node, Operand
from onnxnull.intervals import arithmetic
from onnxnull.intervals.arithmetic import ONE
from onnxnull.intervals.domain import Range, aligned, anything, bounds, chosen, collapsed, made, number, union
from onnxnull.operators.range_rules import Operands, finite_of_finite, given, gives, output_type

_BINARY = {
    "Add": arithmetic.added,
    "Sub": arithmetic.subtracted,
    "Mul": arithmetic.multiplied,
    "Div": arithmetic.divided,
    "Pow": arithmetic.powered,
}


def _operands(node: Node, of: Operands) -> list[Range]:
    """All of them; where an attribute says how they are aligned (before opset 7), one set each."""
    found = [given(of, index) for index in range(len(node.inputs))]
    return [collapsed(each) for each in found] if node.attribute("axis", None) is not None else found


@gives("Add", "Sub", "Mul", "Div", "Pow")
def binary(node: Node, of: Operands) -> Range:
    """Arithmetic; a tensor times itself is no less than 0, minus itself 0, divided by itself 1. Integers divide towards 0."""
    a, b = _operands(node, of)
    first, second = node.inputs[:2]
    if node.op_type in ("Div", "Mul", "Sub") and first is not None and second is not None and _equal(node, first, second):
        return arithmetic.squared(a) if node.op_type == "Mul" else _cancelled(a) if node.op_type == "Sub" else _quotient(a)
    if node.op_type == "Add" and first is not None and second is not None and _opposite(first, second):
        return _cancelled(a)
    operation = _BINARY[node.op_type]
    dtype = output_type(node)
    if node.op_type in ("Div", "Pow") and (dtype is None or not dtype.is_floating_point()):
        return _of_integers(operation(a, b)) if node.op_type == "Div" and not b.may_be_zero.any() else anything(dtype)
    return operation(a, b)


_KEEPS = frozenset({"Identity", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd", "ReduceSum"})


def _equal(node: Node, one: Operand, other: Operand) -> bool:
    """Whether two operands are one tensor, or one is the other's copy: reductions over single entries are copies."""
    if one.value is other.value:
        return True
    batch = node.one_sample and one.shape is not None and one.shape[:1] == (1,)  # of another size, it may be no copy
    if one.shape is None or None in one.shape or one.shape != other.shape:
        return False
    for source, value in ((one.value, other.value), (other.value, one.value)):
        producer = value.producer()
        if producer is not None and producer.domain in ("", "ai.onnx") and producer.op_type in _KEEPS and not batch:
            return producer.inputs[0] is source
    return False


def _opposite(one: Operand, other: Operand) -> bool:
    """Whether an operand is the other one negated."""
    for source, value in ((one.value, other.value), (other.value, one.value)):
        producer = value.producer()
        if producer is not None and (producer.domain, producer.op_type) == ("", "Neg") and producer.inputs[0] is source:
            return True
    return False


def _cancelled(a: Range) -> Range:
    """a − a: Inf − Inf is NaN."""
    return made(np.where(a.empty, np.inf, 0.0), np.where(a.empty, -np.inf, 0.0), a.nan | a.infinite, sized=a.sized)


def _quotient(a: Range) -> Range:
    """a / a: 0 / 0 and Inf / Inf are NaN."""
    one = a.empty | ((a.lo == 0) & (a.hi == 0))
    nan = a.nan | a.infinite | a.may_be_zero
    return made(np.where(one, np.inf, 1.0), np.where(one, -np.inf, 1.0), nan, sized=a.sized)


def _of_integers(found: Range) -> Range:
    """A quotient that is cut to a whole number."""
    return made(np.trunc(found.lo), np.trunc(found.hi), found.nan, found.pinf, found.ninf, found.fixed, found.sized)


@gives("Sum", "Max", "Min", "Mean")
def several(node: Node, of: Operands) -> Range:
    """Any number of operands."""
    operands = _operands(node, of)
    if node.op_type == "Max":
        return reduce(arithmetic.larger, operands)
    if node.op_type == "Min":
        return reduce(arithmetic.smaller, operands)
    total = reduce(arithmetic.added, operands)
    return arithmetic.divided(total, number(len(operands))) if node.op_type == "Mean" else total


@gives("Mod")
def remainder(node: Node, of: Operands) -> Range:
    """NaN where the divisor is 0 or the dividend infinite; else smaller than the divisor."""
    a, b = aligned(*_operands(node, of))
    size = arithmetic.magnitude(b)
    return made(
        np.where(a.empty | b.empty, np.inf, -size.hi),
        np.where(a.empty | b.empty, -np.inf, size.hi),
        a.nan | b.nan | a.infinite | b.may_be_zero,
        sized=a.sized and b.sized,
    )


@gives("Less", "Greater", "LessOrEqual", "GreaterOrEqual", "Equal")
def comparison(node: Node, of: Operands) -> Range:
    """False with NaN."""
    a, b = _operands(node, of)
    first, second = node.inputs[:2]
    if first is not None and second is not None and first.value is second.value:
        same = "Equal" in node.op_type
        return arithmetic.truth(np.asarray(same) & ~a.only_nan, np.asarray(not same) | a.nan, a.fixed, a.sized)
    if node.op_type == "Equal":
        return arithmetic.equal(a, b)
    if node.op_type.startswith("Greater"):
        a, b = b, a
    return arithmetic.less(a, b, or_equal=node.op_type.endswith("OrEqual"))


@gives("And", "Or", "Xor")
def logic(node: Node, of: Operands) -> Range:
    """Of booleans."""
    a, b = aligned(*_operands(node, of))
    fixed, sized = a.fixed & b.fixed, a.sized and b.sized
    if node.op_type == "And":
        return made(np.minimum(a.lo, b.lo), np.minimum(a.hi, b.hi), fixed=fixed, sized=sized)
    if node.op_type == "Or":
        return made(np.maximum(a.lo, b.lo), np.maximum(a.hi, b.hi), fixed=fixed, sized=sized)
    known = (a.lo == a.hi) & (b.lo == b.hi)
    differ = (a.lo != b.lo).astype(np.float64)
    return made(np.where(known, differ, 0.0), np.where(known, differ, 1.0), fixed=fixed, sized=sized)


@gives("Not")
def inverted(node: Node, of: Operands) -> Range:
    """1 − x."""
    return arithmetic.subtracted(ONE, given(of, 0))


@gives("IsNaN", "IsInf")
def test(node: Node, of: Operands) -> Range:
    """Whether an entry is NaN, or an infinity of the signs asked for."""
    a = given(of, 0)
    if node.op_type == "IsNaN":
        return arithmetic.truth(a.nan, ~a.only_nan, a.fixed, a.sized)
    up, down = bool(node.attribute("detect_positive", 1)), bool(node.attribute("detect_negative", 1))
    asked = (a.pinf & up) | (a.ninf & down)
    other = ~a.empty | a.nan | (a.pinf & (not up)) | (a.ninf & (not down))
    return arithmetic.truth(asked, other, a.fixed, a.sized)


@gives("Where")
def where(node: Node, of: Operands) -> Range:
    """Condition, value where it holds, value elsewhere (opset 9 to 16)."""
    return arithmetic.select(given(of, 0), given(of, 1), given(of, 2))


@gives("Clip")
def clip(node: Node, of: Operands) -> Range:
    """Bounds are attributes before opset 11, inputs since; one that is left out bounds nothing.

    An attribute that is NaN, or least > most as attributes, does not load: nothing is said there.
    """
    a, ends = given(of, 0), []
    for index, name, free in ((1, "min", -np.inf), (2, "max", np.inf)):
        if node.version < 11:
            end = float(node.attribute(name, free))
            ends.append(number(np.nan if np.isnan(end) else end))
        else:
            bound = of(index)
            ends.append(number(np.nan) if bound is None else bound)
    return arithmetic.clipped(a, ends[0], ends[1])


@gives("Cast", "CastLike")
def cast(node: Node, of: Operands) -> Range:
    """To floats the number; to integers the whole part where it fits, else anything; to booleans whether it is not 0.

    float16 rounds here and now: what lies beyond it is infinite.
    """
    a, dtype = given(of, 0), output_type(node)
    operand = node.input(0)
    if dtype is None or operand is None or operand.dtype is None or operand.dtype.is_string() or dtype.is_string():
        return anything(dtype, sized=a.sized)
    if dtype.name == "BOOL":
        zero = (a.lo == 0) & (a.hi == 0) & ~a.nan & ~a.infinite
        return arithmetic.truth(~zero, a.may_be_zero, a.fixed, a.sized)
    if dtype.name == "FLOAT16":
        return _halves(a)
    if dtype.is_floating_point():
        saturates = bool(node.attribute("saturate", 1))
        return a if dtype.name in ("FLOAT", "DOUBLE", "BFLOAT16") else _small(a, dtype.name, saturates)
    least, most = bounds(dtype)
    outside = a.nan | a.infinite | (a.lo < least) | (a.hi > most) | a.empty
    lo, hi = np.where(outside, least, np.trunc(a.lo)), np.where(outside, most, np.trunc(a.hi))
    return made(lo, hi, fixed=a.fixed, sized=a.sized)


def _halves(a: Range) -> Range:
    """Rounded to float16, perhaps by way of float32."""
    lo, hi = (
        np.nextafter(bound.astype(np.float32), np.float32(end)).astype(np.float16).astype(np.float64)
        for bound, end in ((a.lo, -np.inf), (a.hi, np.inf))
    )
    gone = a.empty | (lo == np.inf) | (hi == -np.inf)
    return made(
        np.where(gone, np.inf, np.maximum(lo, -65504.0)),
        np.where(gone, -np.inf, np.minimum(hi, 65504.0)),
        a.nan,
        a.pinf | (~a.empty & (lo == np.inf)),
        a.ninf | (~a.empty & (hi == -np.inf)),
        a.fixed,
        a.sized,
    )


_LARGEST = {"FLOAT8E4M3FN": 448.0, "FLOAT8E4M3FNUZ": 240.0, "FLOAT8E5M2": 57344.0, "FLOAT8E5M2FNUZ": 57344.0}
"""Largest numbers of eight bits."""


def _small(a: Range, name: str, saturates: bool) -> Range:
    """Whatever floats of eight bits or fewer make of numbers: they saturate, or overflow to NaN, E5M2 to Inf.

    Twice the largest number is beyond any rounding.
    """
    most = _LARGEST.get(name, np.inf)
    if a.tame and bool(((a.lo > 2 * most) | (a.hi < -2 * most)).all()):
        if saturates:
            ends = np.where(a.lo > 0, most, -most)
            return made(ends, ends, fixed=True, sized=a.sized)
        infinite = name == "FLOAT8E5M2"
        return made(np.full(a.shape, np.inf), -np.inf, True, infinite, infinite, sized=a.sized)
    return made(np.full(a.shape, -np.inf), np.inf, True, True, True, a.fixed, a.sized)


@gives("PRelu")
def parametric(node: Node, of: Operands) -> Range:
    """x where x ≥ 0, slope · x below."""
    a, slope = _operands(node, of)
    return leaky(a, slope)


def leaky(a: Range, slope: Range) -> Range:
    """x where x ≥ 0, slope · x below; NaN where x is NaN."""
    a, slope = aligned(a, slope)
    gone = a.empty | (a.hi < 0)
    above = made(
        np.where(gone, np.inf, np.maximum(a.lo, 0.0)),
        np.where(gone, -np.inf, a.hi),
        a.nan,
        a.pinf,
        fixed=a.fixed,
        sized=a.sized,
    )
    none = a.empty | (a.lo >= 0)
    below = made(np.where(none, np.inf, a.lo), np.where(none, -np.inf, np.minimum(a.hi, 0.0)), False, False, a.ninf)
    scaled = arithmetic.multiplied(below, slope)
    nothing = none & ~a.ninf
    scaled = chosen(nothing, made(np.inf, -np.inf), scaled)
    joined = union(above, scaled)
    return made(
        joined.lo,
        joined.hi,
        joined.nan,
        joined.pinf,
        joined.ninf,
        (a.fixed & slope.fixed) | joined.fixed,
        a.sized and slope.sized,
    )


@gives("LeakyRelu")
def leaky_relu(node: Node, of: Operands) -> Range:
    """Attribute alpha, 0.01 by default."""
    return leaky(given(of, 0), number(float(node.attribute("alpha", 0.01))))


@gives("Identity", "Dropout")
def identity(node: Node, of: Operands) -> list[Range]:
    """The first operand; in training anything. The mask of a Dropout is not looked at."""
    mode = of(2)
    trains = mode is not None and bool(np.any(mode.hi > 0))
    if node.op_type == "Dropout" and (trains or (node.version < 7 and not node.attribute("is_test", 0))):
        return [anything(output_type(node))]
    return [given(of, 0)]


finite_of_finite("BiasAdd", domain="com.microsoft")
