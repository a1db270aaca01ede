"""Text for people: aligned columns, colour on a terminal only."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from onnxnull.analysis import ModelReport
from onnxnull.report import tables, words
from onnxnull.report.batch import Batch

if TYPE_CHECKING:
    from rich.console import Console

_WIDE = 10_000
"""Where the text does not go to a terminal it is never folded."""


def render(batch: Batch, *, terminal_width: int | None = None) -> str:
    """The batch as text. With `terminal_width`, coloured and fitted to it; without, plain and unfolded."""
    from rich.console import Console

    buffer = io.StringIO()
    console = Console(
        file=buffer,
        width=terminal_width or _WIDE,
        force_terminal=terminal_width is not None,
        color_system="auto" if terminal_width else None,
        highlight=False,
        markup=False,
        emoji=False,
    )
    several = len(batch.reports) + len(batch.failures) > 1
    if several and batch.reports:
        _print_table(console, tables.table1(batch.reports), wide=terminal_width is None)
        if not all(report.complete for report in batch.reports):
            console.print("* not all of its weights were analysed", style="dim")
    for report in batch.reports:
        if several:
            _print_incomplete(console, report)
        else:
            _print_one(console, report, wide=terminal_width is None)
    return "\n".join(line.rstrip() for line in buffer.getvalue().splitlines()) + "\n"


def _print_one(console: Console, report: ModelReport, *, wide: bool) -> None:
    console.print(words.headline(report), style="bold")
    for line in words.summary(report):
        console.print(line)
    _print_incomplete(console, report)
    if report.weights:
        console.print()
        _print_table(console, tables.weights(report), wide=wide)
        for line in words.legend([report]):
            console.print(line, style="dim")


def _print_incomplete(console: Console, report: ModelReport) -> None:
    sentence = words.incomplete(report)
    if sentence is None:
        return
    console.print(f"{report.model.file}: {sentence}", style="bold red")
    for u in report.unsupported:
        console.print(f"  {u.node} ({u.op}): [{u.code.code}] {u.reason}")


def _print_table(console: Console, table: tables.Table, *, wide: bool) -> None:
    from rich.table import Table
    from rich.text import Text

    view = Table(box=None, pad_edge=False, header_style="bold", show_edge=False)
    for header, numeric in zip(table.header, table.numeric, strict=True):
        view.add_column(header, justify="right" if numeric else "left", no_wrap=numeric or wide, overflow="fold")
    for row in table.rows:
        view.add_row(*(Text(cell) for cell in row))
    console.print(view)
