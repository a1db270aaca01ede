"""Sums and products with their rounding errors, and matrix products far more accurate than one rounding.

`two_sum` and `two_product` give a result and its rounding error as two doubles (Knuth; Dekker; Ogita, Rump, Oishi, *Accurate
sum and dot product*, SIAM J. Sci. Comput. 26 (2005)). `product` makes do with ordinary BLAS calls (Ozaki, Ogita, Oishi, Rump,
*Error-free transformations of matrix multiplication*, Numerical Algorithms 59 (2012)): it splits both factors into slices of so
few bits that the products of the leading slices are exact; what is left is 2⁻⁴⁰ smaller, and plain arithmetic is good enough
for it. Everything is IEEE double, rounded to nearest.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from onnxnull.kernel.numerics.rounding import UNDERFLOW, UNIT, Array, gamma, up

_SPLIT = 2.0**27 + 1


def two_sum(a: Array, b: Array) -> tuple[Array, Array]:
    """(s, e): s = fl(a + b), s + e = a + b exactly; not finite where it overflows."""
    with np.errstate(over="ignore", invalid="ignore"):
        s = a + b
        t = s - a
        return s, (a - (s - t)) + (b - t)


def two_difference(x1: Array, x0: Array) -> tuple[Array, Array]:
    """(hi, lo): hi = fl(x1 − x0), hi + lo = x1 − x0 exactly; not finite where it overflows."""
    return two_sum(np.asarray(x1, dtype=np.float64), -np.asarray(x0, dtype=np.float64))


def two_product(a: Array, b: Array) -> tuple[Array, Array]:
    """(p, e): p = fl(a·b), p + e = a·b where that is 0 or at least 2⁻⁹⁰⁰; not finite where it, 2²⁸·a or 2²⁸·b overflows."""
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        p = a * b
        a1, b1 = (x * _SPLIT - (x * _SPLIT - x) for x in (a, b))
        a2, b2 = a - a1, b - b1
        return p, a2 * b2 - (((p - a1 * b1) - a2 * b1) - a1 * b2)


@dataclass(frozen=True, slots=True)
class Sliced:
    """The right factor x (n, k) of many products, cut into slices once: x = first + second + rest."""

    first: Array
    second: Array
    rest: Array
    bits: int

    @classmethod
    def of(cls, x: Array) -> Sliced:
        """Cut x so that products of the leading slices, sums of up to n terms, are exact."""
        bits = (53 - math.ceil(math.log2(max(len(x), 2)))) // 2
        first, rest = _slice(x, bits, axis=0)
        second, rest = _slice(rest, bits, axis=0)
        return cls(first, second, rest, bits)

    def rows(self, start: int, stop: int) -> Sliced:
        """Some rows of x."""
        return Sliced(self.first[start:stop], self.second[start:stop], self.rest[start:stop], self.bits)


def product(a: Array, x: Sliced) -> tuple[Array, float]:
    """a @ x for a (m, n), x (n, k), and a bound of its error in the Frobenius norm.

    The bound is about u·‖a @ x‖_F + n²·2⁻⁹⁰·‖a‖_F·‖x‖_F: tiny results of large factors keep their leading digits.
    """
    a1, rest = _slice(a, x.bits, axis=1)
    a2, a3 = _slice(rest, x.bits, axis=1)
    # Exact: sums of n integers below 2^bits·2^bits, times a power of two per row and column.
    leading, second, third = a1 @ x.first, a1 @ x.second, a2 @ x.first
    beyond = x.second + x.rest
    tail = a1 @ x.rest + a2 @ beyond
    size = _norm(a1) * _norm(x.rest) + _norm(a2) * (_norm(x.second) + _norm(x.rest))
    if a3.any():
        tail += a3 @ (x.first + beyond)
        size += _norm(a3) * (_norm(x.first) + _norm(beyond))
    total, lost = two_sum(leading, second)
    total, lost_too = two_sum(total, third)
    small = lost + lost_too + tail
    y = total + small
    # The tail: γ_{n+4} per product. The sum of the three small terms, and the last addition: one rounding each.
    error = gamma(a.shape[1] + 8) * size + 4 * UNIT * (_norm(lost) + _norm(lost_too) + _norm(tail)) + UNIT * 2 * _norm(y)
    return y, up(error) * (1 + gamma(x.first.size + a.size)) + UNDERFLOW


def _slice(a: Array, bits: int, axis: int) -> tuple[Array, Array]:
    """The leading `bits` bits of every row (axis=1) or column (axis=0), relative to its largest entry, and the rest.

    Adding and subtracting 1.5·2^(52 + e − bits) rounds to multiples of 2^(e − bits), e the exponent of the largest entry:
    both parts are exact.
    """
    largest = np.abs(a).max(axis=axis, keepdims=True)
    _, exponent = np.frexp(largest)
    anchor = np.ldexp(1.5, np.maximum(exponent, -800) + (52 - bits))
    head = (a + anchor) - anchor
    return head, a - head


def _norm(a: Array) -> float:
    """Frobenius norm."""
    return float(np.linalg.norm(a))
