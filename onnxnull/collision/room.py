"""How far each entry of a starting point may move down and up before it leaves a box."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from onnxnull.collision.kernel import Kernel
from onnxnull.kernel.maps.linear_map import Array


@dataclass(frozen=True, slots=True, eq=False)
class Room:
    """What the box leaves: low ≤ δ ≤ high with low ≤ 0 ≤ high, of the tensor's shape."""

    start: Array
    lower: Array
    upper: Array
    low: Array
    high: Array

    @classmethod
    def of(cls, start: Array, lower: ArrayLike, upper: ArrayLike) -> Room:
        """The room around `start`; ValueError where it is not finite, or not in the box."""
        bounds = [np.broadcast_to(np.asarray(bound, dtype=np.float64), start.shape) for bound in (lower, upper)]
        if not (np.all(np.isfinite(start)) and np.all(bounds[0] <= start) and np.all(start <= bounds[1])):
            raise ValueError("the starting point is not in the box")
        return cls(start, bounds[0], bounds[1], bounds[0] - start, bounds[1] - start)

    def holds(self, change: Array) -> bool:
        """Whether start + change, rounded to float64, lies in the box."""
        moved = self.start + change
        return bool(np.all(moved >= self.lower) and np.all(moved <= self.upper))

    def clip(self, change: Array) -> Array:
        """The nearest change in the box."""
        return np.clip(change, self.low, self.high)

    def share(self, change: Array) -> Array:
        """For every entry the largest t for which t·change has room; inf where the change is 0."""
        room = np.where(change > 0, self.high, -self.low)
        with np.errstate(divide="ignore", over="ignore"):
            return np.where(change == 0, np.inf, room / np.abs(np.where(change == 0, 1.0, change)))

    def excess(self, change: Array) -> Array:
        """How far the change leaves the box; negative inside."""
        return np.maximum(change - self.high, self.low - change)

    def scaled(self, kernel: Kernel, change: Array) -> Array:
        """`change`, every part of it that may be scaled on its own by the largest t ≤ 1 that the box allows, to rounding."""
        t = np.minimum(1.0, kernel.shared(self.share(change)))
        for exponent in range(52, 0, -4):
            scaled = t * change
            if self.holds(scaled):
                return scaled
            t *= 1.0 - 2.0**-exponent
        return np.zeros_like(change)
