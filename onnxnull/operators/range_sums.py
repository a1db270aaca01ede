"""Ranges of sums of products with a constant: what matrix products and convolutions have in common (all opsets).

Where the entries of the activation share one set, a column of weights is as good as one number for each of its kinds: the sum
of the positive ones, that of the negative ones, and one each for 0, NaN, Inf and −Inf. Bounds of a sum of n terms grow by the
rounding of n additions. What is 0 or NaN or infinite in a sum is so whatever the order.
"""

from __future__ import annotations

import numpy as np

from onnxnull.graph.constants import Constant
from onnxnull.graph.node import Node
from onnxnull.intervals import arithmetic
from onnxnull.intervals.domain import INF, Bools, Floats, Range, assembled, constant, made, reshaped, some, union
from onnxnull.operators.range_rules import Operands
from onnxnull.operators.steps import constant_value

LARGEST = 1 << 20
"""Products of sets at a time."""


def kinds_of(weight: np.ndarray, axes: tuple[int, ...]) -> tuple[Floats, Bools]:
    """(6, ...): numbers that stand for the entries along `axes`, which are kept with length 1; and which of them there are."""
    step = max(1, LARGEST * len(weight) // max(1, weight.size))
    pieces = [_kinds_of_piece(weight[start : start + step], axes) for start in range(0, len(weight), step)]
    if 0 not in axes:
        return np.concatenate([values for values, _ in pieces], axis=1), np.concatenate([there for _, there in pieces], axis=1)
    values = np.stack([values for values, _ in pieces])
    total: Floats = values[0].copy()
    total[:2] = values[:, :2].sum(axis=0)
    return total, some(np.stack([there for _, there in pieces]), (0,), keep=False)


def _kinds_of_piece(weight: np.ndarray, axes: tuple[int, ...]) -> tuple[Floats, Bools]:
    numbers = weight.astype(np.float32) if weight.dtype.kind == "V" else weight
    finite = np.isfinite(numbers)
    clean = numbers if finite.all() else np.where(finite, numbers, 0)

    positive, negative = clean > 0, clean < 0
    up = np.sum(clean, axis=axes, keepdims=True, dtype=np.float64, where=positive)
    down = np.sum(clean, axis=axes, keepdims=True, dtype=np.float64, where=negative)
    zero = some(finite & ~positive & ~negative, axes)
    odd = (
        [np.zeros_like(zero)] * 3
        if finite.all()
        else [some(test, axes) for test in (np.isnan(numbers), numbers == INF, numbers == -INF)]
    )
    there = np.stack([some(positive, axes), some(negative, axes), zero, *odd])
    return np.stack([up, down, *(np.full(zero.shape, value) for value in (0.0, np.nan, INF, -INF))]), there


def summed(terms: Range, there: Bools, axis: tuple[int, ...], slack: float) -> Range:
    """The sum of the terms that are there along `axis` (dropped), each added at least once; of none of them, 0.

    Args:
        slack: what rounding may lose, of the sum of the terms' sizes (`Operands.slack`).
    """
    empty = some(terms.empty & there, axis, keep=False)
    lo = np.sum(np.where(there & ~terms.empty, terms.lo, 0.0), axis=axis)
    hi = np.sum(np.where(there & ~terms.empty, terms.hi, 0.0), axis=axis)
    size = np.sum(np.where(there & ~terms.empty, np.maximum(np.abs(terms.lo), np.abs(terms.hi)), 0.0), axis=axis)
    lo, hi = lo - slack * size, hi + slack * size
    up, down = some(terms.pinf & there, axis, keep=False), some(terms.ninf & there, axis, keep=False)
    return made(
        np.where(empty, INF, lo),
        np.where(empty, -INF, hi),
        some(terms.nan & there, axis, keep=False) | (up & down),
        up,
        down,
        np.all(terms.fixed | ~there, axis=axis),
        terms.sized,
    )


def maybe_absent(terms: Range, weights: Range) -> Range:
    """Terms some of which a padding of zeros replaces, multiplied or left out."""
    return union(terms, arithmetic.ZERO, arithmetic.multiplied(arithmetic.ZERO, weights))


def of_one_set(activation: Range, weight: np.ndarray, axes: tuple[int, ...], slack: float, *, absent: bool = False) -> Range:
    """Sums over `axes` of a weight times entries of one set; `axes` are dropped. With `absent`, a term may also be missing."""
    values, there = kinds_of(weight, axes)
    numbers = constant(values)
    terms = arithmetic.multiplied(reshaped(activation, (1,) * values.ndim), numbers)
    if absent:
        terms = maybe_absent(terms, numbers)
    found = summed(terms, there, (0,), slack)
    return reshaped(found, tuple(size for axis, size in enumerate(found.shape) if axis not in axes))


def of_many_sets(activation: Range, weight: np.ndarray, slack: float) -> Range:
    """(K,) sets times a weight (K, N), column by column in pieces."""
    pieces = []
    step = max(1, LARGEST // max(1, len(weight)))
    column = reshaped(activation, (-1, 1))
    for start in range(0, weight.shape[1], step):
        piece = constant(weight[:, start : start + step])
        terms = arithmetic.multiplied(column, piece)
        pieces.append(summed(terms, np.ones((1, 1), np.bool_), (0,), slack))
    parts = [np.concatenate(columns) for columns in zip(*(each.parts for each in pieces), strict=True)]
    return assembled(parts, activation.sized)


def of_unknown_count(a: Range, b: Range) -> Range:
    """A sum of products of sets, of an unknown number of terms: at least one."""
    term = arithmetic.multiplied(a, b)
    zero = (term.lo == 0) & (term.hi == 0)
    lo = np.where(term.empty, INF, np.where(zero, 0.0, np.where(term.lo >= 0, term.lo, -INF)))
    hi = np.where(term.empty, -INF, np.where(zero, 0.0, np.where(term.hi <= 0, term.hi, INF)))
    return made(lo, hi, term.nan | (term.pinf & term.ninf), term.pinf, term.ninf, sized=a.sized and b.sized)


def weight_of(node: Node, of: Operands, index: int) -> np.ndarray | None:
    """The array of a constant operand; None also where all that may be looked at has been."""
    operand = node.input(index)
    if operand is None or not isinstance(operand.constant, Constant) or not of.affords(of.cost(operand.constant)):
        return None
    return constant_value(node, index)
