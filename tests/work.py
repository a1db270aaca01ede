"""Work that is counted: calls of Python functions, the same on every machine and however busy it is."""

from __future__ import annotations

import cProfile
from collections.abc import Callable


def calls(action: Callable[[], object]) -> int:
    """How many calls of Python functions `action` makes in this thread; those of functions in C are not counted."""
    profile = cProfile.Profile(builtins=False)
    profile.runcall(action)
    return sum(entry.callcount for entry in profile.getstats())


def growth(action: Callable[[int], object], size: int) -> float:
    """How many times as many calls `action` makes for twice the size: 2 where it is linear, 4 where it is quadratic.

    What is imported or remembered at the first call is not counted.
    """
    action(1)
    action(size)
    return calls(lambda: action(2 * size)) / calls(lambda: action(size))
