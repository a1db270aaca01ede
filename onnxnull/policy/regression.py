"""Rules about a model and its baseline: what is worse, and what cannot be compared."""

from __future__ import annotations

from collections.abc import Iterator

from onnxnull.policy import network, weights
from onnxnull.policy.baseline import new_nullity, weights_by_key, worse_input, worse_weight
from onnxnull.policy.evidence import Evidence
from onnxnull.policy.results import Found, Subject


def worse(evidence: Evidence) -> Iterator[Found]:
    """Weights and inputs that are worse than in the baseline."""
    old = evidence.baseline
    if old is None:
        return
    for key, weight in weights_by_key(evidence.report).items():
        was = old.weights.get(key)
        if was is not None and (was.inputs, was.outputs) == (weight.inputs, weight.outputs):
            changes = worse_weight(was, weight)
            if changes:
                yield Found(weights.subject(weight), f"worse than in the baseline: {'; '.join(changes)}", {})
    for found in evidence.report.frontier:
        change = worse_input(old.inputs.get(found.input), found)
        if change is not None:
            yield Found(network.subject(found), f"worse than in the baseline: {change}", {})


def mismatch(evidence: Evidence) -> Iterator[Found]:
    """A model, weights and inputs that the baseline does not know, or knows in another shape, or that are gone."""
    old, report = evidence.baseline, evidence.report
    if old is None:
        yield Found(Subject("model", report.model.file), "the baseline does not know this model: nothing was compared", {})
        return
    here = weights_by_key(report)
    for key, weight in here.items():
        was = old.weights.get(key)
        if was is None:
            yield Found(weights.subject(weight), "the baseline does not know this weight: it was not compared", {})
        elif (was.inputs, was.outputs) != (weight.inputs, weight.outputs):
            shapes = f"{was.inputs:,}×{was.outputs:,} in the baseline, {weight.inputs:,}×{weight.outputs:,} here"
            yield Found(weights.subject(weight), f"{shapes}: it was not compared", {})
        elif new_nullity(was, weight):
            yield Found(weights.subject(weight), "the baseline does not know its input nullity: it was not compared", {})
    inputs = {found.input: network.subject(found) for found in report.frontier}
    for found in report.frontier:
        if found.input not in old.inputs:
            yield Found(inputs[found.input], "the baseline does not know this input: it was not compared", {})
        elif old.inputs[found.input] is None and found.input_nullity is not None:
            what = "the baseline does not know what the network ignores of it: it was not compared"
            yield Found(inputs[found.input], what, {})
    gone = [Subject("weight", key[0]) for key in old.weights if key not in here]
    gone += [Subject("input", name) for name in old.inputs if name not in inputs]
    yield from (Found(subject, "in the baseline and not here", {}) for subject in gone)
