"""The console entry in a process of its own, as a user meets it; JSON that it prints has to follow its schema."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.schemas import check_output

ROOT = Path(__file__).resolve().parents[2]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1"}


def onnxnull(*arguments: str | Path, cwd: Path | None = None, umask: int = -1) -> subprocess.CompletedProcess[str]:
    """Run `python -m onnxnull ARGUMENTS`; stdout and stderr as text."""
    command = [sys.executable, "-m", "onnxnull", *map(str, arguments)]
    done = subprocess.run(
        command, cwd=cwd, env=ENVIRONMENT, capture_output=True, encoding="utf-8", umask=umask, timeout=600, check=False
    )
    check_output(done.stdout)
    return done
