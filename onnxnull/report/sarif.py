"""What the gate found, as SARIF 2.1.0 (OASIS standard, https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html).

A weight has no line in a file: results name it by `logicalLocations`, beside the model's file, where GitHub's code scanning
wants a line and is given the first. `partialFingerprints` depend on the rule, the file and the weight's name only, so that an
alert stays the same alert while its numbers change. `primaryLocationLineHash` is the one that GitHub reads; without it, GitHub
would hash the lines of the model file.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from onnxnull.documents.base import text_of
from onnxnull.errors import OnnxnullError
from onnxnull.policy.results import CheckReport, Finding, ModelVerdict, Severity
from onnxnull.policy.rules import RULES, Rule
from onnxnull.report import check_words
from onnxnull.report.words import printable, shown
from onnxnull.version import __version__

SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
_LEVELS = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.NOTE: "note"}
_INDEX = {name: index for index, name in enumerate(RULES)}


def render(report: CheckReport) -> str:
    """The report as SARIF text: one run."""
    results = [_result(finding, model, index) for index, model in enumerate(report.models) for finding in model.findings]
    results += [_result(finding, None, -1) for finding in report.findings]
    run = {
        "tool": {
            "driver": {
                "name": "onnxnull",
                "version": __version__,
                "semanticVersion": __version__,
                "shortDescription": {"text": "What an ONNX model cannot see: kernels of its weights."},
                "rules": [_rule(rule, report) for rule in RULES.values()],
            }
        },
        "invocations": [
            {
                "exitCode": int(report.exit_code),
                "executionSuccessful": all(model.complete for model in report.models) and not report.failures,
                "toolExecutionNotifications": [
                    *(_notification(error) for error in report.failures),
                    *(_notification(error) for model in report.models for error in model.problems),
                    *({"level": "note", "message": {"text": printable(text)}} for text in _notes(report)),
                ],
            }
        ],
        "artifacts": [
            {
                "location": _location(model.report.model.file),
                "roles": ["analysisTarget"],
                "hashes": {"sha-256": model.report.model.sha256},
            }
            for model in report.models
        ],
        "results": results,
        "columnKind": "unicodeCodePoints",
    }
    return text_of({"$schema": SCHEMA, "version": "2.1.0", "runs": [run]})


def _rule(rule: Rule, report: CheckReport) -> dict[str, Any]:
    severity, _ = report.policy.rules.get(rule.id, (rule.severity, None))
    return {
        "id": rule.id,
        "name": "".join(part.capitalize() for part in rule.id.split("-")),
        "shortDescription": {"text": _sentence(rule.title)},
        "fullDescription": {"text": _sentence(rule.title)},
        "help": {"text": f"{_sentence(rule.remedy)} See docs/rules/{rule.id}.md."},
        "defaultConfiguration": {"level": _LEVELS[severity], "enabled": rule.id in report.policy.rules},
    }


def _sentence(clause: str) -> str:
    return f"{clause[0].upper()}{clause[1:]}."


def _result(finding: Finding, model: ModelVerdict | None, artifact: int) -> dict[str, Any]:
    mark = f"{finding.fingerprint}:1"
    found: dict[str, Any] = {
        "ruleId": finding.rule,
        "ruleIndex": _INDEX[finding.rule],
        "level": _LEVELS[finding.severity],
        "message": {"text": f"{check_words.title(finding)}: {check_words.message(finding)}"},
        "locations": [_place(finding, model, artifact)],
        "partialFingerprints": {"primaryLocationLineHash": mark, "onnxnullFinding/v1": finding.fingerprint},
    }
    if finding.waiver is not None:
        found["suppressions"] = [{"kind": "external", "status": "accepted", "justification": printable(finding.waiver.reason)}]
    return found


def _place(finding: Finding, model: ModelVerdict | None, artifact: int) -> dict[str, Any]:
    subject = finding.subject
    file = "" if model is None else model.report.model.file
    pairs = [(subject.kind, subject.name), *(("node", node) for node in subject.nodes)]
    names = dict.fromkeys((kind, printable(name)) for kind, name in pairs)  # they must be unique, and exporters repeat names
    place: dict[str, Any] = {
        "logicalLocations": [
            {"name": name, "fullyQualifiedName": f"{printable(file)}::{name}" if file else name, "kind": kind}
            for kind, name in names
        ]
    }
    if model is not None:
        place["physicalLocation"] = {"artifactLocation": {**_location(file), "index": artifact}, "region": {"startLine": 1}}
    return place


def _location(file: str) -> dict[str, Any]:
    """A relative URI: a path as typed, whatever characters it has."""
    return {"uri": quote(file.replace("\\", "/").encode("utf-8", "surrogatepass"), safe="/")}


def _notification(error: OnnxnullError) -> dict[str, Any]:
    found: dict[str, Any] = {
        "level": "error",
        "descriptor": {"id": error.code.code},
        "message": {"text": f"{shown(error.file or '')}: {printable(error.seen)}; {printable(error.remedy)}"},
    }
    if error.file:
        found["locations"] = [{"physicalLocation": {"artifactLocation": _location(error.file)}}]
    return found


def _notes(report: CheckReport) -> list[str]:
    return [*report.notes, *(f"{model.report.model.file}: {text}" for model in report.models for text in model.notes)]
