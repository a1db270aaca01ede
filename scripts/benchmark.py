"""How fast onnxnull is: ranks and null spaces against NumPy and SciPy on the same matrices in the same run, and collisions.

    python scripts/benchmark.py                     all sections (minutes: SciPy's reference runs take most of them)
    python scripts/benchmark.py --only tall kernel  some of them
    python scripts/benchmark.py -o benchmark.json   also write the numbers
    python scripts/benchmark.py --only collision --model vit_tiny_patch16_224.onnx
                                                    build and verify collisions on any image model, instead of a shipped one
    python scripts/benchmark.py --only gradient --model squeezenet_v1.0.onnx --scores logits
                                                    what derivatives of any model cost; a ratio of 0.4 says 2.5 forward runs

All data are generated from fixed seeds. Every time is the median of --repeat runs (1 by default for the reference, whose runs
are long); a ratio above 1 says that onnxnull is faster. Collisions have no peer: what plain
onnxruntime takes for a session and two runs stands beside them for scale.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy
import scipy.linalg

from onnxnull.collision.cases import random_case
from onnxnull.collision.perturb import Recipe
from onnxnull.collision.search import Execution, Place, Search
from onnxnull.gradient import Function
from onnxnull.graph.model import open_model
from onnxnull.kernel.nullspace import null_space
from onnxnull.kernel.rank import ExactPolicy, Notion, rank, rank_profile
from onnxnull.runtime.precision import Precision
from onnxnull.runtime.session import Runner

MODEL = Path(__file__).resolve().parent.parent / "models" / "digits_vit.onnx"
Weight = npt.NDArray[np.float32]

# VGG-16: (inputs, outputs) of its convolutions as im2col matrices, then of its fully connected layers; 138 M parameters.
VGG_16 = [
    *[(27, 64), (576, 64), (576, 128), (1152, 128), (1152, 256), (2304, 256), (2304, 256), (2304, 512)],
    *[(4608, 512)] * 5,
    *[(25088, 4096), (4096, 4096), (4096, 1000)],
]


def he_normal(rng: np.random.Generator, inputs: int, outputs: int) -> Weight:
    """A freshly initialised weight (inputs, outputs)."""
    return rng.standard_normal((inputs, outputs), dtype=np.float32) * np.float32(np.sqrt(2 / inputs))


def decaying(rng: np.random.Generator, inputs: int, outputs: int, dead: int, duplicate: int) -> Weight:
    """Singular values close to 1/i, as trained layers have them; then some outputs die and some repeat another one."""
    weight = rng.standard_normal((inputs, outputs), dtype=np.float32) / np.float32(np.sqrt(inputs))
    mixing = np.linalg.qr(rng.standard_normal((outputs, outputs)))[0] / np.arange(1, outputs + 1)[:, None]
    weight = weight @ mixing.astype(np.float32)
    chosen = rng.permutation(outputs)
    weight[:, chosen[:dead]] = 0
    weight[:, chosen[dead : dead + duplicate]] = weight[:, chosen[-duplicate:]]
    return weight


def tall(bench: Bench) -> None:
    """25088×4096 float32, full rank."""
    weight = he_normal(np.random.default_rng(0), 25088, 4096)
    reference = bench.reference("svdvals", lambda: scipy.linalg.svdvals(weight.astype(np.float64), overwrite_a=True))
    bench.ours("rank, float64", lambda: rank(weight, Notion.FLOAT64), reference)
    bench.ours("rank, float32", lambda: rank(weight, Notion.FLOAT32), reference)
    bench.ours("rank_profile", lambda: rank_profile(weight), reference)


def decay(bench: Bench) -> None:
    """25088×4096 float32, decaying spectrum, 10 dead and 10 duplicate outputs."""
    weight = decaying(np.random.default_rng(1), 25088, 4096, 10, 10)
    reference = bench.reference("svdvals", lambda: scipy.linalg.svdvals(weight.astype(np.float64), overwrite_a=True))
    bench.ours("rank, float64", lambda: rank(weight, Notion.FLOAT64), reference)
    bench.ours("rank_profile", lambda: rank_profile(weight), reference)


def vgg(bench: Bench) -> None:
    """All 16 weights of a VGG-16-sized model, 138 M parameters."""
    rng = np.random.default_rng(2)
    weights = [he_normal(rng, inputs, outputs) for inputs, outputs in VGG_16]
    reference = bench.reference("numpy matrix_rank", lambda: [np.linalg.matrix_rank(w.astype(np.float64)) for w in weights])
    bench.ours("rank, float64", lambda: [rank(w, Notion.FLOAT64) for w in weights], reference)
    bench.ours("rank_profile", lambda: [rank_profile(w, exact=ExactPolicy.CHEAP) for w in weights], reference)


def kernel(bench: Bench) -> None:
    """Kernel vectors of a 9216×1024 float32 weight."""
    weight = he_normal(np.random.default_rng(3), 9216, 1024)
    reference = bench.reference("scipy null_space", lambda: scipy.linalg.null_space(weight.astype(np.float64).T))
    bench.ours("16 vectors", lambda: null_space(weight).sample(16, np.random.default_rng(0)), reference)
    bench.ours("16 orthonormal vectors", lambda: null_space(weight).basis(16), reference)
    bench.ours("full basis", lambda: null_space(weight).basis(), reference)


def collision(bench: Bench) -> None:
    """Build a collision and verify it at float64 and float32, random inputs in [−1, 1]."""
    inputs = open_model(bench.model).inputs
    box = np.array(-1.0), np.array(1.0)
    start, other = (random_case(inputs, seed, {described.name: box for described in inputs}) for seed in (0, 1))
    shapes = {name: array.shape for name, array in start.arrays.items()}

    def plain() -> None:
        runner = Runner(open_model(bench.model))
        for case in (start, other):
            runner.run(case.arrays)

    bench.reference("onnxruntime, two runs", plain)
    for recipe in (Recipe(box=box), Recipe(pattern="toward", box=box)):

        def build_and_verify(watch: Stopwatch, recipe: Recipe = recipe) -> None:
            search = Search(open_model(bench.model, input_shapes=shapes), Place(), Execution(), progress=watch)
            (found,) = search.run(start, recipe, other if recipe.pattern == "toward" else None)
            if not found.holds:
                raise SystemExit(f"{bench.model}: the collision does not hold")

        bench.stages(recipe.pattern, build_and_verify)


def gradient(bench: Bench) -> None:
    """One gradient of one sample, random inputs in [0, 1]; the reference is one forward run at the same precision."""
    inputs = open_model(bench.model).inputs
    case = random_case(inputs, 0, {described.name: (np.array(0.0), np.array(1.0)) for described in inputs})
    for precision in (Precision.FLOAT32, Precision.FLOAT64):
        runner = Runner(open_model(bench.model), precision)
        function = Function(open_model(bench.model), case.arrays, output=bench.scores, precision=precision)
        x = case.arrays[function.input]
        y = np.ones(function.value(x).shape)
        runs: dict[str, Callable[[], object]] = {
            "forward": partial(runner.run, case.arrays),
            "gradient": partial(function.pull, x, y),
            "tangent": partial(function.push, x, x),
            "Jacobian row": partial(function.pull_at, x, y),
        }
        for run in runs.values():
            run()
        reference = bench.reference(f"{precision.value} forward, 10×", partial(_often, runs.pop("forward")))
        for name, run in runs.items():
            bench.ours(f"{precision.value} {name}, 10×", partial(_often, run), reference)


def _often(run: Callable[[], object]) -> None:
    """Ten runs: one is too short to be timed."""
    for _ in range(10):
        run()


SECTIONS: dict[str, Callable[[Bench], None]] = {f.__name__: f for f in (tall, decay, vgg, kernel, collision, gradient)}


class Stopwatch:
    """Called with the name of what comes next; adds up what each precision took, and everything else as "build"."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._stage, self._since = "build", time.perf_counter()

    def __call__(self, coming: str) -> None:
        now = time.perf_counter()
        self.seconds[self._stage] = self.seconds.get(self._stage, 0.0) + now - self._since
        verb, _, what = coming.partition(" ")
        self._stage, self._since = what if verb in ("preparing", "running") else "build", now


