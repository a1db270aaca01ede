"""A weight prepared for rank computations: scaled, oriented, its zero rows, columns and blocks dropped.

Only what leaves the singular values alone is done here: zero rows and columns, the split into blocks, transposition (so that
every block is tall: m ≥ n) and one power of two for the whole weight.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from onnxnull.kernel.numerics.rounding import Array, Gram, gram_from, mirror
from onnxnull.kernel.rank.extremes import DENSE, attaining, largest, smallest
from onnxnull.kernel.rank.integers import IntegerMatrix, drawn_primes, integers
from onnxnull.kernel.rank.spectrum import Spectrum, spectrum
from onnxnull.kernel.structure import distinct_columns, nonzero_columns, nonzero_rows, pieces

Indices = npt.NDArray[np.intp]


@dataclass(frozen=True)
class Block:
    """One diagonal block, tall (m ≥ n): `source` is (q, p) as stored, `rows` × `columns` its non-zero part."""

    index: int
    source: npt.NDArray[np.generic]
    rows: Indices
    columns: Indices
    transposed: bool
    exponent: int
    exact_as_double: bool

    @property
    def m(self) -> int:
        """The longer side, zero rows and columns left out."""
        return max(len(self.rows), len(self.columns))

    @property
    def n(self) -> int:
        """The shorter side, zero rows and columns left out."""
        return min(len(self.rows), len(self.columns))

    def pieces(self, size: int, start: int = 0, stop: int | None = None) -> Iterator[Array]:
        """The tall matrix (m, n) scaled by 2^−exponent, in doubles, at most `size` rows at a time.

        A piece may be a view of the weight: never write to it.
        """
        stop = self.m if stop is None else stop
        for a in range(start, stop, size):
            yield self._piece(a, min(a + size, stop))

    def dense(self) -> Array:
        """The tall matrix (m, n), scaled, in doubles."""
        return self._piece(0, self.m)

    def native(self) -> npt.NDArray[np.generic]:
        """The tall matrix (m, n) in the stored type, not scaled."""
        return self._native(0, self.m)

    def _native(self, start: int, stop: int) -> npt.NDArray[np.generic]:
        source = self.source.T if self.transposed else self.source
        rows, columns = (self.columns, self.rows) if self.transposed else (self.rows, self.columns)
        part = source[start:stop] if len(rows) == source.shape[0] else source[rows[start:stop]]
        return part if len(columns) == source.shape[1] else part.take(columns, axis=1)

    def _piece(self, start: int, stop: int) -> Array:
        piece = np.asarray(self._native(start, stop), dtype=np.float64)  # in the order in which it is stored
        return np.asarray(np.ldexp(piece, -self.exponent), np.float64) if self.exponent else piece

    @functools.cached_property
    def gram(self) -> Gram:
        """Gram matrix (n, n) of the tall matrix."""
        return self.gram_of_rows(self.m)

    def gram_of_rows(self, count: int) -> Gram:
        """Gram matrix (n, n) of the first `count` rows of the tall matrix.

        Rows are taken some at a time: that keeps the memory small and the error too, since the longest chain of additions
        is a piece and the number of pieces instead of all rows.
        """
        size = 256 if self.n <= 1024 else 2048
        matrix: Array | None = None
        for piece in self.pieces(size, 0, count):
            part = _lower_gram(piece)
            if matrix is None:
                matrix = part
            else:
                matrix += part
        assert matrix is not None
        mirror(matrix)
        return gram_from(matrix, min(size, count) + math.ceil(count / size))

    @functools.cached_property
    def eigenvalues(self) -> Array:
        """Approximate eigenvalues of the Gram matrix (n,), decreasing."""
        return np.asarray(np.linalg.eigvalsh(self.gram.matrix), np.float64)[::-1]

    @functools.cached_property
    def top(self) -> tuple[float, Array]:
        """The largest approximate eigenvalue of the Gram matrix and a unit vector that nearly attains it (n,)."""
        if self.n > DENSE:
            return largest(self.gram.matrix)
        value = float(self.eigenvalues[0])
        return value, attaining(self.gram.matrix, value)

    @functools.cached_property
    def bottom(self) -> tuple[Array, Array] | None:
        """The lowest few approximate eigenvalues of the Gram matrix and their vectors; None where it is singular."""
        return smallest(self.gram.matrix)

    @functools.cached_property
    def spectrum(self) -> Spectrum:
        """Approximate singular values and right singular vectors."""
        return spectrum(self)

    @functools.cached_property
    def integers(self) -> IntegerMatrix:
        """The reduced matrix, (m, n)."""
        return integers(self.native())

    def drawn_primes(self, count: int) -> list[int]:
        """Primes that follow from the block's entries; more of them begin with the same ones."""
        return list(drawn_primes(count, self.source))

    @functools.cached_property
    def distinct(self) -> Indices:
        """Indices among the n columns of the first of each set of equal ones."""
        return distinct_columns(self.native())

    @functools.cached_property
    def distinct_rows(self) -> int:
        """How many different rows the tall matrix has, if fewer than n (otherwise some number ≥ n)."""
        return len(distinct_columns(self.native().T))


