"""Break small healthy models and ask the release gate: `python -m scripts.explore_broken_models`, in the repository's root.

Case N of a seed takes a healthy network and breaks one thing in it (`scripts.breaking.breaks`). That it is broken is confirmed
without onnxnull: onnxruntime refuses the file, or an output is NaN, Inf or constant over eight inputs, or a weight holds NaN or
only zeros. `onnxnull check` must not exit with 0 for any of these, and must for every healthy network. A broken model that
passes is checked once more with `--run`: what follows from no constant, a run may show. What is not confirmed is not counted.
`--seed S --case N` shows one case, `--keep FOLDER` writes the files of what passed. `--healthy` breaks nothing: random networks
of steps that look suspicious (`scripts.breaking.suspicious`), which the judge calls healthy, have to pass. Collisions that
`--run` builds do not count. Exits 1 if a broken model passed both ways, or a healthy one did not pass.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import onnx

from scripts.breaking.breaks import BREAKS, MODEL, Unfit
from scripts.breaking.healthy import HEALTHY
from scripts.breaking.judge import symptom
from scripts.breaking.suspicious import network as suspicious

_AT_A_TIME = 100
"""Models that one `onnxnull check` gets."""


def main(arguments: list[str] | None = None) -> int:
    """Exit code 0, or 1 if the gate was wrong about a model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cases", type=int, default=500, help="how many that are confirmed [500]")
    parser.add_argument("--first", type=int, default=0, help="number of the first case [0]")
    parser.add_argument("--run", action="store_true", help="check all of them with --run at once")
    parser.add_argument("--healthy", action="store_true", help="break nothing: all have to pass")
    parser.add_argument("--case", type=int, help="this one alone, with what the gate says")
    parser.add_argument("--kind", choices=list(BREAKS), help="only breaks of this kind")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="write the broken models that passed here")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="onnxnull-broken-") as name:
        folder = Path(name)
        if options.case is not None:
            said = _case(options, options.case, folder / "one")
            print(said)
            command = [sys.executable, "-m", "onnxnull", "check", "--no-policy", str(folder / "one" / MODEL)]
            return subprocess.run(command, check=False).returncode if said is not None else 2
        if options.healthy:
            return _suspicious(options, folder)
        wrong = _healthy(folder / "healthy")
        passed, confirmed, symptoms, by_run = Counter[str](), Counter[str](), Counter[str](), 0
        end = options.first
        for cases, codes, until in _batches(options, folder):
            end = until
            for case, code in codes.items():
                kind, what, found = cases[case]
                confirmed[kind] += 1
                symptoms[found] += 1
                stopped = code == 0 and _checked(folder, [case], "--run")[case] != 0
                if stopped:
                    by_run += 1
                    print(f"case {int(case)} passed, but not with --run: {kind}: {what}: {found}", flush=True)
                elif code == 0:
                    passed[kind] += 1
                    print(f"case {int(case)} passed: {kind}: {what}: {found}", flush=True)
                    if options.keep is not None:
                        shutil.copytree(folder / case, options.keep / f"{options.seed}-{case}", dirs_exist_ok=True)
                shutil.rmtree(folder / case)
    for kind in sorted(confirmed):
        print(f"{confirmed[kind]:5} {kind}" + (f", {passed[kind]} passed" if passed[kind] else ""))
    print("; ".join(f"{count} {found}" for found, count in symptoms.most_common()))
    print(f"{wrong} of {len(HEALTHY)} healthy models did not pass")
    counts = f"{passed.total()} passed, {by_run} more without --run"
    print(f"seed {options.seed}: {confirmed.total()} broken models among cases {options.first} to {end - 1}, {counts}")
    return 1 if wrong or passed else 0


