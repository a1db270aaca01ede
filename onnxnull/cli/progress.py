"""A progress bar on stderr that appears after a second of work and leaves nothing behind."""

from __future__ import annotations

import threading
from contextlib import AbstractContextManager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from onnxnull.report.words import shown

_PATIENCE = 1.0
"""Seconds of work before anything is shown."""


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
