"""Draw docs/collision.png, the README's picture: two images that a shipped network cannot tell apart.

`scripts/make_picture.py [-o FILE]`. The wish is to turn one held-out picture into another. What the network cannot see of that
change is its projection on the kernel of the input frontier; its patches do not overlap, so that is the kernel of the patch
matrix, patch by patch. Dykstra's algorithm finds the point nearest to the wish that lies in the kernel and has valid pixels.
Both images run through onnxruntime; so does a control: an equally large change of the first image that the network can see.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from onnxnull.frontier import find
from onnxnull.graph.flow import Flow
from onnxnull.graph.model import open_model
from onnxnull.kernel.im2col import ConvGeometry, Im2col
from onnxnull.kernel.nullspace import null_space

Array = NDArray[np.float64]
ROOT = Path(__file__).resolve().parent.parent
MODEL = ROOT / "models" / "digits_vit.onnx"
FROM, TOWARD = (ROOT / "models" / "samples" / "digits_vit" / f"{digit}.png" for digit in (3, 8))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--output", type=Path, default=ROOT / "docs" / "collision.png")
    output = parser.parse_args().output
    project = projection()
    first, other = _image(FROM), _image(TOWARD)
    second = collide(project, first, other)
    control = _control(project, first, second)
    logits = [_run(image) for image in (first, second, control)]
    draw(output, (first, second, control), logits)
    distance = float(np.linalg.norm(second - first))
    apart = float(np.linalg.norm(other - first))
    print(f"‖Δ input‖ = {distance:.3g}, where the two pictures are {apart:.3g} apart")
    moved, control_moved = (float(np.abs(changed - logits[0]).max()) for changed in logits[1:])
    print(f"max |Δ logits| = {moved:.2g}; the control's is {control_moved:.2g}")


def projection() -> Callable[[Array], Array]:
    """The orthogonal projection of a change of the image, (1, 3, 64, 64), on what the network cannot see."""
    (frontier,) = find(Flow(open_model(MODEL)))
    (layer,) = frontier.layers
    kernel = null_space(layer.use.blocks())
    side = 16
    patches = Im2col(ConvGeometry.of((64, 64), (side, side), channels=3, strides=side))
    return lambda change: patches.adjoint(kernel.project(patches.apply(change)))


def collide(project: Callable[[Array], Array], start: Array, wish: Array, rounds: int = 2000) -> Array:
    """The image nearest to `wish` in (start + kernel) ∩ [0, 1], by Dykstra's alternating projections (Boyle, Dykstra 1986)."""
    x, box_residual = wish.copy(), np.zeros_like(wish)
    for _ in range(rounds):
        inside = start + project(x - start)
        x = np.clip(inside + box_residual, 0.0, 1.0)
        box_residual = inside + box_residual - x
    change = project(x - start)
    # this point lies in the kernel; what it leaves the box by is taken back along the same line, never clipped
    room = np.where(change > 0, 1.0 - start, start) / np.maximum(np.abs(change), np.finfo(float).tiny)
    return start + min(1.0, float(room.min())) * change


def _control(project: Callable[[Array], Array], start: Array, collided: Array) -> Array:
    """An equally large change in a random direction that the network sees."""
    noise = np.random.default_rng(0).standard_normal(start.shape)
    seen = noise - project(noise)
    seen *= np.linalg.norm(collided - start) / np.linalg.norm(seen)
    changed: Array = start + seen
    return changed


def _image(path: Path) -> Array:
    from PIL import Image

    pixels = np.asarray(Image.open(path).convert("RGB"), dtype=np.float64) / 255.0
    # a little off black and white, so that there is room to move on both sides of every pixel
    return 0.02 + 0.96 * pixels.transpose(2, 0, 1)[None]


def _run(image: Array) -> Array:
    import onnxruntime

    session = onnxruntime.InferenceSession(MODEL, providers=["CPUExecutionProvider"])
    logits: Array = session.run(None, {"image": image.astype(np.float32)})[0][0].astype(np.float64)
    return logits


def draw(output: Path, images: tuple[Array, ...], logits: list[Array]) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    titles = ("original", "colliding image", "control: as large a change\nthat the network sees")
    figure, axes = pyplot.subplots(1, 4, figsize=(11, 3.2))
    difference = 0.5 + (images[1] - images[0]) / 2
    shown = (images[0], difference, images[1], images[2])
    labels = (titles[0], "change (grey is none)", titles[1], titles[2])
    results = (logits[0], None, logits[1], logits[2])
    for axis, image, label, found in zip(axes, shown, labels, results, strict=True):
        axis.imshow(np.clip(image[0], 0, 1).transpose(1, 2, 0), interpolation="nearest")
        axis.set_title(label, fontsize=10)
        axis.set_xticks([])
        axis.set_yticks([])
        if found is not None:
            probability = np.exp(found - found.max()) / np.exp(found - found.max()).sum()
            moved = np.abs(found - logits[0]).max()
            text = f"reads {found.argmax()} ({100 * probability.max():.1f} %)"
            axis.set_xlabel(text if moved == 0 else f"{text}\nlogits differ by {moved:.1e}", fontsize=10)
    figure.tight_layout()
    figure.savefig(output, dpi=110, bbox_inches="tight", metadata={"Software": None})
    pyplot.close(figure)


if __name__ == "__main__":
    main()
