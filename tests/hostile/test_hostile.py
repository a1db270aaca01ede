"""Hostile files: each ends with its code, after bounded work, within a gigabyte, and without touching what lies beside them."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts.fuzzing.sandbox import Outcome
from scripts.fuzzing.server import Server
from tests.hostile.__main__ import main
from tests.hostile.catalogue import CASES, Case

ROOT = Path(__file__).resolve().parents[2]
CALLS = 9_500_000
"""Of Python functions that an analysis may make: the most that a case makes is 7.3 million."""
NET = 120.0
"""Seconds of processor time, so that what hangs ends; a busy machine takes several times as long as a quiet one."""


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """A warm process that has not imported onnxruntime; a child of it runs each command."""
    with Server() as started:
        yield started


@pytest.fixture(scope="module")
def runtime_server() -> Iterator[Server]:
    """A warm process that has."""
    with Server(runtime=True) as started:
        yield started


def check(outcome: Outcome, home: Path) -> None:
    """What holds of every command, whatever it says."""
    assert outcome.crashed is None, (outcome.crashed, outcome.err)
    outside = [path for path in outcome.touched if not Path(path).is_relative_to(home)]
    assert not outside
    assert not outcome.alarms


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_a_case_ends_as_it_says(case: Case, server: Server, runtime_server: Server, tmp_path: Path) -> None:
    """Analysis reports it; what runs a model refuses the same files, before a session."""
    home = case.write(tmp_path / "case")
    outcome = server.run(["analyze", case.typed, "--format", "json"], home, seconds=NET, modules=["onnxruntime"], calls=True)
    check(outcome, home)
    assert 0 < outcome.calls <= CALLS
    assert not outcome.modules
    report = json.loads(outcome.out)
    gaps = {gap["code"] for model in report["models"] for gap in model["unsupported"]}
    errors = {error["code"] for error in report["errors"]}
    wanted = {code.code for code in case.codes}
    assert (errors, gaps) == ((wanted, set()) if case.fatal else (set(), wanted))
    assert outcome.code == case.exit
    assert all(len(line) < 2000 and line.isprintable() for line in outcome.err.splitlines())
    if case.fatal:
        refused_before_a_session(case, home, runtime_server)


def refused_before_a_session(case: Case, home: Path, runtime_server: Server) -> None:
    arguments = ["collide", case.typed, "--random", "0", "--provider", "cpu"]
    outcome = runtime_server.run(arguments, home, seconds=NET, sessions=True)
    assert outcome.sessions == 0
    check(outcome, home)
    (code,) = case.codes
    assert f"{case.typed}: error[{code.code}]: " in outcome.err
    assert outcome.code == 2


def test_there_are_many() -> None:
    assert len(CASES) >= 60
    assert len({case.text for case in CASES.values()}) == len(CASES)


def test_a_person_can_have_them_as_files(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.hostile", str(tmp_path / "files"), "cycle", "hard_link"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert {path.name for path in (tmp_path / "files").iterdir()} == {"cycle", "hard_link", "README.md"}
    assert subprocess.run(command, cwd=ROOT, capture_output=True, check=False).returncode == 4


def test_without_names_all_are_written(tmp_path: Path) -> None:
    """Of a smaller catalogue: every case of ours is written by its own test."""
    few = {name: CASES[name] for name in ("cycle", "hard_link", "text")}
    assert main([str(tmp_path / "files")], few) == 0
    assert {path.name for path in (tmp_path / "files").iterdir()} == {*few, "README.md"}
    assert all((tmp_path / "files" / name / "model").is_dir() for name in few)


def test_the_readme_lists_them() -> None:
    text = Path(__file__).with_name("README.md").read_text(encoding="utf-8")
    listed = re.findall(r"^\| `(\w+)` \| (.*) \| (.*) \|$", text, re.MULTILINE)
    assert listed == [(case.name, case.text, case.outcome) for case in CASES.values()]
