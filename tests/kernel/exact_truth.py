"""The truth about ranks in exact integer arithmetic, by means that share nothing with the code under test.

The Gram matrix of an integer matrix has an integer characteristic polynomial with real roots only, so by Descartes' rule
of signs the number of eigenvalues above s is exactly the number of sign changes in the coefficients of p(x + s).
"""

from __future__ import annotations

import itertools
from fractions import Fraction

import flint
import numpy as np
import numpy.typing as npt

EPS = {"float32": 23, "float64": 52}
_EXTRA_BITS = 300


def assemble(blocks: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
    """The block-diagonal matrix (g·q, g·p) of a stack (g, q, p)."""
    groups, rows, columns = blocks.shape
    dense = np.zeros((groups * rows, groups * columns), dtype=blocks.dtype)
    for g in range(groups):
        dense[g * rows : (g + 1) * rows, g * columns : (g + 1) * columns] = blocks[g]
    return dense


class Truth:
    """Exact ranks of a matrix (q, p) with finite entries."""

    def __init__(self, matrix: npt.NDArray[np.generic]) -> None:
        q, p = matrix.shape
        self._longest = max(q, p)
        self._n = min(q, p)
        tall = matrix if q >= p else matrix.T
        entries = [_fraction(x) for x in tall.ravel()]
        denominator = max([x.denominator for x in entries], default=1)
        self._matrix = flint.fmpz_mat(self._longest, self._n, [int(x * denominator) for x in entries])
        self.exact = int(self._matrix.rank()) if self._n else 0
        if self.exact:
            scaled = self._matrix * (1 << _EXTRA_BITS)
            self._poly = (scaled.transpose() * scaled).charpoly()
            self._low, self._high = self._largest()

    def above(self, s: int) -> int:
        """Eigenvalues of the scaled Gram matrix above an integer."""
        coefficients = [c for c in self._poly(flint.fmpz_poly([s, 1])).coeffs() if c != 0]
        return sum((a > 0) != (b > 0) for a, b in itertools.pairwise(coefficients))

    def rank(self, notion: str) -> int:
        """The number of singular values above the cut-off of a notion ('float32', 'float64'), or the rank over ℚ."""
        if notion == "exact" or self.exact == 0:
            return self.exact
        low, high = self._counts_at(Fraction(1), notion)
        assert low == high, "a singular value lies within 1e-25 of the cut-off"
        return low

    def gap(self, notion: str, factor: int) -> bool:
        """Whether no singular value lies within this factor of the cut-off."""
        if notion == "exact" or self.exact == 0:
            return True
        return self._counts_at(Fraction(factor), notion)[0] == self._counts_at(Fraction(1, factor), notion)[1]

    def _counts_at(self, factor: Fraction, notion: str) -> tuple[int, int]:
        share = (factor * self._longest / 2 ** EPS[notion]) ** 2
        return self.above(int(self._high * share) + 1), self.above(int(self._low * share))

    def _largest(self) -> tuple[int, int]:
        high = 1
        while self.above(high):
            high *= 16
        low = high // 16
        while high - low > high >> 90:
            middle = (low + high) // 2
            low, high = (middle, high) if self.above(middle) else (low, middle)
        return low, high


def _fraction(x: np.generic) -> Fraction:
    return Fraction(int(x)) if x.dtype.kind in "iu" else Fraction(float(x))
