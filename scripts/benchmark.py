"""How fast ranks and null spaces are, against numpy and SciPy on the same matrices in the same run.

    python scripts/benchmark.py                     all sections (minutes: SciPy's reference runs take most of them)
    python scripts/benchmark.py --only tall kernel  some of them
    python scripts/benchmark.py -o benchmark.json   also write the numbers

All data are generated from fixed seeds. Every time is the median of --repeat runs (1 by default for the reference, whose runs
are long); a ratio above 1 says that onnxnull is faster.
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
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy
import scipy.linalg

from onnxnull.kernel.nullspace import null_space
from onnxnull.kernel.rank import ExactPolicy, Notion, rank, rank_profile

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


SECTIONS: dict[str, Callable[[Bench], None]] = {f.__name__: f for f in (tall, decay, vgg, kernel)}


class Bench:
    """Times functions, prints a line for each and keeps the numbers."""

    def __init__(self, repeat: int, repeat_reference: int) -> None:
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

    def _time(self, name: str, run: Callable[[], object], repeat: int, reference: float | None) -> float:
        seconds = []
        for _ in range(repeat):
            start = time.perf_counter()
            run()
            seconds.append(time.perf_counter() - start)
        median = statistics.median(seconds)
        ratio = None if reference is None else reference / median
        shown = "" if ratio is None else f"{ratio:9.1f}×"
        print(f"{self.section:8} {name:24} {median:9.3f} s {shown}", flush=True)
        self.rows.append({"section": self.section, "name": name, "seconds": seconds, "median": median, "ratio": ratio})
        return median


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--only", nargs="+", choices=SECTIONS, default=list(SECTIONS), metavar="SECTION", help=", ".join(SECTIONS)
    )
    parser.add_argument("--repeat", type=int, default=3, help="runs of onnxnull, of which the median counts")
    parser.add_argument("--repeat-reference", type=int, default=1, help="runs of the reference")
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
    bench = Bench(arguments.repeat, arguments.repeat_reference)
    for name in arguments.only:
        bench.section = name
        print(f"# {name}: {SECTIONS[name].__doc__}", flush=True)
        SECTIONS[name](bench)
    if arguments.output:
        arguments.output.write_text(json.dumps({"machine": machine, "results": bench.rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
