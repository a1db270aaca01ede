"""Pictures of a collision for its evidence bundle. They show, they prove nothing: no hash is taken of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from onnxnull import drawing
from onnxnull.collision.output_change import best, classes, mask, probabilities
from onnxnull.collision.results import Collision, Run, Space
from onnxnull.errors import OnnxnullError

if TYPE_CHECKING:
    from onnxnull.graph.model import GraphInput
    from onnxnull.inputs import Preprocessing
    from onnxnull.kernel.maps.linear_map import Array

_NAMES = ("original", "colliding", "control")
_PAGE_BYTES = 300_000
"""Most bytes of one picture in a page."""


@dataclass(frozen=True, slots=True)
class Shown:
    """A picture for a page: a PNG file, its sides divided by `shrink`, and the lines below it."""

    png: bytes
    shrink: int
    lines: tuple[str, ...]


def shown(collision: Collision, described: GraphInput | None, preprocessing: Preprocessing | None) -> dict[str, Array]:
    """What can be seen of a collision: name → picture, in the order in which they are shown.

    1. original, colliding, perturbation, control: for the network's inputs and for tensors of 1 or 3 channels. Pixels where
       the original was read from an image, else grey levels from the smallest to the largest entry. Of a batch, the first
       sample.
    2. mask-original, mask-colliding, mask-control: where an output has a label per position.

    Args:
        described: the input that was changed; None for a layer's.
        preprocessing: how an image became that input; None where it is not known.
    """
    found = {}
    if _is_picture(collision):
        original, colliding, control = _pictures(collision, described, preprocessing)
        delta = _delta(collision, (original, colliding))
        found = {"original": original, "colliding": colliding, "perturbation": delta, "control": control}
    masks = _masks(collision.runs[-1]) if collision.runs else None
    return found | {f"mask-{name}": drawing.mask_image(labels) for name, labels in zip(_NAMES, masks or (), strict=False)}


def for_page(
    collision: Collision,
    inputs: Sequence[GraphInput] = (),
    preprocessing: Preprocessing | None = None,
    labels: Sequence[str] | None = None,
) -> dict[str, Shown]:
    """What `shown` gives as files small enough for a page.

    Args:
        inputs: of the network; with `preprocessing` they say how its input was an image.
    """
    changed = [described for described in inputs if collision.space is Space.INPUT and described.name == collision.where]
    predicted = _predicted(collision.runs[-1], labels) if collision.runs else [(), (), ()]
    lines = dict(zip(_NAMES, predicted, strict=True))
    found = {}
    for name, picture in shown(collision, changed[0] if changed else None, preprocessing).items():
        shrink = 1
        while len(data := drawing.png(picture, shrink)) > _PAGE_BYTES:
            shrink *= 2
        found[name] = Shown(data, shrink, lines.get(name, ()))
    return found


def draw(
    folder: Path,
    collision: Collision,
    described: GraphInput | None,
    preprocessing: Preprocessing,
    labels: Sequence[str] | None = None,
) -> list[str]:
    """Draw what can be drawn of a collision → names of the files made in `folder`.

    1. What `shown` gives, but for the control: original.png, colliding.png, perturbation.png, mask-original.png, ...
    2. figure.png: the pictures side by side, the control among them.
    3. trace.png: where the difference was traced.

    Args:
        described: the input that was changed; None for a layer's.
        preprocessing: how an image became that input.
    """
    made: list[str] = []
    found = shown(collision, described, preprocessing)
    for name, picture in found.items():
        if "control" not in name:
            drawing.save_image(folder / f"{name}.png", picture)
            made.append(f"{name}.png")
    if "perturbation" in found:
        three = [found[name] for name in _NAMES]
        drawing.figure(folder / "figure.png", _panels(collision, three, found["perturbation"], labels))
        made.insert(3, "figure.png")
    series = {label: [(step.tensor, step.max_abs) for step in run.trace] for label, run in _labelled(collision.runs)}
    control = {label: [(step.tensor, step.control) for step in run.trace] for label, run in _labelled(collision.runs)}
    if any(series.values()):
        drawing.trace_plot(folder / "trace.png", series, control=control)
        made.append("trace.png")
    return made


FILES = frozenset(
    ["original.png", "colliding.png", "perturbation.png", "figure.png", "mask-original.png", "mask-colliding.png", "trace.png"]
)
"""Every name that `draw` may give a file."""


def _is_picture(collision: Collision) -> bool:
    shape = collision.original.shape
    if collision.original.size == 0:
        return False
    return collision.space is Space.INPUT or (len(shape) == 4 and shape[1] in (1, 3) and min(shape[2:]) > 1)


def _pictures(collision: Collision, described: GraphInput | None, preprocessing: Preprocessing | None) -> list[Array]:
    arrays = (collision.original, collision.colliding, collision.control)
    if collision.eight_bit is not None and described is not None and preprocessing is not None:
        from onnxnull.inputs import pixels

        try:  # it came from an image, and goes back to one
            return [pixels(array, described, preprocessing) for array in arrays]
        except OnnxnullError:
            pass  # shown as any tensor
    start = _sample(collision.original)
    return [drawing.as_picture(_sample(array), like=start) for array in arrays]


def _delta(collision: Collision, pictures: Sequence[Array]) -> Array:
    """The change as a picture: in pixels where the pictures are, else in the tensor's units."""
    if collision.eight_bit is not None and pictures[0].shape == pictures[1].shape:
        return drawing.perturbation_image(pictures[1] - pictures[0])[0]
    return drawing.perturbation_image(drawing.arranged(_sample(collision.colliding - collision.original)))[0]


