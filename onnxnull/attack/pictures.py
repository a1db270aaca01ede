"""A picture like the paper's Figure 3: the clean input, the adversarial example, and what collides with it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from onnxnull import drawing
from onnxnull.attack.colliding import Attacked
from onnxnull.collision.output_change import classes, mask
from onnxnull.evidence.pictures import three
from onnxnull.inputs import pixels

if TYPE_CHECKING:
    from onnxnull.graph.model import GraphInput
    from onnxnull.inputs import Preprocessing

_MOST = 5
"""Colliding examples that are shown."""


def draw(
    path: Path, found: Attacked, described: GraphInput, preprocessing: Preprocessing, labels: Sequence[str] | None
) -> None:
    """Draw one attacked input."""
    points = [("original", found.ball.centre, found.clean), ("ε-adversarial", found.found.x, found.adversarial)]
    both = zip(found.collisions[:_MOST], found.repeated, strict=False)
    points += [(f"colliding {n}", each.colliding, scores) for n, (each, scores) in enumerate(both, start=1)]
    panels = []
    for title, x, scores in points:
        if found.case.image is not None:
            picture = pixels(x, described, preprocessing)
        else:
            picture = drawing.as_picture(x[0], found.ball.centre[0])
        list_, map_ = classes(scores), mask(scores)
        lines = () if list_ is None or len(list_) != 1 else tuple(three(list_, labels))
        panels.append(drawing.Panel(title, picture, lines, None if map_ is None else map_[0]))
    drawing.figure(path, panels)
