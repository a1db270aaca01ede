"""Minimum-norm corrections δ = J⁺r over the free entries, from the eigenvalues of JJᵀ.

J loses rank where outputs are dead, or tied (the probabilities of a softmax sum to 1): eigenvalues of JJᵀ below `_DROPPED`
times the largest are left out, and the rank says so. Singular values below about 1e-5 of the largest drown in float32.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from onnxnull.errors import Code, OnnxnullError
from onnxnull.kernel.maps.linear_map import Array

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from onnxnull.fiber.problem import Mask

_DROPPED = 1e-10
"""Squared: of singular values."""
_BLOCK = 16384
"""Columns of J that are multiplied at once in float64."""


@dataclass(frozen=True, slots=True, eq=False)
class Normal:
    """J at a point, and the eigenvalues of J F Jᵀ, F being the free entries.

    Attributes:
        jacobian: (rows, entries), float32.
        free: which entries may change, flat.
        rank: eigenvalues that count.
    """

    jacobian: NDArray[np.float32]
    free: Mask
    rank: int
    _values: Array
    _vectors: Array

    @classmethod
    def of(cls, jacobian: NDArray[np.float32], free: Mask) -> Normal:
        """Factorise. Raises `OnnxnullError` where J holds NaN or Inf (`runtime`)."""
        flat = free.ravel()
        gram = np.zeros((len(jacobian), len(jacobian)))
        for start in range(0, jacobian.shape[1], _BLOCK):
            columns = jacobian[:, start : start + _BLOCK][:, flat[start : start + _BLOCK]].astype(np.float64)
            gram += columns @ columns.T
        if not np.all(np.isfinite(gram)):
            seen = "the derivative of what is to stay equal holds NaN or Inf at float32"
            raise OnnxnullError(Code.RUNTIME, seen, "start from another input")
        values, vectors = np.linalg.eigh(gram)
        kept = values > _DROPPED * max(float(values[-1]), 0.0)
        return cls(jacobian, flat, int(kept.sum()), values[kept], vectors[:, kept])

    def inverse(self, residual: Array) -> Array:
        """(J F Jᵀ)⁺r."""
        found: Array = self._vectors @ ((self._vectors.T @ residual) / self._values)
        return found

    def length(self, residual: Array) -> float:
        """Of the correction: √(rᵀ(J F Jᵀ)⁺r)."""
        return float(np.sqrt(np.sum((self._vectors.T @ residual) ** 2 / self._values)))

    def correction(self, residual: Array) -> Array:
        """The shortest δ over the free entries with Jδ = r, flat."""
        return np.where(self.free, self.jacobian.T @ self.inverse(residual).astype(np.float32), 0.0).astype(np.float64)

    def projected(self, direction: Array) -> Array:
        """The part of a direction (flat, over the free entries) that J does not see."""
        inside = np.where(self.free, direction, 0.0)
        for _ in range(2):  # in float32 the second pass takes what the first one left
            inside = inside - self.correction((self.jacobian @ inside.astype(np.float32)).astype(np.float64))
        return inside
