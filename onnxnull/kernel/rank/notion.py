"""Which rank is meant, and when the one over ℚ is worked out."""

from __future__ import annotations

import enum


class Notion(enum.Enum):
    """Which rank is meant. A numerical rank counts the singular values σ > σ_max·max(inputs, outputs)·eps."""

    FLOAT32 = "float32"
    FLOAT64 = "float64"
    EXACT = "exact"

    @property
    def eps(self) -> float:
        """Machine epsilon of the cut-off (the gap between 1 and the next number); 0 for the rank over ℚ."""
        return {Notion.FLOAT32: 2.0**-23, Notion.FLOAT64: 2.0**-52, Notion.EXACT: 0.0}[self]

    @property
    def words(self) -> str:
        """What follows "proved" in a sentence about a kernel."""
        return "over the rationals" if self is Notion.EXACT else f"at the {self.value} cut-off"


class ExactPolicy(enum.Enum):
    """When to compute the rank over ℚ."""

    NEVER = "never"
    CHEAP = "cheap"
    ALWAYS = "always"
