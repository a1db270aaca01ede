"""Two models side by side as Markdown (GitHub's tables)."""

from __future__ import annotations

from onnxnull.comparison.results import Comparison
from onnxnull.comparison.verdicts import Outcome
from onnxnull.report import compare_words as words
from onnxnull.report.markdown import escape
from onnxnull.report.tables import TextTable


def render(comparison: Comparison, limit: Outcome) -> str:
    """The comparison as Markdown text."""
    parts = [
        f"### {escape(words.verdict(comparison, limit))}",
        _list(words.headlines(comparison)),
        *(escape(line) for line in words.summary(comparison)),
    ]
    gaps = words.unpaired(comparison, limit, every=False)
    if gaps:
        parts.append(_list(gaps))
    parted = words.tensors(comparison)
    if parted is not None:
        rows = [f"{a} and {b}: {apart} of a channel's spread, {snr} dB" for a, b, apart, snr in parted.rows]
        parts += ["The first matched tensors that part:", _list(rows)]
    if comparison.pairs:
        parts.append(_table(words.pairs(comparison)))
        parts.append(_list(words.legend(comparison)))
    return "\n\n".join(parts) + "\n"


def _table(table: TextTable) -> str:
    rule = ("--:" if numeric else ":--" for numeric in table.numeric)
    rows = [table.header, tuple(rule), *(tuple(map(escape, row)) for row in table.rows)]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _list(lines: list[str]) -> str:
    return "\n".join(f"- {escape(line)}" for line in lines)
