"""What tests of the gate share: clean reports, policies as TOML, and the gate without an analysis."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

from onnxnull.analysis.results import (
    FrontierReport,
    ModelReport,
    WeightReport,
)
from onnxnull.kernel.bounds import Bounds
from onnxnull.policy import config
from onnxnull.policy.config import Policy
from onnxnull.policy.evidence import Evidence
from onnxnull.policy.exceptions import Accepted
from onnxnull.policy.gate import judge
from onnxnull.policy.results import CheckReport, ModelVerdict, PolicyUse
from onnxnull.runtime.loading import Loading, LoadOutcome
from tests.report import batches

LOADS = Loading(LoadOutcome.LOADS)
TODAY = date(2026, 11, 25)


def clean(name: str = "w", **changes: Any) -> WeightReport:
    """A weight 27×8 about which no rule says anything, changed."""
    weight = batches.weight(name, batches.profile(27, 8, 8, 8, 8))
    return replace(replace(weight, dead_outputs=0, unread_inputs=0, duplicate_outputs=0), **changes)


def reading(lower: int = 0, upper: int = 0, **changes: Any) -> FrontierReport:
    """An input of 192 entries, read through one layer."""
    return replace(batches.frontier("image", nullity=Bounds(lower, upper, proved=True)), **{"shares": (), **changes})


def model(*weights: WeightReport, front: FrontierReport | None = None, **changes: Any) -> ModelReport:
    """models/net.onnx: of one clean weight that is injective, if nothing else is said."""
    report = batches.report(*(weights or (clean(),)), file="models/net.onnx")
    return replace(report, **{"frontier": (front or reading(),), **changes})


def policy(text: str, folder: Path) -> Policy:
    """The policy that this TOML is."""
    (folder / "onnxnull.toml").write_text(text, encoding="utf-8")
    return config.find(folder)


def gate(evidence: Evidence, policy: Policy, *, baseline: bool = False, today: date = TODAY) -> CheckReport:
    """What the gate says of a model that was analysed; it loads, if nothing else is said."""
    if evidence.loading is None:
        evidence = replace(evidence, loading=LOADS)
    active = policy.active(baseline=baseline)
    accepted = Accepted(policy.waivers, today)
    findings = judge(evidence, active, accepted, "models/net.onnx")
    about, told = accepted.of_the_policy(active, [("models/net.onnx", findings)])
    use = PolicyUse(policy.source, policy.fail_on, active, "base.json" if baseline else None, policy.waivers)
    return CheckReport(use, (ModelVerdict(evidence.report, findings),), (), tuple(about), tuple(told))
