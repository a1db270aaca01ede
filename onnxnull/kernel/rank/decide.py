"""Which method when: the decision table, and the bookkeeping around it."""

from __future__ import annotations

import functools
import time

import numpy as np
import numpy.typing as npt

from onnxnull.kernel.numerics.rounding import down, up
from onnxnull.kernel.rank import (
    cholesky,
    enclosure,
    few_lost,
    gram_eigenvalues,
    minors,
    modular,
    relations,
    shape,
    spectral,
    subset,
)
from onnxnull.kernel.rank.enclosure import Enclosure
from onnxnull.kernel.rank.evidence import NOTHING, Bracket, Cost, Cutoff, Method, ProvedBound
from onnxnull.kernel.rank.notion import Notion
from onnxnull.kernel.rank.problem import Block, Problem, prepare
from onnxnull.kernel.rank.proof import Proof, fingerprint, merge
from onnxnull.kernel.rank.result import Certainty, Rank

# Cheapest first. A method runs on a block only while the bounds of the block's rank in that notion differ.
STRAIGHT: tuple[Method, ...] = (  # with a rough cut-off
    shape.distinct_lines,  # dead and equal columns: an upper bound in every notion
    subset.full_rank,  # full rank of a long weight, if nothing else is wanted of it: a part of it is enough
    cholesky.full_rank,  # full rank: one syrk, one Cholesky
)
CLOSE: tuple[Method, ...] = (  # with a tight cut-off
    few_lost.counted,  # no or few values of a large weight below the cut-off: the bottom of its spectrum, one Cholesky
    cholesky.full_rank,
    gram_eigenvalues.counted,  # rank lost above σ/σ_max ≈ 1e-7: eigenvalues and two factorisations
    spectral.enclosed,  # rank lost below: singular vectors and accurate products
)
OVER_Q: tuple[tuple[Method, Cost], ...] = (
    (shape.distinct_lines, shape.cost),
    (modular.pivots, modular.cost),  # lower bound: a minor that is not 0 modulo a prime
    (relations.kernel, relations.cost),  # upper bound: integer kernel vectors with small entries
    (minors.vanish, minors.cost),  # upper bound: rank modulo primes whose product exceeds every minor
)
CHEAP_SECONDS = 1.0
"""What exact arithmetic may cost for one weight where it is not asked for."""

# rank(float32) ≤ rank(float64) ≤ rank over ℚ, for the cut-offs are in this order and at least 0.
ORDER = (Notion.FLOAT32, Notion.FLOAT64, Notion.EXACT)


