"""A progress bar on stderr that appears after a second of work and leaves nothing behind."""

from __future__ import annotations

import time

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

_PATIENCE = 1.0
"""Seconds of work before anything is shown."""


class Bar:
    """Context manager; gives `show(label, done, total, name)`."""

    def __init__(self) -> None:
        columns = (TextColumn("{task.fields[label]}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"))
        self._progress = Progress(*columns, console=Console(stderr=True, markup=False), transient=True)
        self._started = time.monotonic()
        self._task = self._progress.add_task("", label="", total=None)

    def __enter__(self) -> Bar:
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def __call__(self, label: str, done: int, total: int, name: str) -> None:
        """Say that `done` of `total` are finished and `name` comes next."""
        if time.monotonic() - self._started < _PATIENCE:
            return
        self._progress.start()
        self._progress.update(self._task, completed=done, total=total, description=name, label=label)
