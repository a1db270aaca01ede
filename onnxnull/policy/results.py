"""What the gate found: findings by rule, model by model, and what they come to."""

from __future__ import annotations

import enum
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

from onnxnull.analysis.results import ModelReport
from onnxnull.documents.check import SubjectKind
from onnxnull.documents.check import Verdict as VerdictWord
from onnxnull.errors import ExitCode, OnnxnullError

Number = int | float | None


class Severity(enum.Enum):
    """How much a finding matters, the least first."""

    NOTE = "note"
    WARNING = "warning"
    ERROR = "error"

    @property
    def rank(self) -> int:
        """0, 1, 2: for comparisons."""
        return list(Severity).index(self)


@dataclass(frozen=True, slots=True)
class Subject:
    """What a finding is about.

    Attributes:
        kind: "weight", "node", "input", "output", "model" or "exception" (an entry of the policy).
        name: in the model; of a model its file, of an exception its rule.
        nodes: the nodes that use the weight or read the input.
    """

    kind: SubjectKind
    name: str
    nodes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Found:
    """What a rule found, before the policy has judged it. `facts` are the numbers of the message."""

    subject: Subject
    message: str
    facts: Mapping[str, Number]


@dataclass(frozen=True, slots=True)
class Waiver:
    """An exception of the policy: findings of one rule that are accepted, why, and until when.

    Attributes:
        model: pattern for the model's path, compared from the right; None for every model.
        weight, input: name or pattern of the subject; None for every one.
        expires: the last day on which it holds; None for ever.
    """

    rule: str
    reason: str
    model: str | None = None
    weight: str | None = None
    input: str | None = None
    expires: date | None = None

    def expired(self, today: date) -> bool:
        """Whether `today` is after its last day."""
        return self.expires is not None and today > self.expires


@dataclass(frozen=True, slots=True)
class Finding:
    """A finding with its severity.

    Attributes:
        fingerprint: the same for the same rule and subject of a model, whatever its numbers are; hexadecimal.
        waiver: the exception that accepts it; None where nothing does.
        expired: the exception that would have accepted it, had it not expired.
        incomplete: whether something was not found out, so that the model is incomplete unless an exception accepts it.
    """

    rule: str
    severity: Severity
    subject: Subject
    message: str
    facts: Mapping[str, Number]
    fingerprint: str
    waiver: Waiver | None = None
    expired: Waiver | None = None
    incomplete: bool = False


def fingerprint(rule: str, file: str, subject: Subject, number: int = 0) -> str:
    """16 hexadecimal digits for a rule and its subject; `number` tells subjects of one name apart."""
    text = "\0".join((rule, file, subject.kind, subject.name, str(number)))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class ModelVerdict:
    """One model before the gate.

    Attributes:
        findings: the worst first, accepted ones included.
        problems: why a check that the policy asks for could not be made on this model: then it is incomplete.
        notes: what came up on the way that is no finding.
    """

    report: ModelReport
    findings: tuple[Finding, ...]
    problems: tuple[OnnxnullError, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def complete(self) -> bool:
        """Whether everything was analysed and every check made."""
        open_ = any(finding.incomplete and finding.waiver is None for finding in self.findings)
        return self.report.complete and not self.problems and not open_

    def exit_code(self, fail_on: Severity) -> ExitCode:
        """What this model alone comes to."""
        codes = [ExitCode.VIOLATED] if blocking(self.findings, fail_on) else []
        if not self.complete:
            codes.append(ExitCode.INCOMPLETE)
        elif not self.report.weights:
            codes.append(ExitCode.NOTHING)
        return ExitCode.worst(codes)


def blocking(findings: tuple[Finding, ...], fail_on: Severity) -> bool:
    """Whether one of them is at least that severe and not accepted."""
    return any(finding.waiver is None and finding.severity.rank >= fail_on.rank for finding in findings)


VERDICTS: Mapping[ExitCode, VerdictWord] = {
    ExitCode.PASS: "pass",
    ExitCode.VIOLATED: "fail",
    ExitCode.INCOMPLETE: "incomplete",
    ExitCode.NOTHING: "nothing",
}
"""Exit code → the verdict in a word."""


@dataclass(frozen=True, slots=True)
class PolicyUse:
    """What was judged by.

    Attributes:
        source: the policy's file, "" for the built-in policy.
        rules: the rules that were active → (severity, limit).
        baseline: its file; None without one.
        waivers: the exceptions of the policy.
    """

    source: str
    fail_on: Severity
    rules: Mapping[str, tuple[Severity, float | None]]
    baseline: str | None
    waivers: tuple[Waiver, ...]


@dataclass(frozen=True, slots=True)
class CheckReport:
    """What `check` found in all models.

    Attributes:
        failures: models that could not be opened, or paths at which there is none; `file` says which.
        findings: about the policy itself.
        notes: what is no finding and should be known all the same.
    """

    policy: PolicyUse
    models: tuple[ModelVerdict, ...]
    failures: tuple[OnnxnullError, ...] = ()
    findings: tuple[Finding, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def exit_code(self) -> ExitCode:
        """The worst of all outcomes (design §6); nothing checked at all is incomplete."""
        fail_on = self.policy.fail_on
        codes = [model.exit_code(fail_on) for model in self.models] + [error.exit_code for error in self.failures]
        if blocking(self.findings, fail_on):
            codes.append(ExitCode.VIOLATED)
        return ExitCode.worst(codes) if codes else ExitCode.INCOMPLETE

    @property
    def complete(self) -> bool:
        """Whether every model was opened, everything in it analysed and every check made."""
        return bool(self.models) and not self.failures and all(model.complete for model in self.models)

    @property
    def all_findings(self) -> tuple[Finding, ...]:
        """Of all models, then of the policy."""
        return (*(finding for model in self.models for finding in model.findings), *self.findings)
