"""What the states of a loop may hold, followed from their first values: round by round, or for any number of rounds.

A walk over the body takes the states' ranges and gives those of what the body hands on (and collects). Of any number of rounds,
the states' sets grow until the body keeps them (Kleene iteration); ends that still move after two rounds are let go (widening).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from onnxnull.intervals.domain import Range, collapsed, made, union

MOST = 16
"""Most rounds that are followed one by one."""
_GROWTH = 2
"""Rounds after which an end that moves is let go."""
_PATIENCE = 8
"""Rounds after which nothing is said."""

Body = Callable[[int | None, Sequence[Range]], list[Range]]
"""Number of the round (None for any) and ranges of the states → those of what the body hands on, and of what it collects."""


def counted(body: Body, initial: Sequence[Range], rounds: int) -> list[Range]:
    """What a loop of so many rounds gives, one at least: the states at last, and what was collected, as one set each."""
    states, collected = list(initial), []
    for number in range(rounds):
        found = body(number, states)
        states = found[: len(states)]
        collected.append(found[len(states) :])
    return [*states, *(_together(column) for column in zip(*collected, strict=True))]


def uncounted(body: Body, initial: Sequence[Range]) -> list[Range] | None:
    """What the body gives in whatever round; None where that is not known."""
    states = [replace(collapsed(state), sized=False) for state in initial]
    for number in range(_PATIENCE):
        found = body(None, states)
        grown = [_grown(a, b, let_go=number >= _GROWTH) for a, b in zip(states, found, strict=False)]
        if all(_equal(a, b) for a, b in zip(states, grown, strict=True)):
            return found
        states = grown
    return None


def either(one: Range, other: Range) -> Range:
    """One or the other, as one set; an empty sequence holds nothing."""
    if one.members == () or other.members == ():
        one = other if one.members == () else one
        return replace(collapsed(one), sized=False, members=None)
    return replace(union(collapsed(one), collapsed(other)), sized=False)


def _together(column: Sequence[Range]) -> Range:
    """Slices of all rounds: the same for all inputs if each is."""
    joined = union(*(collapsed(each) for each in column))
    fixed = joined.fixed | all(bool(each.fixed.all()) for each in column)
    return replace(joined, fixed=fixed, sized=all(each.sized for each in column))


def _grown(before: Range, after: Range, *, let_go: bool) -> Range:
    both = either(before, after)
    if not let_go or before.members is not None:
        return both
    lo, hi = np.where(both.lo < before.lo, -np.inf, both.lo), np.where(both.hi > before.hi, np.inf, both.hi)
    return made(lo, hi, both.nan, both.pinf, both.ninf, sized=False)


def _equal(one: Range, other: Range) -> bool:
    return one.members is other.members and all(np.array_equal(a, b) for a, b in zip(one.parts, other.parts, strict=True))
