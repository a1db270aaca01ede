"""Markdown (GitHub's tables): the summary in words and the tables of the text format."""

from __future__ import annotations

from onnxnull.analysis.results import ModelReport
from onnxnull.report import tables, words
from onnxnull.report.batch import Batch

_SPECIAL = str.maketrans({character: f"\\{character}" for character in "\\`*_|<>[]#~$&"})


def render(batch: Batch) -> str:
    """The batch as Markdown text."""
    parts = []
    if len(batch.reports) + len(batch.failures) == 1:
        for report in batch.reports:
            parts += _one(report)
    else:
        parts += [_table(tables.table1(batch)), escape(words.TABLE1_LEGEND)]
        if batch.failures or not all(report.complete for report in batch.reports):
            parts.append(escape(words.STAR))
        for report in batch.reports:
            parts += _incomplete(report)
    if batch.failures:
        parts.append(_list([words.failure(failure) for failure in batch.failures]))
    return "\n\n".join(parts) + "\n"


def _one(report: ModelReport) -> list[str]:
    parts = [f"### {escape(words.headline(report))}", *(escape(line) for line in words.summary(report))]
    parts += _incomplete(report)
    if report.weights:
        parts += [_table(tables.weights(report)), _list(words.legend(report))]
    return parts


def _incomplete(report: ModelReport) -> list[str]:
    sentence = words.incomplete(report)
    if sentence is None:
        return []
    title = f"**{escape(words.shown(report.model.file))}: {sentence}**"
    return [title, _list([words.unsupported(what) for what in report.unsupported])]


def _list(lines: list[str]) -> str:
    return "\n".join(f"- {escape(line)}" for line in lines)


def _table(table: tables.TextTable) -> str:
    rule = ("--:" if numeric else ":--" for numeric in table.numeric)
    rows = [table.header, tuple(rule), *(tuple(escape(cell) for cell in row) for row in table.rows)]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def escape(text: str) -> str:
    """`text` with a backslash before everything that Markdown reads as more than text."""
    return text.translate(_SPECIAL)
