"""JSON of the gate, schema `onnxnull.check/1`: byte-identical from run to run and from folder to folder, as `report.json`."""

from __future__ import annotations

from typing import Any

from onnxnull.errors import OnnxnullError
from onnxnull.policy.results import VERDICTS, CheckReport, Finding, ModelVerdict, PolicyUse, Severity, Waiver
from onnxnull.report.json import dump, number

SCHEMA = "onnxnull.check/1"


def render(report: CheckReport) -> str:
    """The report as JSON text."""
    found = report.all_findings
    open_ = [finding for finding in found if finding.waiver is None]
    document = {
        "schema": SCHEMA,
        "verdict": VERDICTS[report.exit_code],
        "exit_code": int(report.exit_code),
        "summary": {
            "models": len(report.models) + len(report.failures),
            "passed": sum(VERDICTS[model.exit_code(report.policy.fail_on)] == "pass" for model in report.models),
            **{f"{severity.value}s": sum(finding.severity is severity for finding in open_) for severity in reversed(Severity)},
            "accepted": len(found) - len(open_),
        },
        "policy": _policy(report.policy),
        "models": [_model(model, report.policy.fail_on) for model in report.models],
        "findings": [_finding(finding) for finding in report.findings],
        "errors": [_error(error) for error in report.failures],
        "notes": list(report.notes),
    }
    return dump(document)


def _policy(policy: PolicyUse) -> dict[str, Any]:
    return {
        "source": policy.source or None,
        "fail_on": policy.fail_on.value,
        "rules": {
            name: {"severity": severity.value, "max": None if limit is None else number(limit)}
            for name, (severity, limit) in policy.rules.items()
        },
        "exceptions": [_waiver(waiver) for waiver in policy.waivers],
        "baseline": policy.baseline,
    }


def _waiver(waiver: Waiver | None) -> dict[str, Any] | None:
    if waiver is None:
        return None
    return {
        "rule": waiver.rule,
        "model": waiver.model,
        "weight": waiver.weight,
        "input": waiver.input,
        "reason": waiver.reason,
        "expires": None if waiver.expires is None else waiver.expires.isoformat(),
    }


def _model(verdict: ModelVerdict, fail_on: Severity) -> dict[str, Any]:
    info, paper, full = verdict.report.model, verdict.report.paper, verdict.report.full
    return {
        "file": info.file,
        "sha256": info.sha256,
        "verdict": VERDICTS[verdict.exit_code(fail_on)],
        "complete": verdict.complete,
        "weights": len(verdict.report.weights),
        "paper": {"weights": paper.weights, "nu": paper.nu, "mu": paper.mu, "nullity": paper.nullity},
        "full": {"weights": full.weights, "rank_deficient": full.rank_deficient, "nullity": full.nullity},
        "findings": [_finding(finding) for finding in verdict.findings],
        "problems": [_error(error) for error in verdict.problems],
        "notes": list(verdict.notes),
    }


def _finding(finding: Finding) -> dict[str, Any]:
    return {
        "rule": finding.rule,
        "severity": finding.severity.value,
        "subject": {
            "kind": finding.subject.kind,
            "name": finding.subject.name,
            "nodes": list(finding.subject.nodes),
        },
        "message": finding.message,
        "facts": {name: number(fact) if isinstance(fact, float) else fact for name, fact in finding.facts.items()},
        "fingerprint": finding.fingerprint,
        "accepted": _waiver(finding.waiver),
        "expired": _waiver(finding.expired),
    }


def _error(error: OnnxnullError) -> dict[str, Any]:
    return {"file": error.file, "code": error.code.code, "seen": error.seen, "remedy": error.remedy}
