"""Adversarial examples and what collides with them, as text for people."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from onnxnull.attack.ball import Norm
from onnxnull.attack.colliding import Attacked
from onnxnull.collision.output_change import best, classes
from onnxnull.collision.results import Run
from onnxnull.report.collision_text import name_of
from onnxnull.report.words import count, shown

_METHODS = {"pgd": "PGD", "asma": "ASMA", "given": "given"}
_NORMS = {Norm.LINF: "L∞", Norm.L2: "L2"}


def render(found: Attacked, labels: Sequence[str] | None = None) -> str:
    """One attacked input."""
    ball = found.ball
    lines = [
        f"{shown(found.case.source)} · {_METHODS[found.method]}, {_NORMS[ball.norm]} within {ball.epsilon:.4g} of the range"
    ]
    reached = "" if found.method == "given" else f" after {count(found.found.steps, 'step')}"
    if found.method == "asma":
        reached += f", intersection over union {found.found.score:.3f}"
    lines.append(f"adversarial example{reached}: {ball.length(found.found.x):.4g} from the input")
    if (clean := top(found.clean, labels)) and (after := top(found.adversarial, labels)):
        lines += [f"  clean       {clean}", f"  adversarial {after}"]
    examples = count(len(found.collisions), "colliding example")
    lines.append(f"{examples}, rms of Δ and distances in units of {ball.typical:.3g}:")
    for number, (collision, rms) in enumerate(zip(found.collisions, found.rms(), strict=True), start=1):
        runs = "; ".join(map(_run, collision.runs))
        length = found.ball.length(collision.colliding)
        lines.append(f"  {number}: rms {rms:.2f}, {length:.4g} from the input; {runs}")
    if len(found.collisions) > 1:
        lines.append(f"  no two of them are nearer to each other than rms {found.apart():.2f}")
    return "\n".join(lines) + "\n\n"


def top(scores: np.ndarray, labels: Sequence[str] | None) -> str:
    """The best classes of a list of scores; "" for other outputs."""
    found = classes(scores)
    if found is None or len(found) != 1:
        return ""
    return ", ".join(f"{name_of(index, labels)} {score:.5g}" for index, score in best(found[0], 5))


def _run(run: Run) -> str:
    text = f"{run.precision} {run.verdict.label}, outputs differ by {max((c.max_abs for c in run.outputs), default=0.0):.2g}"
    kept = [change.top5 for change in run.outputs if change.top5 is not None]
    masks = [change.mask for change in run.outputs if change.mask is not None]
    text += "" if not kept else f", top-5 {'the same' if all(kept) else 'others'}"
    text += "" if not masks else f", masks {'the same' if min(masks) == 1.0 else 'others'}"
    return text if run.why is None else f"{text} ({shown(run.why, 400)})"
