"""Two models side by side as text for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onnxnull.comparison.results import Comparison
from onnxnull.comparison.verdicts import Verdict
from onnxnull.report import compare_words as words
from onnxnull.report import text

if TYPE_CHECKING:
    from rich.console import Console


def render(comparison: Comparison, limit: Verdict, *, terminal_width: int | None = None) -> str:
    """The comparison as text. With `terminal_width`, coloured and fitted to it; without, plain and unfolded."""
    return text.page(lambda console: _print(console, comparison, limit), terminal_width)


def _print(console: Console, comparison: Comparison, limit: Verdict) -> None:
    for line in words.headlines(comparison):
        console.print(line, style="bold")
    good = comparison.exit_code(limit) == 0
    console.print(words.verdict(comparison, limit), style="bold green" if good else "bold red")
    for line in (*words.summary(comparison, limit), *words.incomplete(comparison), *words.alone(comparison)):
        console.print(line)
    if comparison.pairs:
        console.print()
        text.print_table(console, words.pairs(comparison))
        console.print()
        for line in words.legend(comparison):
            console.print(line, style="dim")