def _sample(array: Array) -> Array:
    """The first sample of what may be a batch, channels first."""
    sample = array[0] if array.ndim > 1 else array
    last = sample.ndim == 3 and sample.shape[-1] in (1, 3) and sample.shape[0] not in (1, 3)
    return np.moveaxis(sample, -1, 0) if last else sample


def _panels(collision: Collision, pictures: Sequence[Array], delta: Array, labels: Sequence[str] | None) -> list[drawing.Panel]:
    facts, run = collision.perturbation, collision.runs[-1] if collision.runs else None
    lines = _predicted(run, labels) if run is not None else [(), (), ()]
    masks = None if run is None else _masks(run)
    seen = [None, None, None] if masks is None else masks
    scale: tuple[str, ...] = (f"max |Δ| {facts.linf:.3g}, ‖Δ‖₂ {facts.l2:.4g}",)
    if run is not None:
        scale = (*scale, f"{run.precision}: {run.verdict.label}", *_moved(run))
    return [
        drawing.Panel("original", pictures[0], lines[0], seen[0]),
        drawing.Panel("perturbation", delta, scale, sign="+"),
        drawing.Panel("colliding", pictures[1], lines[1], seen[1], sign="="),
        drawing.Panel("control", pictures[2], lines[2], seen[2]),
    ]


def _moved(run: Run) -> tuple[str, ...]:
    if not run.outputs:
        return ()
    change, control = (max((c.max_abs for c in changes), default=0.0) for changes in (run.outputs, run.control))
    return (f"outputs: max |Δ| {change:.2g}", f"control: max |Δ| {control:.2g}")


def _predicted(run: Run, labels: Sequence[str] | None) -> list[tuple[str, ...]]:
    """What the first output with classes says of each of the three, in three lines."""
    for arrays in run.arrays.values():
        scores = [classes(array) for array in arrays]
        if any(found is None or not np.all(np.isfinite(found.astype(np.float64))) for found in scores):
            continue
        return [tuple(three(found[:1], labels)) for found in scores if found is not None]
    return [(), (), ()]


def three(scores: np.ndarray, labels: Sequence[str] | None) -> list[str]:
    """The three best classes of scores (1, classes), with their shares."""
    shares = probabilities(scores)[0]
    names = [
        (labels[index] if labels is not None and index < len(labels) else f"class {index}", shares[index])
        for index, _ in best(scores, 3)
    ]
    return [f"{name} {100 * share:.1f} %" for name, share in names]


def _masks(run: Run) -> list[np.ndarray] | None:
    """The labels per position of the first output that has them, (H, W), of each of the three inputs."""
    for arrays in run.arrays.values():
        found = [mask(array) for array in arrays]
        labelled = [labels[0] for labels in found if labels is not None]
        if len(labelled) == len(arrays):
            return labelled
    return None


def _labelled(runs: Sequence[Run]) -> list[tuple[str, Run]]:
    """Runs under a name that tells them apart: the provider is named where there are several."""
    several = len({run.session.get("provider") for run in runs}) > 1
    return [
        (
            f"{run.precision} {str(run.session.get('provider')).removesuffix('ExecutionProvider')}"
            if several
            else run.precision,
            run,
        )
        for run in runs
        if run.trace
    ]