@dataclass(frozen=True, slots=True)
class Problem:
    """A block-diagonal weight: `inputs` × `outputs` in all, `groups` blocks, the non-zero ones in `blocks`."""

    inputs: int
    outputs: int
    groups: int
    exponent: int
    blocks: tuple[Block, ...]
    source: npt.NDArray[np.generic]

    @property
    def longest(self) -> int:
        """max(inputs, outputs), the factor in every cut-off."""
        return max(self.inputs, self.outputs)

    @property
    def shortest(self) -> int:
        """min(inputs, outputs): how many singular values the whole matrix has."""
        return min(self.inputs, self.outputs)


def prepare(matrix_or_blocks: npt.NDArray[np.generic]) -> Problem:
    """Read a matrix (q, p) or a stack (g, q, p); raises ValueError where an entry is not a finite real number."""
    source = stack = matrix_or_blocks[None] if matrix_or_blocks.ndim == 2 else matrix_or_blocks
    if stack.ndim != 3:
        raise ValueError(f"a weight is a matrix (q, p) or a stack (g, q, p), got shape {stack.shape}")
    if stack.dtype == np.bool_:
        stack = stack.astype(np.int8)
    groups, rows, columns = stack.shape
    largest = _largest(stack)
    exponent = math.frexp(largest)[1]
    exponent = exponent if abs(exponent) > 200 else 0
    exact = stack.dtype.kind not in "iu" or largest < 2.0**53  # 2⁵³ + 1 is rounded to 2⁵³
    blocks = []
    if largest > 0:
        used_rows, used_columns = nonzero_rows(stack), nonzero_columns(stack)
        for g in range(groups):
            r, c = np.flatnonzero(used_rows[g]), np.flatnonzero(used_columns[g])
            if len(r):
                blocks.append(Block(g, stack[g], r, c, len(c) > len(r), exponent, exact))
    return Problem(groups * rows, groups * columns, groups, exponent, tuple(blocks), source)


def _largest(stack: npt.NDArray[np.generic]) -> float:
    """The largest absolute value, as a double rounded up to a power of two or exact."""
    largest = 0.0
    for _, piece in pieces(stack):
        if piece.size == 0:
            continue
        # min and max of bfloat16 go through float32, which holds every bfloat16.
        numbers = piece if piece.dtype.kind in "iuf" else piece.astype(np.float32)
        low, high = float(numbers.min()), float(numbers.max())
        if not (math.isfinite(low) and math.isfinite(high)):
            raise ValueError("the weight holds a NaN or an infinity: it has no rank")
        largest = max(largest, abs(low), abs(high))
    return largest


def _lower_gram(piece: Array) -> Array:
    """The lower triangle of pieceᵀ·piece."""
    if piece.shape[1] < 256:
        return np.asarray(piece.T @ piece)
    from scipy.linalg.blas import dsyrk

    # In column-major order either pieceᵀ or piece is the array as it lies; the result's transpose is row-major again.
    if piece.flags.c_contiguous or not piece.T.flags.c_contiguous:
        return np.asarray(dsyrk(1.0, piece.T, lower=0)).T
    return np.asarray(dsyrk(1.0, piece, trans=1, lower=0)).T
