"""Many commands in one child, which is used again until it dies or has done its share: most cases cost less than a fork.

The bounds are those of `sandbox`. A case that kills the child is known by its number; the others do not notice.
"""

from __future__ import annotations

import dataclasses
import io
import json
import os
import resource
import select
import signal
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from scripts.fuzzing.sandbox import (
    MEMORY,
    PATIENCE,
    SECONDS,
    Outcome,
    Watch,
    bound_memory,
    from_json,
    is_program,
    watch_this_process,
)

_SHARE = 100
"""Cases that a child does before another one takes its place: what it leaks does not add up."""


def run_all(
    numbers: Sequence[int], prepare: Callable[[int], list[str]], folder: Path, seconds: float = SECONDS
) -> Iterator[tuple[int, Outcome]]:
    """The outcome of `onnxnull ARGUMENTS...` in `folder` for each number; `prepare` writes its files, and returns ARGUMENTS.

    `seconds` of processor time are what each may use.
    """
    left = list(numbers)
    while left:
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reader)
            _be_the_child(left[:_SHARE], prepare, folder, writer, seconds)
        os.close(writer)
        for line in _lines(reader, child, seconds):
            yield left.pop(0), from_json(line)
        os.close(reader)
        _, status = os.waitpid(child, 0)
        code = os.waitstatus_to_exitcode(status)
        if code:
            yield left.pop(0), Outcome(code, seconds + 1 if code == -signal.SIGPROF else 0.0, "", "", limit=seconds)


def _lines(reader: int, child: int, seconds: float) -> Iterator[bytes]:
    """What a child writes, line by line; it is killed where nothing comes for too long."""
    held = b""
    while True:
        if not select.select([reader], [], [], seconds * PATIENCE)[0]:
            os.kill(child, signal.SIGKILL)
        data = os.read(reader, 1 << 16)
        if not data:
            return
        *whole, held = (held + data).split(b"\n")
        yield from whole


def _be_the_child(
    numbers: Sequence[int], prepare: Callable[[int], list[str]], folder: Path, writer: int, seconds: float
) -> None:
    """Never returns."""
    code = 70
    try:
        os.chdir(folder)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        signal.signal(signal.SIGPROF, signal.SIG_DFL)
        bound_memory(MEMORY)
        watch = watch_this_process()
        for number in numbers:
            arguments = prepare(number)
            watch.clear()
            line = json.dumps(dataclasses.asdict(_one(arguments, watch, seconds))).encode() + b"\n"
            while line:
                line = line[os.write(writer, line) :]
        code = 0
    except BaseException:  # noqa: BLE001 - a child must not go on as a second parent
        traceback.print_exc()
    finally:
        os._exit(code)


def _one(arguments: list[str], watch: Watch, seconds: float) -> Outcome:
    from onnxnull.cli.main import main

    begun, code = time.process_time(), 0
    streams = sys.stdout, sys.stderr
    out, err = io.TextIOWrapper(io.BytesIO(), encoding="utf-8"), io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    sys.argv, sys.stdout, sys.stderr = ["onnxnull", *arguments], out, err
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("always")  # not only where one comes for the first time
            main()
    except SystemExit as ended:
        code = int(ended.code or 0)
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        sys.stdout, sys.stderr = streams
    touched = tuple(path for path in watch.touched if not is_program(path))
    return Outcome(code, time.process_time() - begun, _text(out), _text(err), touched, tuple(watch.alarms), limit=seconds)


def _text(stream: io.TextIOWrapper) -> str:
    stream.seek(0)
    return stream.read()
