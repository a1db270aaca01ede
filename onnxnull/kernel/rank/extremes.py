"""The largest and smallest singular values of a block from its Gram matrix, without decomposing it.

Small matrices: all eigenvalues. Large ones: a block Krylov subspace of G, or of G⁻¹ through its Cholesky factor, with a fixed
seed. Golub, Van Loan, *Matrix Computations* (4th ed.), §10.1–10.3. Nothing here is proved.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from onnxnull.kernel.rank.rounding import Array

DENSE = 1500
"""Up to this order all eigenvalues together cost less than a Krylov iteration."""
_WIDTH = 8
_STEPS = 60
_RESIDUAL = 1e-8


def largest(matrix: Array) -> tuple[float, Array]:
    """λ_max of a symmetric positive semidefinite matrix (n, n) and a unit vector that nearly attains it."""
    if matrix.shape[0] <= 4 * _WIDTH:
        values, vectors = np.linalg.eigh(matrix)
        return float(values[-1]), vectors[:, -1]
    return _krylov(lambda x: matrix @ x, matrix.shape[0])


def smallest(factor: Array) -> tuple[float, Array]:
    """λ_min of L·Lᵀ given the lower Cholesky factor (n, n), and a unit vector that nearly attains it."""
    import scipy.linalg

    def solve(x: Array) -> Array:
        return np.asarray(scipy.linalg.cho_solve((factor, True), x, check_finite=False))

    value, vector = _krylov(solve, factor.shape[0])
    return 1.0 / value, vector


def _krylov(apply: Callable[[Array], Array], n: int) -> tuple[float, Array]:
    """Largest eigenpair of a symmetric operator by block Krylov iteration with full orthogonalisation."""
    block = np.linalg.qr(np.random.default_rng(0).standard_normal((n, min(_WIDTH, n))))[0]
    basis = np.zeros((n, 0))
    images = np.zeros((n, 0))
    value, vector = 0.0, block[:, 0]
    for step in range(_STEPS):
        image = apply(block)
        basis, images = np.hstack([basis, block]), np.hstack([images, image])
        if step % 3 == 2 or basis.shape[1] + block.shape[1] > n:
            projected = basis.T @ images
            values, coefficients = np.linalg.eigh((projected + projected.T) / 2)
            value, coefficient = float(values[-1]), coefficients[:, -1]
            vector = basis @ coefficient
            residual = float(np.linalg.norm(images @ coefficient - value * vector))
            # The eigenvalue's error is at most residual² over the distance to the next one, and at most the residual.
            if residual <= _RESIDUAL * value or basis.shape[1] + block.shape[1] > n:
                break
        for _ in range(2):
            image = image - basis @ (basis.T @ image)
        block = np.linalg.qr(image)[0]
    return value, vector / np.linalg.norm(vector)
