"""Does this checkout say what another commit says? Every command and format on each shipped model, byte by byte; and the times.

    python scripts/compare_commits.py COMMIT                      the shipped models
    python scripts/compare_commits.py COMMIT --models DIR         and every .onnx file of a folder
    python scripts/compare_commits.py COMMIT --only collide       commands whose line holds this text

Both run in this checkout's folder, one after the other, with the packages installed here; the other commit in a worktree and
an environment of its own, which are removed at the end. Prints what differs, then for each command the quotient of the two
times (a busy machine moves it). Exit code 1 where anything differs.
"""

from __future__ import annotations

import argparse
import difflib
import os
import shutil
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time
import venv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SHIPPED = ("digits_vit", "digits_cnn", "digits_segmentation", "digits_mlp")
MOST_LINES = 12
"""Of a difference that are shown."""


@dataclass(frozen=True)
class Answer:
    """What a command left: its exit code, its streams, the files it wrote, and the seconds it took."""

    exit_code: int
    stdout: str
    stderr: str
    files: dict[str, bytes]
    seconds: float


def on_shipped_models(out: str) -> Iterator[list[str]]:
    """Command lines on the shipped models; `out` is a folder for what they write."""
    files = [f"models/{name}.onnx" for name in SHIPPED]
    for name, file in zip(SHIPPED, files, strict=True):
        sample, other = (f"models/samples/{name}/{digit}.png" for digit in (0, 5))
        yield from (
            [*line, "--format", form] for form in ("text", "json", "csv", "markdown", "html") for line in [["analyze", file]]
        )
        yield ["analyze", file, "--exact", "--data", f"models/samples/{name}", "--format", "json"]
        yield ["prove", file, "--exact", "-o", f"{out}/proofs.json"]
        yield ["prove", file, "--check", f"{out}/proofs.json"]
        for form in ("text", "json", "html"):
            yield ["collide", file, "--input", sample, "--provider", "cpu", "--format", form]
        yield ["collide", file, "--input", sample, "--layer", "all", "--provider", "cpu", "--format", "json"]
        yield ["collide", file, "--input", sample, "--toward", other, "--provider", "cpu", "-o", f"{out}/evidence", "--force"]
        for form in ("text", "json", "html"):
            yield ["replay", f"{out}/evidence", "--format", form]
        for form in ("text", "json", "markdown"):
            yield ["compare", file, file, "--format", form]
        yield ["compare", file, "models/digits_cnn.onnx", "--format", "json"]
    yield [
        "collide",
        files[1],
        "--input",
        "models/samples/digits_cnn/3.png",
        "--method",
        "fiber",
        "--provider",
        "cpu",
        "--format",
        "json",
    ]
    attack = [
        "attack",
        files[0],
        "--input",
        "models/samples/digits_vit/0.png",
        "--epsilon",
        "0.1",
        "--steps",
        "5",
        "--provider",
        "cpu",
    ]
    yield from ([*attack, "--format", form] for form in ("text", "json"))
    yield ["analyze", *files]
    yield ["baseline", *files, "-o", f"{out}/baseline.json"]
    for form in ("text", "json", "sarif", "junit", "markdown"):
        yield ["check", *files, "--format", form, "--date", "2026-01-01"]
    yield ["check", *files, "--baseline", f"{out}/baseline.json", "--format", "json"]
    yield ["check", *files, "--run", "--provider", "cpu", "--format", "json"]
    yield ["doctor", "--help"]
    yield ["schema", "analysis"]


def on_other_models(folder: Path) -> Iterator[list[str]]:
    """Command lines on any model."""
    for file in sorted(folder.glob("*.onnx")):
        yield ["analyze", str(file), "--format", "json"]
        yield ["analyze", str(file)]
        yield ["collide", str(file), "--random", "0", "--provider", "cpu", "--format", "json"]
        yield ["check", str(file), "--format", "json"]


