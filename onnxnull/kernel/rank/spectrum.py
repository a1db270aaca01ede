"""Singular values and right singular vectors of a block, accurate far below what the Gram matrix resolves.

Eigenvectors of the Gram matrix separate the large singular values from those below about 10⁻⁴·σ_max, which drown in its
rounding. That lower part is a subspace N; W·N, computed accurately and freed of the large part, is a small matrix whose own
SVD resolves the rest down to the rounding of N, about 2⁻⁵³·σ_max. Nothing here is proved; `spectral` proves from it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from onnxnull.kernel.numerics.error_free import Sliced, product
from onnxnull.kernel.numerics.rounding import Array, Gram, gamma

_LARGE = 1e-4
"""Singular values above this share of σ_max are taken from the Gram matrix: λ is right to 10⁻¹⁵/10⁻⁸ there."""

_ROWS = 512
"""Rows of a weight that are worked through at a time."""


class Tall(Protocol):
    """A tall matrix (m, n) that is read a few rows at a time (`problem.Block`)."""

    @property
    def m(self) -> int:
        """Rows."""

    @property
    def n(self) -> int:
        """Columns, at most m."""

    @property
    def gram(self) -> Gram:
        """Its Gram matrix (n, n)."""

    def pieces(self, size: int) -> Iterator[Array]:
        """At most `size` rows at a time."""


@dataclass(frozen=True, slots=True)
class Spectrum:
    """`sigma` (n,) decreasing; `vectors` (n, n), columns v_i; `large` of them belong to the well-separated part."""

    sigma: Array
    vectors: Array
    large: int


def spectrum(block: Tall) -> Spectrum:
    """Approximate singular values and right singular vectors of a tall block (m, n)."""
    eigenvalues, vectors = np.linalg.eigh(block.gram.matrix)
    eigenvalues, vectors = eigenvalues[::-1], np.ascontiguousarray(vectors[:, ::-1])
    large = int(np.count_nonzero(eigenvalues > _LARGE**2 * eigenvalues[0]))
    big = np.sqrt(eigenvalues[:large])
    if large == block.n:
        return Spectrum(big, vectors, large)
    v1, small = vectors[:, :large], vectors[:, large:]
    sigma = np.zeros(0)
    for _ in range(2):  # the first correction is exact up to its own rounding, the second is exact
        # What of W·N lies along the large left singular vectors is an error of N: take it out.
        coupling = v1.T @ _back(block, apply(block, small)[0])
        small = small - v1 @ (coupling / (big**2)[:, None])
        image, _ = apply(block, small)
        _, sigma, turn = np.linalg.svd(np.linalg.qr(image, mode="r"))
        small = small @ turn.T
    return Spectrum(np.concatenate([big, sigma]), np.hstack([v1, small]), large)


def apply(block: Tall, x: Array) -> tuple[Array, float]:
    """W·x for x (n, k), accurately, and a bound of the error in the Frobenius norm."""
    parts, square, sliced = [], 0.0, Sliced.of(x)
    for piece, start, stop in _bands(block):
        part, error = product(piece, sliced.rows(start, stop))
        parts.append(part)
        square += error**2
    return np.concatenate(parts), square**0.5 * (1 + gamma(len(parts) + 4))


def _back(block: Tall, image: Array) -> Array:
    """Wᵀ·image for image (m, k), in plain arithmetic."""
    result, row = np.zeros((block.n, image.shape[1])), 0
    for piece, start, stop in _bands(block):
        result[start:stop] += piece.T @ image[row : row + len(piece)]
        row += len(piece)
    return result


def _bands(block: Tall) -> Iterator[tuple[Array, int, int]]:
    """Some rows at a time, and between which columns they are not zero: W as an operator on a signal is a band."""
    for piece in block.pieces(_ROWS):
        used = np.flatnonzero(piece.any(axis=0))
        start, stop = (int(used[0]), int(used[-1]) + 1) if len(used) else (0, 1)
        yield (piece if stop - start == block.n else np.ascontiguousarray(piece[:, start:stop])), start, stop
