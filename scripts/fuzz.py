"""Feed mutated models to `onnxnull analyze`: `python -m scripts.fuzz`, from the root of the repository.

Each case, one of the seeds with mutations of its bytes and its structure, has to end with a report or with an error that has a
code: no traceback, no warning, no signal, at most five seconds of processor time, at most a gigabyte over the import, and no
file touched but those beside the model. Case N of a seed is the same on every machine: `--seed S --case N` runs it alone, and
`--keep FOLDER` writes the files of what failed. Exits 1 if a case failed.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import sys
import tempfile
import time
import warnings
from collections import Counter
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # before NumPy: a child of a process with one thread is a plain copy
os.environ.setdefault("OMP_NUM_THREADS", "1")

from scripts.fuzzing import mutations, seeds
from scripts.fuzzing.batch import run_all
from scripts.fuzzing.sandbox import SECONDS, Outcome
from scripts.fuzzing.server import warm_up

_COMMANDS = {
    "analyze": ["--format", "json"],
    "prove": [],
    "collide": ["--random", "0", "--provider", "cpu", "--format", "json"],
}
_LARGE = 0.04
"""Share of the cases that start from one of the large models."""


def main() -> int:
    """Exit code 0, or 1 if a case failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cases", type=int, default=1000, help="how many [1000]")
    parser.add_argument("--start", type=int, default=0, help="number of the first one [0]")
    parser.add_argument("--case", type=int, help="run this one alone, and show what it says")
    parser.add_argument(
        "--command", choices=list(_COMMANDS), default="analyze", help="which command meets the models [analyze]"
    )
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="write the models of the cases that failed here")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="processor time that a case may use [%(default)s]")
    options = parser.parse_args()
    warnings.simplefilter("ignore")  # of NumPy and onnx while models are made; children are looked at on their own
    warm_up(runtime=options.command == "collide")
    warnings.resetwarnings()
    pool = seeds.seeds()
    numbers = range(options.start, options.start + options.cases) if options.case is None else [options.case]
    began, ends, failed = time.monotonic(), Counter[str](), 0
    slowest = (0.0, -1)
    with tempfile.TemporaryDirectory(prefix="onnxnull-fuzz-") as name:
        home = Path(name) / "model"
        home.mkdir()
        (home / seeds.DATA).write_bytes(seeds.data())
        (Path(name) / "outside.bin").write_bytes(bytes(64))

        def prepare(number: int) -> list[str]:
            (home / "model.onnx").write_bytes(case(options.seed, number, pool))
            return [options.command, "model.onnx", *_COMMANDS[options.command]]

        for done, (number, outcome) in enumerate(run_all(numbers, prepare, home, options.seconds), start=1):
            ends[_end_of(outcome)] += 1
            slowest = max(slowest, (outcome.seconds, number))
            problem = problem_of(outcome, home, json_only=options.command == "analyze")
            if problem is not None:
                failed += 1
                print(f"case {number}: {problem}\n{outcome.err[-1500:]}", flush=True)
                if options.keep is not None:
                    options.keep.mkdir(parents=True, exist_ok=True)
                    (options.keep / f"{options.seed}-{number}.onnx").write_bytes(case(options.seed, number, pool))
            if options.case is not None:
                print(outcome.out, outcome.err)
            if done % 1000 == 0:
                print(f"{done} cases, {failed} failed, {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    for end, count in ends.most_common():
        print(f"{count:6} {end}")
    print(f"slowest: {slowest[0]:.2f} s, case {slowest[1]}")
    print(f"seed {options.seed}: {failed} of {len(numbers)} cases failed, {time.monotonic() - began:.0f} s")
    return 1 if failed else 0


def case(seed: int, number: int, pool: list[bytes]) -> bytes:
    """The model of one case."""
    rng = random.Random(f"{seed}/{number}")
    small = len(pool) - 4
    start = rng.randrange(small, len(pool)) if rng.random() < _LARGE else rng.randrange(small)
    return mutations.mutated(pool[start], pool[:small], rng)


def problem_of(outcome: Outcome, home: Path, *, json_only: bool = True) -> str | None:
    """Why a case failed; None where it ended as it should. `json_only`: with a report of `analyze` whatever it is."""
    if outcome.crashed is not None:
        return outcome.crashed
    if outcome.code not in ((0, 2, 3) if json_only else (0, 1, 2, 3)):
        return f"exit code {outcome.code}"
    outside = [path for path in outcome.touched if not Path(path).is_relative_to(home)]
    if outside or outcome.alarms:
        return f"it touched {(*outside, *outcome.alarms)}"
    if not json_only:
        return None
    try:
        report = json.loads(outcome.out)
    except ValueError:
        return "no JSON"
    if outcome.code == 2 and not report["errors"] and not any(model["unsupported"] for model in report["models"]):
        return "exit code 2 without a reason"
    return None


def _end_of(outcome: Outcome) -> str:
    """An outcome in a word, for the count."""
    code = re.search(r"error\[([a-z-]+)\]", outcome.err)
    return f"exit {outcome.code}" + (f": {code[1]}" if code else "")


if __name__ == "__main__":
    sys.exit(main())
