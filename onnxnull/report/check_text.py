"""What the gate found, as text for people: a line a model, a line a finding, the verdict last."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from onnxnull.policy.results import VERDICTS, CheckReport, Finding, Severity
from onnxnull.policy.rules import RULES
from onnxnull.report import check_words
from onnxnull.report.words import shown

_COLOURS = {Severity.ERROR: "red", Severity.WARNING: "yellow", Severity.NOTE: "cyan"}
_VERDICT_COLOURS = {"pass": "green", "fail": "red", "incomplete": "red", "nothing": "yellow"}


def render(report: CheckReport, *, colour: bool = False) -> str:
    """The report as text; with `colour`, for a terminal."""

    def styled(text: str, **style: Any) -> str:
        return click.style(text, **style) if colour else text

    fail_on = report.policy.fail_on
    lines = [check_words.judged_by(report), ""]
    for model in report.models:
        verdict = VERDICTS[model.exit_code(fail_on)]
        lines.append(styled(check_words.model_line(model, fail_on), fg=_VERDICT_COLOURS[verdict], bold=True))
        lines += _findings(model.findings, styled)
        lines += [f"  incomplete  {shown(error.seen, 300)}" for error in model.problems]
        lines += [f"  {shown(text, 300)}" for text in model.notes]
    for error in report.failures:
        lines.append(styled(f"{shown(error.file or '')}: incomplete, [{error.code.code}] {error.seen}", fg="red", bold=True))
    if report.findings:
        lines.append("the policy:")
        lines += _findings(report.findings, styled)
    lines += [shown(text, 300) for text in report.notes]
    remedies = _remedies(report)
    if remedies:
        lines += ["", "what helps:", *remedies]
    verdict = VERDICTS[report.exit_code]
    lines += ["", styled(check_words.total(report), fg=_VERDICT_COLOURS[verdict], bold=True)]
    return "".join(f"{line}\n" for line in lines)


def rules() -> str:
    """The table of rules: id, what it is by default, what it means."""
    needs = {"": "", "limit": " once it has a limit", "baseline": " with a baseline", "run": " with --run"}
    rows = [(rule.id, f"{rule.severity.value}{needs[rule.needs]}", rule.title) for rule in RULES.values()]
    widths = [max(len(row[i]) for row in rows) for i in range(2)]
    return "".join(f"{name:<{widths[0]}}  {default:<{widths[1]}}  {title}\n" for name, default, title in rows)


def _findings(findings: tuple[Finding, ...], styled: Callable[..., str]) -> list[str]:
    lines = []
    for finding in findings:
        where = check_words.title(finding)
        if finding.waiver is not None:
            text = f"  accepted  {finding.rule}: {where}: {check_words.message(finding)}"
            lines.append(styled(f"{text} ({check_words.accepted(finding.waiver)})", dim=True))
            continue
        severity = styled(f"{finding.severity.value:<8}", fg=_COLOURS[finding.severity])
        lines.append(f"  {severity}  {finding.rule}: {where}: {check_words.message(finding)}")
    return lines


def _remedies(report: CheckReport) -> list[str]:
    """For each rule that found something, what to do; notes ask for nothing."""
    open_ = {f.rule for f in report.all_findings if f.waiver is None and f.severity is not Severity.NOTE}
    return [f"  {rule.id}: {rule.remedy}" for rule in RULES.values() if rule.id in open_]
