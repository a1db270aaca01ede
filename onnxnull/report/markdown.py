"""Markdown (GitHub's tables): the summary in words and the tables of the text format."""

from __future__ import annotations

from onnxnull.analysis import ModelReport
from onnxnull.report import tables, words
from onnxnull.report.batch import Batch


def render(batch: Batch) -> str:
    """The batch as Markdown text."""
    several = len(batch.reports) + len(batch.failures) > 1
    parts = [_table(tables.table1(batch.reports))] if several and batch.reports else []
    for report in batch.reports:
        parts += _incomplete(report) if several else _one(report)
    parts += ["\n".join(f"- {_escape(str(failure.error))}" for failure in batch.failures)] if batch.failures else []
    return "\n\n".join(parts) + "\n"


def _one(report: ModelReport) -> list[str]:
    parts = [f"### {_escape(words.headline(report))}", *(_escape(line) for line in words.summary(report))]
    parts += _incomplete(report)
    if report.weights:
        parts.append(_table(tables.weights(report)))
    parts += ["\n".join(f"- {_escape(line)}" for line in words.legend([report]))] if words.legend([report]) else []
    return parts


def _incomplete(report: ModelReport) -> list[str]:
    sentence = words.incomplete(report)
    if sentence is None:
        return []
    items = (f"- `{u.node}` ({u.op}): [{u.code.code}] {_escape(u.reason)}" for u in report.unsupported)
    return [f"**{_escape(report.model.file)}: {sentence}**", "\n".join(items)]


def _table(table: tables.Table) -> str:
    rule = ("--:" if numeric else ":--" for numeric in table.numeric)
    rows = [table.header, tuple(rule), *(tuple(_escape(cell) for cell in row) for row in table.rows)]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def _escape(text: str) -> str:
    for character in "\\`*_|<>[]#~":
        text = text.replace(character, "\\" + character)
    return text
