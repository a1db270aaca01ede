"""An enclosure of the largest singular value of a block-diagonal weight: every cut-off is a multiple of it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from onnxnull.kernel.numerics.rounding import Gram, down, gamma, up
from onnxnull.kernel.rank.definite import largest_below
from onnxnull.kernel.rank.problem import Problem


@dataclass(frozen=True, slots=True)
class Enclosure:
    """`low` ≤ σ_max ≤ `high` of the scaled weight, proved; `estimate` is the best guess."""

    low: float
    high: float
    estimate: float

    def meet(self, other: Enclosure) -> Enclosure:
        """What both say together; the estimate is the other's."""
        return Enclosure(max(self.low, other.low), min(self.high, other.high), other.estimate)


def from_norms(problem: Problem) -> Enclosure:
    """A rough enclosure from one pass over the entries: the longest column, ‖W‖_F and √(‖W‖₁·‖W‖_∞)."""
    low = high = 0.0
    for block in problem.blocks:
        columns, squares, longest = np.zeros(block.n), np.zeros(block.n), 0.0
        for piece in block.pieces(1024):
            squares += np.einsum("ij,ij->j", piece, piece)
            absolute = np.abs(piece)
            columns += absolute.sum(axis=0)
            longest = max(longest, float(absolute.sum(axis=1).max()))
        rounding = gamma(block.m + block.n)
        low = max(low, float(squares.max()) * (1 - rounding))
        high = max(high, min(float(squares.sum()), float(columns.max()) * longest) * (1 + 3 * rounding))
    return Enclosure(math.sqrt(low) * (1 - 2.0**-20), math.sqrt(high) * (1 + 2.0**-20), math.sqrt(low))


def from_grams(problem: Problem) -> Enclosure:
    """A rough enclosure from the Gram matrices: the longest column, and ‖G‖_∞ or the trace."""
    low = max(float(block.gram.matrix.diagonal().max()) - block.gram.error for block in problem.blocks)
    high = max(_cap(block.gram) for block in problem.blocks)
    low = max(down(low), 0.0)
    return Enclosure(math.sqrt(low) * (1 - 2.0**-20), math.sqrt(high) * (1 + 2.0**-20), math.sqrt(low))


def enclose(problem: Problem) -> Enclosure:
    """A tight enclosure of σ_max: a Krylov iteration and a Cholesky for every block that may hold it."""
    caps = [_cap(block.gram) for block in problem.blocks]
    low = high = estimate = 0.0
    for i in np.argsort(caps)[::-1]:
        if caps[i] <= low:  # no other block can hold the largest one
            break
        gram, (value, vector) = problem.blocks[i].gram, problem.blocks[i].top
        estimate = max(estimate, value)
        low = max(low, _rayleigh(gram, vector))
        high = max(high, _proved(gram, value))
    # A millionth of room on both sides, so that a checker with coarser means reaches the same bounds.
    return Enclosure(math.sqrt(low) * (1 - 2.0**-20), math.sqrt(high) * (1 + 2.0**-20), math.sqrt(estimate))


def _cap(gram: Gram) -> float:
    """A cheap upper bound of λ_max: ‖G‖_∞ (with Σ|g_ij| rounded) or the trace."""
    return up(min(float(np.abs(gram.matrix).sum(axis=1).max()) * (1 + gamma(gram.n)) + gram.error, gram.trace))


def _rayleigh(gram: Gram, vector: np.ndarray[tuple[int], np.dtype[np.float64]]) -> float:
    """A proved lower bound of λ_max: vᵀGv/vᵀv, where fl(vᵀGv) errs by at most γ_{2n}·|v|ᵀ|G||v| ≤ γ_{2n}·‖G‖_F·vᵀv."""
    square = float(vector @ vector)
    error = gamma(2 * gram.n + 4) * gram.trace * 1.01 + gram.error
    return max(0.0, down(float(vector @ (gram.matrix @ vector)) / (square * (1 + gamma(gram.n)))) - up(error))


def _proved(gram: Gram, estimate: float) -> float:
    """A proved upper bound of λ_max, a little above the estimate."""
    if gram.n == 1:
        return up(estimate + gram.error)
    for margin in (2.0**-24, 2.0**-12):
        shift = estimate * (1 + margin) + 4 * (gram.error + gamma(gram.n + 10) * gram.n * estimate)
        proved = largest_below(gram, shift)
        if proved is not None:
            return proved
    return _cap(gram)
