"""How far apart two matrices are that are in the same order: to the bit, by rounding, by factors, by quantisation.

Matrices are blocks (g, q, p), rows inputs, in float64.

1. *Rounding* to a type of unit roundoff u leaves |a − b| ≤ u·max(|a|, |b|), or half the smallest subnormal number.
2. *Quantisation* puts the entries of a tensor, of a column, or of a block of rows of a column on a grid k·s with whole k. The
   step s is read off the numbers themselves, so that it does not matter how a file stores them; rounding to the nearest costs
   s/2, rounding to either side (adaptive rounding) up to s.
3. *Factors*: a single one, one per column, one per row, or both, fitted by least squares.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from onnxnull.comparison.results import WeightScale
from onnxnull.comparison.verdicts import Factors, Verdict
from onnxnull.kernel.maps.linear_map import Array

_TYPES = {"float64": (2.0**-53, 2.0**-1074), "float32": (2.0**-24, 2.0**-150), "float16": (2.0**-11, 2.0**-25)}
_TYPES["bfloat16"] = (2.0**-8, 2.0**-134)
"""Type → unit roundoff, half the smallest subnormal number; finest first."""
_BLOCKS = (16, 32, 64, 128, 256)
"""Rows that share a step in block-wise quantisation (the sizes that MatMulNBits and blocked QuantizeLinear are used with)."""
_MOST = 65535
"""Largest number of steps: 16 bits."""
_STEP = 1.01
"""A deviation in steps that counts as one, with room for the rounding of the step itself."""
_SHORT_LINE = 32
"""Entries of a line in which no two need be a few steps apart."""
_AT_ONCE = 64
"""Lines for which all numbers of steps are tried at once."""
_CORNER_COLUMNS, _CORNER_LINES = 8, 16
"""Columns and lines that are looked at before all of them are."""
_CORNER = 64
"""Rows and columns on which factors of both are tried first."""
NO_SCALE = WeightScale()
_FIRST = 4096
"""Entries that are looked at before all of them are."""


@dataclass(frozen=True, slots=True)
class Closeness:
    """The verdict on two aligned matrices, and the numbers behind it (see `Pair`)."""

    verdict: Verdict
    difference: float
    steps: float | None = None
    rounding: str | None = None
    scale: WeightScale = NO_SCALE


def closeness(a: Array, b: Array, types: tuple[str, str], *, roundings: float = 2.0) -> Closeness:
    """The verdict without factors.

    Args:
        types: of the constants; what is no type of floats counts as float32.
        roundings: how many roundings may lie between the two.
    """
    if np.array_equal(a, b):
        return Closeness(Verdict.IDENTICAL, 0.0)
    apart = np.abs(a - b)
    norm = float(np.linalg.norm(b)) or float(np.linalg.norm(a))
    difference = float(np.linalg.norm(apart)) / norm
    sizes = np.maximum(np.abs(a), np.abs(b))
    for name in _possible(a, b, types):
        unit, tiny = _TYPES[name]
        if bool(np.all(apart <= roundings * (unit * sizes + tiny))):
            return Closeness(Verdict.ROUNDED, difference, rounding=name)
    steps = _in_steps(a, b, apart)
    if steps is not None:
        return Closeness(Verdict.QUANTIZED, difference, steps=steps)
    return Closeness(Verdict.DIFFERENT, difference)


def scaled_closeness(a: Array, b: Array, types: tuple[str, str]) -> Closeness:
    """The verdict with factors of any size; at best SCALED, and DIFFERENT where no factors help."""
    best = Closeness(Verdict.DIFFERENT, closeness(a, b, types).difference)
    for factors, rows, columns in _fits(a, b):
        found = closeness(a * rows * columns, b, types, roundings=8.0)
        if found.verdict is Verdict.DIFFERENT:
            continue
        if found.verdict is not Verdict.QUANTIZED:
            found = replace(found, verdict=Verdict.SCALED)
        if not best.verdict.within(found.verdict):
            sizes = np.abs(rows * columns) if factors is Factors.BOTH else np.abs(rows if rows.size > columns.size else columns)
            best = replace(found, scale=scale_of(factors, sizes))
    return best


def scale_of(factors: Factors, sizes: Array, nodes_a: tuple[str, ...] = (), nodes_b: tuple[str, ...] = ()) -> WeightScale:
    """The factors and their range."""
    used = sizes[sizes > 0.0]
    least, most = (float(used.min()), float(used.max())) if used.size else (0.0, 0.0)
    return WeightScale(factors, least, most, nodes_a, nodes_b)


def _possible(a: Array, b: Array, types: tuple[str, str]) -> Iterator[str]:
    """Types whose rounding may lie between the two: the coarser of their own, then coarser ones that hold all of one."""
    names = list(_TYPES)
    own = max(names.index(t) if t in names else names.index("float32") for t in types)
    yield names[own]
    for name in names[own + 1 :]:
        if _is_held(a, name) or _is_held(b, name):
            yield name


def _is_held(matrix: Array, name: str) -> bool:
    """Whether every number is one of this type."""
    return _held(np.asarray(matrix.flat[:_FIRST]), name) and _held(matrix, name)


def _held(numbers: Array, name: str) -> bool:
    with np.errstate(over="ignore"):
        stored = numbers.astype(np.float16 if name == "float16" else np.float32)
    if not np.array_equal(stored.astype(np.float64), numbers):
        return False
    if name != "bfloat16":
        return True
    return not bool(np.any(np.ascontiguousarray(stored).view(np.uint32) & np.uint32(0xFFFF)))  # a float32's upper half


def _in_steps(a: Array, b: Array, apart: Array) -> float | None:
    """The largest deviation in steps of a grid that one of the two lies on, or both; None if it is more than one step."""
    grids = [grid for grid in (_grid(a), _grid(b)) if grid is not None]
    if not grids:
        return None
    step = np.broadcast_to(sum(grids), a.shape)
    off = apart > 1e-7 * np.maximum(np.abs(a), np.abs(b))
    if np.any(off & (step == 0.0)):
        return None
    steps = float(np.max(np.divide(apart, step, out=np.zeros_like(apart), where=off)))
    return steps if steps <= _STEP else None


def _grid(matrix: Array) -> Array | None:
    """The step of the grid that the entries lie on, broadcastable to the matrix; None where they lie on none."""
    g, q, p = matrix.shape
    corner = matrix[:1, : max(_BLOCKS), :_CORNER_COLUMNS]
    for rows in (None, q, *(rows for rows in _BLOCKS if rows < q and q % rows == 0)):
        if not _may_have_steps(_in_lines(corner, None if rows is None else min(rows, corner.shape[1]))):
            continue
        found = _steps(_in_lines(matrix, rows))
        if found is not None:
            return found.reshape(1, 1, 1) if rows is None else np.repeat(found.reshape(g, q // rows, p), rows, axis=1)
    return None


def _in_lines(matrix: Array, rows: int | None) -> Array:
    """(entries, lines): everything in one line, or so many rows of each column in one."""
    g, q, p = matrix.shape
    if rows is None:
        return matrix.reshape(-1, 1)
    return np.moveaxis(matrix[:, : q - q % rows].reshape(g, q // rows, rows, p), 2, 0).reshape(rows, -1)


def _may_have_steps(lines: Array) -> bool:
    """Whether no line shows that it lies on no grid."""
    used = lines[:, lines.any(axis=0)][:, :_CORNER_LINES]
    return bool(used.size == 0 or _found(used)[2].all())


def _steps(lines: Array) -> Array | None:
    """The step of every column of `lines` (entries, lines), (lines,), 0 for a zero line; None unless all lie on grids.

    A line of one or two sizes lies on many grids; its step is taken to be as fine as that of the finest other line.
    """
    step, levels, good = _found(lines)
    zero = ~lines.any(axis=0)
    unclear = np.isnan(step) & ~zero
    if not np.all((good > 0.0) | zero):
        return None
    if np.all(zero | unclear):
        return None
    finest = float(np.nanmax(np.where(zero | unclear, np.nan, levels)))
    return np.where(zero, 0.0, np.where(unclear, np.abs(lines).max(axis=0) / finest, step))


def _found(lines: Array) -> tuple[Array, Array, Array]:
    """(step, largest number of steps, 1 where it lies on a grid) of every line; step NaN where a line is too short to tell.

    The smallest gap between two sizes is a small multiple of the step; in short lines it need not be, and all numbers of steps
    that 8 bits have are tried.
    """
    sizes = np.sort(np.abs(lines), axis=0)
    top = sizes[-1]
    gaps = np.diff(sizes, axis=0, prepend=0.0)
    gaps[gaps <= top / (4.0 * _MOST)] = np.inf
    short = np.count_nonzero(np.isfinite(gaps), axis=0) < 3
    gap = gaps.min(axis=0)
    levels = np.zeros(lines.shape[1])
    with np.errstate(divide="ignore", invalid="ignore"):
        for parts in range(1, 7):
            _try(lines, top, np.rint(top * parts / gap), levels)
    if len(lines) <= _SHORT_LINE:
        _try_all(lines, top, levels, np.flatnonzero((levels == 0.0) & ~short))
    step = np.divide(top, levels, out=np.full(top.shape, np.nan), where=(levels > 0.0) & ~short)
    return step, np.where(short, 0.0, levels), np.where((levels > 0.0) | short, 1.0, 0.0)


def _try(lines: Array, top: Array, count: Array, levels: Array) -> None:
    """Note in `levels` where the largest of a line being `count` steps makes all of it multiples of a step."""
    wanted = np.flatnonzero((levels == 0.0) & (count > 0.0) & (count <= _MOST) & (top > 0.0))
    if wanted.size == 0:
        return
    multiples = lines[:, wanted] * (count[wanted] / top[wanted])
    # a step stored in float16 is off by 2⁻¹¹; so much room is for lines that fit by chance no more
    room = np.clip(count[wanted] * 2.0**-11, 2e-3, 0.05) if len(lines) > _SHORT_LINE else 2e-3
    fits = np.abs(multiples - np.rint(multiples)).max(axis=0) <= room
    levels[wanted[fits]] = count[wanted[fits]]


def _try_all(lines: Array, top: Array, levels: Array, wanted: NDArray[np.intp]) -> None:
    """The same for every number of steps up to 255, the least that fits."""
    counts = np.arange(2.0, 256.0)
    for start in range(0, len(wanted), _AT_ONCE):
        some = wanted[start : start + _AT_ONCE]
        multiples = counts[:, None, None] * (lines[:, some] / top[some])
        fits = np.abs(multiples - np.rint(multiples)).max(axis=1) <= 2e-3
        levels[some] = np.where(fits.any(axis=0), counts[np.argmax(fits, axis=0)], 0.0)


def _fits(a: Array, b: Array) -> Iterator[tuple[Factors, Array, Array]]:
    """Factors (g, q, 1) or (g, 1, p) by least squares, where there are at least twice as many entries as factors."""
    one = np.ones((1, 1, 1))

    def quotient(above: Array, below: Array) -> Array:
        return np.divide(above, below, out=np.zeros_like(above), where=below > 0.0)

    g, q, p = a.shape
    if a.size >= 2:
        yield Factors.ONE, one, quotient(np.sum(a * b, keepdims=True), np.sum(a * a, keepdims=True))
    if q >= 2:
        yield Factors.OUTPUTS, one, quotient(np.sum(a * b, axis=1, keepdims=True), np.sum(a * a, axis=1, keepdims=True))
    if p >= 2:
        yield Factors.INPUTS, quotient(np.sum(a * b, axis=2, keepdims=True), np.sum(a * a, axis=2, keepdims=True)), one
    if a.size >= 2 * g * (q + p) and not np.any((a == 0.0) != (b == 0.0)):
        corner = a[:1, :_CORNER, :_CORNER], b[:1, :_CORNER, :_CORNER]
        rows, columns = _both(*corner)
        if np.all(np.abs(corner[0] * rows * columns - corner[1]) <= 0.01 * np.abs(corner[1])):
            yield Factors.BOTH, *_both(a, b)


def _both(a: Array, b: Array) -> tuple[Array, Array]:
    """Row and column factors r, c with r·a·c ≈ b: the logarithms of |b/a| as a sum of a row's and a column's part."""
    there = a != 0.0
    logs = np.log(np.abs(np.where(there, b, 1.0)) / np.abs(np.where(there, a, 1.0)))
    signs = np.where(there, np.sign(a) * np.sign(b), 0.0)
    rows, columns = np.zeros((len(a), a.shape[1], 1)), np.zeros((len(a), 1, a.shape[2]))
    for _ in range(30):
        for axis, part in ((2, rows), (1, columns)):
            rest = np.where(there, logs - rows - columns, 0.0)
            part += rest.sum(axis=axis, keepdims=True) / np.maximum(there.sum(axis=axis, keepdims=True), 1)
    first = np.where(signs.sum(axis=2, keepdims=True) < 0.0, -1.0, 1.0)
    second = np.where((signs * first).sum(axis=1, keepdims=True) < 0.0, -1.0, 1.0)
    middle = math.exp(float(np.mean(columns)))
    return first * np.exp(rows) * middle, second * np.exp(columns) / middle
