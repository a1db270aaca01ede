"""Bounds where only a few singular values, at the lower end, are below the cut-off: neither eigenvalues nor factorisations.

With V (n, k) near the eigenvectors of the k smallest eigenvalues of the Gram matrix G:

- at most n − k: λ_{n−k+1}(G) ≤ ‖VᵀGV‖/σ_min(V)² (Courant–Fischer);
- at least n − k: λ_{n−k}(G) ≥ λ_min(G + c·VVᵀ), since adding a matrix of rank k lifts at most k eigenvalues over
  λ_{n−k} (Weyl); one Cholesky proves the right-hand side.

Prefer it for large square weights: their smallest singular values lie near the float32 cut-off.
"""

from __future__ import annotations

import math

import numpy as np

from onnxnull.kernel.numerics.rounding import UNIT, Array, Gram, down, gamma, up
from onnxnull.kernel.rank.definite import smallest_above
from onnxnull.kernel.rank.evidence import Bracket, Cutoff, ProvedBound
from onnxnull.kernel.rank.extremes import DENSE, WIDTH
from onnxnull.kernel.rank.problem import Block


def counted(block: Block, cutoff: Cutoff, known: Bracket) -> tuple[ProvedBound | None, ProvedBound | None]:
    """Bounds from the bottom of the spectrum, if only a handful of values are below the cut-off; large blocks only."""
    if block.n <= DENSE or known.upper.count != block.n or block.bottom is None:
        return None, None
    values, vectors = block.bottom
    above, below = up(cutoff.high**2), down(cutoff.low**2)
    k = int(np.count_nonzero(values <= (above + below) / 2))
    if k >= WIDTH - 2:
        return None, None
    v = np.ascontiguousarray(vectors[:, :k])
    upper = lower = None
    largest = _ritz_bound(block.gram, v) if k else math.inf
    if largest < 0.95 * below:
        upper = ProvedBound("gram", block.n - k, {"shift": math.sqrt(largest * below).hex()})
    shift = math.sqrt(above * float(values[k])) if values[k] > above else 0.0
    proved = smallest_above(_lifted(block.gram, v) if k else block.gram, shift) if shift > 0 else None
    if proved is not None and proved > above:
        lower = ProvedBound("gram", block.n - k, {"shift": math.sqrt(above * proved).hex()})
    return lower, upper


def _ritz_bound(gram: Gram, v: Array) -> float:
    """A proved upper bound of the k-th smallest eigenvalue of AᵀA, v (n, k) with nearly orthonormal columns."""
    k = v.shape[1]
    ritz = v.T @ (gram.matrix @ v)
    # |fl(vᵀGv) − vᵀGv| ≤ γ_{2n+2}·|v|ᵀ|G||v|, whose row sums are at most √k·‖G‖_F·‖v‖_F², and ‖v‖_F² ≈ k.
    error = gamma(2 * gram.n + 4) * float(np.linalg.norm(gram.matrix)) * (k * k + 1)
    off = float(np.abs(v.T @ v - np.eye(k)).sum(axis=1).max()) + gamma(gram.n + 2) * (k * k + 1)
    return up((float(np.abs(ritz).sum(axis=1).max()) + error + 1.01 * gram.error) / (1 - off)) if off < 1e-3 else math.inf


def _lifted(gram: Gram, v: Array) -> Gram:
    """G + c·VVᵀ, a Gram matrix up to the rounding added here."""
    scale = gram.trace / gram.n
    update = (v * scale) @ v.T
    update += gram.matrix
    trace = gram.trace + scale * v.shape[1] * 1.01
    # Entries of the update err by γ_{k+1}·c·|V||V|ᵀ, the sum by one more rounding of |G| + c·|V||V|ᵀ.
    error = gram.error + (gamma(v.shape[1] + 3) + UNIT) * trace + UNIT * float(np.linalg.norm(gram.matrix))
    return Gram(update, up(error), up(trace))
