"""A process that has imported what commands import; each command runs in a child of it: `python -m tests.cli.warm`.

A child runs `python -m onnxnull ARGUMENTS` and ends as an interpreter ends, with its own folder, mask, stdout and stderr; only
the imports, most of what a small command costs, are there already. How a fresh interpreter starts, `test_start.py` looks at.
"""

from __future__ import annotations

import json
import os
import runpy
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from scripts.fuzzing.server import warm_up

_ROOT = Path(__file__).resolve().parents[2]
_NET = 900
"""Seconds after which a command that hangs is ended; a busy machine takes several times as long as a quiet one."""


class Warm:
    """The process; it ends with the one that started it."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        command = [sys.executable, "-m", "tests.cli.warm"]
        self._process = subprocess.Popen(
            command, cwd=_ROOT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8"
        )

    def run(self, arguments: Sequence[str], cwd: Path | None, umask: int) -> subprocess.CompletedProcess[str]:
        """Run `onnxnull ARGUMENTS` in a child; as `subprocess.run`."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with tempfile.TemporaryDirectory(prefix="onnxnull-console-") as name:
            request = {"arguments": list(arguments), "cwd": str(cwd or Path.cwd()), "umask": umask, "place": name}
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
            status = int(self._process.stdout.readline())
            out, err = (Path(name, each).read_text(encoding="utf-8") for each in ("out", "err"))
        return subprocess.CompletedProcess(arguments, status, out, err)


def _serve() -> None:
    """Answer requests with exit codes, until there is no more; in a child: run the command."""
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            _run(**json.loads(line))
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def _run(arguments: Sequence[str], cwd: str, umask: int, place: str) -> Any:
    """Run the command as `python -m onnxnull` does; never returns."""
    signal.alarm(_NET)
    for number, name in ((1, "out"), (2, "err")):
        os.dup2(os.open(Path(place, name), os.O_WRONLY | os.O_CREAT), number)
    sys.stdin = open(os.devnull, encoding="utf-8")  # noqa: SIM115
    os.dup2(sys.stdin.fileno(), 0)
    os.chdir(cwd)
    if umask >= 0:
        os.umask(umask)
    sys.argv[1:] = arguments
    runpy.run_module("onnxnull", run_name="__main__", alter_sys=True)
    sys.exit()


if __name__ == "__main__":
    warm_up()  # without onnxruntime: a fork of a process that has it would wait at its end for a thread that it does not have
    _serve()