def _batches(
    options: argparse.Namespace, folder: Path
) -> Iterator[tuple[dict[str, tuple[str, str, str]], dict[str, int], int]]:
    """(cases that are what they should be, the exit code of each, number of the next case), until there are enough."""
    number, last, left = options.first, options.first + 20 * options.cases, options.cases
    while left > 0 and number < last:
        cases: dict[str, tuple[str, str, str]] = {}
        while len(cases) < min(_AT_A_TIME, left) and number < last:
            place = folder / f"{number:05}"
            said = _case(options, number, place)
            if said is not None:
                cases[place.name] = said
            number += 1
        left -= len(cases)
        yield cases, _checked(folder, list(cases), *(["--run"] if options.run else [])), number


def _case(options: argparse.Namespace, number: int, place: Path) -> tuple[str, str, str] | None:
    """Write one case into a folder of its own; kind, what was done, what is wrong; None where it is not what it should be."""
    if not options.healthy:
        return _broken(options.seed, number, options.kind, place)
    place.mkdir()
    model, what = suspicious(random.Random(f"{options.seed}/{number}"))
    onnx.save(model, place / MODEL)
    if (found := symptom(place / MODEL)) is None:
        return "healthy", what, "nothing"
    print(f"case {number} is not healthy: {what}: {found}", flush=True)
    shutil.rmtree(place)
    return None


def _suspicious(options: argparse.Namespace, folder: Path) -> int:
    """Exit code 1 if a healthy network did not pass."""
    wrong, checked, end = 0, 0, options.first
    for cases, codes, until in _batches(options, folder):
        end = until
        for case, code in codes.items():
            checked += 1
            if code != 0:
                wrong += 1
                print(f"case {int(case)} did not pass, exit {code}: {cases[case][1]}", flush=True)
                if options.keep is not None:
                    shutil.copytree(folder / case, options.keep / f"healthy-{options.seed}-{case}", dirs_exist_ok=True)
            shutil.rmtree(folder / case)
    print(f"seed {options.seed}: {checked} healthy models among cases {options.first} to {end - 1}, {wrong} did not pass")
    return 1 if wrong else 0


def _broken(seed: int, number: int, only: str | None, place: Path) -> tuple[str, str, str] | None:
    """Write one case into a folder of its own; kind, what was done, what is wrong now; None where nothing is known to be."""
    rng = random.Random(f"{seed}/{number}")
    network, kind = rng.choice(list(HEALTHY)), rng.choice(list(BREAKS))
    kind = only or kind
    place.mkdir()
    try:
        what = BREAKS[kind](HEALTHY[network](), rng, place)
        found = symptom(place / MODEL)
    except Unfit:
        found = None
    if found is None:
        shutil.rmtree(place)
        return None
    return kind, f"{network}, {what}", found


def _healthy(folder: Path) -> int:
    """How many healthy models the gate does not pass; each is healthy for the judge."""
    for network, make in HEALTHY.items():
        (folder / network).mkdir(parents=True)
        onnx.save(make(), folder / network / MODEL)
        found = symptom(folder / network / MODEL)
        if found is not None:
            raise AssertionError(f"{network}: {found}")
    wrong = {network: code for network, code in _checked(folder, list(HEALTHY)).items() if code != 0}
    for network, code in wrong.items():
        print(f"healthy {network}: exit {code}", flush=True)
    return len(wrong)


def _checked(folder: Path, names: list[str], *options: str) -> dict[str, int]:
    """The exit code of `onnxnull check` for the model in each folder, whatever collisions it may have."""
    if not names:
        return {}
    paths = [f"{name}/{MODEL}" for name in names]
    command = [
        sys.executable,
        "-m",
        "onnxnull",
        "check",
        "--no-policy",
        "--format",
        "json",
        "--rule",
        "verified-collision=off",
        *options,
        *paths,
    ]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    said = json.loads(done.stdout)
    codes = {"pass": 0, "fail": 1, "incomplete": 2, "nothing": 3}
    found = {model["file"]: codes[model["verdict"]] for model in said["models"]}
    found |= {error["file"]: 2 for error in said["errors"]}  # of files that are no models
    return {name: found[path] for name, path in zip(names, paths, strict=True)}


if __name__ == "__main__":
    sys.exit(main())
