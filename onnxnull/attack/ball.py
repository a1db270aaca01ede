"""What an attack may do: stay within ε of an input, in L∞ or L2, and within its range.

Lengths are in units of the range: 1 is the way from black to white, in every channel, whatever the model divides its inputs by.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

import numpy as np

from onnxnull.collision.perturb import Recipe, bounds
from onnxnull.kernel.maps.linear_map import Array


class Norm(enum.Enum):
    """How a change is measured: its largest entry, or the root of the sum of squares."""

    LINF = "linf"
    L2 = "l2"


@dataclass(frozen=True, slots=True, eq=False)
class Ball:
    """The inputs within ε of one, inside its range.

    Attributes:
        centre: the clean input.
        scale: of one unit, in the model's units; broadcastable to the input.
        lower, upper: bounds of every entry, floats of single precision; for L∞ those of the ball too.
    """

    centre: Array
    norm: Norm
    epsilon: float
    scale: Array
    lower: Array
    upper: Array

    @classmethod
    def around(cls, centre: Array, norm: Norm, epsilon: float, box: tuple[Array, Array] | None) -> Ball:
        """Around an input whose range is `box`, (lower, upper); without one the units are the model's.

        Raises:
            OnnxnullError: `data` where the input leaves its range.
        """
        low, high = (-np.inf, np.inf) if box is None else box
        scale = np.asarray(1.0 if box is None else np.subtract(high, low))
        if norm is Norm.LINF:
            low, high = np.maximum(low, centre - epsilon * scale), np.minimum(high, centre + epsilon * scale)
        low, high = (np.broadcast_to(bound, centre.shape) for bound in (low, high))
        lower, upper = bounds(centre, Recipe(box=(low, high)))
        return cls(centre, norm, epsilon, scale, lower, upper)

    @property
    def typical(self) -> float:
        """The rms of a change of length ε that is as large in every entry."""
        return self.epsilon if self.norm is Norm.LINF else self.epsilon / float(np.sqrt(self.centre.size))

    def inside(self, x: Array) -> Array:
        """x brought into the ball and the range, rounded to single precision."""
        if self.norm is Norm.L2 and (length := self.length(x)) > self.epsilon:
            x = self.centre + (1.0 - 1e-6) * self.epsilon / length * (x - self.centre)
        clipped: Array = np.clip(x, self.lower, self.upper).astype(np.float32).astype(np.float64)
        return clipped

    def random(self, rng: np.random.Generator) -> Array:
        """A random point: uniform for L∞; for L2 of random direction and length."""
        if self.norm is Norm.LINF:
            return self.inside(self.centre + self.epsilon * self.scale * rng.uniform(-1.0, 1.0, self.centre.shape))
        noise = rng.standard_normal(self.centre.shape)
        return self.inside(self.centre + rng.random() * self.epsilon / float(np.linalg.norm(noise)) * noise * self.scale)

    def ascent(self, gradient: Array, size: float) -> Array:
        """The step of this size that a gradient, in the model's units, asks for."""
        own = gradient * self.scale
        if self.norm is Norm.LINF:
            return size * self.scale * np.sign(own)
        length = float(np.linalg.norm(own))
        return size / length * own * self.scale if length else np.zeros_like(own)

    def length(self, x: Array) -> float:
        """How far x is from the centre, in this norm and in units of the range."""
        change = (x - self.centre) / self.scale
        return float(np.abs(change).max() if self.norm is Norm.LINF else np.linalg.norm(change))

    def rms(self, one: Array, other: Array) -> float:
        """How far two inputs are apart: the root of the mean square, in units of the range."""
        return float(np.sqrt(np.mean(((one - other) / self.scale) ** 2)))
