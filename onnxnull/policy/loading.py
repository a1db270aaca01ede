"""Rules about whether onnxruntime loads a model."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from onnxnull.policy.evidence import Evidence
from onnxnull.policy.results import Found, Subject
from onnxnull.runtime.loading import Loading, LoadOutcome

_UNTRIED = Loading(LoadOutcome.FAILED, "nobody tried")


def _rule(outcome: LoadOutcome) -> Callable[[Evidence], Iterator[Found]]:
    """A rule for a model of which this came."""

    def check(evidence: Evidence) -> Iterator[Found]:
        loading = evidence.loading or _UNTRIED
        if loading.outcome is outcome:
            yield Found(Subject("model", evidence.report.model.file), loading.why, {})

    return check


refused = _rule(LoadOutcome.REFUSED)
unknown = _rule(LoadOutcome.UNKNOWN)
failed = _rule(LoadOutcome.FAILED)
