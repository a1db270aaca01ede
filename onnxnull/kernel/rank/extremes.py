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


def attaining(matrix: Array, value: float) -> Array:
    """A unit vector (n,) whose Rayleigh quotient is λ_max of a symmetric matrix (n, n) to about a millionth: `value` is λ_max.

    Inverse iteration with a shift that is a little above it, so that the shifted matrix is definite.
    """
    from scipy.linalg import cho_solve, lapack

    n = matrix.shape[0]
    vector: Array = np.random.default_rng(0).standard_normal((n,))
    shifted = -matrix
    shifted.reshape(-1)[:: n + 1] += value * (1 + 1e-7)
    factor, info = lapack.dpotrf(shifted.T, lower=1, overwrite_a=1)
    for _ in range(3 if info == 0 else 0):
        vector = np.asarray(cho_solve((factor, True), vector, check_finite=False), np.float64)
        vector /= np.linalg.norm(vector)
    return vector if info == 0 else largest(matrix)[1]


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
    """The largest eigenvalues (≤ WIDTH, decreasing) of a symmetric matrix, and unit vectors; the first `several` usable.

    Block Lanczos with full reorthogonalisation: what the matrix is on the subspace is a band of half-width `WIDTH`.
    """
    from scipy.linalg import eig_banded

    n = matrix.shape[0]
    width = min(WIDTH, n)
    block = np.linalg.qr(np.random.default_rng(0).standard_normal((n, width)))[0]
    basis = np.empty((n, width * (_CHECKS[-1] + 1)), order="F")
    band = np.zeros((width + 1, width * (_CHECKS[-1] + 1)))
    size = 0
    for step in range(1, _CHECKS[-1] + 1):
        basis[:, size : size + width] = block
        known = basis[:, : size + width]
        image = matrix @ block
        diagonal = block.T @ image
        block, below = image, np.eye(width)
        for _ in range(2):  # the second time for columns that are rounding errors, where the matrix has no more directions
            block, triangle = np.linalg.qr(block - known @ (known.T @ block))
            below = triangle @ below
        for j in range(width):  # column j of the band, from the diagonal down
            column = np.concatenate([diagonal[j:, j], below[: j + 1, j]])
            band[: len(column), size + j] = column
        size += width
        last = step == _CHECKS[-1] or size + width > n
        if step in _CHECKS or last:
            few = min(WIDTH, size)
            values, coefficients = eig_banded(
                band[:, :size], lower=True, select="i", select_range=(size - few, size - 1), check_finite=False
            )
            values, coefficients = values[::-1], coefficients[:, ::-1]
            residuals = np.linalg.norm(below @ coefficients[-width:], axis=0) / values
            if last or (residuals[0] <= _RESIDUAL and (residuals[:several] <= _ROUGH).all()):
                break
    vectors = known @ coefficients
    return np.asarray(values, np.float64), np.asarray(vectors / np.linalg.norm(vectors, axis=0), np.float64)
