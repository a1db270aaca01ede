"""The two arithmetics in which blocks of a convolution are ranked: float64, and the integers modulo a prime.

A `Field` offers what a sweep and a frontier need: ranks, left null spaces, bases of row spaces. Matrices are (rows inputs,
columns outputs). `Prime` is exact: a rank modulo a prime never exceeds the rank over ℚ of the matrix that was reduced.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import flint
import numpy as np
from numpy.typing import NDArray

FieldArray = NDArray[Any]

# The largest prime below 2³¹: products of residues fit into int64.
PRIME = 2**31 - 1


class UnclearRank(ArithmeticError):
    """A singular value lies where float64 cannot tell it from zero."""


class Field(ABC):
    """Linear algebra over a field."""

    @abstractmethod
    def rank(self, matrix: FieldArray) -> int:
        """Rank of (rows, columns)."""

    @abstractmethod
    def left_null(self, matrix: FieldArray) -> FieldArray:
        """A basis N, (nullity, rows), of {v : vᵀ·matrix = 0}."""

    @abstractmethod
    def row_basis(self, matrix: FieldArray) -> FieldArray:
        """A basis, (rank, columns), of the row space."""

    @abstractmethod
    def multiply(self, left: FieldArray, right: FieldArray) -> FieldArray:
        """The matrix product."""

    @abstractmethod
    def same_space(self, left: FieldArray, right: FieldArray) -> bool:
        """Whether two results of `row_basis` span the same space."""

    @abstractmethod
    def eye(self, size: int) -> FieldArray:
        """The identity."""


class Float64(Field):
    """Singular value decompositions in float64.

    A singular value counts as zero below max(shape)·ε·max(σ_max, 1), for weights of unit scale (orthonormal filters).
    `left_null` and `row_basis` are used in long recurrences and demand a gap: nothing between that and 10⁴ times that.
    """

    def rank(self, matrix: FieldArray) -> int:
        """Number of singular values above the cut-off."""
        if 0 in matrix.shape:
            return 0
        if min(matrix.shape) > 16:
            # the Gram matrix resolves σ down to about 1e-8 only, but where all are above 1e-5 that settles it
            gram = matrix.T @ matrix if matrix.shape[0] > matrix.shape[1] else matrix @ matrix.T
            squares = np.linalg.eigvalsh(gram)
            if squares[0] > 1e-10 * max(1.0, squares[-1]):
                return int(min(matrix.shape))
        values = np.linalg.svd(matrix, compute_uv=False)
        return int(np.count_nonzero(values > _cutoff(matrix.shape, values)))

    def left_null(self, matrix: FieldArray) -> FieldArray:
        """Left singular vectors below the cut-off; UnclearRank without a gap."""
        if 0 in matrix.shape:
            return np.eye(matrix.shape[0])
        left, values, _ = np.linalg.svd(matrix, full_matrices=matrix.shape[0] > matrix.shape[1])
        return left[:, _clear_rank(matrix.shape, values) :].T

    def row_basis(self, matrix: FieldArray) -> FieldArray:
        """Right singular vectors above the cut-off; UnclearRank without a gap."""
        if 0 in matrix.shape:
            return np.zeros((0, matrix.shape[1]))
        _, values, right = np.linalg.svd(matrix, full_matrices=False)
        return right[: _clear_rank(matrix.shape, values)]

    def multiply(self, left: FieldArray, right: FieldArray) -> FieldArray:
        """The matrix product."""
        return left @ right

    def same_space(self, left: FieldArray, right: FieldArray) -> bool:
        """Whether projecting one orthonormal basis on the other loses less than 1e-12."""
        if left.shape != right.shape:
            return False
        return left.shape[0] in (0, left.shape[1]) or bool(np.linalg.norm(left - left @ right.T @ right) < 1e-12)

    def eye(self, size: int) -> FieldArray:
        """The identity."""
        return np.eye(size)


def _cutoff(shape: tuple[int, ...], values: FieldArray) -> float:
    return float(max(shape) * np.finfo(np.float64).eps * max(1.0, float(values[0])))


def _clear_rank(shape: tuple[int, ...], values: FieldArray) -> int:
    cutoff = _cutoff(shape, values)
    rank = int(np.count_nonzero(values > cutoff))
    if np.any((values > cutoff) & (values < 1e4 * cutoff)):
        raise UnclearRank
    return rank


class Prime(Field):
    """Residues modulo `PRIME`, eliminated by FLINT."""

    def rank(self, matrix: FieldArray) -> int:
        """The exact rank modulo the prime."""
        return int(_to_flint(matrix).rank())

    def left_null(self, matrix: FieldArray) -> FieldArray:
        """From the reduced echelon form of the transpose: one vector per free row."""
        rows = matrix.shape[0]
        echelon, rank = _to_flint(matrix.T).rref()
        reduced = _from_flint(echelon)[:rank]
        pivots = _pivots(reduced)
        free = np.setdiff1d(np.arange(rows), pivots)
        null = np.zeros((len(free), rows), dtype=np.int64)
        null[np.arange(len(free)), free] = 1
        null[:, pivots] = (-reduced[:, free].T) % PRIME
        return null

    def row_basis(self, matrix: FieldArray) -> FieldArray:
        """The nonzero rows of the reduced echelon form, which is unique."""
        if 0 in matrix.shape:
            return np.zeros((0, matrix.shape[1]), dtype=np.int64)
        echelon, rank = _to_flint(matrix).rref()
        return _from_flint(echelon)[:rank]

    def multiply(self, left: FieldArray, right: FieldArray) -> FieldArray:
        """The matrix product modulo the prime."""
        if 0 in left.shape or 0 in right.shape:
            return np.zeros((left.shape[0], right.shape[1]), dtype=np.int64)
        return _from_flint(_to_flint(left) * _to_flint(right))

    def same_space(self, left: FieldArray, right: FieldArray) -> bool:
        """Echelon forms are unique, so spaces are equal exactly when these are."""
        return bool(np.array_equal(left, right))

    def eye(self, size: int) -> FieldArray:
        """The identity."""
        return np.eye(size, dtype=np.int64)


def _to_flint(matrix: FieldArray) -> Any:
    rows, columns = matrix.shape
    return flint.nmod_mat(rows, columns, matrix.ravel().tolist(), PRIME)


def _from_flint(matrix: Any) -> FieldArray:
    entries = np.fromiter((int(v) for v in matrix.entries()), dtype=np.int64, count=matrix.nrows() * matrix.ncols())
    return entries.reshape(matrix.nrows(), matrix.ncols())


def _pivots(echelon: FieldArray) -> FieldArray:
    return np.argmax(echelon != 0, axis=1) if len(echelon) else np.zeros(0, dtype=np.intp)


def residues(values: NDArray[np.float64]) -> NDArray[np.int64]:
    """float64 numbers modulo the prime: m·2^e is a rational whose denominator is prime to it. Raises on NaN and Inf."""
    if not np.isfinite(values).all():
        raise ValueError("a weight with NaN or Inf has no exact rank")
    mantissas, exponents = np.frexp(values)
    integers = np.ldexp(mantissas, 53).astype(np.int64) % PRIME
    shifts = exponents.astype(np.int64) - 53
    # 2 has order 31 modulo 2³¹ − 1, so negative powers are positive ones
    return (integers * (np.int64(1) << (shifts % 31))) % PRIME
