"""The extreme eigenvalues of a Gram matrix without decomposing it: a block Krylov subspace of G, or of its inverse.

Golub, Van Loan, *Matrix Computations* (4th ed.), §10.1–10.3. Fixed seed, so that the same matrix gives the same digits.
Nothing here is proved.
"""

from __future__ import annotations

import numpy as np

from onnxnull.kernel.numerics.rounding import Array, mirror

DENSE = 1500
"""Up to this order all eigenvalues together cost less than what is done here for the smallest."""
WIDTH = 8
_CHECKS = (3, 6, 9, 13, 18, 24, 32, 42, 54)
_RESIDUAL, _ROUGH = 1e-5, 0.05
"""Residuals, relative: of the first pair and of the others. An eigenvalue's error is at most its residual, and at most the
residual² over the distance to the other eigenvalues."""


def largest(matrix: Array) -> tuple[float, Array]:
    """λ_max of a symmetric positive semidefinite matrix (n, n) and a unit vector that nearly attains it."""
    if matrix.shape[0] <= 8 * WIDTH:
        values, vectors = np.linalg.eigh(matrix)
        return float(values[-1]), vectors[:, -1]
    values, vectors = _krylov(matrix, 1)
    return float(values[0]), vectors[:, 0]


def smallest(matrix: Array) -> tuple[Array, Array] | None:
    """The lowest eigenvalues, increasing, and eigenvectors (n, ≤ WIDTH) of a positive definite matrix (n, n).

    The first pair has converged, the others more or less (the last two perhaps not). None where the matrix is
    numerically singular.
    """
    from scipy.linalg import cho_solve, lapack

    factor, info = lapack.dpotrf(matrix, lower=1)
    if info != 0:
        return None
    inverse, info = lapack.dpotri(factor, lower=1)
    if info != 0:
        return None
    inverse = np.asarray(inverse).T  # row-major; what LAPACK wrote is now the upper triangle
    mirror(inverse, from_upper=True)
    values, vectors = _krylov(inverse, WIDTH - 2)
    # The explicit inverse leaves κ·u of the large eigenvectors in these; two backward stable solves take that out.
    for _ in range(2):
        vectors = np.asarray(cho_solve((factor, True), vectors, check_finite=False), np.float64)
        vectors /= np.linalg.norm(vectors, axis=0)
    return 1.0 / values, vectors


def _krylov(matrix: Array, several: int) -> tuple[Array, Array]:
    """The largest eigenvalues (≤ WIDTH, decreasing) of a symmetric matrix, and unit vectors; the first `several` usable."""
    n = matrix.shape[0]
    block = np.linalg.qr(np.random.default_rng(0).standard_normal((n, min(WIDTH, n))))[0]
    room = WIDTH * (_CHECKS[-1] + 1)
    basis, images = np.empty((n, room), order="F"), np.empty((n, room), order="F")
    size = 0
    for step in range(1, _CHECKS[-1] + 1):
        image = matrix @ block
        basis[:, size : size + block.shape[1]], images[:, size : size + block.shape[1]] = block, image
        size += block.shape[1]
        known, applied = basis[:, :size], images[:, :size]
        last = step == _CHECKS[-1] or size + WIDTH > n
        if step in _CHECKS or last:
            projected = known.T @ applied
            values, coefficients = np.linalg.eigh((projected + projected.T) / 2)
            values, coefficients = values[: -WIDTH - 1 : -1], coefficients[:, : -WIDTH - 1 : -1]
            vectors = known @ coefficients
            residuals = np.linalg.norm(applied @ coefficients - values * vectors, axis=0) / values
            if last or (residuals[0] <= _RESIDUAL and (residuals[:several] <= _ROUGH).all()):
                break
        for _ in range(2):
            image = image - known @ (known.T @ image)
        block = np.linalg.qr(image)[0]
    return np.asarray(values, np.float64), np.asarray(vectors / np.linalg.norm(vectors, axis=0), np.float64)
