"""Tasks in processes that can be ended at any moment: whatever a library does, a time limit holds and Ctrl-C ends at once.

Processes are forked, so that they find the model as it is open here, and nothing is sent but the results. Only this process's
thread goes on in them; they use BLAS and Python, and no library that keeps threads. Where there is no fork (Windows), or where
no processes are asked for, the tasks are done here, one after the other, and the time is looked at between them.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import multiprocessing
import os
import pickle
import signal
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from traceback import extract_tb
from typing import Any, Generic, TypeVar

T = TypeVar("T")

CAN_FORK = sys.platform.startswith("linux")
"""macOS has fork as well, but its libraries do not survive it."""
_DIE_WITH_PARENT = 1
"""PR_SET_PDEATHSIG of prctl(2)."""


@dataclass(frozen=True, slots=True)
class Done(Generic[T]):
    """The result of a task."""

    value: T


@dataclass(frozen=True, slots=True)
class Unfinished:
    """A task without a result. `begun`: it was not finished in time, not only not reached. `died`: its process was ended."""

    begun: bool
    died: bool = False


def run_tasks(
    tasks: Sequence[Callable[[], T]],
    *,
    jobs: int | None,
    deadline: float | None = None,
    costs: Sequence[float] | None = None,
    progress: Callable[[int], None] = lambda _: None,
    spawn: bool = False,
) -> list[Done[T] | Unfinished]:
    """The results of the tasks, in their order.

    Args:
        jobs: how many processes; None to do everything in this one.
        deadline: an instant of `time.monotonic()`. Processes end then; here, nothing begins after it, and a task may raise
            `TimeoutError`.
        costs: of each task, in any unit: the dearest begin first; with a deadline the cheapest.
        progress: called with the index of each task that is done.
        spawn: start processes from scratch instead of forking them; the tasks are sent to them.

    Raises:
        Exception: what a task raised.
    """
    if jobs is None or not (CAN_FORK or spawn):
        return [_here(task, index, deadline, progress) for index, task in enumerate(tasks)]
    order = list(range(len(tasks)))
    if costs is not None:
        order.sort(key=costs.__getitem__, reverse=deadline is None)
    pool = _Pool(tasks, "spawn" if spawn else "fork")
    try:
        return pool.run(deque(order), min(jobs, len(tasks)), deadline, progress)
    finally:
        pool.kill()


def _here(task: Callable[[], T], index: int, deadline: float | None, progress: Callable[[int], None]) -> Done[T] | Unfinished:
    if deadline is not None and time.monotonic() > deadline:
        return Unfinished(begun=False)
    try:
        found = Done(task())
    except TimeoutError:
        return Unfinished(begun=True)
    progress(index)
    return found


class _Worker:
    """One process and our end of its pipe; `task` is what it works on."""

    def __init__(self, context: Any, tasks: Sequence[Callable[[], Any]]) -> None:
        self.pipe, theirs = context.Pipe()
        self.process: BaseProcess = context.Process(target=_serve, args=(os.getpid(), theirs, self.pipe, tasks))
        with _undisturbed():
            self.process.start()
        theirs.close()
        self.task: int | None = None

    def begin(self, task: int) -> None:
        self.task = task
        self.pipe.send(task)

    def kill(self) -> None:
        self.process.kill()
        self.process.join()
        self.pipe.close()


@contextlib.contextmanager
def _undisturbed() -> Iterator[None]:
    """What starts in here finds no garbage to collect, and is not interrupted: Ctrl-C is for us alone, who end it."""
    collects = gc.isenabled()
    gc.disable()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT]) if hasattr(signal, "pthread_sigmask") else None
    try:
        yield
    finally:
        if before is not None:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        if collects:
            gc.enable()


class _Pool:
    def __init__(self, tasks: Sequence[Callable[[], Any]], method: str) -> None:
        self._tasks = tasks
        self._context = multiprocessing.get_context(method)
        self._workers: list[_Worker] = []

    def run(
        self, waiting: deque[int], jobs: int, deadline: float | None, progress: Callable[[int], None]
    ) -> list[Done[Any] | Unfinished]:
        results: list[Done[Any] | Unfinished] = [Unfinished(begun=False)] * len(self._tasks)
        while waiting or self._busy():
            if deadline is not None and time.monotonic() >= deadline:
                break
            while waiting and len(self._busy()) < jobs:
                self._idle().begin(waiting.popleft())
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            ready = wait([worker.pipe for worker in self._busy()], timeout=left)
            for worker in [worker for worker in self._busy() if worker.pipe in ready]:
                index = worker.task
                assert index is not None
                results[index] = self._answer(worker)
                progress(index)
        for worker in self._busy():
            assert worker.task is not None
            results[worker.task] = Unfinished(begun=True)
        return results

    def _busy(self) -> list[_Worker]:
        return [worker for worker in self._workers if worker.task is not None]

    def _idle(self) -> _Worker:
        for worker in self._workers:
            if worker.task is None and worker.process.is_alive():
                return worker
        self._workers.append(_Worker(self._context, self._tasks))
        return self._workers[-1]

    def _answer(self, worker: _Worker) -> Done[Any] | Unfinished:
        try:
            answer = worker.pipe.recv()
        except (EOFError, OSError):  # at once, or in the middle of its answer
            self._workers.remove(worker)
            worker.kill()
            return Unfinished(begun=True, died=True)
        worker.task = None
        if isinstance(answer, BaseException):
            raise answer
        return Unfinished(begun=True) if answer is None else Done(answer[0])

    def kill(self) -> None:
        for worker in self._workers:
            worker.kill()


def _serve(parent: int, pipe: Connection, other_end: Connection, tasks: Sequence[Callable[[], Any]]) -> None:
    """What a worker does: answer with the result of the task it is told, until the pipe closes."""
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGKILL)
        if os.getppid() != parent:  # it was quicker
            os._exit(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    other_end.close()
    gc.freeze()  # garbage of the parent stays: a session of onnxruntime would wait for threads that were not forked
    gc.enable()
    while True:
        try:
            index = pipe.recv()
        except EOFError:
            return
        pipe.send_bytes(_answered(tasks[index]))


def _answered(task: Callable[[], Any]) -> bytes:
    """A task's result, pickled: (value,), None where its time was up, or what it raised with the place where."""
    try:
        return pickle.dumps((task(),))
    except TimeoutError:
        return pickle.dumps(None)
    except Exception as error:  # noqa: BLE001 (it is raised again where the task came from)
        (*_, last) = extract_tb(error.__traceback__)
        error.add_note(f"{Path(last.filename).name}:{last.lineno}")
        return pickle.dumps(error)
