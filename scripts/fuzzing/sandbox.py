"""Run one command of onnxnull in a child of this process, with bounds on its memory and time and an eye on what it opens.

The parent has imported everything already, so a child costs a fork and not a start of the interpreter, and its memory counts
over the import. Linux: the bound on memory is one on the address space, so that even what is reserved and never touched counts.
"""

from __future__ import annotations

import cProfile
import json
import os
import resource
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from sysconfig import get_paths
from typing import Any

MEMORY = 1 << 30
"""Bytes that a child may use over what its parent has."""
SECONDS = 5.0
"""Of processor time that a child may use."""
PATIENCE = 12
"""Times as much may pass on the clock: another process may have the processor, but a child that waits is found too."""
_EVENTS = {"os.listdir", "os.scandir", "os.remove", "os.rename", "os.mkdir", "os.link", "os.symlink", "os.truncate"}
_ALARMS = {"subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork", "socket.connect", "ctypes.dlopen"}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a command.

    Attributes:
        code: exit code; minus the number of the signal that ended it.
        seconds: processor time.
        out, err: what it wrote.
        touched: paths that it opened or listed, in order; not those of the program itself.
        alarms: processes, sockets and libraries that it opened.
        modules: which of the modules that were asked about it had imported in the end.
        sessions: how many sessions of onnxruntime it made, where that was asked.
        limit: processor time that it might use.
        calls: of Python functions, where they were counted: the same however busy the machine is.
    """

    code: int
    seconds: float
    out: str
    err: str
    touched: tuple[str, ...] = ()
    alarms: tuple[str, ...] = ()
    modules: tuple[str, ...] = ()
    sessions: int = 0
    limit: float = SECONDS
    calls: int = 0

    @property
    def crashed(self) -> str | None:
        """Why this is no end that a user may meet; None where the command ended with a report or an error."""
        if self.code in (-signal.SIGXCPU, -signal.SIGPROF) or self.seconds > self.limit:
            return f"it ran for {self.seconds:.1f} s of processor time"
        if self.code == -signal.SIGKILL:
            return "it did not end"
        if self.code < 0:
            return f"signal {signal.Signals(-self.code).name}"
        if "Traceback" in self.err or "this is a bug" in self.err:
            return "a traceback"
        if "Warning" in self.err:
            return "a warning on stderr"
        if any(word in text for word in ("Unable to allocate", "bad_alloc", "emory") for text in (self.out, self.err)):
            return "it ran out of memory"
        return None


def from_json(line: str | bytes) -> Outcome:
    """An outcome as `dataclasses.asdict` and `json.dumps` wrote it."""
    said: dict[str, Any] = json.loads(line)
    for key in ("touched", "alarms", "modules"):
        said[key] = tuple(said[key])
    return Outcome(**said)


@dataclass(slots=True)
class Watch:
    """An audit hook that remembers files, and what else a command has no business with."""

    touched: list[str] = field(default_factory=list)
    alarms: list[str] = field(default_factory=list)

    def clear(self) -> None:
        """Forget."""
        self.touched.clear()
        self.alarms.clear()

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open" or event in _EVENTS:
            for path in arguments[:2] if event in ("os.rename", "os.link", "os.symlink") else arguments[:1]:
                if isinstance(path, str | bytes):
                    self.touched.append(os.path.abspath(os.fsdecode(path)))
        elif event in _ALARMS:
            self.alarms.append(" ".join((event, *map(repr, arguments[:1]))))


def watch_this_process() -> Watch:
    """An audit hook in this process, in which all work is done now (as where none can be forked): watched and measured."""
    from onnxnull import workers

    workers.CAN_FORK = False
    watch = Watch()
    sys.addaudithook(watch)
    return watch


def run(
    arguments: Sequence[str],
    folder: Path,
    *,
    seconds: float = SECONDS,
    memory: int = MEMORY,
    modules: Sequence[str] = (),
    sessions: bool = False,
    calls: bool = False,
) -> Outcome:
    """`onnxnull ARGUMENTS...` in `folder`, in a child.

    Args:
        sessions: import onnxruntime first, and count its sessions.
        calls: count calls of Python functions, which takes up to twice the time.
    """
    with tempfile.TemporaryDirectory(prefix="onnxnull-sandbox-") as name:
        place = Path(name)
        child = os.fork()
        if child == 0:
            _be_the_child(arguments, folder, place, seconds, memory, modules, sessions, calls)
        status, used = _wait(child, seconds * PATIENCE)
        said = place / "said.json"
        found = json.loads(said.read_text()) if said.exists() else {}
        out, err = ((place / each).read_text(errors="replace") if (place / each).exists() else "" for each in ("out", "err"))
    code = os.waitstatus_to_exitcode(status)
    touched, alarms, loaded = (tuple(found.get(key, ())) for key in ("touched", "alarms", "modules"))
    return Outcome(code, used, out, err, touched, alarms, loaded, found.get("sessions", 0), seconds, found.get("calls", 0))


_ROOT = Path(__file__).resolve().parents[2]
# packages may also lie beside another interpreter: a .pth file, PYTHONPATH or --system-site-packages leads there
_PACKAGES = [entry for entry in sys.path if Path(entry).name in ("site-packages", "dist-packages")]
_PROGRAM = (sys.prefix, sys.base_prefix, *get_paths().values(), *_PACKAGES, str(_ROOT / "onnxnull"))


_OF_THE_MACHINE = ("/proc/self/maps", "/proc/self/cgroup", "/proc/meminfo")


def is_program(path: str) -> bool:
    """Whether a file is part of Python, its packages or onnxnull, or says what this machine and this process have."""
    return path in _OF_THE_MACHINE or any(Path(path).is_relative_to(folder) for folder in (*_PROGRAM, "/sys/fs/cgroup"))


def bound_memory(memory: int) -> None:
    """Let this process have so many bytes more than it has now."""
    pages = Path("/proc/self/statm")
    if pages.exists():
        limit = int(pages.read_text().split()[0]) * resource.getpagesize() + memory
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def _wait(child: int, patience: float) -> tuple[int, float]:
    """Exit status and processor time of the child; it is killed when the patience ends."""
    end = time.monotonic() + patience
    pause = 0.001
    while True:
        done, status, usage = os.wait4(child, os.WNOHANG)
        if done:
            return status, usage.ru_utime + usage.ru_stime
        if time.monotonic() > end:
            os.kill(child, signal.SIGKILL)
            end = float("inf")
        time.sleep(pause)
        pause = min(2 * pause, 0.02)


def _be_the_child(
    arguments: Sequence[str],
    folder: Path,
    place: Path,
    seconds: float,
    memory: int,
    modules: Sequence[str],
    sessions: bool,
    calls: bool,
) -> None:
    """Never returns."""
    code = 70
    profile = cProfile.Profile(builtins=False)
    made: list[object] = []
    try:
        if sessions:
            _count_sessions(made)
        os.chdir(folder)
        for number, name in ((1, "out"), (2, "err")):
            handle = os.open(place / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            os.dup2(handle, number)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
        sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
        sys.stderr = open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
        signal.signal(signal.SIGXCPU, signal.SIG_DFL)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_CPU, (int(seconds) + 1, int(seconds) + 2))
        bound_memory(memory)
        watch = watch_this_process()
        sys.argv = ["onnxnull", *arguments]
        from onnxnull.cli.main import main

        if calls:
            profile.enable()
        try:
            main()
        except SystemExit as ended:
            code = int(ended.code or 0)
        profile.disable()
        counted = sum(entry.callcount for entry in profile.getstats())
        seen, alarms = [path for path in watch.touched if not is_program(path)], list(watch.alarms)
        loaded = [module for module in modules if module in sys.modules]
        said = {"touched": seen, "alarms": alarms, "modules": loaded, "sessions": len(made), "calls": counted}
        (place / "said.json").write_text(json.dumps(said))
    except BaseException:  # noqa: BLE001 - a child must not go on as a second parent
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _count_sessions(made: list[object]) -> None:
    """Import onnxruntime, and put every session that is made on the list."""
    import onnxruntime

    original = onnxruntime.InferenceSession

    class Counted(original):  # type: ignore[misc,valid-type]
        def __init__(self, *arguments: Any, **keywords: Any) -> None:
            made.append(None)
            super().__init__(*arguments, **keywords)

    onnxruntime.InferenceSession = Counted
