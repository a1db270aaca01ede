"""Bounds on the rank of one group of a convolution as an operator on its whole image, in one notion of rank."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from onnxnull.kernel.budget import Budget, OutOfBudget
from onnxnull.kernel.images.banded_rank import banded_rank
from onnxnull.kernel.images.counting_bound import rank_at_most
from onnxnull.kernel.images.splitting import ConvolutionPart, parts, swap
from onnxnull.kernel.images.sweep import Sweep, strategies, views
from onnxnull.kernel.maps.im2col import ConvGeometry
from onnxnull.kernel.maps.linear_map import Array
from onnxnull.kernel.numerics.arithmetic import Field, FieldArray, Float64, Prime, UnclearRank, residues
from onnxnull.kernel.rank import Notion, rank

# Strategies in a row that may bring nothing before the sweeps end.
_IDLE_STRATEGIES = 3


@dataclass(frozen=True)
class RankBounds:
    """lower ≤ rank ≤ upper, how each was found, and whether it is proved or numerical."""

    lower: int
    upper: int
    lower_method: str
    upper_method: str
    lower_proved: bool
    upper_proved: bool

    def __add__(self, other: RankBounds) -> RankBounds:
        return RankBounds(
            self.lower + other.lower,
            self.upper + other.upper,
            _join(self.lower_method, other.lower_method),
            _join(self.upper_method, other.upper_method),
            self.lower_proved and other.lower_proved,
            self.upper_proved and other.upper_proved,
        )

    def times(self, count: int) -> RankBounds:
        """The bounds of `count` independent copies."""
        return replace(self, lower=self.lower * count, upper=self.upper * count)


NOTHING = RankBounds(0, 0, "", "", True, True)


def _join(left: str, right: str) -> str:
    names = [name for name in left.split(" + ") if name]
    return " + ".join(names + [name for name in right.split(" + ") if name and name not in names])


@dataclass(frozen=True)
class Filters:
    """The filters of one group as a notion sees them.

    `weight` (channels, *kernel, columns): an orthonormal basis of the numerical span in float64, or residues modulo a
    prime of the stored numbers. `rank` bounds the rank of the filters from above.
    """

    weight: FieldArray
    rank: int
    field: Field


def numerical_filters(basis: Array, kernel: tuple[int, ...]) -> Filters:
    """The filters of a group by an orthonormal basis (q, rank) of their span, as `column_span` makes it."""
    return Filters(_tensor(basis, kernel), basis.shape[1], Float64())


def exact_filters(block: Array, kernel: tuple[int, ...]) -> Filters:
    """`block` (q, p) modulo the prime, with a proved upper bound on its rank over ℚ."""
    field = Prime()
    reduced = residues(block)
    modular = field.rank(reduced)
    nonzero = min(int(reduced.any(axis=1).sum()), int(reduced.any(axis=0).sum()))
    if modular == nonzero:
        return Filters(_tensor(reduced, kernel), modular, field)
    found = rank(block, Notion.EXACT)
    proved = found.certainty.is_proved
    return Filters(_tensor(reduced, kernel), found.upper if proved else nonzero, field)


def _tensor(matrix: FieldArray, kernel: tuple[int, ...]) -> FieldArray:
    return matrix.reshape(matrix.shape[0] // math.prod(kernel), *kernel, matrix.shape[1])


def group_bounds(geometry: ConvGeometry, filters: Filters, *, work: float) -> RankBounds:
    """Bounds on the rank of one group; `geometry` may have any number of groups, only one is meant."""
    total = NOTHING
    pieces = list(parts(geometry, filters.weight)) if filters.weight.size else []
    for count, part in pieces:
        total = total + part_bounds(part, filters, work=work / len(pieces)).times(count)
    return total


def part_bounds(part: ConvolutionPart, filters: Filters, *, work: float) -> RankBounds:
    """Bounds on the rank of one part: counting from above, sweeps from below, then the frontier if work is left."""
    field = filters.field
    upper = rank_at_most(part.axes, part.weight.shape[0], filters.rank)
    exact_field = isinstance(field, Prime)
    if not part.axes:
        return _matrix_bounds(part.weight, upper, field)
    best, method, proved = 0, "none", True
    for lower, sweep_proved in _sweeps(part, filters, upper, work):
        if lower > best:
            best, method, proved = lower, "sweep", sweep_proved
        if best >= upper:
            break
    result = RankBounds(best, upper, method, "count", proved, True)
    if best >= upper:
        return result
    try:
        widest = max(range(len(part.axes)), key=lambda axis: part.axes[axis].outputs)
        found = banded_rank(swap(part, widest), field, Budget(work))
    except (OutOfBudget, UnclearRank):
        return result
    if exact_field:
        return replace(result, lower=found, lower_method="frontier", lower_proved=True) if found > best else result
    # in float64 the frontier gives the rank itself, though without proof
    return RankBounds(min(found, upper), min(found, upper), "frontier", "frontier", False, False)


def _matrix_bounds(weight: FieldArray, upper: int, field: Field) -> RankBounds:
    if isinstance(field, Prime):
        return RankBounds(field.rank(weight), upper, "patch", "count", True, True)
    found = rank(weight, Notion.FLOAT64)
    proved = found.certainty.is_proved
    return RankBounds(found.lower, min(upper, found.upper), "patch", "patch", proved, proved or found.upper >= upper)


def _sweeps(part: ConvolutionPart, filters: Filters, upper: int, work: float) -> Iterator[tuple[int, bool]]:
    """Lower bounds by sweeping, cheapest strategies first; (bound, proved). Ends when larger blocks gain nothing."""
    budget = Budget(work)
    sweeps = [(Sweep(filters.field.rank, budget), view) for view in views(part)]
    best = idle = 0
    # as many outputs as inputs: whatever the first block loses no later one regains, so larger blocks seldom help
    square = filters.rank == part.weight.shape[0] * math.prod(axis.stride for axis in part.axes)
    for strategy in strategies(part, filters.rank):
        if idle >= (1 if square else _IDLE_STRATEGIES):
            return
        before = best
        for sweep, view in sweeps:
            try:
                bound = sweep.lower_bound(view, strategy)
            except OutOfBudget:
                return
            best = max(best, bound)
            if isinstance(filters.field, Prime):
                yield bound, True
            elif bound >= upper:
                certified = _CertifiedLeaves()
                yield Sweep(certified.rank, Budget(np.inf)).lower_bound(view, strategy), certified.all_proved
                yield bound, False
            else:
                yield bound, False
        idle = 0 if best > before and not (square and before == 0) else idle + 1


class _CertifiedLeaves:
    """Ranks of leaves at the float64 cut-off, proved from below where that succeeds."""

    def __init__(self) -> None:
        self.all_proved = True

    def rank(self, matrix: FieldArray) -> int:
        found = rank(matrix, Notion.FLOAT64)
        self.all_proved &= found.certainty.is_proved
        return found.lower
