"""Lower bounds on a convolution's rank by sweeping over its outputs (design §2).

Visit the outputs in blocks. Let N_j be the inputs that block j reads and no earlier block has read. The operator restricted
to the rows N_1, N_2, … and the columns of the blocks is block triangular, hence

    rank ≥ Σ_j rank(W_j),  W_j = the operator's rows N_j in the columns of block j.

Blocks are cut axis by axis: a strip along the first axis is itself a convolution in the remaining axes with more channels
and columns (`unroll`), and is swept in turn. So only a handful of different W_j occur, whatever the image's size. Every
order and block size gives a valid bound; strategies differ in the size of the first block (which sees much at once; large
is good where outputs outnumber inputs), of the inner ones, and of the last ones (large is good where inputs outnumber
outputs and the padding leaves the last block little that is new), and in the corner where the sweep starts.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import pairwise

from onnxnull.kernel.budget import Budget, OutOfBudget
from onnxnull.kernel.images.splitting import Axis, ConvolutionPart, Weight, flip, swap, unroll
from onnxnull.kernel.numerics.arithmetic import FieldArray

_STRIP_ENTRIES = 50_000_000
"""A strip is written down if it has at most this many entries (400 MB); leaves cut from larger ones would cost too much."""


@dataclass(frozen=True)
class SweepStrategy:
    """Sizes of the first, the inner and the last block along every axis."""

    head: int
    body: int
    tail: int

    def blocks(self, outputs: int) -> list[tuple[int, int]]:
        """The output positions of one axis, cut into (start, stop)."""
        if self.head + self.tail >= outputs:
            return [(0, outputs)]
        cuts = [0, *range(self.head, outputs - self.tail, self.body), outputs - self.tail, outputs]
        return [(a, b) for a, b in pairwise(cuts) if b > a]


def strategies(part: ConvolutionPart, filters: int) -> Iterator[SweepStrategy]:
    """From the cheapest to the dearest for filters of this rank; the large block goes where the shape wants it."""
    yield SweepStrategy(1, 1, 1)
    cell = part.weight.shape[0] * math.prod(axis.stride for axis in part.axes)
    many_outputs = filters >= cell
    for size in (2, 3, 4, 6, 8, 12):
        yield SweepStrategy(size, 1, 1) if many_outputs else SweepStrategy(1, 1, size)
        if size <= 4:
            yield SweepStrategy(size, size, size)


LeafRank = Callable[[FieldArray, Budget], int]
"""Ranks a leaf (rows, columns), or bounds its rank from below; OutOfBudget where that costs too much."""


@dataclass
class Sweep:
    """Sweeps over one part, in one arithmetic. Leaves are cached by signature."""

    rank: LeafRank
    budget: Budget
    _leaves: dict[tuple[object, ...], int] = field(default_factory=dict)

    def lower_bound(self, part: ConvolutionPart, strategy: SweepStrategy) -> int:
        """A lower bound on the part's rank; OutOfBudget where the leaves would cost too much."""
        return self._strip(part.axes, part.weight, strategy, ())

    def _strip(self, axes: tuple[Axis, ...], weight: Weight, strategy: SweepStrategy, signature: tuple[object, ...]) -> int:
        if not axes:
            if signature not in self._leaves:
                self._leaves[signature] = self.rank(weight, self.budget)
            return self._leaves[signature]
        axis, *rest = axes
        total = 0
        for offset, count, width, times in _kinds(axis, strategy):
            inner_signature = (*signature, (offset, count, width))
            known = None if rest else self._leaves.get(inner_signature)
            if known is None:
                if float(weight.size // weight.shape[1]) * count * width > min(self.budget.left, _STRIP_ENTRIES):
                    raise OutOfBudget  # not even worth writing down
                strip = unroll(weight, Axis(count, axis.kernel, axis.stride, offset, width), (0, count), (0, width))
                known = self._strip(tuple(rest), strip, strategy, inner_signature)
            total += times * known
        return total


def attainable(part: ConvolutionPart, filters: int, strategy: SweepStrategy) -> int:
    """The most that a sweep may find where the filters have this rank: every block has all the rank that its size allows."""
    return _attainable(part.axes, part.weight.shape[0], filters, strategy)


@lru_cache(maxsize=4096)
def _attainable(axes: tuple[Axis, ...], rows: int, columns: int, strategy: SweepStrategy) -> int:
    if not axes:
        return min(rows, columns)
    axis, *rest = axes
    return sum(
        times * _attainable(tuple(rest), rows * count, columns * width, strategy)
        for _, count, width, times in _kinds(axis, strategy)
    )


@lru_cache(maxsize=4096)
def _kinds(axis: Axis, strategy: SweepStrategy) -> tuple[tuple[int, int, int, int], ...]:
    """The different blocks of one axis: (offset of its new inputs, how many they are, outputs, how often it occurs)."""
    seen = 0
    kinds: Counter[tuple[int, int, int]] = Counter()
    for start, stop in strategy.blocks(axis.outputs):
        first = max(seen, axis.reads(start)[0])
        seen = max(seen, axis.reads(stop - 1)[1])
        if seen > first:
            # the block's matrix depends on where its new inputs lie relative to its first output only
            kinds[first - start * axis.stride + axis.begin, seen - first, stop - start] += 1
    return tuple((*kind, times) for kind, times in kinds.items())


def views(part: ConvolutionPart) -> Iterator[ConvolutionPart]:
    """The part as seen from other corners and with another axis first: the rank is the same, the bounds differ."""
    yield part
    last = len(part.axes) - 1
    opposite = part
    for axis in range(last + 1):
        opposite = flip(opposite, axis)
    yield opposite
    if last >= 1:
        yield swap(part, last)
        yield flip(part, 0)
        yield flip(part, last)
        yield swap(opposite, last)
