"""Projected gradient descent (Madry et al., Towards Deep Learning Models Resistant to Adversarial Attacks, 2018)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from onnxnull.attack.ball import Ball
from onnxnull.gradient.jacobian import Function
from onnxnull.kernel.maps.linear_map import Array

MARGIN = 0.02
"""By how much the new class has to be ahead, relative to the largest score: rounding then changes nothing."""


@dataclass(frozen=True, slots=True, eq=False)
class AttackResult:
    """What an attack found.

    Attributes:
        x: the last point.
        steps: taken.
        succeeded: whether it does what was wanted.
        score: a number that tells how well: the margin of the new class, or the overlap of the masks.
    """

    x: Array
    steps: int
    succeeded: bool
    score: float


@dataclass(frozen=True, slots=True)
class Pgd:
    """Steps along the sign (L∞) or the direction (L2) of the cross-entropy's gradient, each brought back into the ball.

    Attributes:
        steps: at most.
        size: of a step, in units of the range; None for 2.5·ε/steps.
        target: the class that is wanted; None for any other than the clean one.
        random_start: start from a random point of the ball.
    """

    steps: int = 40
    size: float | None = None
    target: int | None = None
    random_start: bool = True

    def run(
        self, scores: Function, ball: Ball, label: int, rng: np.random.Generator, tell: Callable[[str], None]
    ) -> AttackResult:
        """Attack.

        Args:
            scores: class scores before any softmax, a list, of one sample: (1, classes).
            label: the clean class.
        """
        size = self.size if self.size is not None else 2.5 * ball.epsilon / self.steps
        x = ball.random(rng) if self.random_start else ball.centre
        for step in range(self.steps + 1):
            y = scores.value(x)
            margin = self._margin(y.ravel(), label)
            tell(f"step {step} of {self.steps}, margin {margin:.2g}")
            if margin > MARGIN or step == self.steps:
                return AttackResult(x, step, margin > MARGIN, margin)
            cotangent = _loss_gradient(y.ravel(), label if self.target is None else self.target)
            _, gradient = scores.pull(x, cotangent.reshape(y.shape))
            away = ball.ascent(gradient, size)
            x = ball.inside(x + away if self.target is None else x - away)
        raise AssertionError("the last step returns")

    def _margin(self, scores: Array, label: int) -> float:
        """How far the wanted class is ahead, or for untargeted attacks the best other one, relative to the largest score."""
        wanted = label if self.target is None else self.target
        others = float(np.delete(scores, wanted).max())
        ahead = float(scores[wanted]) - others
        scale = float(np.abs(scores).max()) or 1.0
        return (-ahead if self.target is None else ahead) / scale


def _loss_gradient(scores: Array, label: int) -> Array:
    """Of the cross-entropy for `label`, up to a factor: softmax − one-hot, its largest entry 1."""
    weights = np.exp(scores - scores.max())
    found: Array = weights / weights.sum()
    found[label] -= 1.0
    # 1 - p may round to 0 where the network is sure: the sum of the other probabilities does not
    found[label] = -float(np.delete(found, label).sum())
    largest = float(np.abs(found).max())
    return found / largest if largest else found
