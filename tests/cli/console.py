"""The console entry, as a user meets it; JSON that it prints has to follow its schema."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
from pathlib import Path

from tests.cli.warm import Warm
from tests.schemas import check_output

ROOT = Path(__file__).resolve().parents[2]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1"}


@functools.cache
def _warm() -> Warm:
    return Warm(ENVIRONMENT)


def onnxnull(
    *arguments: str | Path, cwd: Path | None = None, umask: int = -1, fresh: bool = False
) -> subprocess.CompletedProcess[str]:
    """Run `python -m onnxnull ARGUMENTS` in a process of its own; stdout and stderr as text.

    It has its imports from a process that is warm, or it is a `fresh` interpreter, whose strings have other hashes.
    """
    told = [os.fspath(argument) for argument in arguments]
    if fresh or not hasattr(os, "fork"):
        command = [sys.executable, "-m", "onnxnull", *told]
        done = subprocess.run(
            command, cwd=cwd, env=ENVIRONMENT, capture_output=True, encoding="utf-8", umask=umask, timeout=900, check=False
        )
    else:
        done = _warm().run(told, cwd, umask)
    check_output(done.stdout)
    return done
