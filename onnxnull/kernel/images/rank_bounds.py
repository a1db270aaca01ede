"""Bounds on the rank of one group of a convolution as an operator on its whole image, in one notion of rank."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from onnxnull.kernel.budget import ENTRY_WORK, Budget, OutOfBudget
from onnxnull.kernel.images.banded_rank import banded_rank
from onnxnull.kernel.images.counting_bound import rank_at_most
from onnxnull.kernel.images.splitting import ConvolutionPart, parts, swap
from onnxnull.kernel.images.sweep import Sweep, SweepStrategy, attainable, strategies, views
from onnxnull.kernel.maps.im2col import ConvGeometry
from onnxnull.kernel.maps.linear_map import Array
from onnxnull.kernel.numerics.arithmetic import Float64, Prime, UnclearRank, residues
from onnxnull.kernel.rank import ExactPolicy, Notion, rank
from onnxnull.kernel.rank.rational import rational_rank_at_least

# Strategies in a row that may bring nothing before the sweeps end.
_IDLE_STRATEGIES = 3
_OWN_WORK = 4e9
"""Multiply-adds that ranking some taps of the filters may cost, whatever else may be spent: about what the weight costs."""


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

    `weight` (channels, *kernel, columns): the stored numbers, or an orthonormal basis of their numerical span. `rank` bounds
    the rank of the filters from above; `rank_known` says that it is the rank. `exact`: over ℚ.
    """

    weight: Array
    rank: int
    rank_known: bool
    exact: bool

    @functools.cached_property
    def entries(self) -> int:
        """How many entries are not zero."""
        return int(np.count_nonzero(self.weight))


def numerical_filters(basis: Array, kernel: tuple[int, ...]) -> Filters:
    """The filters of a group by an orthonormal basis (q, rank) of their span, as `column_span` makes it."""
    return Filters(_tensor(basis, kernel), basis.shape[1], rank_known=False, exact=False)


def exact_filters(block: Array, kernel: tuple[int, ...], known: int | None) -> Filters:
    """`block` (q, p) as stored, with a proved upper bound on its rank over ℚ; `known`: that rank, if it is proved already."""
    weight = _tensor(block, kernel)
    if known is not None:
        return Filters(weight, known, rank_known=True, exact=True)
    found = rank(block, Notion.EXACT, exact=ExactPolicy.CHEAP)
    return Filters(weight, found.upper, found.certainty.is_proved, exact=True)


def _tensor(matrix: Array, kernel: tuple[int, ...]) -> Array:
    return matrix.reshape(matrix.shape[0] // math.prod(kernel), *kernel, matrix.shape[1])


def group_bounds(geometry: ConvGeometry, filters: Filters, *, work: float) -> RankBounds:
    """Bounds on the rank of one group; `geometry` may have any number of groups, only one is meant."""
    total = NOTHING
    pieces = list(parts(geometry, filters.weight)) if filters.weight.size else []
    for count, part in pieces:
        own = max(work, _OWN_WORK) / len(pieces)
        total = total + part_bounds(part, filters, work=work / len(pieces), own=own).times(count)
    return total


def part_bounds(part: ConvolutionPart, filters: Filters, *, work: float, own: float) -> RankBounds:
    """Bounds on the rank of one part: counting from above, sweeps from below, then the frontier if work is left.

    `own`: what may be spent on a part that is nothing but filters.
    """
    upper = rank_at_most(part.axes, part.weight.shape[0], filters.rank)
    if not part.axes:
        return _matrix_bounds(part.weight, filters, upper, Budget(own))
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
        found = _frontier_rank(part, filters, Budget(work))
    except (OutOfBudget, UnclearRank):
        return result
    if filters.exact:
        return replace(result, lower=found, lower_method="frontier", lower_proved=True) if found > best else result
    # in float64 the frontier gives the rank itself, though without proof
    return RankBounds(min(found, upper), min(found, upper), "frontier", "frontier", False, False)


def _frontier_rank(part: ConvolutionPart, filters: Filters, budget: Budget) -> int:
    if part.weight.size * ENTRY_WORK > budget.left:
        raise OutOfBudget
    widest = swap(part, max(range(len(part.axes)), key=lambda axis: part.axes[axis].outputs))
    if filters.exact:
        return banded_rank(replace(widest, weight=residues(widest.weight)), Prime(), budget)
    return banded_rank(widest, Float64(), budget)


def _matrix_bounds(weight: Array, filters: Filters, upper: int, budget: Budget) -> RankBounds:
    if not filters.exact:
        found = rank(weight, Notion.FLOAT64)
        proved = found.certainty.is_proved
        return RankBounds(found.lower, min(upper, found.upper), "patch", "patch", proved, proved or found.upper >= upper)
    if filters.rank_known and np.count_nonzero(weight) == filters.entries:
        # all of the filters, without some rows of zeros
        return RankBounds(filters.rank, filters.rank, "patch", "patch", True, True)
    try:
        return RankBounds(rational_rank_at_least(weight, budget), upper, "patch", "count", True, True)
    except OutOfBudget:
        return RankBounds(0, upper, "none", "count", True, True)


def _sweeps(part: ConvolutionPart, filters: Filters, upper: int, work: float) -> Iterator[tuple[int, bool]]:
    """Lower bounds by sweeping, cheapest strategies first; (bound, proved). Ends when larger blocks gain nothing."""
    leaf_rank = rational_rank_at_least if filters.exact else _numerical_rank
    budget = Budget(work)
    sweeps = [(Sweep(leaf_rank, budget), view) for view in views(part)]
    best = idle = 0
    # as many outputs as inputs: whatever the first block loses no later one regains, so larger blocks seldom help
    square = filters.rank == part.weight.shape[0] * math.prod(axis.stride for axis in part.axes)
    for strategy in strategies(part, filters.rank):
        if idle >= (1 if square else _IDLE_STRATEGIES):
            return
        before = best
        for sweep, view in sweeps:
            if attainable(view, filters.rank, strategy) <= best:
                continue
            try:
                bound = sweep.lower_bound(view, strategy)
            except OutOfBudget:
                return
            best = max(best, bound)
            yield from _confirmed(bound, view, strategy, filters, upper)
        idle = 0 if best > before and not (square and before == 0) else idle + 1


def _confirmed(
    bound: int, view: ConvolutionPart, strategy: SweepStrategy, filters: Filters, upper: int
) -> Iterator[tuple[int, bool]]:
    """The bound of a sweep and whether it is proved; in floating point it is, where that settles the rank, proved now."""
    if not filters.exact and bound >= upper:
        certified = _CertifiedLeaves()
        yield Sweep(certified.rank, Budget(np.inf)).lower_bound(view, strategy), certified.all_proved
    yield bound, filters.exact


def _numerical_rank(matrix: Array, budget: Budget) -> int:
    rows, columns = matrix.shape
    budget.spend(float(rows) * columns * (min(rows, columns) + ENTRY_WORK))
    return Float64().rank(matrix)


class _CertifiedLeaves:
    """Ranks of leaves at the float64 cut-off, proved from below where that succeeds."""

    def __init__(self) -> None:
        self.all_proved = True

    def rank(self, matrix: Array, _: Budget) -> int:
        found = rank(matrix, Notion.FLOAT64)
        self.all_proved &= found.certainty.is_proved
        return found.lower
