"""Look for a collision that is called green and is none: random networks, random inputs, the truth in ball arithmetic.

    python scripts/explore_collisions.py --count 2000 --seed 0

Networks have constants of all sizes (features from 1e-12 to 1e12 normalised in the graph, offsets, masks), quantizers, ties
(ArgMax of equal scores, ReLUs at 0) and saturation (Sigmoid, Softmax, Clip of large numbers), one to three layers. Each is
searched through the public API. A run that holds is held against the network over the real numbers, evaluated by python-flint's
`arb` at 300 bits for the two inputs as that precision stores them. |Δ| may not exceed 16 times the noise, nor τ of the scale,
both of the inputs that the run's yardstick was measured with, over the real numbers; `SLACK` is for the rounding of its runs.
Every violation is printed with its seed, and the exit code is 1.
"""

from __future__ import annotations

import argparse
import collections
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import flint
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from onnxnull import Case, Execution, OnnxnullError, Place, Precision, Recipe, Search
from onnxnull.collision.results import Collision, Decision, Run
from onnxnull.collision.yardstick import NOISE_RUNS, SCALE_RUNS, box_in, nearby, one_ulp
from onnxnull.graph.model import open_model

BITS = 300
TIMES = 16.0
TOLERANCES = {"float64": 1e-9, "float32": 1e-3, "native": 1e-3, "float16": 5e-2}
TYPES: dict[str, Any] = {"float64": np.float64, "float32": np.float32, "native": np.float32}
SLACK = 2.0
"""What a noise and a scale of runs in floats may be above those over the real numbers."""
Vector = list[flint.arb]


@dataclass
class Network:
    """A chain of steps from x (1, n), as ONNX nodes and as functions of balls."""

    width: int
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    constants: dict[str, np.ndarray] = field(default_factory=dict)
    exact: list[Callable[[Vector], Vector]] = field(default_factory=list)
    at: str = "x"
    kinds: list[str] = field(default_factory=list)
    outputs: list[tuple[str, int]] = field(default_factory=list)

    def add(self, op: str, more: Sequence[np.ndarray], exact: Callable[[Vector], Vector], **attributes: Any) -> None:
        """One more step; `more` are its constants."""
        number = len(self.nodes)
        names = [f"c{number}_{i}" for i in range(len(more))]
        self.constants.update(zip(names, more, strict=True))
        self.nodes.append(helper.make_node(op, [self.at, *names], [f"t{number}"], name=f"{op}_{number}", **attributes))
        self.at = f"t{number}"
        self.exact.append(exact)
        self.kinds.append(op)

    def evaluate(self, x: np.ndarray) -> Vector:
        """The network over the reals at x, up to the last step that has real numbers."""
        values = [flint.arb(float(entry)) for entry in x.ravel()]
        for step in self.exact:
            values = step(values)
        return values

    def model(self, inputs: int) -> onnx.ModelProto:
        """As a file."""
        outputs = [helper.make_tensor_value_info(name, kind, None) for name, kind in self.outputs]
        graph = helper.make_graph(
            self.nodes,
            "random",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, inputs])],
            outputs,
            [numpy_helper.from_array(array, name) for name, array in self.constants.items()],
        )
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def affine(weight: np.ndarray, bias: np.ndarray) -> Callable[[Vector], Vector]:
    """x ↦ x·W + b."""
    rows = [[flint.arb(float(w)) for w in column] for column in weight.T]
    biases = [flint.arb(float(b)) for b in bias]
    return lambda x: [sum((w * v for w, v in zip(row, x, strict=True)), b) for row, b in zip(rows, biases, strict=True)]


def entrywise(function: Callable[[flint.arb, flint.arb], flint.arb], constant: np.ndarray) -> Callable[[Vector], Vector]:
    """x ↦ f(x, c), entry by entry."""
    return lambda x: [function(v, flint.arb(float(c))) for v, c in zip(x, constant.ravel(), strict=True)]


def each(function: Callable[[flint.arb], flint.arb]) -> Callable[[Vector], Vector]:
    """x ↦ f(x), entry by entry."""
    return lambda x: [function(v) for v in x]


def softmax(x: Vector) -> Vector:
    """exp(x)/Σ exp(x)."""
    top = max(x, key=lambda v: float(v.mid()))
    powers = [(v - top).exp() for v in x]
    total = sum(powers, flint.arb(0))
    return [p / total for p in powers]


def ball_max(one: flint.arb, other: flint.arb) -> flint.arb:
    """max of two balls."""
    return one.max(other)


