"""Certificates by Cholesky: a Gram matrix has all eigenvalues above, or all below, a shift.

If floating-point Cholesky of a symmetric H runs to completion, H + ΔH is positive semidefinite with
‖ΔH‖₂ ≤ γ_{n+1}/(1 − γ_{n+1})·tr H (Higham, Thm 10.3 with the proof of Thm 10.5; Rump, *Verification of positive
definiteness*, BIT 46 (2006)). We add a little to the index, since triangular solves may multiply by reciprocals of the
diagonal (two more roundings).
"""

from __future__ import annotations

import numpy as np

from onnxnull.kernel.numerics.rounding import UNDERFLOW, UNIT, Array, Gram, down, gamma, up


def smallest_above(gram: Gram, shift: float) -> float | None:
    """A proved lower bound of λ_min(AᵀA), a little below `shift`; None where Cholesky of G − shift·I breaks down."""
    slack = _slack(gram, shift, 1)
    return None if slack is None or slack >= shift else down(shift - slack)


def largest_below(gram: Gram, shift: float) -> float | None:
    """A proved upper bound of λ_max(AᵀA), a little above `shift`; None where Cholesky of shift·I − G breaks down."""
    slack = _slack(gram, shift, -1)
    return None if slack is None else up(shift + slack)


def _slack(gram: Gram, shift: float, sign: int) -> float | None:
    """How far the eigenvalues may lie beyond the shift although Cholesky succeeded; None where it did not."""
    n = gram.n
    shifted = gram.matrix * sign
    diagonal = shifted.reshape(-1)[:: n + 1]
    diagonal -= sign * shift
    if not (diagonal > 0).all():
        return None
    g = gamma(n + 10)
    trace = float(diagonal.sum()) * (1 + gamma(n))
    # The last term: subtracting the shift errs by u·|h_ii|, a diagonal matrix.
    slack = up(g / (1 - g) * trace + gram.error + UNIT * float(diagonal.max(initial=0.0))) + UNDERFLOW
    return slack if _cholesky_succeeds(shifted) else None


def _cholesky_succeeds(matrix: Array) -> bool:
    """Whether Cholesky of a symmetric matrix runs to completion; destroys a large matrix."""
    if matrix.shape[0] < 128:
        try:
            np.linalg.cholesky(matrix)
        except np.linalg.LinAlgError:
            return False
        return True
    from scipy.linalg import lapack

    return bool(lapack.dpotrf(matrix.T, lower=1, clean=0, overwrite_a=1)[1] == 0)
