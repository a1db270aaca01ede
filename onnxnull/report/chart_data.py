"""What pictures show of each weight: how its nullity comes about, and its singular values beside the cut-offs.

Shared by `onnxnull.report.plot` (matplotlib) and `onnxnull.report.html`. Only arranged here, never computed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from onnxnull.analysis.results import ModelReport, WeightReport
from onnxnull.kernel.rank import Notion, RankProfile
from onnxnull.report import words

MOST_VALUES = 200
"""Singular values of one weight that a picture shows."""
_AROUND = 8
"""Of them, how many on either side of each cut-off are always shown."""


@dataclass(frozen=True, slots=True)
class ChartWeight:
    """One weight in pictures; `inputs` = `rank at float32` + `near` + `lost` + `shape`.

    Attributes:
        number: its place in the report, from 1. name: as people may see it.
        shape: dimensions that it cannot see whatever its entries are, max(0, inputs − outputs).
        lost: dimensions that it cannot see beyond that, at the float64 cut-off: min(inputs, outputs) − rank.
        near: dimensions that count as unseen at the float32 cut-off only.
        float32, float64: the cut-offs as shares of σ_max.
        sigma: (place from 1, share of σ_max) of at most `MOST_VALUES` singular values, decreasing; None where they were not
            computed. A share of 0.0: at or below the float64 cut-off.
        quartiles: shares of σ_max: the largest, those at a quarter, a half and three quarters of all values, the smallest.
    """

    number: int
    name: str
    inputs: int
    outputs: int
    shape: int
    lost: int
    near: int
    float32: float
    float64: float
    sigma: tuple[tuple[int, float], ...] | None
    quartiles: tuple[float, float, float, float, float] | None

    @property
    def nullity(self) -> int:
        """At the float64 cut-off."""
        return self.shape + self.lost

    @property
    def closest(self) -> float:
        """The smallest share over the float32 cut-off: the lower, the sooner the weight loses rank."""
        return float("inf") if self.sigma is None else self.sigma[-1][1] / self.float32


def chart_weights(report: ModelReport) -> list[ChartWeight]:
    """The weights of a report in its order."""
    return [_layer(number, weight) for number, weight in enumerate(report.weights, start=1)]


def _layer(number: int, weight: WeightReport) -> ChartWeight:
    ranks = weight.ranks
    full, longest = min(ranks.inputs, ranks.outputs), max(ranks.inputs, ranks.outputs)
    sigma, quartiles = None, None
    if ranks.sigma and ranks.sigma_max > 0:
        shares = [value / ranks.sigma_max for value in ranks.sigma]
        sigma = tuple((place + 1, shares[place]) for place in places(ranks))
        last = len(shares) - 1
        quartiles = (shares[0], shares[last // 4], shares[last // 2], shares[3 * last // 4], shares[-1])
    return ChartWeight(
        number=number,
        name=words.shown(weight.name),
        inputs=ranks.inputs,
        outputs=ranks.outputs,
        shape=max(0, ranks.inputs - ranks.outputs),
        lost=full - ranks.float64.value,
        near=max(0, ranks.float64.value - ranks.float32.value),
        float32=longest * Notion.FLOAT32.eps,
        float64=longest * Notion.FLOAT64.eps,
        sigma=sigma,
        quartiles=quartiles,
    )


def places(ranks: RankProfile) -> Sequence[int]:
    """Which singular values to show, from 0, increasing: all, or evenly spread ones and those next to a cut-off."""
    count = len(ranks.sigma or ())
    if count <= MOST_VALUES:
        return range(count)
    chosen = {0, count - 1}
    for rank in (ranks.float32.value, ranks.float64.value):
        chosen.update(range(max(0, rank - _AROUND), min(count, rank + _AROUND)))
    even = MOST_VALUES - len(chosen)
    chosen.update(round(i * (count - 1) / (even - 1)) for i in range(even))
    return sorted(chosen)
