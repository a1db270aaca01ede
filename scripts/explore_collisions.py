"""Look for a collision that is called green and is none: random networks, random inputs, the truth in ball arithmetic.

    python -m scripts.explore_collisions --count 2000 --seed 0

Networks (`scripts/ball_networks.py`) have constants of all sizes (features from 1e-12 to 1e12 normalised in the graph,
offsets, masks), quantizers on the input (QuantizeLinear or DynamicQuantizeLinear before QLinearMatMul, MatMulInteger or
dequantized products) and between layers, ties (equal scores, ReLUs at 0, codes in the middle of two) and saturation (Sigmoid,
Softmax, Clip, codes at the ends). Each is searched through the public API.

A run that holds is held against the network over the real numbers, evaluated by python-flint's `arb` at 300 bits for the two
inputs as that precision stores them. |Δ| may not exceed 16 times the noise, nor τ of the scale, both of the inputs that the
run's yardstick was measured with, over the real numbers; `SLACK` is for the rounding of its runs. Every violation is printed
with its seed, and the exit code is 1. `--why` prints why others do not hold.
"""

from __future__ import annotations

import argparse
import collections
import sys
import tempfile
from pathlib import Path
from typing import Any

import flint
import numpy as np
import onnx

from onnxnull import Case, Execution, OnnxnullError, Place, Precision, Recipe, Search
from onnxnull.collision.results import Collision, Decision, Run
from onnxnull.collision.yardstick import NOISE_RUNS, SCALE_RUNS, box_in, nearby, one_ulp
from onnxnull.graph.model import open_model
from scripts.ball_networks import Network, random_network

BITS = 300
TIMES = 16.0
TOLERANCES = {"float64": 1e-9, "float32": 1e-3, "native": 1e-3}
TYPES: dict[str, Any] = {"float64": np.float64, "float32": np.float32, "native": np.float32}
SLACK = 2.0
"""What a noise and a scale of runs in floats may be above those over the real numbers."""


def random_recipe(rng: np.random.Generator, x: np.ndarray) -> Recipe:
    """Default sizes mostly; else a length, a box or a bound that may not fit."""
    seed, kind = int(rng.integers(1 << 30)), rng.integers(6)
    if kind == 0:
        return Recipe(seed=seed, beta=float(10.0 ** rng.integers(-12, 19)))
    if kind == 1:
        return Recipe(seed=seed, epsilon=float(10.0 ** rng.integers(-9, 9)))
    if kind == 2:
        half = np.abs(x).max() * 10.0 ** rng.integers(0, 9) + 1
        return Recipe(seed=seed, box=(np.full(x.shape, -half), np.full(x.shape, half)))
    return Recipe(seed=seed)


def violations(net: Network, name: str, run: Run, found: Collision) -> list[str]:
    """What is wrong with a run that holds."""
    kind = TYPES[run.precision]
    x0, x1 = (np.asarray(x).astype(kind) for x in (found.original, found.colliding))
    flint.ctx.prec = BITS
    before, after = net.evaluate(x0), net.evaluate(x1)
    true = [abs(b - a) for a, b in zip(before, after, strict=True)]
    y0, y1, _ = run.arrays[name]
    seen = np.abs(y1.astype(np.float64) - y0.astype(np.float64)).ravel()
    noise = 4 * np.spacing(np.abs(y0.ravel())).astype(np.float64)
    for which, (x, y) in enumerate(((x0, before), (x1, after))):
        for number in range(NOISE_RUNS):
            moved = net.evaluate(one_ulp(x, which, number))
            noise = np.maximum(noise, [float(abs(v - w)) for v, w in zip(moved, y, strict=True)])
    # what computing at this precision loses, against the truth
    noise = np.maximum(noise, [abs(float(v) - float(w)) for v, w in zip(before, y0.ravel(), strict=True)])
    spread = np.zeros(len(before))
    box = box_in(found.perturbation.parameters)
    near = [net.evaluate(nearby(found.original, number, box).astype(kind)) for number in range(SCALE_RUNS)] + [before]
    for i in range(len(before)):
        values = [float(values[i]) for values in near]
        spread[i] = max(values) - min(values)
    wrong = []
    for i, ball in enumerate(true):
        least = float(ball.lower())
        if least > SLACK * TIMES * noise[i]:
            wrong.append(f"|Δ| of entry {i} is {least:.3g}, above {SLACK * TIMES:g} times its noise {noise[i]:.3g}")
        if seen[i] > 0 and least > SLACK * TOLERANCES[run.precision] * spread[i]:
            wrong.append(f"|Δ| of entry {i} is {least:.3g}, of a scale of {spread[i]:.3g} (runs: {seen[i]:.3g})")
    return wrong


def explored(seed: int, folder: Path) -> tuple[str, list[str], list[str]]:
    """(what came of it, what is wrong, why it does not hold)."""
    rng = np.random.default_rng(seed)
    net, x = random_network(rng)
    path = folder / "model.onnx"
    onnx.save(net.model(x.size), path)
    try:
        execution = Execution((Precision.FLOAT64, Precision.FLOAT32))
        search = Search(open_model(path, input_shapes={"x": x.shape}), Place(), execution)
        (found,) = search.run(Case("random", {"x": x}), random_recipe(rng, x))
    except OnnxnullError as error:
        return f"error {error.code.code}", [], [error.seen]
    wrong = []
    for run in found.runs:
        if run.verdict.decision is Decision.HOLDS:
            wrong += [f"{run.precision}: {each}" for each in violations(net, net.at, run, found)]
    kind = "quantized input, " if found.steps is not None else "native, " if found.runs[0].precision == "native" else ""
    return f"{kind}{found.decision.label}", wrong, [f"{run.precision}: {run.why}" for run in found.runs if run.why is not None]


def main() -> int:
    """Explore, count, and say what was found."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0, help="of the first network; the others follow")
    parser.add_argument("--why", action="store_true", help="say why a collision does not hold")
    asked = parser.parse_args()
    outcomes: collections.Counter[str] = collections.Counter()
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(asked.seed, asked.seed + asked.count):
            outcome, wrong, reasons = explored(seed, Path(folder))
            outcomes[outcome] += 1
            failed += bool(wrong)
            for each in wrong:
                print(f"seed {seed}: {each}", flush=True)
            for each in reasons if asked.why else []:
                print(f"seed {seed}, {outcome}: {each}", flush=True)
    for outcome, count in outcomes.most_common():
        print(f"{count:6} {outcome}")
    print(f"{failed} of {asked.count} networks with a green verdict that is not true")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
