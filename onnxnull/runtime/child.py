"""The child process in which sessions are created: started once, asked many times, started again after it has died."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import site
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from onnxnull.runtime.load_child import NO_MEMORY

_MODULE = "onnxnull.runtime.load_child"
_NEEDED = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "SYSTEMROOT", "TEMP", "TMP")
"""What it gets of our environment: variables that configure onnxruntime are not among it."""
_START = 60.0
"""Seconds that it may take to start."""
_LOOK = 0.1
"""Seconds between two looks at its memory, where the system sets no limit."""


class DeadError(Exception):
    """The child did not answer; the message says how it ended."""


class Child:
    """A process that creates sessions. Use it in a `with` statement: it starts at once, beside what else is to be done.

    Attributes:
        problem: why it cannot be started at all; None while nothing is known of that.
        onnxruntime: its version; limits: what the operating system limits there; once `ready` was called.
    """

    def __init__(self, command: Sequence[str] | None = None) -> None:
        self._command = list(command or _command())
        self._process: subprocess.Popen[bytes] | None = None
        self._greeted = False
        self.problem: str | None = None
        self.onnxruntime = ""
        self.limits: tuple[str, ...] = ()

    def __enter__(self) -> Child:
        self._start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    @property
    def watched(self) -> tuple[str, ...]:
        """What we limit ourselves: the time by the clock, and the memory where the system does not and `ps` tells it."""
        return ("time", "memory") if "memory" not in self.limits and shutil.which("ps") else ("time",)

    def ready(self) -> bool:
        """Whether it is there and has said so; `problem` says why not."""
        if self.problem is None and self._process is None:
            self._start()
        if self.problem is None and not self._greeted:
            try:
                greeting = self._exchange([], _START, None)
                self.problem = greeting.get("problem")
            except DeadError as error:
                self.problem = f"{' '.join(self._command[1:])} does not start: {error}"
                return False
            if self.problem is None:
                self.onnxruntime, self.limits = greeting["onnxruntime"], tuple(greeting["limits"])
                self._greeted = True
        return self.problem is None

    def ask(self, request: dict[str, Any], data: Iterable[bytes], *, wall: float, memory: int | None = None) -> dict[str, Any]:
        """The answer to a request, once `ready`.

        Args:
            data: what the request announces.
            wall: seconds to wait for the answer.
            memory: bytes of memory at which we end the child, where the system does not.

        Raises:
            DeadError: the child died, or was ended. The next request starts another one. So does any error that `data` raises.
        """
        try:
            return self._exchange(_message(request, data), wall, memory if "memory" in self.watched else None)
        except BaseException:
            self.stop()  # what it waits for never comes
            raise

    def stop(self) -> None:
        """End the child, whatever it does."""
        if self._process is not None:
            self._process.kill()
            with _broken_pipes_raise():  # what was not sent is flushed once more
                self._process.communicate()
        self._process, self._greeted = None, False

    def _start(self) -> None:
        environment = {name: os.environ[name] for name in _NEEDED if name in os.environ}
        try:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env={**environment, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
                start_new_session=True,  # an interrupt is for us: we end the child
            )
        except OSError as error:
            self.problem = f"no process can be started: {error.strerror}"

    def _exchange(self, message: Iterable[bytes], wall: float, memory: int | None) -> dict[str, Any]:
        process = self._process
        assert process is not None
        assert process.stdin is not None
        assert process.stdout is not None
        with _Watch(process, wall, memory) as watch, _broken_pipes_raise():
            try:
                for part in message:
                    process.stdin.write(part)
                process.stdin.flush()
            except BrokenPipeError:
                pass  # what it died of is asked below
            line = process.stdout.readline()
        if line.endswith(b"\n"):
            answer: dict[str, Any] = json.loads(line)
            return answer
        process.kill()  # it closed its answers, and may live on
        ended = watch.ended or _ending(process.wait())
        self.stop()
        raise DeadError(ended)


@contextlib.contextmanager
def _broken_pipes_raise() -> Iterator[None]:
    """Writing to a child that has died raises, though the command line lets a broken pipe end the whole process."""
    if not hasattr(signal, "SIGPIPE") or threading.current_thread() is not threading.main_thread():
        yield  # Python ignores the signal by itself, and only the main thread changes that
        return
    before = signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGPIPE, before)


class _Watch:
    """Ends a process that takes too long or, where it is told to look, too much memory. `ended` says why, if it did."""

    def __init__(self, process: subprocess.Popen[bytes], wall: float, memory: int | None) -> None:
        self._process, self._wall, self._memory = process, wall, memory
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self.ended: str | None = None

    def __enter__(self) -> _Watch:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._done.set()
        self._thread.join()

    def _look(self) -> None:
        step = self._wall if self._memory is None else _LOOK
        waited = 0.0
        while not self._done.wait(step):
            waited += step
            if waited >= self._wall:
                self.ended = f"no answer after {self._wall:.0f} s"
            elif self._memory is not None and _resident(self._process.pid) > self._memory:
                self.ended = f"it takes more than {self._memory >> 20:,} MiB of memory"
            if self.ended is not None:
                self._process.kill()
                return


def _resident(process: int) -> int:
    """Bytes of memory of a process, as `ps` says (POSIX); 0 where it says nothing."""
    try:
        done = subprocess.run(["ps", "-o", "rss=", "-p", str(process)], capture_output=True, text=True, check=False)
    except OSError:
        return 0
    return int(done.stdout) << 10 if done.stdout.strip().isdigit() else 0


def _message(request: dict[str, Any], data: Iterable[bytes]) -> Iterable[bytes]:
    yield json.dumps(request).encode() + b"\n"
    yield from data


def _ending(status: int) -> str:
    """How a process ended, in words."""
    if status == NO_MEMORY:
        return "it takes more memory than the limit"
    if status >= 0:
        return f"the process ended with status {status}"
    if -status == getattr(signal, "SIGXCPU", 0):
        return "it takes more processor time than the limit"
    name = signal.Signals(-status).name if -status in set(signal.Signals) else str(-status)
    if name == "SIGKILL":
        return "the process was ended from outside, mostly for lack of memory"
    return f"it ends the process by the signal {name}"


def _command() -> list[str]:
    """Python with the module, in isolation: no variable, no current folder adds to what is imported."""
    package = Path(__file__).resolve()
    user = site.getusersitepackages() if site.ENABLE_USER_SITE else None
    # an installation of this user alone is not seen in isolation: then only that is let in
    alone = user is not None and package.is_relative_to(Path(user).resolve())
    return [sys.executable, *(["-E", "-P"] if alone else ["-I"]), "-m", _MODULE]
