"""The document `onnxnull.check/1` (`onnxnull.documents.check`) of the gate."""

from __future__ import annotations

from onnxnull.documents import check as documents
from onnxnull.documents.base import encode, error_entry, number, word
from onnxnull.policy.results import VERDICTS, CheckReport, Finding, ModelVerdict, PolicyUse, Severity, Waiver


def render(report: CheckReport) -> str:
    """The report as JSON text."""
    found = report.all_findings
    open_ = [finding.severity for finding in found if finding.waiver is None]
    document = documents.CheckDocument(
        schema="onnxnull.check/1",
        verdict=VERDICTS[report.exit_code],
        exit_code=int(report.exit_code),
        summary=documents.CheckSummaryEntry(
            models=len(report.models) + len(report.failures),
            passed=sum(VERDICTS[model.exit_code(report.policy.fail_on)] == "pass" for model in report.models),
            errors=open_.count(Severity.ERROR),
            warnings=open_.count(Severity.WARNING),
            notes=open_.count(Severity.NOTE),
            accepted=len(found) - len(open_),
        ),
        policy=_policy(report.policy),
        models=tuple(_model(model, report.policy.fail_on) for model in report.models),
        findings=tuple(_finding(finding) for finding in report.findings),
        errors=tuple(error_entry(error) for error in report.failures),
        notes=tuple(report.notes),
    )
    return encode(document)


def _policy(policy: PolicyUse) -> documents.PolicyEntry:
    return documents.PolicyEntry(
        source=policy.source or None,
        fail_on=word(policy.fail_on),
        rules={
            name: documents.RuleInForceEntry(severity=word(severity), max=None if limit is None else number(limit))
            for name, (severity, limit) in policy.rules.items()
        },
        exceptions=tuple(_waiver(waiver) for waiver in policy.waivers),
        baseline=policy.baseline,
    )


def _waiver(waiver: Waiver) -> documents.WaiverEntry:
    return documents.WaiverEntry(
        rule=waiver.rule,
        model=waiver.model,
        weight=waiver.weight,
        input=waiver.input,
        reason=waiver.reason,
        expires=None if waiver.expires is None else waiver.expires.isoformat(),
    )


def _model(verdict: ModelVerdict, fail_on: Severity) -> documents.CheckedModelEntry:
    info, paper, full = verdict.report.model, verdict.report.paper, verdict.report.full
    return documents.CheckedModelEntry(
        file=info.file,
        sha256=info.sha256,
        verdict=VERDICTS[verdict.exit_code(fail_on)],
        complete=verdict.complete,
        weights=len(verdict.report.weights),
        paper=documents.PaperCountEntry(weights=paper.weights, nu=paper.nu, mu=paper.mu, nullity=paper.nullity),
        full=documents.FullCountEntry(weights=full.weights, rank_deficient=full.rank_deficient, nullity=full.nullity),
        findings=tuple(_finding(finding) for finding in verdict.findings),
        problems=tuple(error_entry(error) for error in verdict.problems),
        notes=tuple(verdict.notes),
    )


def _finding(finding: Finding) -> documents.FindingEntry:
    subject = finding.subject
    return documents.FindingEntry(
        rule=finding.rule,
        severity=word(finding.severity),
        subject=documents.SubjectEntry(kind=subject.kind, name=subject.name, nodes=tuple(subject.nodes)),
        message=finding.message,
        facts={name: number(fact) if isinstance(fact, float) else fact for name, fact in finding.facts.items()},
        fingerprint=finding.fingerprint,
        accepted=None if finding.waiver is None else _waiver(finding.waiver),
        expired=None if finding.expired is None else _waiver(finding.expired),
    )
