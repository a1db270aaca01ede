"""What operations make of sets, entry by entry, as onnxruntime's CPU provider computes them (1.31, tried operator by operator).

Every function broadcasts as NumPy does and gives bounds that are exact up to float64's rounding: `domain.rounded` widens them.
Max, Min, Relu and Clip hand NaN on; a NaN as bound of Clip bounds nothing; NaN⁰ = 1^NaN = 1; comparisons with NaN are false.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from onnxnull.intervals.domain import INF, Bools, Floats, Range, aligned, chosen, constant, made, number, union

ZERO, ONE = number(0.0), number(1.0)


def _products(a: Floats, b: Floats) -> Floats:
    """Products of bounds: 0 times an unbounded finite number is 0."""
    return np.where((a == 0) | (b == 0), 0.0, a * b)


def negated(a: Range) -> Range:
    """−a."""
    return Range(-a.hi, -a.lo, a.nan, a.ninf, a.pinf, a.fixed, a.sized)


def added(a: Range, b: Range) -> Range:
    """a + b; Inf − Inf is NaN."""
    a, b = aligned(a, b)
    gone = a.empty | b.empty
    lo, hi = a.lo + b.lo, a.hi + b.hi
    return made(
        np.where(gone, INF, lo),
        np.where(gone, -INF, hi),
        a.nan | b.nan | (a.pinf & b.ninf) | (a.ninf & b.pinf),
        (a.pinf & (~b.empty | b.pinf)) | (b.pinf & (~a.empty | a.pinf)),
        (a.ninf & (~b.empty | b.ninf)) | (b.ninf & (~a.empty | a.ninf)),
        a.fixed & b.fixed,
        a.sized and b.sized,
    )


def subtracted(a: Range, b: Range) -> Range:
    """a − b."""
    return added(a, negated(b))


def multiplied(a: Range, b: Range) -> Range:
    """a · b; 0 · Inf is NaN."""
    a, b = aligned(a, b)
    gone = a.empty | b.empty
    corners = np.stack(np.broadcast_arrays(*(_products(x, y) for x in (a.lo, a.hi) for y in (b.lo, b.hi))))
    positive, negative = (a.may_be_positive, b.may_be_positive), (a.may_be_negative, b.may_be_negative)
    same = ((a.pinf & positive[1]) | (a.ninf & negative[1]), (b.pinf & positive[0]) | (b.ninf & negative[0]))
    opposite = ((a.pinf & negative[1]) | (a.ninf & positive[1]), (b.pinf & negative[0]) | (b.ninf & positive[0]))
    return made(
        np.where(gone, INF, corners.min(axis=0)),
        np.where(gone, -INF, corners.max(axis=0)),
        a.nan | b.nan | (a.infinite & b.may_be_zero) | (b.infinite & a.may_be_zero),
        same[0] | same[1],
        opposite[0] | opposite[1],
        a.fixed & b.fixed,
        a.sized and b.sized,
    )


def reciprocal(a: Range) -> Range:
    """1 / a: an infinity of either sign at 0, of which the sign is not known; unbounded where the set comes near 0."""
    zero = a.may_be_zero
    only_zero = (a.lo == 0) & (a.hi == 0)
    lo = np.where(a.hi == 0, -INF, 1.0 / np.where(a.hi == 0, 1.0, a.hi))
    hi = np.where(a.lo == 0, INF, 1.0 / np.where(a.lo == 0, 1.0, a.lo))
    lo, hi = np.where((a.lo < 0) & (a.hi >= 0), -INF, lo), np.where((a.lo <= 0) & (a.hi > 0), INF, hi)
    gone = a.empty | only_zero
    lo, hi = np.where(gone, INF, lo), np.where(gone, -INF, hi)
    lo, hi = np.where(a.infinite, np.minimum(lo, 0.0), lo), np.where(a.infinite, np.maximum(hi, 0.0), hi)
    return made(lo, hi, a.nan, zero, zero, a.fixed & ~zero, a.sized)


def divided(a: Range, b: Range) -> Range:
    """a / b; 0 / 0 and Inf / Inf are NaN."""
    a, b = aligned(a, b)
    finite_b = made(b.lo, b.hi, sized=b.sized)
    quotient = multiplied(made(a.lo, a.hi, sized=a.sized), _inverse(finite_b))
    vanish = ~a.empty & b.infinite
    lo, hi = (
        np.where(vanish, np.minimum(quotient.lo, 0.0), quotient.lo),
        np.where(vanish, np.maximum(quotient.hi, 0.0), quotient.hi),
    )
    by_zero = b.may_be_zero
    nonzero = a.may_be_positive | a.may_be_negative
    some = ~b.empty
    upward = (a.pinf & some & (b.hi >= 0)) | (a.ninf & some & (b.lo <= 0)) | (by_zero & nonzero)
    downward = (a.ninf & some & (b.hi >= 0)) | (a.pinf & some & (b.lo <= 0)) | (by_zero & nonzero)
    nan = a.nan | b.nan | (a.may_be_zero & by_zero) | (a.infinite & b.infinite)
    return made(lo, hi, nan, upward, downward, a.fixed & b.fixed & ~by_zero, a.sized and b.sized)


def _inverse(b: Range) -> Range:
    """1 / b over the finite numbers of b other than 0."""
    found = reciprocal(b)
    return made(found.lo, found.hi, sized=b.sized)


def square_root(a: Range) -> Range:
    """√a; NaN below 0."""
    negative = a.may_be_negative
    gone = a.empty | (a.hi < 0)
    lo, hi = np.sqrt(np.maximum(a.lo, 0.0)), np.sqrt(np.maximum(a.hi, 0.0))
    return made(np.where(gone, INF, lo), np.where(gone, -INF, hi), a.nan | negative, a.pinf, False, a.fixed, a.sized)


def logarithm(a: Range) -> Range:
    """log a; −Inf at 0, NaN below."""
    gone = a.empty | (a.hi <= 0)
    lo = np.where(a.lo > 0, np.log(np.where(a.lo > 0, a.lo, 1.0)), -INF)
    hi = np.log(np.where(a.hi > 0, a.hi, 1.0))
    lo, hi = lo - 1e-3 * np.abs(lo) - 1e-5, hi + 1e-3 * np.abs(hi) + 1e-5
    return made(
        np.where(gone, INF, lo), np.where(gone, -INF, hi), a.nan | a.may_be_negative, a.pinf, a.may_be_zero, a.fixed, a.sized
    )


def magnitude(a: Range) -> Range:
    """|a|."""
    lo = np.where(a.lo > 0, a.lo, np.where(a.hi < 0, -a.hi, 0.0))
    hi = np.maximum(np.abs(a.lo), np.abs(a.hi))
    return made(np.where(a.empty, INF, lo), np.where(a.empty, -INF, hi), a.nan, a.infinite, False, a.fixed, a.sized)


def squared(a: Range) -> Range:
    """a · a."""
    positive = magnitude(a)
    return multiplied(positive, positive)


def larger(a: Range, b: Range) -> Range:
    """max(a, b); NaN where one is."""
    a, b = aligned(a, b)
    both = ~a.empty & ~b.empty
    lo, hi = np.where(both, np.maximum(a.lo, b.lo), INF), np.where(both, np.maximum(a.hi, b.hi), -INF)
    for one, other in ((a, b), (b, a)):
        alone = one.ninf & ~other.empty
        lo, hi = np.where(alone, np.minimum(lo, other.lo), lo), np.where(alone, np.maximum(hi, other.hi), hi)
    numbers = [~each.empty | each.pinf | each.ninf for each in (a, b)]
    return made(
        lo,
        hi,
        a.nan | b.nan,
        (a.pinf & numbers[1]) | (b.pinf & numbers[0]),
        a.ninf & b.ninf,
        a.fixed & b.fixed,
        a.sized and b.sized,
    )


def smaller(a: Range, b: Range) -> Range:
    """min(a, b); NaN where one is."""
    return negated(larger(negated(a), negated(b)))


def clipped(a: Range, least: Range, most: Range) -> Range:
    """min(max(a, least), most): a bound that is NaN bounds nothing."""
    for bound, operation in ((least, larger), (most, smaller)):
        a, bound = aligned(a, bound)
        free = made(bound.lo, bound.hi, False, bound.pinf, bound.ninf, bound.fixed, bound.sized)
        nothing = bound.only_nan
        within = operation(a, chosen(nothing, a, free))
        within = chosen(bound.nan & ~nothing, union(within, a), within)
        a = replace(within, sized=within.sized and bound.sized)
    return a


def powered(a: Range, b: Range) -> Range:
    """aᵇ: x⁰ = 1 for every x and 1^y = 1 for every y, NaN included; bounds only where they are cheap to have."""
    a, b = aligned(a, b)
    always_one = ((b.lo == 0) & (b.hi == 0) & ~b.nan & ~b.infinite) | ((a.lo == 1) & (a.hi == 1) & ~a.nan & ~a.infinite)
    one = b.may_be_zero | a.contains(1.0)
    whole = (b.lo == b.hi) & (b.lo == np.round(b.lo)) & ~b.nan & ~b.infinite
    fractional = ~b.empty & ~whole
    only_fractional = (b.lo == b.hi) & ~whole & ~b.nan & ~b.infinite
    even = whole & (np.mod(b.lo, 2.0) == 0)
    base_negative = ~a.empty & (a.lo < 0)
    nan = a.nan | b.nan | (base_negative & fractional)
    never = (~a.empty & (a.hi < 0)) & only_fractional
    gone = (a.empty | b.empty) & ~one & ~(a.infinite & (~b.empty | b.infinite)) & ~(b.infinite & (~a.empty | a.infinite))
    gone |= never & ~a.nan & ~a.infinite
    lo = np.where(even | (a.lo >= 0), 0.0, -INF)
    lo, hi = np.broadcast_arrays(lo, np.asarray(INF))
    square = (b.lo == 2) & (b.hi == 2)
    simple = square & ~a.empty
    bound = squared(made(a.lo, a.hi))
    lo, hi = np.where(simple, bound.lo, lo), np.where(simple & ~a.infinite, bound.hi, hi)
    grows = a.infinite | b.infinite | (a.may_be_zero & b.may_be_negative)
    # 0 to a negative power is infinite, whatever its sign
    pole = (a.lo == 0) & (a.hi == 0) & ~a.nan & ~a.infinite & ~b.empty & (b.hi < 0) & ~b.nan & ~b.infinite
    gone |= pole
    result = made(
        np.where(gone, INF, lo),
        np.where(gone, -INF, hi),
        nan,
        grows & ~never,
        grows & ~never & (a.may_be_negative | a.may_be_zero),
        a.fixed & b.fixed & ~a.may_be_zero,
        a.sized and b.sized,
    )
    return chosen(always_one, replace(ONE, sized=result.sized), result)


def truth(may_be_true: Bools, may_be_false: Bools, fixed: Bools, sized: bool) -> Range:
    """A boolean from what it may be."""
    return made(np.where(may_be_false, 0.0, 1.0), np.where(may_be_true, 1.0, 0.0), fixed=fixed, sized=sized)


def less(a: Range, b: Range, *, or_equal: bool = False) -> Range:
    """a < b, or a ≤ b; false with NaN."""
    a, b = aligned(a, b)
    (low_a, high_a), (low_b, high_b) = _extended(a), _extended(b)
    numbers = ~(a.only_nan | b.only_nan)
    yes = numbers & (low_a <= high_b if or_equal else low_a < high_b)
    no = a.nan | b.nan | (numbers & (high_a > low_b if or_equal else high_a >= low_b))
    return truth(yes, no, a.fixed & b.fixed, a.sized and b.sized)


def _extended(a: Range) -> tuple[Floats, Floats]:
    """Bounds with the infinities among the numbers. An unbounded set of finite numbers counts as if it had them."""
    return np.where(a.ninf, -INF, np.where(a.empty & a.pinf, INF, a.lo)), np.where(
        a.pinf, INF, np.where(a.empty & a.ninf, -INF, a.hi)
    )


def equal(a: Range, b: Range) -> Range:
    """a = b; false with NaN."""
    a, b = aligned(a, b)
    overlap = ~a.empty & ~b.empty & (a.lo <= b.hi) & (b.lo <= a.hi)
    yes = overlap | (a.pinf & b.pinf) | (a.ninf & b.ninf)
    alone = [(each.lo == each.hi) & ~each.nan & ~each.infinite for each in (a, b)]
    infinities = [each.empty & ~each.nan & (each.pinf != each.ninf) for each in (a, b)]
    same = (alone[0] & alone[1] & (a.lo == b.lo)) | (infinities[0] & infinities[1] & (a.pinf == b.pinf))
    return truth(yes, ~same, a.fixed & b.fixed, a.sized and b.sized)


def monotone(a: Range, function: Callable[[Floats], Floats]) -> Range:
    """The image under a function that never falls, whose limits at the infinities NumPy gives; NaN stays NaN."""
    lo, hi = np.asarray(function(a.lo), np.float64), np.asarray(function(a.hi), np.float64)
    ends = [float(function(np.asarray(end))) for end in (-INF, INF)]
    lo, hi = np.where(a.empty, INF, np.where(np.isnan(lo), -INF, lo)), np.where(a.empty, -INF, np.where(np.isnan(hi), INF, hi))
    result = made(lo, hi, a.nan, False, False, a.fixed, a.sized)
    for flag, end in zip((a.ninf, a.pinf), ends, strict=True):
        image = constant(np.asarray(end))
        nothing = made(INF, -INF)
        joined = union(result, chosen(flag, image, nothing))
        result = replace(joined, fixed=a.fixed | joined.fixed, sized=a.sized)
    return result


def select(condition: Range, yes: Range, no: Range) -> Range:
    """`yes` where the condition must hold, `no` where it cannot, else either."""
    condition, yes, no = aligned(condition, yes, no)
    surely, never = condition.lo >= 1, condition.hi <= 0
    either = union(yes, no)
    kept = condition.fixed & yes.fixed & no.fixed
    either = made(either.lo, either.hi, either.nan, either.pinf, either.ninf, either.fixed | kept, either.sized)
    result = chosen(surely, yes, chosen(never, no, either))
    return replace(result, sized=condition.sized and yes.sized and no.sized)
