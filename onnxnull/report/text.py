"""Text for people: aligned columns, colour on a terminal only."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import TYPE_CHECKING

from onnxnull.analysis.results import ModelReport
from onnxnull.report import tables, words
from onnxnull.report.batch import Batch

if TYPE_CHECKING:
    from rich.console import Console

_WIDE = 1_000_000
"""Where the text does not go to a terminal it is never folded."""


def render(batch: Batch, *, terminal_width: int | None = None) -> str:
    """The batch as text. With `terminal_width`, coloured and fitted to it; without, plain and unfolded.

    Why a model could not be opened is for stderr; Table 1 has a row for it, a text about it alone is empty.
    """
    return page(lambda console: _print(console, batch), terminal_width)


def page(draw: Callable[[Console], None], terminal_width: int | None) -> str:
    """What `draw` prints, as text: coloured and fitted to a terminal of that width, or plain and unfolded."""
    from rich.console import Console

    buffer = io.StringIO()
    console = Console(
        file=buffer,
        width=terminal_width or _WIDE,
        force_terminal=terminal_width is not None,
        force_jupyter=False,
        color_system="auto" if terminal_width else None,
        highlight=False,
        markup=False,
        emoji=False,
    )
    draw(console)
    return "".join(f"{line.rstrip()}\n" for line in buffer.getvalue().splitlines())


def _print(console: Console, batch: Batch) -> None:
    if len(batch.reports) + len(batch.failures) == 1:
        for report in batch.reports:
            _print_one(console, report)
    else:
        print_table(console, tables.table1(batch))
        if batch.failures or not all(report.complete for report in batch.reports):
            console.print(words.STAR, style="dim")
        console.print(words.TABLE1_LEGEND, style="dim")
        for report in batch.reports:
            _print_incomplete(console, report)


def _print_one(console: Console, report: ModelReport) -> None:
    console.print(words.headline(report), style="bold")
    for line in words.summary(report):
        console.print(line)
    _print_incomplete(console, report)
    if report.weights:
        console.print()
        print_table(console, tables.weights(report))
        console.print()
        for line in words.legend(report):
            console.print(line, style="dim")


def _print_incomplete(console: Console, report: ModelReport) -> None:
    sentence = words.incomplete(report)
    if sentence is None:
        return
    console.print(f"{words.shown(report.model.file)}: {sentence}", style="bold red")
    for what in report.unsupported:
        console.print(f"  {words.unsupported(what)}")


def print_table(console: Console, table: tables.TextTable) -> None:
    """A table, fitted to the console's width."""
    from rich.table import Table
    from rich.text import Text

    width = console.width
    table, left_out = tables.fitted(table, width)
    view = Table(box=None, pad_edge=False, header_style="bold", show_edge=False)
    for header, numeric in zip(table.header, table.numeric, strict=True):
        last = header == table.header[-1] and not numeric
        view.add_column(header, justify="right" if numeric else "left", no_wrap=not last, overflow="fold")
    for row in table.rows:
        view.add_row(*(Text(cell) for cell in row))
    console.width = max(width, tables.least_width(table))  # too narrow for numbers: the terminal folds them, we never cut
    console.print(view)
    console.width = width
    if left_out:
        console.print(f"left out, the terminal is too narrow: {', '.join(left_out)}", style="dim")
