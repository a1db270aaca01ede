"""What this process may use of the machine: processors, memory, and BLAS on one thread.

BLAS works on one thread, and what is worth spreading is spread over processes (`onnxnull.workers`): threads that spin while
they wait cost a busy machine a multiple of what they bring, and the order of their sums would depend on their number.
"""

from __future__ import annotations

import contextlib
import math
import os
import threading
from collections.abc import Iterator
from pathlib import Path

_SHARE = 0.5
"""The part of the free memory that workers may take."""


def usable_processors() -> int:
    """How many processors this process may use: its affinity, and the quota of its control groups (Linux)."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = min(map(_quota, _groups()), default=math.inf)
    return allowed if quota >= allowed else max(1, math.ceil(quota))


def workers_for(bytes_each: float) -> int:
    """How many workers fit: as many as processors, as long as each finds its memory."""
    return max(1, int(min(usable_processors(), _SHARE * _free_memory() / max(1.0, bytes_each))))


def _groups() -> list[Path]:
    """The folders of this process's control group (version 2) and of those above it."""
    root = Path("/sys/fs/cgroup")
    try:
        own = next(line[3:] for line in Path("/proc/self/cgroup").read_text().splitlines() if line.startswith("0::"))
    except (OSError, StopIteration):
        return []
    folder = root / own.strip("/")
    return [folder, *(above for above in folder.parents if above.is_relative_to(root))]


def _quota(group: Path) -> float:
    """Processors that a group may use at a time; infinite without a quota."""
    try:
        quota, period = (group / "cpu.max").read_text().split()
    except (OSError, ValueError):
        return math.inf
    return math.inf if quota == "max" else float(quota) / float(period)


def _free_memory() -> float:
    """Bytes that can be had without swapping, of the machine and of the control groups; infinite where nothing tells it."""
    free = math.inf
    with contextlib.suppress(OSError, StopIteration, ValueError):
        lines = Path("/proc/meminfo").read_text().splitlines()
        free = 1024.0 * int(next(line for line in lines if line.startswith("MemAvailable:")).split()[1])
    for group in _groups():
        with contextlib.suppress(OSError, ValueError):  # "max", or a group without a limit
            most, used = ((group / name).read_text() for name in ("memory.max", "memory.current"))
            free = min(free, int(most) - int(used))
    return max(0.0, free)


class _BlasLimit:
    """Counts who wants BLAS on one thread: the first to come sets it, the last to leave puts back what was there."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users = 0
        self._before = contextlib.ExitStack()

    def enter(self) -> None:
        # both bring a BLAS of their own, which can be limited once it is loaded
        import numpy  # noqa: F401
        import scipy.linalg  # noqa: F401
        import threadpoolctl

        with self._lock:
            if self._users == 0:
                self._before.enter_context(threadpoolctl.threadpool_limits(1, user_api="blas"))
            self._users += 1

    def leave(self) -> None:
        with self._lock:
            self._users -= 1
            if self._users == 0:
                self._before.close()


_BLAS = _BlasLimit()
"""The number of BLAS's threads is one for the whole process."""


@contextlib.contextmanager
def one_blas_thread() -> Iterator[None]:
    """BLAS on one thread in here; what was set before is set again afterwards. Also a decorator."""
    _BLAS.enter()
    try:
        yield
    finally:
        _BLAS.leave()
