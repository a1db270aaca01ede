"""Counting eigenvalues on both sides of a shift, with proof: Sylvester's law of inertia and a bounded residual.

G − s·I = L·D·Lᵀ + R by LAPACK's Bunch–Kaufman factorisation; L·D·Lᵀ has the inertia of D, and R is bounded from the
factors as they are, so the factorisation need not be trusted; Weyl's inequality does the rest.
"""

from __future__ import annotations

import numpy as np

from onnxnull.kernel.numerics.rounding import UNDERFLOW, UNIT, Array, Gram, gamma, up


def inertia(gram: Gram, shift: float) -> tuple[int, float] | None:
    """(c, δ) with #{λ(AᵀA) > shift + δ} ≤ c ≤ #{λ(AᵀA) > shift − δ}; None where a block of D does not show its signs."""
    n = gram.n
    shifted = gram.matrix.copy()
    diagonal = shifted.reshape(-1)[:: n + 1]
    diagonal -= shift
    rounding = UNIT * float(np.abs(diagonal).max(initial=0.0))
    if n == 1:
        return int(diagonal[0] > 0), up(rounding + gram.error)
    import scipy.linalg

    factor, pivots = (np.asarray(x, np.float64) for x in scipy.linalg.ldl(shifted, lower=True, check_finite=False)[:2])
    positive = _positive(pivots)
    if positive is None:
        return None
    main, off = pivots.diagonal().copy(), pivots.diagonal(-1).copy()
    del pivots
    residual = shifted  # from here on: |G − sI − L·D·Lᵀ| as computed
    residual -= _times(factor, main, off) @ factor.T
    np.abs(residual, out=residual)
    np.abs(factor, out=factor)
    # Entry by entry the product above errs by at most γ_{n+4}·|L|·|D|·|L|ᵀ, the subtraction by u times its result;
    # for the row sums of that two matrix-vector products with non-negative numbers are enough.
    weighted = _times(factor, np.abs(main), np.abs(off)) @ factor.sum(axis=0)
    bound = residual.sum(axis=1) * (1 + 2 * UNIT) + gamma(n + 6) * weighted
    # The true residual is symmetric, so its 2-norm is at most its largest row sum.
    delta = float(bound.max()) * (1 + gamma(3 * n + 9)) + rounding + gram.error + UNDERFLOW
    return positive, up(delta)


def _times(factor: Array, main: Array, off: Array) -> Array:
    """factor·D for the block-diagonal D with diagonal `main` and `off` below it."""
    product = factor * main
    product[:, :-1] += factor[:, 1:] * off
    product[:, 1:] += factor[:, :-1] * off
    return product


def _positive(pivots: Array) -> int | None:
    """Count of positive eigenvalues of the pivot matrix D (1×1 and 2×2 blocks); None where it is not clear."""
    main, off = pivots.diagonal(), pivots.diagonal(-1)
    count, i = 0, 0
    while i < len(main):
        if i < len(off) and off[i] != 0.0:
            if abs(main[i] * main[i + 1]) > 0.9 * off[i] ** 2:
                return None
            count += 1  # a negative determinant: one eigenvalue of each sign
            i += 2
        else:
            count += int(main[i] > 0)
            i += 1
    return count
