"""The commands that the README gives a newcomer."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def test_the_demo_runs_from_any_folder(tmp_path: Path) -> None:
    """`scripts/test` runs this; without the environment that it makes, the demo would install one."""
    if not (ROOT / ".venv" / ".installed-dev").exists():
        pytest.skip("scripts/test has not made its environment")
    run = subprocess.run([ROOT / "scripts" / "demo"], cwd=tmp_path, capture_output=True, encoding="utf-8", check=True)
    assert "it ignores 10,752 (87.5 %) of the input's 12,288 dimensions (proved)" in run.stdout
    found = re.search(r"max \|Δ logits\| = (\S+); the control's is (\S+)", run.stdout)
    assert found is not None
    moved, control = float(found[1]), float(found[2])
    assert moved < 1e-5 < 0.1 < control
    picture = Path(run.stdout.split("the picture: ")[1].strip())
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_the_readme_begins_with_the_two_commands_and_the_picture() -> None:
    first_screen = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()[:30]
    assert any(line == "$ scripts/demo" for line in first_screen)
    assert any(line == "$ scripts/test" for line in first_screen)
    pictures = [match[1] for line in first_screen if (match := re.match(r"!\[.*\]\((.*)\)", line))]
    assert pictures
    assert all((ROOT / picture).is_file() for picture in pictures)