class RankDecision:
    """The ranks of one weight, worked out notion by notion; what one notion proves, the others use."""

    def __init__(self, source: npt.NDArray[np.generic], deadline: float | None, *, only_rank: bool = False) -> None:
        """`only_rank`: no singular values will be asked for, so not all of the weight need be worked through."""
        self.problem: Problem = prepare(source)
        self._deadline = deadline
        self._brackets = {
            notion: [Bracket(NOTHING, ProvedBound("shape", block.n)) for block in self.problem.blocks] for notion in ORDER
        }
        self._by_subset = only_rank and all(subset.applies(block) for block in self.problem.blocks)
        self._tight = False

    @functools.cached_property
    def _rough(self) -> Enclosure:
        self._check_time()
        return enclosure.from_norms(self.problem) if self._by_subset else enclosure.from_grams(self.problem)

    @functools.cached_property
    def enclosure(self) -> Enclosure:
        """Where σ_max of the scaled weight lies, tightly."""
        self._check_time()
        self._tight = True
        return self._rough.meet(enclosure.enclose(self.problem))

    def cutoff(self, notion: Notion) -> Cutoff:
        """The cut-off of a notion for the scaled weight, enclosed as tightly as is known by now."""
        if notion is Notion.EXACT or not self.problem.blocks:
            return Cutoff(notion, 0.0, 0.0, self._check_time)
        around, factor = self.enclosure if self._tight else self._rough, self.problem.longest * notion.eps
        return Cutoff(notion, down(around.low * factor), up(around.high * factor), self._check_time)

    def tight_cutoff(self, notion: Notion) -> Cutoff:
        """The cut-off, enclosed to about a millionth."""
        _ = self.enclosure
        return self.cutoff(notion)

    def settled(self, notion: Notion) -> bool:
        """Whether the rank is proved."""
        return all(bracket.settled for bracket in self._brackets[notion])

    def prove(self, notion: Notion) -> None:
        """Run the methods of the table for a cut-off until every block's bounds have met or the table ends."""
        self._prove_straight(notion)
        for method in CLOSE if self._doubles else ():
            if not self.settled(notion):
                self._run(method, self.tight_cutoff(notion))
        if not self.settled(notion):
            self.prove_exact(always=False)  # what is singular over ℚ is singular at every cut-off

    def prove_exact(self, *, always: bool) -> None:
        """Run the methods over ℚ; a method that looks too costly only if the rank is wanted `always`.

        Full rank at the float64 cut-off is the cheapest proof of full rank, so it is tried first.
        """
        if not self.settled(Notion.EXACT):
            self._prove_straight(Notion.FLOAT64)
        for method, cost in OVER_Q:
            if self.settled(Notion.EXACT):
                return
            if always or sum(cost(block, bracket) for block, bracket in self._open(Notion.EXACT)) <= CHEAP_SECONDS:
                self._run(method, self.cutoff(Notion.EXACT))

    def _prove_straight(self, notion: Notion) -> None:
        for method in STRAIGHT if self._doubles else ():
            if not self.settled(notion) and (self._by_subset or method is not subset.full_rank):
                self._run(method, self.cutoff(notion))

    @property
    def _doubles(self) -> bool:
        """Whether doubles hold every entry; integers beyond 2^53 are rounded first, and no certificate would be one."""
        return all(block.exact_as_double for block in self.problem.blocks)

    def _run(self, method: Method, cutoff: Cutoff) -> None:
        for i, (block, bracket) in enumerate(zip(self.problem.blocks, self._brackets[cutoff.notion], strict=True)):
            if not bracket.settled:
                self._check_time()
                self._record(i, cutoff.notion, *method(block, cutoff, bracket))

    def _open(self, notion: Notion) -> list[tuple[Block, Bracket]]:
        pairs = zip(self.problem.blocks, self._brackets[notion], strict=True)
        return [(block, bracket) for block, bracket in pairs if not bracket.settled]

    @property
    def singular_over_q(self) -> bool:
        """Whether the smallest singular value is known to be exactly 0."""
        possible = sum(bracket.upper.count for bracket in self._brackets[Notion.EXACT])
        return possible < self.problem.shortest

    def result(self, notion: Notion) -> Rank:
        """What is known by now, with the proof if there is one."""
        brackets = self._brackets[notion]
        lower = sum(bracket.lower.count for bracket in brackets)
        upper = sum(bracket.upper.count for bracket in brackets)
        if lower == upper:
            exact = notion is Notion.EXACT or not brackets
            return Rank(lower, Certainty.EXACT if exact else Certainty.CERTIFIED, lower, upper, self._proof(notion))
        return Rank(*self._estimate(notion, lower, upper))

    def block_ranks(self, notion: Notion) -> list[int]:
        """The rank of every block of `problem.blocks`: proved, or else as `result` would count it."""
        brackets = self._brackets[notion]
        if notion is Notion.EXACT:
            return [bracket.lower.count for bracket in brackets]
        ranks = []
        for block, bracket in zip(self.problem.blocks, brackets, strict=True):
            lower, upper = bracket.lower.count, bracket.upper.count
            ranks.append(lower if lower == upper else min(max(self._count(block, notion, 0.0), lower), upper))
        return ranks

    def _count(self, block: Block, notion: Notion, shift: float) -> int:
        """Singular values of a block above the cut-off plus a shift, as floating point sees them."""
        cutoff = self.tight_cutoff(notion)
        return int(np.count_nonzero(block.spectrum.sigma > (cutoff.low + cutoff.high) / 2 + shift))

    def _record(self, i: int, notion: Notion, lower: ProvedBound | None, upper: ProvedBound | None) -> None:
        """A lower bound holds for every later notion too, an upper bound for every earlier one."""
        place = ORDER.index(notion)
        for other in ORDER[place:]:
            self._brackets[other][i].offer(lower, None)
        if upper is not None and upper.method in ("shape", "relations", "minors"):
            place = len(ORDER) - 1  # upper bounds over ℚ, whoever asked
        for other in ORDER[: place + 1]:
            self._brackets[other][i].offer(None, upper)

    def _estimate(self, notion: Notion, lower: int, upper: int) -> tuple[int, Certainty, int, int]:
        """The rank as floating point sees it, kept within what is proved, and the band it leaves open."""
        if notion is Notion.EXACT:
            # Modulo a large prime a rank is almost never too small.
            return lower, Certainty.NUMERICAL, lower, upper
        cutoff = self.tight_cutoff(notion)
        # The spectrum is right to about u·σ_max, the cut-off to its enclosure.
        band = 4 * 2.0**-53 * self.enclosure.estimate + (cutoff.high - cutoff.low)
        value = sum(self.block_ranks(notion))
        low, high = (
            min(max(sum(self._count(block, notion, shift) for block in self.problem.blocks), lower), upper)
            for shift in (band, -band)
        )
        return value, Certainty.NUMERICAL if low == high else Certainty.AMBIGUOUS, min(low, value), max(high, value)

    def _proof(self, notion: Notion) -> Proof:
        brackets = self._brackets[notion]
        numbers = [block.index for block in self.problem.blocks]
        around = None
        if notion is not Notion.EXACT and brackets:
            around = self.enclosure if self._tight else self._rough
        return Proof(
            notion=notion.value,
            inputs=self.problem.inputs,
            outputs=self.problem.outputs,
            groups=self.problem.groups,
            rank=sum(bracket.lower.count for bracket in brackets),
            exponent=self.problem.exponent,
            sigma_max=None if around is None else (around.low, around.high),
            lower=merge(zip(numbers, (bracket.lower for bracket in brackets), strict=True)),
            upper=merge(zip(numbers, (bracket.upper for bracket in brackets), strict=True)),
            weight=self._fingerprint,
        )

    @functools.cached_property
    def _fingerprint(self) -> str:
        return fingerprint(self.problem.source)

    def _check_time(self) -> None:
        if self._deadline is not None and time.monotonic() > self._deadline:
            raise TimeoutError("the time limit was reached before the rank was known")
