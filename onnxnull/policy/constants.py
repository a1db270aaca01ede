"""Rules about constants beside the weights, and about outputs that are NaN, Inf or always the same."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from onnxnull.analysis.results import ModelReport, OddConstant
from onnxnull.policy.evidence import Evidence
from onnxnull.policy.outputs import OutputRuns
from onnxnull.policy.results import Found, Number, Subject
from onnxnull.ranges.results import OutputClaim


def nonfinite(evidence: Evidence) -> Iterator[Found]:
    """Constants that hold what none may hold there."""
    yield from _odd(evidence.report.nonfinite)


def unusual(evidence: Evidence) -> Iterator[Found]:
    """Constants that healthy networks seldom hold, and of which nothing follows."""
    yield from _odd(evidence.report.unusual)


def _odd(constants: Sequence[OddConstant]) -> Iterator[Found]:
    for odd in constants:
        message = f"{odd.op}: {odd.what} in {odd.count:,} of {odd.entries:,} entries of {odd.name!r}"
        facts: dict[str, Number] = {"count": odd.count, "entries": odd.entries}
        yield Found(Subject("node", odd.node, (odd.node,)), message, facts)


def broken(evidence: Evidence) -> Iterator[Found]:
    """Outputs that are proved to be NaN or not finite, and constant ones where all are."""
    report = evidence.report
    for claim in report.claims:
        if not claim.effect.is_constant or _all_constant(report):
            yield _found(claim)


def constant(evidence: Evidence) -> Iterator[Found]:
    """Outputs that are proved to be constant, others not; stored constants are meant to be."""
    report = evidence.report
    for claim in report.claims:
        if claim.effect.is_constant and not claim.stored and not _all_constant(report):
            yield _found(claim)
    runs = evidence.runs
    if runs is not None and len(runs.constant) < runs.outputs:
        proved = {claim.output for claim in report.claims}
        yield from _same(runs, [name for name in runs.constant if name not in proved | runs.stored])


def broken_runs(evidence: Evidence) -> Iterator[Found]:
    """Outputs of runs that held NaN or no finite number, and constant ones where all were."""
    runs = evidence.runs
    if runs is None:
        return
    for counts, what in ((runs.nan, "NaN in an entry at least"), (runs.infinite, "no finite number in any entry")):
        for name, count in (counts or {}).items():
            facts: dict[str, Number] = {"count": count, "runs": runs.runs}
            yield Found(Subject("output", name), f"{what} in {count:,} of {runs.runs:,} runs", facts)
    if len(runs.constant) == runs.outputs:
        yield from _same(runs, [name for name in runs.constant if name not in {**(runs.nan or {}), **(runs.infinite or {})}])


def _same(runs: OutputRuns, names: Sequence[str]) -> Iterator[Found]:
    for name in names:
        yield Found(Subject("output", name), f"it was the same in {runs.runs:,} runs on different inputs", {"runs": runs.runs})


def _all_constant(report: ModelReport) -> bool:
    """Whether nothing that was looked at depends on the input."""
    return len(report.claims) == report.outputs


def _found(claim: OutputClaim) -> Found:
    message = f"it is {claim.effect.words}"
    if claim.node:
        reads = f", which reads {', '.join(claim.constants[:3])}" if claim.constants else ""
        message += f": that begins at node {claim.node!r} ({claim.op}){reads}"
    return Found(Subject("output", claim.output, (claim.node,) if claim.node else ()), message, {})
