"""A bounded run of the fuzzer; docs/security.md has the long one."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

import onnxnull
from scripts.fuzzing import mutations, seeds
from scripts.fuzzing.sandbox import Outcome, is_program

ROOT = Path(__file__).resolve().parents[2]


def fuzz(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "scripts.fuzz", *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )


def test_a_run_is_clean() -> None:
    done = fuzz("--seed", "2026", "--cases", "400", "--seconds", "60")  # a net: on a busy machine everything takes longer
    assert done.returncode == 0, done.stdout[-5000:]
    assert "seed 2026: 0 of 400 cases failed" in done.stdout
    assert " exit 0\n" in done.stdout
    assert "invalid-model" in done.stdout


def test_a_case_is_the_same_whenever_it_is_made() -> None:
    pool = seeds.seeds()
    small = pool[:-4]
    made = [[mutations.mutated(pool[i], small, random.Random(f"1/{i}")) for i in range(len(small))] for _ in range(2)]
    assert made[0] == made[1]
    assert len(set(made[0])) == len(small)


def test_the_seeds_are_analysed(tmp_path: Path) -> None:
    """A seed that is refused would be a poor start."""
    (tmp_path / seeds.DATA).write_bytes(seeds.data())
    for data in seeds.seeds()[:-4]:
        (tmp_path / "model.onnx").write_bytes(data)
        report = onnxnull.analyze(tmp_path / "model.onnx")
        assert report.weights or report.unsupported


def test_what_counts_as_a_failure() -> None:
    def ended(code: int, err: str = "", out: str = "{}", seconds: float = 0.1) -> str | None:
        return Outcome(code, seconds, out, err).crashed

    assert ended(0) is None
    assert ended(2, "model.onnx: error[invalid-model]: ...") is None
    assert ended(-11) == "signal SIGSEGV"
    assert ended(2, "Traceback (most recent call last):") == "a traceback"
    assert ended(0, "x.py:3: RuntimeWarning: overflow") == "a warning on stderr"
    assert ended(0, seconds=6.0) is not None
    assert ended(-9) == "it did not end"
    assert ended(2, out='"reason": "Unable to allocate 8.00 TiB"') == "it ran out of memory"


def test_packages_are_the_program_wherever_they_lie(tmp_path: Path) -> None:
    """Also where a .pth file leads to those of another environment; what lies beside the packages is none of them."""
    packages = tmp_path / "other" / "lib" / "site-packages"
    packages.mkdir(parents=True)
    asks = (
        "import sys; from pathlib import Path; from scripts.fuzzing.sandbox import is_program\n"
        "print([is_program(path) for path in sys.argv[1:]])"
    )
    paths = [packages / "numpy" / "core.py", packages.parent / "secret", ROOT / "onnxnull" / "errors.py", ROOT / "README.md"]
    env = {**os.environ, "PYTHONPATH": str(packages)}
    command = [sys.executable, "-c", asks, *map(str, paths)]
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=True)
    assert done.stdout == "[True, False, True, False]\n"
    assert not is_program(str(paths[0]))
