"""The document `onnxnull.check/1`, which `onnxnull check` writes."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from onnxnull.documents.base import Count, Document, ErrorEntry, Slug, about

Severity = Literal["error", "warning", "note"]
Verdict = Literal["pass", "fail", "incomplete", "nothing"]
SubjectKind = Literal["weight", "node", "input", "output", "model", "exception"]


class CheckSummaryEntry(Document):
    """How many of each."""

    models: Annotated[Count, about("Models that were named, those that could not be opened included.")]
    passed: Annotated[Count, about("Models with the verdict pass.")]
    errors: Annotated[Count, about("Findings of this severity that no exception accepts.")]
    warnings: Annotated[Count, about("As errors, of this severity.")]
    notes: Annotated[Count, about("As errors, of this severity.")]
    accepted: Annotated[Count, about("Findings that an exception of the policy accepts.")]


class RuleInForceEntry(Document):
    """A rule that was looked at."""

    severity: Annotated[Severity, about("Of its findings.")]
    max: Annotated[float | None, about("The limit of rules that have one.")]


class WaiverEntry(Document):
    """An exception of the policy."""

    rule: Annotated[Slug, about("Whose findings it accepts.")]
    model: Annotated[str | None, about("In which models: a file or a pattern; null for all.")]
    weight: Annotated[str | None, about("Of which weights; null for all.")]
    input: Annotated[str | None, about("Of which inputs; null for all.")]
    reason: Annotated[Annotated[str, Meta(min_length=1)], about("Why they are accepted.")]
    expires: Annotated[Annotated[str, Meta(pattern=r"^\d{4}-\d{2}-\d{2}$")] | None, about("The last day on which it holds.")]


class PolicyEntry(Document):
    """What was asked for."""

    source: Annotated[str | None, about("The policy's file; null for the built-in policy.")]
    fail_on: Annotated[Severity, about("The least severity that makes the verdict fail.")]
    rules: Annotated[dict[Slug, RuleInForceEntry], about("The rules that were looked at.")]
    exceptions: Annotated[tuple[WaiverEntry, ...], about("Findings that are accepted, as the policy states them.")]
    baseline: Annotated[str | None, about("File of the baseline that was compared with.")]


class PaperCountEntry(Document):
    """The paper's Table 1: Conv and fully connected weights, groups stacked, float32 cut-off."""

    weights: Annotated[Count, about("How many weights.")]
    nu: Annotated[Count, about("How many of them have a kernel.")]
    mu: Annotated[Count, about("How many have fewer outputs than inputs.")]
    nullity: Annotated[Count, about("Sum of the nullities.")]


class FullCountEntry(Document):
    """Every linear weight, groups block-diagonal, float64 cut-off."""

    weights: Annotated[Count, about("How many weights.")]
    rank_deficient: Annotated[Count, about("How many of them have a kernel.")]
    nullity: Annotated[Count, about("Sum of the nullities.")]


class SubjectEntry(Document):
    """What it is about."""

    kind: Annotated[SubjectKind, about("What it is.")]
    name: Annotated[str, about("Its name in the model.")]
    nodes: Annotated[tuple[str, ...], about("Nodes that use it.")]


class FindingEntry(Document):
    """What a rule found."""

    rule: Annotated[Slug, about("The rule that found it.")]
    severity: Annotated[Severity, about("How grave it is.")]
    subject: Annotated[SubjectEntry, about("What it is about.")]
    message: Annotated[str, about("For people; not a contract.")]
    facts: Annotated[dict[str, float | None], about("The numbers of the message.")]
    fingerprint: Annotated[
        Annotated[str, Meta(pattern=r"^[0-9a-f]{16}$")],
        about("The same for the same rule, model file and subject, whatever the numbers are."),
    ]
    accepted: Annotated[WaiverEntry | None, about("The exception that accepts it; null for none.")]
    expired: Annotated[WaiverEntry | None, about("An exception that would accept it and has expired; null for none.")]


class CheckedModelEntry(Document):
    """One model, with what was found in it."""

    file: Annotated[str, about("As typed; the end of the path where that was absolute.")]
    sha256: Annotated[str, about("SHA-256 of the file.")]
    verdict: Annotated[Verdict, about("Of this model.")]
    complete: Annotated[bool, about("Whether everything was analysed and every check made.")]
    weights: Annotated[Count, about("Linear weights that were analysed.")]
    paper: Annotated[
        PaperCountEntry, about("The paper's Table 1: Conv and fully connected weights, groups stacked, float32 cut-off.")
    ]
    full: Annotated[FullCountEntry, about("Every linear weight, groups block-diagonal, float64 cut-off.")]
    findings: Annotated[tuple[FindingEntry, ...], about("What the rules found in it.")]
    problems: Annotated[tuple[ErrorEntry, ...], about("Why a check that the policy asks for could not be made.")]
    notes: Annotated[tuple[str, ...], about("What is no finding and should be known.")]


class CheckDocument(Document):
    """What the release gate found: verdicts, findings and what was asked for. No times; null: not there, or not computed."""

    schema: Annotated[Literal["onnxnull.check/1"], about("Name and version of this schema.")]
    verdict: Annotated[Verdict, about("Of everything together.")]
    exit_code: Annotated[Annotated[int, Meta(ge=0, le=3)], about("What the command exits with.")]
    summary: Annotated[CheckSummaryEntry, about("How many of each.")]
    policy: Annotated[PolicyEntry, about("What was asked for.")]
    models: Annotated[
        tuple[CheckedModelEntry, ...], about("The models that could be opened, in the order in which they were named.")
    ]
    findings: Annotated[tuple[FindingEntry, ...], about("About the policy itself.")]
    errors: Annotated[tuple[ErrorEntry, ...], about("Models that could not be opened.")]
    notes: Annotated[tuple[str, ...], about("What is no finding and should be known.")]
