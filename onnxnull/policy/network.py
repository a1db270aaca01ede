"""Rules about a network's inputs and about all of its weights together."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from fractions import Fraction

from onnxnull.analysis.results import FrontierReport, PaperSummary
from onnxnull.policy.evidence import Evidence
from onnxnull.policy.results import Found, Number, Subject


def subject(found: FrontierReport) -> Subject:
    """The input with the nodes that read it."""
    return Subject("input", found.input, found.nodes)


def unread(evidence: Evidence) -> Iterator[Found]:
    """Inputs of which nothing reads the values or the shape."""
    for found in evidence.report.frontier:
        if found.guaranteed and not found.nodes and not found.sized:
            yield Found(subject(found), "nothing reads its values: no output depends on it", {})


def collisions(evidence: Evidence) -> Iterator[Found]:
    """Inputs of which the network ignores a subspace: any two that differ in it collide."""
    for found in evidence.report.frontier:
        bounds = found.input_nullity
        if bounds is None or not bounds.lower or not found.nodes:
            continue
        ignored = f"{bounds.lower:,}" if bounds.lower == bounds.upper else f"{bounds.lower:,} to {bounds.upper:,}"
        whole = "" if found.inputs is None else f" of {found.inputs:,}"
        share = "" if not found.inputs else f" ({100 * bounds.lower / found.inputs:.3g} %)"
        steps = "" if found.quantizer is None else "in whole steps of its quantizer, without saturation, "
        message = (
            f"{steps}the network ignores {ignored}{whole} dimensions{share}, {found.proof}: inputs that differ in them collide"
        )
        facts: dict[str, Number] = {"lower": bounds.lower, "upper": bounds.upper, "inputs": found.inputs}
        yield Found(subject(found), message, facts)


def undecided(evidence: Evidence) -> Iterator[Found]:
    """Inputs for which collisions are neither proved possible nor excluded."""
    for found in evidence.report.frontier:
        bounds = found.input_nullity
        if not found.guaranteed:
            yield Found(subject(found), f"collisions are neither guaranteed nor excluded: {found.reason}", {})
        elif bounds is None and found.nodes:
            yield Found(subject(found), f"collisions are neither found nor excluded: {found.reason}", {})
        elif bounds is not None and found.nodes and bounds.lower == 0 and (bounds.upper or not bounds.proved):
            message = f"collisions are not excluded: the network ignores 0 to {bounds.upper:,} dimensions"
            if not bounds.upper:
                message = "collisions are excluded numerically, which is no proof"
            yield Found(subject(found), message, {"lower": 0, "upper": bounds.upper, "inputs": found.inputs})


def overridable(evidence: Evidence) -> Iterator[Found]:
    """Constants that a caller may replace."""
    info = evidence.report.model
    if info.caveat is not None:
        yield Found(Subject("model", info.file), info.caveat, {"constants": len(info.overridable)})


def energy(evidence: Evidence) -> Iterator[Found]:
    """The share of given inputs' energy that the network ignores, above the limit or not known."""
    limit = evidence.limits["kernel-energy"]
    for found in evidence.report.frontier:
        shares = [share.share for share in found.shares if share.share is not None]
        missing = len(found.shares) - len(shares)
        if not found.shares:
            why = found.reason or "no given input is for it"
            yield Found(subject(found), f"the share of the energy was not measured: {why}", {"limit": limit})
        elif missing or max(shares) > limit:
            parts = [f"for {missing:,} of {len(found.shares):,} given inputs the share was not found"] if missing else []
            above = sum(share > limit for share in shares)
            if above:
                largest = max(shares)
                parts.insert(
                    0,
                    f"of the energy of {above:,} of {len(found.shares):,} given inputs it ignores more than {limit:g}: "
                    f"up to {largest:.6g}",
                )
            facts: dict[str, Number] = {"largest": max(shares, default=math.nan), "above": above, "limit": limit}
            if not shares:
                facts["largest"] = None
            yield Found(subject(found), "; ".join(parts), facts)


def _share_of_weights(rule: str, count: Callable[[PaperSummary], int], what: str) -> Callable[[Evidence], Iterator[Found]]:
    def check(evidence: Evidence) -> Iterator[Found]:
        paper, limit = evidence.report.paper, evidence.limits[rule]
        if count(paper) > Fraction(repr(limit)) * paper.weights:  # of the decimals that were typed: 0.29 allows 29 of 100
            share = count(paper) / paper.weights
            message = f"{count(paper):,} of {paper.weights:,} weights ({100 * share:.3g} %) {what}, more than {100 * limit:g} %"
            facts: dict[str, Number] = {"count": count(paper), "weights": paper.weights, "limit": limit}
            yield Found(Subject("model", evidence.report.model.file), message, facts)

    return check


with_kernel = _share_of_weights("kernel-weights", lambda paper: paper.nu, "have a kernel (ν/n)")
narrow = _share_of_weights("narrow-weights", lambda paper: paper.mu, "have fewer outputs than inputs (μ/n)")


def total_nullity(evidence: Evidence) -> Iterator[Found]:
    """Σ nullity above the limit."""
    found, limit = evidence.report.paper.nullity, evidence.limits["total-nullity"]
    if found > limit:
        message = f"Σ nullity is {found:,}, more than {limit:,.12g}"
        yield Found(Subject("model", evidence.report.model.file), message, {"nullity": found, "limit": limit})


def verified(evidence: Evidence) -> Iterator[Found]:
    """A collision that was built, run and held."""
    found = evidence.collision
    if found is None:
        return
    runs = ", ".join(f"{run.precision} on {run.session['provider']} ({run.verdict.label})" for run in found.runs)
    changed = found.perturbation
    message = (
        f"two inputs ({found.source}) that differ by {changed.linf:.3g} at most and {changed.l2:.3g} in all collide: {runs}"
    )
    worst = max((change.max_abs for run in found.runs for change in run.outputs), default=0.0)
    facts: dict[str, Number] = {"input_max": changed.linf, "input_l2": changed.l2, "output_max": worst}
    yield Found(Subject("input", found.where, found.readers), message, facts)
