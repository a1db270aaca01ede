"""What a rank computation answers: the rank, how sure it is, and why.

Matrices are (inputs, outputs) = (q, p) as everywhere in this project; nullity = inputs − rank.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field

from onnxnull.kernel.rank.notion import Notion
from onnxnull.kernel.rank.proof import Proof


class Certainty(enum.Enum):
    """How sure a rank is."""

    EXACT = "exact"
    CERTIFIED = "certified"
    NUMERICAL = "numerical"
    AMBIGUOUS = "ambiguous"

    @property
    def explanation(self) -> str:
        """What the certainty means, in words for a report."""
        return _EXPLANATIONS[self]

    @property
    def is_proved(self) -> bool:
        """Whether the value is a theorem about the stored numbers."""
        return self in (Certainty.EXACT, Certainty.CERTIFIED)


_EXPLANATIONS = {
    Certainty.EXACT: "proved for the stored numbers as rationals, without rounding",
    Certainty.CERTIFIED: "the number of singular values above the cut-off is proved, every rounding error counted",
    Certainty.NUMERICAL: "computed in floating point with a clear gap around the cut-off, but not proved",
    Certainty.AMBIGUOUS: "a singular value is too close to the cut-off to tell on which side it lies",
}


@dataclass(frozen=True, slots=True)
class Rank:
    """A rank with its certainty.

    `lower` ≤ true rank ≤ `upper`: both proved unless the certainty is NUMERICAL or AMBIGUOUS, where they are the
    bounds of the band that floating point leaves open. Where `certainty.is_proved`, lower == value == upper.
    """

    value: int
    certainty: Certainty
    lower: int
    upper: int
    proof: Proof | None = None


@dataclass(frozen=True, slots=True)
class RankProfile:
    """The ranks of one (block-diagonal) weight in every notion.

    `inputs` × `outputs` is the whole block-diagonal matrix. `exact` is None where the policy did not ask for it.
    `sigma_max` and `sigma_min` are the largest and the min(inputs, outputs)-th singular value (0.0 for a matrix
    without entries), right to at least 6 digits relative to each other where double arithmetic resolves them; a
    `sigma_min` at or below σ_max·max(inputs, outputs)·2⁻⁵² is given as 0.0. `sigma` are all min(inputs, outputs) singular
    values, decreasing, under the same rule, for pictures; None where they were not asked for, or the time was up.
    """

    inputs: int
    outputs: int
    float32: Rank
    float64: Rank
    exact: Rank | None
    sigma_max: float
    sigma_min: float
    sigma: tuple[float, ...] | None = field(default=None, repr=False)

    def cutoff(self, notion: Notion) -> float:
        """σ_max·max(inputs, outputs)·eps: singular values above it count in that notion."""
        return self.sigma_max * max(self.inputs, self.outputs) * notion.eps

    def rank(self, notion: Notion) -> Rank | None:
        """The rank in one notion; None where it was not computed."""
        return {Notion.FLOAT32: self.float32, Notion.FLOAT64: self.float64, Notion.EXACT: self.exact}[notion]

    def nullity(self, notion: Notion) -> int | None:
        """Dimension of {φ ∈ R^inputs : φᵀW = 0} in one notion; None where the rank was not computed."""
        rank = self.rank(notion)
        return None if rank is None else self.inputs - rank.value
