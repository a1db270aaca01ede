"""Matrices made to catch a rank computation out: 500 of them, from one seed."""

from __future__ import annotations

from collections.abc import Iterator

import ml_dtypes
import numpy as np
import numpy.typing as npt

DTYPES = (np.dtype(np.float32), np.dtype(np.float64), np.dtype(np.float16), np.dtype(ml_dtypes.bfloat16))
Matrix = npt.NDArray[np.generic]


def matrices(count: int = 500, seed: int = 20) -> Iterator[tuple[str, Matrix]]:
    """(kind, matrix (q, p) or stack (g, q, p)) pairs, every kind in turn."""
    kinds = (planted, graded, cliff, duplicated, scaled_columns, denormal, integers, integer_types, thin, grouped, nearly_equal)
    rng = np.random.default_rng(seed)
    for i in range(count):
        kind = kinds[i % len(kinds)]
        dtype = DTYPES[int(rng.integers(4))]
        yield kind.__name__, kind(rng, dtype)


def planted(rng: np.random.Generator, dtype: np.dtype[np.generic]) -> Matrix:
    """A product of thin factors, rounded: numerically singular, over ℚ usually not."""
    q, p = _shape(rng)
    r = int(rng.integers(0, min(q, p) + 1))
    return (rng.standard_normal((q, r)) @ rng.standard_normal((r, p))).astype(dtype)


def graded(rng: np.random.Generator, dtype: np.dtype[np.generic]) -> Matrix:
    """Singular values from 1 down to between 2⁻²⁰ and 2⁻⁵⁵, evenly on a logarithmic scale."""
    q, p = _shape(rng)
    return _with_values(rng, q, p, np.logspace(0, -rng.uniform(20, 55), min(q, p), base=2)).astype(dtype)


def cliff(rng: np.random.Generator, dtype: np.dtype[np.generic]) -> Matrix:
    """Singular values near 1, then some at one value between 2⁻²⁰ and 2⁻⁵⁵; a column scaling keeps it in any type."""
    q, p = sorted(_shape(rng), reverse=True)
    small = int(rng.integers(1, p + 1))
    matrix = np.linalg.qr(rng.standard_normal((q, p)))[0] * rng.uniform(0.5, 2, p)
    matrix[:, :small] *= 2.0 ** -rng.uniform(20, 55)
    return (matrix if rng.random() < 0.5 else matrix.T).astype(dtype)


def duplicated(rng: np.random.Generator, dtype: np.dtype[np.generic]) -> Matrix:
    """Equal columns, equal rows, dead ones."""
    q, p = _shape(rng)
    matrix = rng.standard_normal((q, p))[:, rng.integers(0, p, p)][rng.integers(0, q, q)]
    matrix[:, rng.random(p) < 0.2] = 0
    return matrix.astype(dtype)


def scaled_columns(rng: np.random.Generator, dtype: np.dtype[np.generic]) -> Matrix:
    """Columns that are powers of two, or small integers, times another one, some far smaller."""
    q, p = _shape(rng)
    base = rng.integers(-15, 16, (q, max(1, p // 2))).astype(np.float64)
    factors = np.where(rng.random(p) < 0.5, 2.0 ** rng.integers(-8, 8, p), rng.integers(1, 8, p))
    matrix = base[:, rng.integers(0, base.shape[1], p)] * factors
    if dtype == np.float64:
        matrix[:, : p // 3] *= 2.0 ** -int(rng.integers(20, 60))
    return matrix.astype(dtype)


def denormal(rng: np.random.Generator, dtype: np.dtype[np.generic]) -> Matrix:
    """Entries at the bottom of the type's range, all of them or some."""
    q, p = _shape(rng)
    tiny = 2.0 ** {2: -24, 4: -149, 8: -1074}[dtype.itemsize] if dtype.kind == "f" else 2.0**-133
    matrix = rng.integers(-9, 10, (q, p)) * tiny
    if rng.random() < 0.5:
        matrix[:, rng.random(p) < 0.5] = 1.0
    return matrix.astype(dtype)


def integers(rng: np.random.Generator, dtype: np.dtype[np.generic]) -> Matrix:
    """A planted rank in small integers, stored as floats where they fit."""
    matrix = _integer_product(rng)
    return matrix.astype(dtype) if np.array_equal(matrix.astype(dtype).astype(np.int64), matrix) else matrix.astype(np.float64)


def integer_types(rng: np.random.Generator, dtype: np.dtype[np.generic]) -> Matrix:
    """A planted rank in a type of integers."""
    return _integer_product(rng).astype([np.int16, np.int32, np.int64][int(rng.integers(3))])


def thin(rng: np.random.Generator, dtype: np.dtype[np.generic]) -> Matrix:
    """Empty, one row, one column, very tall, very wide."""
    shapes = [(0, 5), (7, 0), (1, 9), (9, 1), (200, 3), (3, 200), (1, 1), (2, 2)]
    matrix = rng.standard_normal(shapes[int(rng.integers(len(shapes)))])
    return (matrix * (rng.random() < 0.9)).astype(dtype)


def grouped(rng: np.random.Generator, dtype: np.dtype[np.generic]) -> Matrix:
    """Blocks of very different sizes, some zero: the cut-off is the whole matrix's."""
    g, q, p = (int(x) for x in rng.integers(1, 6, 3))
    scale = 2.0 ** -rng.uniform(0, 60, (g, 1, 1)) * (rng.random((g, 1, 1)) < 0.8)
    return (rng.standard_normal((g, q, p)) * scale).astype(dtype)


def nearly_equal(rng: np.random.Generator, dtype: np.dtype[np.generic]) -> Matrix:
    """Columns that differ from another one by a few units in the last place."""
    q, p = _shape(rng)
    matrix = rng.standard_normal((q, p)).astype(dtype)
    step = matrix[:, -1].astype(np.float64) * 2.0 ** -rng.uniform(8, 53)
    matrix[:, 0] = (matrix[:, -1].astype(np.float64) + step).astype(dtype)
    return matrix


def _integer_product(rng: np.random.Generator) -> npt.NDArray[np.int64]:
    q, p = _shape(rng)
    r = int(rng.integers(0, min(q, p) + 1))
    return np.asarray(rng.integers(-9, 10, (q, r)) @ rng.integers(-9, 10, (r, p)))


def _shape(rng: np.random.Generator) -> tuple[int, int]:
    q, p = (int(x) for x in rng.integers(2, 17, 2))
    return (q * 6, p) if rng.random() < 0.2 else (q, p)


def _with_values(rng: np.random.Generator, q: int, p: int, values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    left = np.linalg.qr(rng.standard_normal((q, len(values))))[0]
    right = np.linalg.qr(rng.standard_normal((p, len(values))))[0]
    return np.asarray((left * values) @ right.T)
