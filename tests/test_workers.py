"""Tasks in processes: results in order, an end at the deadline whatever a task does, and none of them left behind."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from onnxnull.workers import Done, Unfinished, run_tasks

ROOT = Path(__file__).resolve().parents[1]
linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux forks")


def squared(number: int) -> int:
    return number * number


def never() -> int:
    while True:
        signal.pause()


def failing() -> int:
    raise ValueError("of no use")


def ended() -> int:
    os.kill(os.getpid(), signal.SIGKILL)
    return 0


def late() -> int:
    raise TimeoutError


def mixed(*tasks: Callable[[], int]) -> list[Callable[[], int]]:
    return list(tasks)


@pytest.mark.parametrize("jobs", [None, 1, 3])
def test_results_come_in_the_order_of_the_tasks(jobs: int | None) -> None:
    told: list[int] = []
    tasks = [partial(squared, n) for n in range(7)]
    found = run_tasks(tasks, jobs=jobs, costs=[3, 1, 4, 1, 5, 9, 2], progress=told.append)
    assert found == [Done(n * n) for n in range(7)]
    assert sorted(told) == list(range(7))


@pytest.mark.parametrize("jobs", [None, 2])
def test_what_a_task_raises_is_raised_here(jobs: int | None) -> None:
    with pytest.raises(ValueError, match="of no use") as error:
        run_tasks(mixed(failing, partial(squared, 2)), jobs=jobs)
    if jobs is not None and sys.platform == "linux":
        assert error.value.__notes__ == [f"test_workers.py:{failing.__code__.co_firstlineno + 1}"]
    assert run_tasks([late], jobs=jobs, deadline=time.monotonic() + 60) == [Unfinished(begun=True)]


def test_nothing_begins_after_the_deadline() -> None:
    for jobs in (None, 2):
        assert run_tasks([partial(squared, 2)], jobs=jobs, deadline=time.monotonic() - 1) == [Unfinished(begun=False)]


@linux
def test_a_task_that_never_ends_is_ended_at_the_deadline() -> None:
    tasks = mixed(partial(squared, 3), never, os.getpid, never)
    found = run_tasks(tasks, jobs=1, costs=[0, 2, 1, 3], deadline=time.monotonic() + 3)
    assert (found[0], found[1], found[3]) == (Done(9), Unfinished(begun=True), Unfinished(begun=False))
    assert isinstance(found[2], Done)
    with pytest.raises(ProcessLookupError):
        os.kill(found[2].value, 0)


@linux
def test_a_process_that_is_ended_from_outside_loses_its_own_task_only() -> None:
    found = run_tasks(mixed(ended, partial(squared, 3)), jobs=1)
    assert found == [Unfinished(begun=True, died=True), Done(9)]


class Owned:
    """Part of a cycle, so that only the collector ends it; it ends the process where it is not at home."""

    def __init__(self) -> None:
        self.itself, self.home = self, os.getpid()

    def __del__(self) -> None:
        if os.getpid() != self.home:
            os.kill(os.getpid(), signal.SIGKILL)


@linux
def test_garbage_of_the_parent_is_not_collected_in_a_worker() -> None:
    """A session of onnxruntime would wait for its threads, which are not forked, for ever."""
    gc.disable()
    try:
        Owned()
        (found,) = run_tasks([gc.collect], jobs=1)
    finally:
        gc.enable()
    assert isinstance(found, Done)


SCRIPT = """
import os, signal
from functools import partial
from pathlib import Path
from onnxnull.workers import run_tasks

signal.signal(signal.SIGINT, signal.default_int_handler)  # what a shell starts in the background ignores it

def rest(folder):
    (Path(folder) / str(os.getpid())).touch()
    while True:
        pass

def nested(folder):
    run_tasks([partial(rest, folder)] * 2, jobs=2)

if __name__ == "__main__":
    import sys
    run_tasks([partial(nested, sys.argv[1])] * 2, jobs=2, spawn=True)
"""


@linux
@pytest.mark.parametrize("way", [signal.SIGINT, signal.SIGKILL])
def test_one_interrupt_leaves_no_process(way: signal.Signals, tmp_path: Path) -> None:
    """Two spawned processes, as `check --jobs 2` has, and in each two forked ones, which are busy and look at nothing."""
    script, folder = tmp_path / "script.py", tmp_path / "processes"
    script.write_text(SCRIPT)
    folder.mkdir()
    line = [sys.executable, str(script), str(folder)]
    process = subprocess.Popen(line, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, stderr=subprocess.PIPE)
    try:
        until(lambda: len(list(folder.iterdir())) == 4)
        process.send_signal(way)
        assert process.wait(timeout=60) == -way
        until(lambda: not any(map(alive, folder.iterdir())))
    finally:
        process.kill()
        process.communicate()
        for pid in filter(alive, folder.iterdir()):
            os.kill(int(pid.name), signal.SIGKILL)


def alive(pid: Path) -> bool:
    status = Path("/proc", pid.name, "stat")
    return status.exists() and status.read_text().rpartition(")")[2].split()[0] != "Z"


def until(condition: Callable[[], bool]) -> None:
    give_up = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < give_up
        time.sleep(0.02)
