"""Progress on stderr, shown after a second of work."""

from __future__ import annotations

import threading
import time
from contextlib import AbstractContextManager

import click
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from onnxnull.report.words import shown

_PATIENCE = 1.0
"""Seconds of work before anything is shown."""
_INTERVAL = 2.0
"""Least seconds from one line to the next where lines stay."""


class StepLine(AbstractContextManager["StepLine"]):
    """Context manager; gives `show(what comes next)`: one changing line on a terminal, a line now and then elsewhere."""

    def __init__(self, *, terminal: bool) -> None:
        self._status = Console(stderr=True, markup=False).status("") if terminal else None
        self._start, self._step, self._showing = time.monotonic(), "", False
        self._next = 0.0
        self._timer = threading.Timer(_PATIENCE, self._begin)
        self._timer.daemon = True

    def __enter__(self) -> StepLine:
        self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()
        self._timer.join()
        if self._status is not None and self._showing:
            self._status.stop()

    def __call__(self, step: str) -> None:
        """Say what comes next."""
        self._step = step
        if self._showing:
            self._show()

    def _begin(self) -> None:
        if self._status is not None:
            self._status.start()
        self._showing = True
        self._show()

    def _show(self) -> None:
        now = time.monotonic()
        text = f"{shown(self._step)} ({now - self._start:.0f} s)"
        if self._status is not None:
            self._status.update(escape(text))
        elif now >= self._next:
            click.echo(text, err=True)
            self._next = now + _INTERVAL


class Bar(AbstractContextManager["Bar"]):
    """Context manager; gives `show(label, done, total, name)`."""

    def __init__(self) -> None:
        columns = (
            TextColumn("{task.fields[label]}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.description}", markup=False),
        )
        self._progress = Progress(*columns, console=Console(stderr=True, markup=False), transient=True)
        self._task = self._progress.add_task("", label="", total=None)
        self._timer = threading.Timer(_PATIENCE, self._progress.start)
        self._timer.daemon = True

    def __enter__(self) -> Bar:
        self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()
        self._timer.join()
        self._progress.stop()

    def __call__(self, label: str, done: int, total: int, name: str) -> None:
        """Say that `done` of `total` are finished and `name` comes next."""
        self._progress.update(self._task, completed=done, total=total, description=shown(name, 40), label=shown(label, 40))
