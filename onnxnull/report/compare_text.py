"""Two models side by side as text for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onnxnull.comparison.results import Comparison
from onnxnull.comparison.verdicts import Outcome
from onnxnull.report import compare_words as words
from onnxnull.report import text
from onnxnull.report.words import count

if TYPE_CHECKING:
    from rich.console import Console


def render(comparison: Comparison, limit: Outcome, *, terminal_width: int | None = None, every: bool = False) -> str:
    """The comparison as text. With `terminal_width`, coloured and fitted to it; without, plain and unfolded.

    Args:
        every: whether pairs of weights that are the same get a row too.
    """
    return text.page(lambda console: _print(console, comparison, limit, every), terminal_width)


def _print(console: Console, comparison: Comparison, limit: Outcome, every: bool) -> None:
    for line in words.headlines(comparison):
        console.print(line, style="bold")
    good = comparison.exit_code(limit) == 0
    console.print(words.verdict(comparison, limit), style="bold green" if good else "bold red")
    for line in (*words.summary(comparison), *words.unpaired(comparison, limit, every=every)):
        console.print(line)
    parted = words.tensors(comparison)
    if parted is not None:
        console.print("\nThe first matched tensors that part:")
        text.print_table(console, parted)
    table, left = words.pairs(comparison, every=every), words.folded(comparison, every=every)
    if table.rows:
        console.print()
        text.print_table(console, table)
        console.print()
        for line in words.legend(comparison):
            console.print(line, style="dim")
    if left:
        said = f"{count(left, 'pair')} of weights that are the same {'is' if left == 1 else 'are'} not shown"
        console.print(f"{said}; --all shows every pair.", style="dim")
