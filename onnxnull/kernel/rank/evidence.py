"""What the methods exchange: a cut-off, a piece of evidence for a bound, and the bracket that bounds close in on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from onnxnull.kernel.rank.notion import Notion
from onnxnull.kernel.rank.problem import Block


@dataclass(frozen=True, slots=True)
class Cutoff:
    """The cut-off of a notion for a scaled weight, enclosed: `low` ≤ τ ≤ `high` (both 0 for the rank over ℚ).

    Long loops call `tick` now and then; it raises TimeoutError past the deadline.
    """

    notion: Notion
    low: float
    high: float
    tick: Callable[[], None]


@dataclass(frozen=True, slots=True)
class ProvedBound:
    """A proved bound `count` of the rank of one block: the method, and what a checker needs to prove it again."""

    method: str
    count: int
    detail: Mapping[str, Any] = field(default_factory=dict)


NOTHING = ProvedBound("trivial", 0)
"""No rank is below 0."""


@dataclass(slots=True)
class Bracket:
    """The best proved bounds of one block's rank in one notion."""

    lower: ProvedBound
    upper: ProvedBound

    @property
    def settled(self) -> bool:
        """Whether the bounds have met."""
        return self.lower.count == self.upper.count

    def offer(self, lower: ProvedBound | None, upper: ProvedBound | None) -> None:
        """Keep what is better than before."""
        if lower is not None and lower.count > self.lower.count:
            self.lower = lower
        if upper is not None and upper.count < self.upper.count:
            self.upper = upper


Method = Callable[[Block, Cutoff, Bracket], tuple[ProvedBound | None, ProvedBound | None]]
"""One way to bound a block's rank at a cut-off, given what is known so far: new (lower, upper) evidence, or None."""

Cost = Callable[[Block, Bracket], float]
"""Roughly the seconds that a method will take."""
