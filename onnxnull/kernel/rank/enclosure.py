"""An enclosure of the largest singular value of a block-diagonal weight: every cut-off is a multiple of it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from onnxnull.kernel.rank.definite import largest_below
from onnxnull.kernel.rank.extremes import largest
from onnxnull.kernel.rank.problem import Problem
from onnxnull.kernel.rank.rounding import Gram, down, gamma, up


@dataclass(frozen=True, slots=True)
class Enclosure:
    """`low` ≤ σ_max ≤ `high` of the scaled weight, proved; `estimate` is the best guess."""

    low: float
    high: float
    estimate: float


def enclose(problem: Problem, *, tight: bool = True) -> Enclosure:
    """Enclose σ_max; `tight=False` saves a Cholesky and takes the cheapest norm as the upper bound."""
    caps = [_cap(block.gram) for block in problem.blocks]
    low = high = estimate = 0.0
    for i in np.argsort(caps)[::-1]:
        if caps[i] <= low:  # no other block can hold the largest one
            break
        gram = problem.blocks[i].gram
        value, vector = largest(gram.matrix)
        estimate = max(estimate, value)
        low = max(low, _rayleigh(gram, vector))
        high = max(high, _proved(gram, value) if tight else caps[i])
    return Enclosure(down(math.sqrt(low)), up(math.sqrt(high)), math.sqrt(estimate))


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
        shift = estimate * (1 + margin) + 4 * (gram.error + gamma(2 * gram.n + 4) * gram.n * estimate)
        proved = largest_below(gram, shift)
        if proved is not None:
            return proved
    return _cap(gram)