def environment(root: Path, folder: Path) -> Path:
    """An environment in `folder` that imports onnxnull from `root`, and all else from where this one does. → its interpreter"""
    venv.EnvBuilder(symlinks=os.name != "nt").create(folder)
    variables = {"base": str(folder), "platbase": str(folder)}
    packages = Path(sysconfig.get_path("purelib", vars=variables))
    here = [entry for entry in sys.path if Path(entry).name in ("site-packages", "dist-packages")]
    (packages / "other.pth").write_text("\n".join([str(root), *here, ""]))
    return Path(sysconfig.get_path("scripts", vars=variables)) / Path(sys.executable).name


def run(python: Path, line: list[str], out: Path) -> Answer:
    """What `onnxnull LINE` leaves, and in the folder `out`."""
    started = time.perf_counter()
    done = subprocess.run([python, "-m", "onnxnull", *line], cwd=ROOT, capture_output=True, check=False, env=_variables(python))
    seconds = time.perf_counter() - started
    files = {str(p.relative_to(out)): p.read_bytes() for p in sorted(out.rglob("*")) if p.is_file()}
    return Answer(done.returncode, done.stdout.decode(), done.stderr.decode(), files, seconds)


def _variables(python: Path) -> dict[str, str]:
    # -m puts the current folder, this checkout, in front of everything: not here
    return {**os.environ, "PYTHONSAFEPATH": "1", "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "COLUMNS": "120"}


def differences(before: Answer, after: Answer) -> Iterator[str]:
    """Lines that say what is not the same."""
    if before.exit_code != after.exit_code:
        yield f"exit code {before.exit_code} → {after.exit_code}"
    for stream in ("stdout", "stderr"):
        yield from _text(stream, getattr(before, stream), getattr(after, stream))
    for name in sorted(before.files.keys() | after.files.keys()):
        one, other = before.files.get(name), after.files.get(name)
        if one is None or other is None:
            yield f"{name}: {'new' if one is None else 'gone'}"
        elif one != other:
            try:
                yield from _text(name, one.decode(), other.decode())
            except UnicodeDecodeError:
                yield f"{name}: other bytes"


def _text(name: str, before: str, after: str) -> Iterator[str]:
    lines = [
        each for each in difflib.unified_diff(before.splitlines(), after.splitlines(), lineterm="", n=0) if each[:2] != "@@"
    ][2:]
    if lines:
        yield f"{name}:"
    yield from (f"  {each[:200]}" for each in lines[:MOST_LINES])
    if len(lines) > MOST_LINES:
        yield f"  ... {len(lines) - MOST_LINES} more lines"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("commit")
    parser.add_argument("--models", type=Path, action="append", default=[])
    parser.add_argument("--only", default="")
    arguments = parser.parse_args()
    scratch = Path(tempfile.mkdtemp())
    other, out = scratch / "checkout", scratch / "out"
    subprocess.run(["git", "worktree", "add", "--quiet", "--detach", other, arguments.commit], cwd=ROOT, check=True)
    differing, ratios = 0, []
    try:
        sides = [
            (environment(other, scratch / "before"), out / "before"),
            (environment(ROOT, scratch / "after"), out / "after"),
        ]
        written = scratch / "written"
        lines = [*on_shipped_models(str(written)), *(each for folder in arguments.models for each in on_other_models(folder))]
        for line in lines:
            if arguments.only not in " ".join(line):
                continue
            answers = []
            for python, kept in sides:  # each side finds what it wrote itself under the same name
                kept.mkdir(parents=True, exist_ok=True)
                kept.rename(written)
                answers.append(run(python, line, written))
                written.rename(kept)
            found = list(differences(*answers))
            ratios.append(answers[1].seconds / answers[0].seconds)
            differing += bool(found)
            shown = " ".join(line).replace(str(scratch), "...")
            print(
                f"{'DIFFERS' if found else 'same'} {ratios[-1]:.2f} ({answers[1].seconds:.1f} s)  onnxnull {shown}", flush=True
            )
            print("".join(f"    {each}\n" for each in found), end="")
    finally:
        subprocess.run(["git", "worktree", "remove", "--force", other], cwd=ROOT, check=False)
        shutil.rmtree(scratch)
    print(f"{differing} of {len(ratios)} commands differ")
    print(f"time after/before: median {statistics.median(ratios):.2f}, worst {max(ratios):.2f}")
    return 1 if differing else 0


if __name__ == "__main__":
    sys.exit(main())
