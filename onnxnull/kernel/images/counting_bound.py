"""Upper bounds on a convolution's rank by counting: a cover of all its nonzero entries by inputs and outputs.

If every nonzero entry of a matrix lies in one of some rows X or some columns Y, its rank is at most |X| + rank(columns Y).
With X = Y-free this is `rank ≤ outputs`, with all inputs it is `rank ≤ inputs`; a mixture is better where a border is
over-determined (outputs that read mostly padding) and the interior is under-determined, or the other way round. An output
position counts for at most min(r, entries that it reads), r the rank of the filters. These are theorems for any weights.
"""

from __future__ import annotations

import math
from functools import lru_cache
from itertools import product

import numpy as np
from numpy.typing import NDArray

from onnxnull.kernel.images.splitting import Axis

# How many border positions are tried as rows instead of columns, per number of axes.
_TRIMS = {0: 0, 1: 12, 2: 3, 3: 1}
_LONGEST = 1 << 22
"""Outputs of one axis that are looked at, all trims together: on longer axes fewer are tried."""


@lru_cache(maxsize=4096)
def rank_at_most(axes: tuple[Axis, ...], channels: int, filters: int) -> int:
    """An upper bound on the rank of a part with this many channels whose filters have rank `filters` (or at most that)."""
    if not axes:
        return min(channels, filters)
    choices = []
    for axis in axes:
        trims = min(_TRIMS.get(len(axes), 0), max(0, math.isqrt(_LONGEST // max(1, axis.outputs)) - 1))
        ends = [(a, axis.outputs - b) for a in range(trims + 1) for b in range(trims + 1)]
        choices.append([_output_range(axis, a, b) for a, b in ends if a < b])
    readable = channels * math.prod(_span(axis, 0, axis.outputs) for axis in axes)
    everywhere = _outputs(tuple(_output_range(axis, 0, axis.outputs).counts for axis in axes), channels, filters)
    best = min(readable, everywhere)
    for box in product(*choices):
        inside = _outputs(tuple(interval.counts for interval in box), channels, filters)
        # outputs in the box as columns, what any other output reads as rows
        own = channels * math.prod(interval.own for interval in box)
        best = min(best, readable - own + inside)
        # what the box reads as rows, outputs outside it as columns
        touched = channels * math.prod(interval.touched for interval in box)
        best = min(best, touched + everywhere - inside)
    return best


class _OutputRange:
    """Outputs [a, b) of an axis: how many inputs each reads, how many only they read, how many they read at all."""

    def __init__(self, axis: Axis, a: int, b: int) -> None:
        first, stop = _reads(axis, a, b)
        counts, times = np.unique(stop - first, return_counts=True)
        self.counts = tuple(zip(counts.tolist(), times.tolist(), strict=True))
        before = axis.reads(a - 1)[1] if a > 0 else 0
        after = axis.reads(b)[0] if b < axis.outputs else axis.inputs
        previous = np.concatenate([[0], stop[:-1]])
        own = np.minimum(stop, after) - np.maximum(np.maximum(first, previous), before)
        self.own = int(np.maximum(0, own).sum())
        self.touched = _span(axis, a, b)


@lru_cache(maxsize=4096)
def _output_range(axis: Axis, a: int, b: int) -> _OutputRange:
    return _OutputRange(axis, a, b)


def _span(axis: Axis, a: int, b: int) -> int:
    """Number of inputs that outputs [a, b) read."""
    first, stop = _reads(axis, a, b)
    seen = np.concatenate([[0], np.maximum.accumulate(stop)[:-1]])
    return int(np.maximum(0, stop - np.maximum(first, seen)).sum())


def _reads(axis: Axis, a: int, b: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """`Axis.reads` of the outputs [a, b), of which there is at least one."""
    start = np.arange(a, b, dtype=np.int64) * axis.stride - axis.begin
    first = np.clip(start, 0, axis.inputs)
    return first, np.maximum(first, np.minimum(axis.inputs, start + axis.kernel))


@lru_cache(maxsize=65536)
def _outputs(counts: tuple[tuple[tuple[int, int], ...], ...], channels: int, filters: int) -> int:
    """Σ over the positions of min(filters, entries read); `counts` is (entries read, positions) per axis."""
    total = 0
    for choice in product(*counts):
        entries = channels * math.prod(read for read, _ in choice)
        total += min(filters, entries) * math.prod(times for _, times in choice)
    return total
