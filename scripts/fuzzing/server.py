"""A warm process that runs commands in its sandbox: `python -m scripts.fuzzing.server`, JSON lines in, JSON lines out."""

from __future__ import annotations

import dataclasses
import gc
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from types import TracebackType

from scripts.fuzzing.sandbox import MEMORY, SECONDS, Outcome, from_json, run

_ROOT = Path(__file__).resolve().parents[2]
_MODULES = (
    "analysis",
    "cli.main",
    "cli.analyze",
    "cli.collide",
    "cli.prove",
    "cli.replay",
    "collision.search",
    "analysis.proofs",
)
_BESIDE = ("onnx.reference.ops", "onnx.shape_inference", "scipy.linalg", "scipy.sparse.linalg", "onnxnull.operators.reviewed")


def warm_up(*, runtime: bool = False) -> None:
    """Import what commands import; onnxruntime only if told to."""
    for name in (*_MODULES, "report.json", "frontier", "kernel.proof_check", "inputs", "evidence.replay"):
        import_module(f"onnxnull.{name}")
    for name in (*_BESIDE, *(["onnxruntime"] if runtime else [])):
        import_module(name)
    import_module("onnxnull.analysis.analyze").analyze(_ROOT / "models" / "digits_mlp.onnx")  # what is imported on the way
    gc.collect()
    gc.freeze()  # children do not write to what their parent has


class Server:
    """The warm process, for tests: it is none of pytest, and has one thread. With `runtime` it has imported onnxruntime."""

    def __init__(self, *, runtime: bool = False) -> None:
        env = {**os.environ, "PYTHONPATH": str(_ROOT), "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "scripts.fuzzing.server", *(["--runtime"] if runtime else [])],
            cwd=_ROOT,
            env=env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Server:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()

    def run(
        self,
        arguments: Sequence[str],
        folder: Path,
        *,
        seconds: float = SECONDS,
        memory: int = MEMORY,
        modules: Sequence[str] = (),
        sessions: bool = False,
        calls: bool = False,
    ) -> Outcome:
        """See `sandbox.run`."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        request = {"arguments": list(arguments), "folder": str(folder), "seconds": seconds, "memory": memory}
        request |= {"modules": list(modules), "sessions": sessions, "calls": calls}
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return from_json(self._process.stdout.readline())


def _serve() -> None:
    warm_up(runtime="--runtime" in sys.argv)
    for line in sys.stdin:
        request = json.loads(line)
        outcome = run(request.pop("arguments"), Path(request.pop("folder")), **request)
        print(json.dumps(dataclasses.asdict(outcome)), flush=True)


if __name__ == "__main__":
    _serve()
