"""Work that is counted in lines of Python: the same on every machine, however busy it is."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any


def lines(action: Callable[[], object]) -> int:
    """How many lines of Python `action` executes in this thread, rounds of loops and comprehensions included."""
    count = 0

    def trace(frame: FrameType, event: str, argument: object) -> Any:
        nonlocal count
        count += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        action()
    finally:
        sys.settrace(before)
    return count


def growth(action: Callable[[int], object], size: int) -> float:
    """How many times as many lines `action` executes at twice the size: 2 where it is linear, 4 where it is quadratic.

    What is imported and remembered on the first call does not count.
    """
    action(size)
    once = lines(lambda: action(size))
    return lines(lambda: action(2 * size)) / once
