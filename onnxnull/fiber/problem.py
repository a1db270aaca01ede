"""A fibre {x : g(x) = g(x₀)} inside a box, and the Jacobian of g there.

g is evaluated in float64, which alone decides whether a point is on the fibre; derivatives are taken in float32: what they find
is a correction, and the next residual shows how good it was.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from onnxnull.fiber.scale import scales
from onnxnull.gradient.jacobian import Function
from onnxnull.kernel.maps.linear_map import Array

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Mask = NDArray[np.bool_]

TOLERANCE = 1e-12
"""Of a residual relative to the scale of g(x₀) (`scales`): what a walk aims at. A claim allows a hundred times as much."""


@dataclass(frozen=True, slots=True, eq=False)
class Fiber:
    """The fibre through x₀.

    Attributes:
        exact, quick: g in float64, and in float32 for its derivatives.
        start: x₀.
        value: g(x₀).
        lower, upper: the box, of x₀'s shape; infinite where nothing bounds an entry.
        scale: of every entry of g(x₀), above 0.
    """

    exact: Function
    quick: Function
    start: Array
    value: Array
    lower: Array
    upper: Array
    scale: Array

    @classmethod
    def through(cls, exact: Function, quick: Function, start: Array, lower: Array, upper: Array) -> Fiber:
        """The one through `start`, which the box contains."""
        value = exact.value(start)
        return cls(exact, quick, start, value, lower, upper, _positive(np.abs(value)))

    def toward(self, wish: Array) -> Fiber:
        """The same, its scale that of the entries of g which are not the same at `wish`."""
        return replace(self, scale=_positive(scales(self.value, self.exact.value(wish))))

    @property
    def rows(self) -> int:
        """Numbers that stay equal."""
        return int(self.value.size)

    def residual(self, x: Array) -> Array:
        """g(x) − g(x₀), flat, in float64."""
        return (self.exact.value(x) - self.value).ravel()

    def relative(self, residual: Array) -> float:
        """The largest entry of a residual, each over its scale."""
        return float((np.abs(residual) / self.scale.ravel()).max(initial=0.0))

    def inside(self, x: Array) -> Array:
        """The nearest point of the box."""
        clipped: Array = np.clip(x, self.lower, self.upper)
        return clipped

    def free(self, x: Array) -> Mask:
        """Entries of x that are strictly inside the box."""
        return (x > self.lower) & (x < self.upper)

    def pull(self, x: Array, y: Array) -> Array:
        """Jᵀy at x."""
        return self.quick.pull_at(x, y.reshape(self.value.shape))

    def jacobian(self, x: Array, between: Callable[[int], None] = lambda _: None) -> NDArray[np.float32]:
        """All of J at x, (rows, entries of x), float32.

        Args:
            between: called after every row; may raise to give up.
        """
        found = np.empty((self.rows, x.size), dtype=np.float32)
        unit = np.zeros(self.rows)
        for row in range(self.rows):
            unit[row] = 1.0
            found[row] = self.pull(x, unit).ravel()
            unit[row] = 0.0
            between(row + 1)
        return found


def _positive(scale: Array) -> Array:
    """1 for 0."""
    positive: Array = np.where(scale > 0.0, scale, 1.0)
    return positive