def random_network(rng: np.random.Generator) -> tuple[Network, np.ndarray]:
    """A network with the input to start from."""
    inputs = int(rng.integers(4, 20))
    net = Network(inputs)
    sizes = 10.0 ** rng.choice([0, 0, 0, 0, 1, -1, 3, -3, 6, 9, -9, 12, -12], inputs)
    offsets = np.where(rng.random(inputs) < 0.3, sizes * 10.0 ** rng.integers(0, 3, inputs), 0.0)
    x = (offsets + sizes * rng.standard_normal(inputs)).astype(np.float32)
    x[rng.random(inputs) < 0.1] = 0.0
    if rng.random() < 0.1:
        x *= np.float32(1e-38)
        sizes, offsets = sizes * 1e-38, offsets * 1e-38
    if rng.random() < 0.7:
        shift, scale = offsets.astype(np.float32), np.maximum(sizes, 1e-37).astype(np.float32)
        net.add("Sub", [shift[None]], entrywise(lambda v, c: v - c, shift))
        net.add("Div", [scale[None]], entrywise(lambda v, c: v / c, scale))
    if rng.random() < 0.05:
        big = np.full(inputs, 1e6, np.float32)
        net.add("Add", [big[None]], entrywise(lambda v, c: v + c, big))
        net.add("Sub", [big[None]], entrywise(lambda v, c: v - c, big))
    width = inputs
    for _ in range(int(rng.integers(1, 4))):
        out = int(rng.integers(2, max(3, width)))
        weight = (rng.standard_normal((width, out)) * 10.0 ** rng.choice([0, 0, 0, -4, 4, -8], (1, out))).astype(np.float32)
        weight[rng.random(width) < 0.1] = 0.0
        if rng.random() < 0.2:
            weight[:, -1] = weight[:, 0]  # a tie
        bias = (rng.standard_normal(out) * 10.0 ** rng.integers(-2, 3)).astype(np.float32) * (rng.random() < 0.7)
        bias[-1] = bias[0] if rng.random() < 0.3 else bias[-1]
        net.add("Gemm", [weight, bias], affine(weight, bias))
        width = out
        kind = rng.integers(6)
        if kind == 0:
            net.add("Relu", [], each(lambda v: ball_max(v, flint.arb(0))))
        elif kind == 1:
            net.add("Sigmoid", [], each(lambda v: 1 / (1 + (-v).exp())))
        elif kind == 2:
            net.add("Tanh", [], each(lambda v: v.tanh()))
        elif kind == 3:
            zero, one = np.array(-1, np.float32), np.array(1, np.float32)
            net.add("Clip", [zero, one], each(lambda v: ball_max(v.min(flint.arb(1)), flint.arb(-1))))
        elif kind == 4:
            mask = np.where(rng.random(width) < 0.3, -1e30, 0.0).astype(np.float32)
            net.add("Add", [mask[None]], entrywise(lambda v, c: v + c, mask))
    if rng.random() < 0.3:
        net.add("Softmax", [], softmax, axis=-1)
    net.width = width
    net.outputs.append((net.at, TensorProto.FLOAT))
    if rng.random() < 0.2:
        net.nodes.append(helper.make_node("ArgMax", [net.at], ["label"], axis=1))
        net.outputs.append(("label", TensorProto.INT64))
    return net, x[None]


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


def explored(seed: int, folder: Path) -> tuple[str, list[str]]:
    """(what came of it, what is wrong)."""
    rng = np.random.default_rng(seed)
    net, x = random_network(rng)
    path = folder / "model.onnx"
    onnx.save(net.model(x.size), path)
    try:
        execution = Execution((Precision.FLOAT64, Precision.FLOAT32))
        search = Search(open_model(path, input_shapes={"x": x.shape}), Place(), execution)
        (found,) = search.run(Case("random", {"x": x}), random_recipe(rng, x))
    except OnnxnullError as error:
        return f"error {error.code.code}", []
    wrong = []
    for run in found.runs:
        if run.verdict.decision is Decision.HOLDS:
            wrong += [f"{run.precision}: {each}" for each in violations(net, net.at, run, found)]
    return found.decision.label, wrong


def main() -> int:
    """Explore, count, and say what was found."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0, help="of the first network; the others follow")
    asked = parser.parse_args()
    outcomes: collections.Counter[str] = collections.Counter()
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(asked.seed, asked.seed + asked.count):
            outcome, wrong = explored(seed, Path(folder))
            outcomes[outcome] += 1
            failed += bool(wrong)
            for each_wrong in wrong:
                print(f"seed {seed}: {each_wrong}", flush=True)
    for outcome, count in outcomes.most_common():
        print(f"{count:6} {outcome}")
    print(f"{failed} of {asked.count} networks with a green verdict that is not true")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
