"""Rules about single weights. Each takes a model's evidence and yields what it found."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from onnxnull.analysis.results import WeightReport, reads_together
from onnxnull.errors import Code
from onnxnull.kernel.rank import Certainty, Notion
from onnxnull.policy.evidence import Evidence
from onnxnull.policy.results import Found, Number, Subject

AT = {
    Notion.FLOAT32: "at the float32 cut-off",
    Notion.FLOAT64: "at the float64 cut-off",
    Notion.EXACT: "over the rationals",
}


def subject(weight: WeightReport) -> Subject:
    """The weight with its nodes."""
    return Subject("weight", weight.name, tuple(node.name for node in weight.nodes))


def not_analysed(evidence: Evidence) -> Iterator[Found]:
    """What may hold a weight and was not analysed, but for NaN and Inf."""
    for what in evidence.report.unsupported:
        if what.code is not Code.NONFINITE:
            yield Found(Subject("node", what.node, (what.node,)), f"{what.op}: [{what.code.code}] {what.reason}", {})


def nonfinite(evidence: Evidence) -> Iterator[Found]:
    """Weights with NaN or Inf."""
    for what in evidence.report.unsupported:
        if what.code is Code.NONFINITE:
            yield Found(Subject("node", what.node, (what.node,)), f"{what.op}: {what.reason}", {})


def zero(evidence: Evidence) -> Iterator[Found]:
    """Weights of zeros on which an output depends."""
    for weight in evidence.report.weights:
        if _is_zero(weight) and not _is_unread(weight, evidence):
            message = f"all of its {weight.inputs:,}×{weight.outputs:,} entries are 0: its outputs are constant"
            yield Found(subject(weight), message, {"inputs": weight.inputs, "outputs": weight.outputs})


def unreached(evidence: Evidence) -> Iterator[Found]:
    """Weights on which no output depends."""
    for weight in evidence.report.weights:
        if _is_unread(weight, evidence):
            yield Found(subject(weight), "no output depends on it", {})


def _is_unread(weight: WeightReport, evidence: Evidence) -> bool:
    names = [node.name for node in weight.nodes]
    return bool(names) and set(names) <= set(evidence.report.unread_nodes)


def _counted(what: str, of: str, message: str) -> Callable[[Evidence], Iterator[Found]]:
    """A rule for a count that should be 0."""

    def rule(evidence: Evidence) -> Iterator[Found]:
        for weight in evidence.report.weights:
            number, whole = getattr(weight, what), getattr(weight, of)
            if number and not _is_zero(weight):
                facts: dict[str, Number] = {what: number, of: whole}
                yield Found(subject(weight), message.format(number=f"{number:,}", whole=f"{whole:,}"), facts)

    return rule


dead = _counted("dead_outputs", "outputs", "dead outputs: {number} of {whole} are 0 for every input")
duplicate = _counted("duplicate_outputs", "outputs", "duplicate outputs: {number} of {whole}, each equal to an earlier one")
nearly_dead = _counted(
    "nearly_dead_outputs", "outputs", "nearly dead outputs: {number} of {whole}, below the float32 cut-off and not 0"
)
_unread = _counted("unread_inputs", "inputs", "unread inputs: {number} of {whole}, which no output reads")


def unread(evidence: Evidence) -> Iterator[Found]:
    """Rows of zeros, where a row is more than one entry."""
    report = evidence.report
    several = tuple(weight for weight in report.weights if reads_together(weight))
    yield from _unread(replace(evidence, report=replace(report, weights=several)))


def rank_deficient(evidence: Evidence) -> Iterator[Found]:
    """Rank below what the shape, less dead and duplicate outputs and unread inputs, allows, at the float64 cut-off."""
    for weight in evidence.report.weights:
        quantization = weight.quantization
        runs = weight.ranks if quantization is None or quantization.executed is None else quantization.executed
        rank = min(weight.ranks.float64.value, runs.float64.value)
        live_outputs = weight.outputs - weight.dead_outputs - weight.duplicate_outputs
        possible = min(weight.inputs - weight.unread_inputs, live_outputs)
        if rank < possible:
            message = f"rank {rank:,} {AT[Notion.FLOAT64]}, where {possible:,} is possible"
            facts: dict[str, Number] = {"rank": rank, "possible": possible}
            yield Found(subject(weight), message, facts)


def depends_on_cutoff(evidence: Evidence) -> Iterator[Found]:
    """Ranks that differ from notion to notion."""
    for weight in evidence.report.weights:
        ranks = {notion: found.value for notion in Notion if (found := weight.ranks.rank(notion)) is not None}
        if len(set(ranks.values())) > 1:
            message = "rank " + ", ".join(f"{value:,} {AT[notion]}" for notion, value in ranks.items())
            facts: dict[str, Number] = {f"rank_{notion.value}": value for notion, value in ranks.items()}
            yield Found(subject(weight), f"{message}, of {min(weight.inputs, weight.outputs):,}", facts)


def ambiguous(evidence: Evidence) -> Iterator[Found]:
    """Ranks of which it could not be told which side of the cut-off a singular value lies on."""
    for weight in evidence.report.weights:
        open_ = {
            notion: found
            for notion in Notion
            if (found := weight.ranks.rank(notion)) is not None and found.certainty is Certainty.AMBIGUOUS
        }
        if open_:
            parts = [f"between {found.lower:,} and {found.upper:,} {AT[notion]}" for notion, found in open_.items()]
            facts: dict[str, Number] = {}
            for notion, found in open_.items():
                facts |= {f"lower_{notion.value}": found.lower, f"upper_{notion.value}": found.upper}
            yield Found(subject(weight), f"rank {'; '.join(parts)}", facts)


def _is_zero(weight: WeightReport) -> bool:
    return 0 < weight.outputs == weight.dead_outputs and weight.inputs > 0
