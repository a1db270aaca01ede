"""A walk along a fibre toward a wish: steps the Jacobian does not see, each followed by the way back to the fibre."""

from __future__ import annotations

import enum
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from onnxnull.fiber.correct import FEW, Corrector
from onnxnull.fiber.normal import Normal
from onnxnull.fiber.problem import Fiber
from onnxnull.kernel.maps.linear_map import Array

_LARGEST, _FIRST, _SMALLEST = 0.5, 0.2, 1e-3
"""Lengths of a step, as shares of the whole way."""
_FAR = 0.25
"""The first one where the way back costs a Jacobian of many rows, whatever its length."""
_GROW = 1.5
_LITTLE = 2e-3
"""A step that brings the wish nearer by less than this share of the way gets nowhere."""
_BOUNDS = 20
"""Times that entries which leave the box are taken out of a step."""


class Stop(enum.Enum):
    """Why a walk ended → (name, what it means)."""

    REACHED = ("reached", "the wish is reached")
    NO_DIRECTION = ("no-direction", "no direction of the fibre is left that leads nearer to the wish")
    BUDGET = ("budget", "the time limit was reached")

    def __init__(self, label: str, meaning: str) -> None:
        self.label = label
        self.meaning = meaning


@dataclass(frozen=True, slots=True, eq=False)
class Reached:
    """Where a walk ended.

    Attributes:
        point: of the fibre, the nearest to the wish that was found.
        share: of the way from x₀ to the wish, measured along it.
        residual: of g(x) − g(x₀), in float64, the largest entry over its scale.
        rank: of the last Jacobian; None where none was needed.
        rows: numbers that stay equal.
        steps: taken.
    """

    point: Array
    share: float
    residual: float
    rank: int | None
    rows: int
    steps: int
    stop: Stop


class _TimeUpError(Exception):
    pass


def walk(
    fiber: Fiber, wish: Array, *, time_limit: float | None = None, progress: Callable[[str], None] = lambda _: None
) -> Reached:
    """Walk from x₀ toward `wish`, a point of the box, staying on the fibre.

    A step that cannot be brought back to the fibre is halved; with few rows, one that can makes the next one longer. What is
    returned is on the fibre, however the walk ends.

    Args:
        time_limit: seconds.
    """
    return _WalkState(fiber.toward(wish), wish, time_limit, progress).run()


@dataclass(slots=True)
class _WalkState:
    fiber: Fiber
    wish: Array
    time_limit: float | None
    progress: Callable[[str], None]
    began: float = field(default_factory=time.monotonic)
    x: Array = field(init=False)
    steps: int = 0

    def run(self) -> Reached:
        fiber, way = self.fiber, self.wish - self.fiber.start
        length = float(np.linalg.norm(way))
        self.x = fiber.start
        corrector = Corrector(fiber, self._check, self._tell)
        stop = Stop.REACHED
        try:
            share = _FIRST if fiber.rows <= FEW else _FAR
            while (left := float(np.linalg.norm(self.wish - self.x))) > _LITTLE * length:
                direction = self._direction(corrector)
                size = float(np.linalg.norm(direction))
                stop = Stop.NO_DIRECTION
                if not size > _LITTLE * length:
                    break
                found = None
                while found is None and share >= _SMALLEST:
                    found = corrector.back(self.x + min(1.0, share * length / size) * direction)
                    if found is None or np.linalg.norm(self.wish - found) >= left:
                        found, share = None, share / 2.0
                if found is None:
                    break
                gained = left - float(np.linalg.norm(self.wish - found))
                self.x, self.steps = found, self.steps + 1
                if fiber.rows <= FEW:
                    share = min(_LARGEST, _GROW * share)
                if gained < _LITTLE * length:
                    break
            else:
                stop = Stop.REACHED
        except _TimeUpError:
            stop = Stop.BUDGET
        residual = fiber.relative(fiber.residual(self.x))
        return Reached(self.x, self._share(), residual, corrector.rank, fiber.rows, self.steps, stop)

    def _direction(self, corrector: Corrector) -> Array:
        """To the wish, without what leaves the box and, where the Jacobian is cheap, without what it sees."""
        fiber = self.fiber
        wanted = self.wish - self.x
        if fiber.rows > FEW:
            return wanted
        low, high = self.x <= fiber.lower, self.x >= fiber.upper
        open_ = ~((low & (wanted < 0)) | (high & (wanted > 0)))
        jacobian = fiber.jacobian(self.x)
        for _ in range(_BOUNDS):
            factor = Normal.of(jacobian, open_)
            corrector.rank = factor.rank
            step = factor.projected(wanted.ravel()).reshape(self.x.shape)
            leaving = open_ & ((low & (step < 0)) | (high & (step > 0)))
            if not leaving.any():
                break
            open_ = open_ & ~leaving
        return step

    def _share(self) -> float:
        way = self.wish - self.fiber.start
        energy = float(np.vdot(way, way))
        return float(np.vdot(self.x - self.fiber.start, way)) / energy if energy else 0.0

    def _tell(self, what: str) -> None:
        self.progress(f"step {self.steps + 1} along the fibre, {100 * self._share():.0f} % of the way: {what}")

    def _check(self) -> None:
        if self.time_limit is not None and time.monotonic() - self.began > self.time_limit:
            raise _TimeUpError