class Bench:
    """Times functions, prints a line for each and keeps the numbers."""

    def __init__(self, repeat: int, repeat_reference: int, model: Path = MODEL, scores: str | None = None) -> None:
        self.model, self.scores = model, scores
        self._repeat = repeat
        self._repeat_reference = repeat_reference
        self.rows: list[dict[str, Any]] = []
        self.section = ""

    def reference(self, name: str, run: Callable[[], object]) -> float:
        """Time what others do."""
        return self._time(name, run, self._repeat_reference, None)

    def ours(self, name: str, run: Callable[[], object], reference: float) -> None:
        """Time what onnxnull does."""
        self._time(name, run, self._repeat, reference)

    def stages(self, name: str, run: Callable[[Stopwatch], object]) -> None:
        """Time what onnxnull does, and how long each stage of it takes."""
        watches = []
        for _ in range(self._repeat):
            watches.append(Stopwatch())
            run(watches[-1])
            watches[-1]("done")
        self._keep(f"{name}, everything", [sum(watch.seconds.values()) for watch in watches], None)
        for stage in watches[0].seconds:
            self._keep(f"{name}, {stage}", [watch.seconds[stage] for watch in watches], None)

    def _time(self, name: str, run: Callable[[], object], repeat: int, reference: float | None) -> float:
        seconds = []
        for _ in range(repeat):
            start = time.perf_counter()
            run()
            seconds.append(time.perf_counter() - start)
        return self._keep(name, seconds, reference)

    def _keep(self, name: str, seconds: list[float], reference: float | None) -> float:
        median = statistics.median(seconds)
        ratio = None if reference is None else reference / median
        shown = "" if ratio is None else f"{ratio:9.{1 if ratio >= 10 else 2}f}×"
        print(f"{self.section:9} {name:24} {median:9.3f} s {shown}", flush=True)
        self.rows.append({"section": self.section, "name": name, "seconds": seconds, "median": median, "ratio": ratio})
        return median


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--only", nargs="+", choices=SECTIONS, default=list(SECTIONS), metavar="SECTION", help=", ".join(SECTIONS)
    )
    parser.add_argument("--repeat", type=int, default=3, help="runs of onnxnull, of which the median counts")
    parser.add_argument("--repeat-reference", type=int, default=1, help="runs of the reference")
    parser.add_argument("--model", type=Path, default=MODEL, help="whose inputs collide (default: models/digits_vit.onnx)")
    parser.add_argument("--scores", help="the output that is differentiated (default: the only one)")
    parser.add_argument("-o", "--output", type=Path, help="write the numbers as JSON")
    arguments = parser.parse_args()
    machine = {
        "cpus": os.cpu_count(),
        "machine": platform.processor() or platform.machine(),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "scipy": scipy.__version__,
    }
    print(", ".join(f"{key} {value}" for key, value in machine.items()), file=sys.stderr)
    bench = Bench(arguments.repeat, arguments.repeat_reference, arguments.model, arguments.scores)
    for name in arguments.only:
        bench.section = name
        print(f"# {name}: {SECTIONS[name].__doc__}", flush=True)
        SECTIONS[name](bench)
    if arguments.output:
        arguments.output.write_text(json.dumps({"machine": machine, "results": bench.rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
