"""Two models side by side as Markdown (GitHub's tables)."""

from __future__ import annotations

from onnxnull.comparison.results import Comparison
from onnxnull.comparison.verdicts import Verdict
from onnxnull.report import compare_words as words
from onnxnull.report.markdown import escape


def render(comparison: Comparison, limit: Verdict) -> str:
    """The comparison as Markdown text."""
    parts = [
        f"### {escape(words.verdict(comparison, limit))}",
        _list(words.headlines(comparison)),
        *(escape(line) for line in words.summary(comparison, limit)),
    ]
    gaps = [*words.incomplete(comparison), *words.alone(comparison)]
    if gaps:
        parts.append(_list(gaps))
    if comparison.pairs:
        table = words.pairs(comparison)
        rule = ("--:" if numeric else ":--" for numeric in table.numeric)
        rows = [table.header, tuple(rule), *(tuple(map(escape, row)) for row in table.rows)]
        parts.append("\n".join(f"| {' | '.join(row)} |" for row in rows))
        parts.append(_list(words.legend(comparison)))
    return "\n\n".join(parts) + "\n"


def _list(lines: list[str]) -> str:
    return "\n".join(f"- {escape(line)}" for line in lines)
