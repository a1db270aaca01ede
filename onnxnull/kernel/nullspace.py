"""Null spaces of weights."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from onnxnull.kernel.rank.result import Notion

Array = npt.NDArray[np.float64]


class NullSpace:
    """Kernel {φ : φᵀW = 0} of a block-diagonal weight."""

    def __init__(self, bases: list[Array], rows: int, residual: float) -> None:
        self._bases = bases  # per block an orthonormal basis (q, r) of the row space's complement's complement
        self._rows = rows
        self.residual = residual

    @property
    def dimension(self) -> int:
        """Dimension of the kernel."""
        return sum(self._rows - basis.shape[1] for basis in self._bases)

    def project(self, x: npt.ArrayLike) -> Array:
        """Orthogonal projection onto the kernel of x (..., Q)."""
        out = np.array(x, dtype=np.float64)
        for g, basis in enumerate(self._bases):
            part = out[..., g * self._rows : (g + 1) * self._rows]
            for _ in range(2):
                part -= (part @ basis) @ basis.T
        return out

    def sample(self, n: int, rng: np.random.Generator) -> Array:
        """n unit vectors of the kernel: (n, Q)."""
        x = self.project(rng.standard_normal((n, self._rows * len(self._bases))))
        return np.asarray(x / np.linalg.norm(x, axis=1, keepdims=True))

    def basis(self, k: int | None = None) -> Array:
        """k orthonormal vectors of the kernel: (k, Q)."""
        k = self.dimension if k is None else k
        x = self.project(np.random.default_rng(0).standard_normal((k, self._rows * len(self._bases))))
        return np.ascontiguousarray(np.linalg.qr(x.T)[0].T)


def null_space(blocks: npt.NDArray[np.generic], notion: Notion = Notion.FLOAT64) -> NullSpace:
    """Null space of a stack (g, q, p) or a matrix (q, p)."""
    if blocks.ndim == 2:
        blocks = blocks[None]
    g, q, p = blocks.shape
    if q == 0 or p == 0 or g == 0:
        return NullSpace([np.zeros((q, 0))] * g, q, 0.0)
    W = np.asarray(blocks, dtype=np.float64)
    U, s, _ = np.linalg.svd(W, full_matrices=False)
    eps = 2.0**-52 if notion is Notion.FLOAT64 else 0.0
    keep = s > s.max() * max(g * q, g * p) * eps
    return NullSpace([U[i][:, keep[i]] for i in range(g)], q, 0.0)
