"""What the gate found, as Markdown for a pull-request comment: short, whatever was found, and the worst first."""

from __future__ import annotations

from onnxnull.policy.results import VERDICTS, CheckReport, Finding
from onnxnull.report import check_words, markdown
from onnxnull.report.words import count, shown

_MOST, _NAME, _MESSAGE = 25, 60, 160
"""Rows of a table, characters of a name and of a sentence: all escaped, a comment stays under GitHub's 65,536 characters."""


def render(report: CheckReport) -> str:
    """The report as Markdown text."""
    fail_on = report.policy.fail_on
    parts = [
        f"### onnxnull check: {VERDICTS[report.exit_code]}",
        f"{escape(check_words.total(report))}<br>{escape(check_words.judged_by(report))}",
    ]
    rows = [(model.report.model.file, finding) for model in report.models for finding in model.findings]
    rows += [("", finding) for finding in report.findings]
    open_ = sorted((row for row in rows if row[1].waiver is None), key=lambda row: -row[1].severity.rank)
    failed = [f"| {_cell(error.file or '', _NAME)} | {error.code.code} | {_cell(error.seen)} |" for error in report.failures]
    failed += [
        f"| {_cell(error.file or '', _NAME)} | {error.code.code} | {_cell(error.seen)} |"
        for model in report.models
        for error in model.problems
    ]
    if failed:
        parts.append(_table("| incomplete | code | why |", failed))
    if open_:
        parts.append(_table("| | rule | where | what |", [_row(*row) for row in open_]))
    accepted = [row for row in rows if row[1].waiver is not None]
    if accepted:
        table = _table("| rule | where | why it is accepted |", [_accepted(*row) for row in accepted])
        parts.append(f"<details><summary>{count(len(accepted), 'finding')} accepted</summary>\n\n{table}\n\n</details>")
    notes = [*report.notes, *(f"{model.report.model.file}: {text}" for model in report.models for text in model.notes)]
    if notes:
        parts.append("\n".join(f"- {escape(shown(text, _MESSAGE))}" for text in _first(notes)))
    if len(report.models) > 1:
        lines = [f"- {escape(check_words.model_line(model, fail_on, _NAME))}" for model in report.models]
        summary = f"<details><summary>{count(len(lines), 'model')}</summary>"
        parts.append(f"{summary}\n\n" + "\n".join(_first(lines)) + "\n\n</details>")
    return "\n\n".join(parts) + "\n"


def _row(file: str, finding: Finding) -> str:
    cells = (finding.severity.value, f"`{finding.rule}`", _where(file, finding), escape(check_words.message(finding, _MESSAGE)))
    return f"| {' | '.join(cells)} |"


def _accepted(file: str, finding: Finding) -> str:
    assert finding.waiver is not None
    return f"| `{finding.rule}` | {_where(file, finding)} | {escape(check_words.accepted(finding.waiver, _MESSAGE))} |"


def _where(file: str, finding: Finding) -> str:
    if finding.subject.kind == "model" or not file:
        return escape(shown(finding.subject.name, _NAME))
    return f"{escape(shown(file, _NAME))}: {escape(check_words.title(finding, _NAME))}"


def _cell(text: str, limit: int = _MESSAGE) -> str:
    return escape(shown(text, limit))


def _table(header: str, rows: list[str]) -> str:
    rule = "|" + ":--|" * (header.count("|") - 1)
    lines = [header, rule, *rows[:_MOST]]
    if len(rows) > _MOST:
        lines.append(f"\nand {len(rows) - _MOST:,} more")
    return "\n".join(lines)


def _first(lines: list[str]) -> list[str]:
    return lines if len(lines) <= _MOST else [*lines[:_MOST], f"- and {len(lines) - _MOST:,} more"]


def escape(text: str) -> str:
    """As Markdown's text; names come from outside and must not call anybody into the discussion by an @."""
    return markdown.escape(text).replace("@", "\uff20")
