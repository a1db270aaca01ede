"""Draw docs/collision.png, the README's picture: two images that a shipped network cannot tell apart; or docs/fiber.png.

`scripts/make_picture.py [--fiber] [-o FILE]`. A held-out picture is pulled toward another one, as far as the kernel of the
network's first layer and valid pixels allow; `onnxnull collide --toward` does the same. With `--fiber` it is another network,
whose first layer is injective, and a walk along the pictures with the same logits (`--method fiber`).
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from onnxnull.collision.cases import load_cases, pixel_box
from onnxnull.collision.output_change import best, probabilities
from onnxnull.collision.perturb import Recipe
from onnxnull.collision.results import Kind
from onnxnull.collision.search import Execution, Place, Search
from onnxnull.collision.strategies.strategy import Method
from onnxnull.drawing import Panel, figure
from onnxnull.graph.model import open_model
from onnxnull.inputs import Preprocessing, pixels
from onnxnull.runtime.precision import Precision
from onnxnull.runtime.session import Runner

ROOT = Path(__file__).resolve().parent.parent
KERNEL, FIBER = ("digits_vit", (0, 5), "collision.png"), ("digits_cnn", (3, 7), "fiber.png")
"""(network, digits that it starts from and is pulled toward, file)."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--fiber", action="store_true", help="along a fibre of the logits")
    parser.add_argument("-o", "--output", type=Path, help="[docs/collision.png, docs/fiber.png]")
    arguments = parser.parse_args()
    network, digits, file = FIBER if arguments.fiber else KERNEL
    output, opened = arguments.output or ROOT / "docs" / file, open_model(ROOT / "models" / f"{network}.onnx")
    samples = [ROOT / "models" / "samples" / network / f"{digit}.png" for digit in digits]
    method = Method(Kind.FIBER if arguments.fiber else Kind.KERNEL)
    search = Search(opened, Place(), Execution((Precision.FLOAT32,)), method=method)
    inputs, plain = search.model.inputs, Preprocessing()
    (start,), (wish,) = (load_cases(path, inputs, plain) for path in samples)
    (found,) = search.run(start, Recipe(pattern="toward", box=pixel_box(inputs[0], plain)), wish)
    (run,) = found.runs
    ((name, (original, colliding, control)),) = run.arrays.items()
    other = wish.arrays[found.where]
    titles = ("original", "pulled toward this", "colliding image", "control: as far, but seen")
    images = (found.original, other, found.colliding, found.control)
    scores = (original, Runner(opened).run({found.where: other})[name], colliding, control)
    differ = ((), (), (f"logits differ by {run.outputs[0].max_abs:.1e}",), (f"logits differ by {run.control[0].max_abs:.1f}",))
    figure(
        output,
        [
            Panel(title, pixels(image, inputs[0], plain), (reads(logits), *more))
            for title, image, logits, more in zip(titles, images, scores, differ, strict=True)
        ],
    )
    apart = np.linalg.norm(other - found.original)
    print(f"‖Δ input‖ = {found.perturbation.l2:.3g}, where the two pictures are {apart:.3g} apart")
    print(f"max |Δ logits| = {run.outputs[0].max_abs:.2g}; the control's is {run.control[0].max_abs:.2g}")


def reads(logits: np.ndarray) -> str:
    ((label, _),) = best(logits[0], 1)
    return f'reads "{label}" ({100 * probabilities(logits)[0][label]:.1f} %)'


if __name__ == "__main__":
    main()
