"""The process that creates sessions for `loading.py`, `python -I -m onnxnull.runtime.load_child`: nothing else happens here.

It reads requests on stdin, a line of JSON each, with the bytes that it announces behind it, and answers each by a line of JSON
on stdout. A model that ends the process, or reaches a limit, costs its own answer and no other.
"""

from __future__ import annotations

import contextlib
import json
import mmap
import os
import sys
from collections.abc import Iterator
from typing import IO, Any

from onnxnull.errors import OnnxnullError
from onnxnull.runtime.providers import Provider, load, options

BESIDE = "beside"
"""What the model calls the file in which the data lies that is sent behind it."""
NO_MEMORY = 12
"""Exit status where there was not memory enough."""


def main() -> None:
    """Serve until stdin ends."""
    requests, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever a library prints is no answer
    limits = _harden()
    try:
        version = str(load().__version__)
    except OnnxnullError as error:
        _say(answers, {"problem": error.seen})
        return
    _say(answers, {"onnxruntime": version, "limits": limits})
    for line in requests:
        request = json.loads(line)
        _say(answers, {"schemas": _schemas()} if request.get("schemas") else _create(requests, **request))


def _say(answers: IO[bytes], answer: dict[str, Any]) -> None:
    answers.write(json.dumps(answer).encode() + b"\n")
    answers.flush()


def _create(requests: IO[bytes], model: int, beside: int, memory: int, seconds: int) -> dict[str, Any]:
    """Create a session of the next `model` bytes, and say which step failed, if any, and how.

    Args:
        beside: bytes behind them, which the model refers to as external data in the file `BESIDE`.
        memory, seconds: of address space and of processor time that this may take.
    """
    with _limited(memory, seconds):
        try:
            data = requests.read(model)
            held = _read(requests, beside) if beside else None
            return _session(data, held)
        except MemoryError:
            os._exit(NO_MEMORY)  # what was announced may not have been read: nothing that follows can be understood


def _read(requests: IO[bytes], size: int) -> mmap.mmap:
    """The next bytes, in memory that goes back to the system at once."""
    held = mmap.mmap(-1, size)
    with memoryview(held) as view:
        done = 0
        while done < size:
            got = requests.readinto(view[done:size])  # type: ignore[attr-defined]
            if not got:
                sys.exit(1)  # whoever sent this is gone
            done += got
    return held


def _session(data: bytes, beside: mmap.mmap | None) -> dict[str, Any]:
    """A session in the two steps that `onnxruntime.InferenceSession` takes: the graph is resolved, then kernels are made."""
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    chosen = options(1)
    chosen.enable_cpu_mem_arena = False
    step = "prepare"
    try:
        if beside is not None:
            chosen.add_external_initializers_from_files_in_memory([BESIDE], [beside], [len(beside)])
        step = "graph"
        session = state.InferenceSession(chosen, data, False, False)
        step = "kernels"
        session.initialize_session([Provider.CPU.value], [{}], set())
    except MemoryError:
        raise
    except Exception as error:  # noqa: BLE001 - onnxruntime's errors have no common base
        return {"step": step, "error": type(error).__name__, "message": str(error)[:4000]}
    return {"step": "done"}


def _schemas() -> list[list[Any]] | None:
    """(domain, operator, opset since) of all that this onnxruntime knows; None where it does not say."""
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    try:
        return [[each.domain, each.name, each.since_version] for each in state.get_all_operator_schema()]
    except AttributeError:
        return None


def _harden() -> list[str]:
    """Limits for good: no core files, nothing is written. Returns the limits that this system keeps, for each request too."""
    if sys.platform == "win32":
        return []
    import resource

    linux = sys.platform == "linux"
    if linux:
        with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:
            file.write("1000")  # where the machine itself runs out of memory, this process goes first
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    return [*(["memory"] if linux else []), "processor time", "core files", "written files"]


@contextlib.contextmanager
def _limited(memory: int, seconds: int) -> Iterator[None]:
    """So much address space more than now, on Linux, and so much processor time more."""
    if sys.platform == "win32":
        yield
        return
    import resource

    used = resource.getrusage(resource.RUSAGE_SELF)
    wanted = {resource.RLIMIT_CPU: int(used.ru_utime + used.ru_stime) + seconds}
    if sys.platform == "linux":
        with open("/proc/self/statm", encoding="ascii") as file:
            wanted[resource.RLIMIT_AS] = int(file.read().split()[0]) * resource.getpagesize() + memory
    before = {what: resource.getrlimit(what) for what in wanted}
    for what, value in wanted.items():
        hard = before[what][1]
        resource.setrlimit(what, (value if hard == resource.RLIM_INFINITY else min(value, hard), hard))
    try:
        yield
    finally:
        for what, values in before.items():
            resource.setrlimit(what, values)


if __name__ == "__main__":
    main()
