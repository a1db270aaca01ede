"""Start-up: light imports, help, version; progress on a terminal only."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from onnxnull import __version__
from tests.shared import matmul, random

from .console import ENVIRONMENT, onnxnull

HEAVY = {"numpy", "scipy", "onnx", "onnx_ir", "onnxruntime", "rich", "flint", "matplotlib", "PIL"}


def imports_of(code: str) -> set[str]:
    """Top-level modules that are loaded after running `code` in a fresh interpreter."""
    code += "\nimport sys; print('\\n' + ' '.join({name.split('.')[0] for name in sys.modules}))"
    run = subprocess.run([sys.executable, "-c", code], env=ENVIRONMENT, capture_output=True, encoding="utf-8", check=True)
    return set(run.stdout.splitlines()[-1].split())


@pytest.mark.parametrize(
    "code",
    [
        "import onnxnull",
        "import onnxnull; onnxnull.OnnxnullError, onnxnull.Code, onnxnull.Limits",
        "from onnxnull.cli.main import group; group.main(['--help'], standalone_mode=False)",
        "from onnxnull.cli.main import group; group.main(['--version'], standalone_mode=False)",
        "from onnxnull.cli.main import group; group.main(['analyze', '--help'], prog_name='onnxnull', standalone_mode=False)",
    ],
)
def test_nothing_heavy_is_imported(code: str) -> None:
    assert not imports_of(code) & HEAVY


@pytest.mark.parametrize("option", ["-h", "--help"])
def test_help(option: str) -> None:
    run = onnxnull(option)
    assert (run.returncode, run.stderr) == (0, "")
    assert "analyze" in run.stdout
    assert "Exit codes: 0 pass;" in " ".join(run.stdout.split())
    run = onnxnull("analyze", option)
    assert (run.returncode, run.stderr) == (0, "")
    assert "--input-shape NAME:D0,D1,..." in run.stdout


def test_version() -> None:
    run = onnxnull("--version")
    assert (run.returncode, run.stdout, run.stderr) == (0, f"onnxnull, version {__version__}\n", "")


def test_no_progress_where_stderr_is_no_terminal(tmp_path: Path) -> None:
    matmul(tmp_path / "m.onnx", random(6, 4))
    assert onnxnull("analyze", "m.onnx", cwd=tmp_path).stderr == ""


SHOW = """
import time
from onnxnull.cli import progress
progress._PATIENCE = {patience}
with progress.Bar() as show:
    show("model.onnx", 3, 7, "a[/b]\\x1b[31m" + "n" * 100)
    while {waits} and not show._progress.live.is_started:
        time.sleep(0.01)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no pseudo-terminal")
@pytest.mark.parametrize(("patience", "shown"), [(0.1, True), (600, False)])
def test_progress_on_a_terminal_after_some_patience(patience: float, shown: bool) -> None:
    """Also of a single long weight, and with a name that is neither markup nor a command to the terminal."""
    import pty

    ours, theirs = pty.openpty()
    env = {**ENVIRONMENT, "TERM": "xterm", "COLUMNS": "120"}
    code = SHOW.format(patience=patience, waits=shown)
    run = subprocess.run([sys.executable, "-c", code], env=env, stdout=subprocess.PIPE, stderr=theirs)
    os.close(theirs)
    seen = b""
    try:
        while chunk := os.read(ours, 65536):
            seen += chunk
    except OSError:  # Linux: the other end is closed
        pass
    os.close(ours)
    text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", seen.decode())
    assert (run.returncode, run.stdout) == (0, b"")
    assert ("model.onnx" in text and "3/7" in text and r"a[/b]\x1b[31m" in text) == shown
