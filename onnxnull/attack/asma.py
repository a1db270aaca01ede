"""ASMA, the adaptive segmentation mask attack: a segmentation network is driven to a chosen mask.

Ozbulak et al., Impact of Adversarial Examples on Deep Learning Models for Biomedical Image Segmentation, 2019.

Gradients are summed over the positions whose label is not yet the target's, so that what is right already pulls no more; the
step is α = β·IoU + τ, small while little overlaps and larger when few positions are left to pull. Steps have this
length along the normalised gradient, in units of the range. The loss of a position is the score of its target label less the
strongest other one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from onnxnull.attack.ball import Ball
from onnxnull.attack.pgd import AttackResult
from onnxnull.gradient.jacobian import Function
from onnxnull.kernel.maps.linear_map import Array


@dataclass(frozen=True, slots=True)
class Asma:
    """The attack.

    Attributes:
        steps: at most.
        beta, tau: of the step's length, relative to the norm of a change of ε everywhere.
        overlap: intersection over union at which it has succeeded.
    """

    steps: int = 200
    beta: float = 0.05
    tau: float = 0.02
    overlap: float = 0.9

    def run(self, scores: Function, ball: Ball, target: np.ndarray, tell: Callable[[str], None]) -> AttackResult:
        """Attack.

        Args:
            scores: one map a class, (1, classes, height, width).
            target: labels, (height, width).
        """
        x, best = ball.centre, AttackResult(ball.centre, 0, False, -1.0)
        unit = ball.epsilon * (x.size**0.5 if ball.norm.value == "linf" else 1.0)
        for step in range(self.steps + 1):
            y = scores.value(x)
            overlap = intersection_over_union(y[0].argmax(axis=0), target)
            tell(f"step {step} of {self.steps}, overlap {overlap:.3f}")
            if overlap > best.score:
                best = AttackResult(x, step, overlap >= self.overlap, overlap)
            if best.succeeded:
                break
            _, gradient = scores.pull(x, _loss_gradient(y, target))
            own = gradient * ball.scale
            length = float(np.linalg.norm(own))
            if not length:
                break
            size = (self.beta * overlap + self.tau) * unit
            x = ball.inside(x + size / length * own * ball.scale)
        return best


def intersection_over_union(labels: np.ndarray, target: np.ndarray) -> float:
    """The mean over the labels that either mask has."""
    shares = []
    for label in np.union1d(np.unique(labels), np.unique(target)):
        one, other = labels == label, target == label
        shares.append(np.count_nonzero(one & other) / np.count_nonzero(one | other))
    return float(np.mean(shares))


def _loss_gradient(scores: Array, target: np.ndarray) -> Array:
    """Of the sum, over positions whose label is not the target's, of the target's score less that of the label they have."""
    labels = scores[0].argmax(axis=0)
    rows, columns = np.nonzero(labels != target)
    found = np.zeros_like(scores)
    found[0, target[rows, columns], rows, columns] = 1.0
    found[0, labels[rows, columns], rows, columns] = -1.0
    return found
