"""The nearest point of a kernel and a box by ADMM, with a bound on how far it is from the true one.

Boyd et al., *Distributed Optimization and Statistical Learning via ADMM*, 2011, §5, over-relaxed, ρ by §3.4.1.
"""

from __future__ import annotations

import numpy as np

from onnxnull.collision.kernel import Kernel
from onnxnull.kernel.maps.linear_map import Array

_RELAXATION = 1.7
_ADAPT_EVERY, _ADAPT_UNTIL = 10, 100
"""ρ is adapted so often, and until then; later each time that the iterations have doubled, which convergence allows."""
# An answer shorter than this, relative to the wish clipped to the box, is none.
_NOTHING = 1e-8


class Admm:
    """ADMM for min ½‖x − wish‖² with x in the kernel and z = x in a box low ≤ z ≤ high; u are the scaled multipliers."""

    def __init__(self, kernel: Kernel, wish: Array, low: Array, high: Array) -> None:
        self.kernel, self.wish = kernel, wish
        self.low, self.high = low, high
        self.x = wish
        self._z = np.clip(wish, low, high)
        self._u = np.zeros_like(wish)
        self._length = float(np.linalg.norm(wish))
        answer = max(float(np.linalg.norm(self._z)), _NOTHING * self._length)
        # multipliers are as long as the wish, and meet what is as long as the answer
        self._rho = 3.0 * self._length / answer
        self._least = _NOTHING * answer
        self._done, self._next = 0, _ADAPT_EVERY

    def run(self, iterations: int) -> None:
        """So many iterations."""
        for _ in range(iterations):
            rho, before = self._rho, self._z
            self.x = self.kernel.rough((self.wish + rho * (before - self._u)) / (1.0 + rho))
            relaxed = _RELAXATION * self.x + (1.0 - _RELAXATION) * before
            self._z = np.clip(relaxed + self._u, self.low, self.high)
            self._u += relaxed - self._z
            self._done += 1
            if self._done == self._next:
                self._adapt(rho * float(np.linalg.norm(self._z - before)) / self._length)

    def settle(self, multipliers: Array) -> None:
        """Take multipliers that were found elsewhere, and the point that they hold."""
        self._rho, self._u = 1.0, multipliers
        self.x = self.kernel.project(self.wish - multipliers)

    @property
    def multipliers(self) -> Array:
        """y, positive where the upper bound holds."""
        return self._rho * self._u

    @property
    def displacement(self) -> Array:
        """From the box to the kernel; where they do not meet, in the end the shortest way, orthogonal to the kernel."""
        return self.x - self._z

    def distance(self, change: Array) -> float:
        """How far a change, in kernel and box, may be from the nearest one.

        With multipliers y and p = P(wish − y), P the projection on the kernel, strong duality leaves a gap of
        ½‖change − p‖² + Σ max(y·low, y·high) − y·change, no term of it negative, and ½‖change − nearest‖² is no more.
        """
        y = self.multipliers
        off = change - self.kernel.rough(self.wish - y)
        slack = np.where(y > 0, self.high, self.low) - change  # y is 0 where nothing bounds that side
        gap = 0.5 * float(np.vdot(off, off)) + float(np.sum(np.where(y == 0, 0.0, y * np.where(y == 0, 0.0, slack))))
        return float(np.sqrt(2.0 * max(gap, 0.0)))

    def _adapt(self, dual: float) -> None:
        """Residuals far apart ask for another ρ."""
        self._next = self._done + _ADAPT_EVERY if self._done < _ADAPT_UNTIL else 2 * self._done
        primal = float(np.linalg.norm(self.x - self._z)) / max(float(np.linalg.norm(self._z)), self._least)
        if primal > 10.0 * dual or dual > 10.0 * primal:
            factor = 2.0 if primal > dual else 0.5
            self._rho *= factor
            self._u /= factor
