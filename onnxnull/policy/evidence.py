"""What the rules look at: a model's report, whether it loads, the rule's limit, the baseline and, if wanted, a collision."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from onnxnull.analysis.results import ModelReport

if TYPE_CHECKING:
    from onnxnull.collision.results import Collision
    from onnxnull.policy.baseline import BaselineModel
    from onnxnull.policy.outputs import OutputRuns
    from onnxnull.runtime.loading import Loading


@dataclass(frozen=True, slots=True, eq=False)
class Evidence:
    """One model.

    Attributes:
        limits: rule → the largest number that it allows.
        baseline: the model as it was; None where the baseline does not know it, or there is none.
        collision: two inputs that were built and run; None where none was asked for or found.
        runs: what the outputs were in runs of the model as it is; None where none were asked for.
        loading: whether onnxruntime loads it; None where nobody tried, which is no pass.
    """

    report: ModelReport
    limits: Mapping[str, float] = field(default_factory=dict)
    baseline: BaselineModel | None = None
    collision: Collision | None = None
    runs: OutputRuns | None = None
    loading: Loading | None = None
