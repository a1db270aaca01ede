"""Lower bounds of a rank over ℚ within a budget of work, the cheapest proof first.

A Cholesky factorisation of the Gram matrix proves full rank in one pass of ordinary arithmetic; where it fails, or where the
matrix is so small that handing it over costs nothing, the rank modulo a prime never exceeds the rank over ℚ.
"""

from __future__ import annotations

import numpy as np

from onnxnull.kernel.budget import ENTRY_WORK, Budget
from onnxnull.kernel.numerics.arithmetic import Prime, residues
from onnxnull.kernel.numerics.rounding import Array, gram_of
from onnxnull.kernel.rank.cholesky import roomy_shift
from onnxnull.kernel.rank.definite import smallest_above

_PASS_WORK = 30.0
"""Multiply-adds that a few passes over a matrix cost, an entry."""
_TINY = 2000
"""Up to this many entries elimination modulo a prime costs less than the few calls that a factorisation takes."""
_FAR = 200
"""Powers of two beyond which squares may leave the range in which rounding errors are bounded (`numerics.rounding`)."""


def rational_rank_at_least(matrix: Array, budget: Budget) -> int:
    """A proved lower bound of the rank over ℚ of a matrix of doubles (rows, columns), almost always the rank itself.

    Raises:
        OutOfBudget: there is not enough work left for an answer.
    """
    rows, columns = matrix.shape
    entries = float(rows) * columns
    budget.spend(entries * (min(rows, columns) + _PASS_WORK))
    if entries > _TINY and has_full_rank(matrix):
        return int(min(rows, columns))
    budget.spend(entries * (ENTRY_WORK - _PASS_WORK))
    return Prime().rank(residues(matrix))


def has_full_rank(matrix: Array) -> bool:
    """Whether a Cholesky factorisation proves that the rank is the shorter side. False proves nothing."""
    tall = matrix if matrix.shape[0] >= matrix.shape[1] else matrix.T
    if not tall.any(axis=0).all() or abs(int(np.frexp(np.abs(tall).max(initial=0.0))[1])) > _FAR:
        return False
    gram = gram_of(tall)
    return smallest_above(gram, roomy_shift(gram, 0.0)) is not None
