"""The sentences about what the gate found that text, Markdown, SARIF and JUnit share."""

from __future__ import annotations

from onnxnull.policy.results import VERDICTS, CheckReport, Finding, ModelVerdict, Severity, Waiver
from onnxnull.report.words import NAME, count, shown

MESSAGE = 300
"""Characters of a message that people are shown."""


def title(finding: Finding, limit: int = NAME) -> str:
    """ "weight 'conv1.weight'"."""
    return f"{finding.subject.kind} '{shown(finding.subject.name, limit)}'"


def message(finding: Finding, limit: int = MESSAGE) -> str:
    """What was found; for an exception that has expired, that it has."""
    text = shown(finding.message, limit)
    if finding.expired is not None:
        text += f" (the exception for it expired on {finding.expired.expires})"
    return text


def accepted(waiver: Waiver, limit: int = MESSAGE) -> str:
    """Why a finding is accepted, and until when."""
    until = "" if waiver.expires is None else f" until {waiver.expires}"
    return f"accepted{until}: {shown(waiver.reason, limit)}"


def counts(findings: tuple[Finding, ...]) -> str:
    """ "1 error, 2 warnings, 1 accepted"; "" for none."""
    open_ = [finding for finding in findings if finding.waiver is None]
    parts = [
        count(number, severity.value)
        for severity in reversed(Severity)
        if (number := sum(finding.severity is severity for finding in open_))
    ]
    if len(open_) < len(findings):
        parts.append(f"{len(findings) - len(open_):,} accepted")
    return ", ".join(parts)


def model_line(verdict: ModelVerdict, fail_on: Severity, limit: int = NAME) -> str:
    """One line for a model: its file, what it came to, what was found."""
    found = counts(verdict.findings)
    weights = count(len(verdict.report.weights), "weight")
    word = VERDICTS[verdict.exit_code(fail_on)]
    return f"{shown(verdict.report.model.file, limit)}: {word}, {weights}{f', {found}' if found else ''}"


def judged_by(report: CheckReport) -> str:
    """The policy, in a line."""
    policy = report.policy
    parts = [shown(policy.source) if policy.source else "built in"]
    parts.append(f"fails on {policy.fail_on.value}{'' if policy.fail_on is Severity.ERROR else ' or worse'}")
    if policy.baseline is not None:
        parts.append(f"baseline {shown(policy.baseline)}")
    return "policy: " + ", ".join(parts)


def total(report: CheckReport) -> str:
    """The last line: the verdict, and what led to it."""
    models = len(report.models) + len(report.failures)
    parts = [count(models, "model"), counts(report.all_findings)]
    passed = sum(VERDICTS[model.exit_code(report.policy.fail_on)] == "pass" for model in report.models)
    if models > 1:
        parts.insert(1, f"{passed:,} passed")
    incomplete = len(report.failures) + sum(not model.complete for model in report.models)
    if incomplete:
        parts.append(f"{incomplete:,} incomplete")
    return f"{VERDICTS[report.exit_code].upper()}: {', '.join(part for part in parts if part)}"
