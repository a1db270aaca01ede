"""Bounds on rounding errors, and Gram matrices that know theirs.

Everything is IEEE double. u = 2⁻⁵³ and γ_k = k·u/(1 − k·u) as in Higham, *Accuracy and Stability of Numerical
Algorithms* (2nd ed.), §3.1 and §3.4. The BLAS may add in any order and fuse multiplications, but must compute every
entry of a product as an ordinary inner product (no Strassen); γ then bounds it (§3.1, §3.5).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

UNIT = 2.0**-53
UNDERFLOW = 2.0**-900
"""Stands for all errors of underflow together: weights are scaled so that their largest entry is above 2⁻²⁰⁰, and fewer
than 2⁹⁰ products underflow, each by less than 2⁻¹⁰⁷⁴, multiplied by factors below 2⁷⁰."""


def gamma(k: int) -> float:
    """γ_k, rounded up."""
    return up(k * UNIT / (1 - k * UNIT))


def up(x: float) -> float:
    """A little more than x ≥ 0: covers the rounding of the few operations that computed x."""
    return x * (1 + 2.0**-40)


def down(x: float) -> float:
    """A little less than x ≥ 0."""
    return x * (1 - 2.0**-40)


@dataclass(frozen=True, slots=True)
class Gram:
    """A computed Gram matrix of some A: `matrix` (n, n), symmetric, ‖matrix − AᵀA‖₂ ≤ `error`; `trace` ≥ ‖A‖_F²."""

    matrix: Array
    error: float
    trace: float

    @property
    def n(self) -> int:
        """Its order: the columns of A."""
        return int(self.matrix.shape[0])

    def restricted(self, columns: npt.NDArray[np.intp]) -> Gram:
        """The Gram matrix of some columns of A (the error of a principal submatrix is no larger)."""
        if len(columns) == self.n:
            return self
        return Gram(np.ascontiguousarray(self.matrix[np.ix_(columns, columns)]), self.error, self.trace)


def gram_from(matrix: Array, terms: int, product_error: float = 0.0) -> Gram:
    """Attach its error to fl(BᵀB), its entries sums in any order whose longest chain has `terms` additions and products.

    |fl(BᵀB) − BᵀB| ≤ γ_terms·|B|ᵀ|B| (Higham, §3.5), and ‖ |B|ᵀ|B| ‖₂ ≤ ‖B‖_F². Where B itself approximates A with
    ‖A − B‖_F ≤ product_error, ‖AᵀA − BᵀB‖₂ ≤ product_error·(2‖B‖_F + product_error).
    """
    g = gamma(terms + 2)
    square = up(float(np.trace(matrix)) * (1 + gamma(matrix.shape[0] + 2)) / (1 - g))
    spread = product_error * (2 * math.sqrt(square) + product_error)
    return Gram(matrix, up(g * square + spread) + UNDERFLOW, up(square + spread))


def gram_of(b: Array, product_error: float = 0.0) -> Gram:
    """Gram matrix of the columns of a matrix (m, n), itself within `product_error` (Frobenius) of the one meant."""
    matrix = np.asarray(b.T @ b)
    mirror(matrix)
    return gram_from(matrix, b.shape[0], product_error)


def mirror(matrix: Array, *, from_upper: bool = False) -> None:
    """Copy the lower triangle over the upper one (or the other way), tile by tile: no second matrix."""
    n, given = matrix.shape[0], matrix.T if from_upper else matrix
    for i in range(0, n, 512):
        tile = given[i : i + 512, i : i + 512]
        upper = np.triu_indices(tile.shape[0], 1)
        tile[upper] = tile.T[upper]
        given[i : i + 512, i + 512 :] = given[i + 512 :, i : i + 512].T
