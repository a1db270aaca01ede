"""JSON, schema `onnxnull.analysis/1`: the stable contract. Byte-identical from run to run and from folder to folder.

No times, no absolute paths; floats with six significant digits; what was not computed is null, never 0.
"""

from __future__ import annotations

import json
from typing import Any

from onnxnull.analysis import ModelReport, WeightReport
from onnxnull.kernel.rank import Notion, Rank, RankProfile
from onnxnull.report.batch import Batch

SCHEMA = "onnxnull.analysis/1"


def render(batch: Batch) -> str:
    """The batch as JSON text."""
    document = {
        "schema": SCHEMA,
        "models": [model(report) for report in batch.reports],
        "errors": [
            {"file": f.file, "code": f.error.code.code, "seen": f.error.seen, "remedy": f.error.remedy} for f in batch.failures
        ],
    }
    return json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def model(report: ModelReport) -> dict[str, Any]:
    """One entry of `models`."""
    info, paper, full = report.model, report.paper, report.full
    return {
        "model": {
            "file": info.file,
            "sha256": info.sha256,
            "producer": info.producer,
            "ir_version": info.ir_version,
            "opset": dict(sorted(info.opset.items())),
            "inputs": [
                {"name": i.name, "dtype": i.dtype, "shape": None if i.shape is None else list(i.shape)} for i in info.inputs
            ],
        },
        "summary": {
            "paper": {
                "weights": paper.weights,
                "nu": paper.nu,
                "mu": paper.mu,
                "nu_percent": paper.nu_percent,
                "mu_percent": paper.mu_percent,
                "nullity": paper.nullity,
                "first_nullity": paper.first_nullity,
            },
            "full": {
                "weights": full.weights,
                "rank_deficient": full.rank_deficient,
                "nullity": full.nullity,
                "input_nullity": None,
            },
        },
        "weights": [_weight(weight) for weight in report.weights],
        "frontier": None,
        "unsupported": [
            {"node": u.node, "op": u.op, "code": u.code.code, "reason": u.reason} for u in report.unsupported
        ],
    }


def _weight(weight: WeightReport) -> dict[str, Any]:
    stacked = weight.stacked
    return {
        "name": weight.name,
        "op": weight.op,
        "dtype": weight.dtype,
        "inputs": weight.inputs,
        "outputs": weight.outputs,
        "rank": _ranks(weight.ranks),
        "nullity": {notion.value: weight.ranks.nullity(notion) for notion in Notion},
        "stacked": None
        if stacked is None
        else {
            "inputs": stacked.inputs,
            "outputs": stacked.outputs,
            "rank": stacked.float32.value,
            "nullity": stacked.nullity(Notion.FLOAT32),
        },
        "sigma_max": number(weight.ranks.sigma_max),
        "sigma_min": number(weight.ranks.sigma_min),
        "dead_outputs": weight.dead_outputs,
        "unread_inputs": weight.unread_inputs,
        "duplicate_outputs": weight.duplicate_outputs,
        "in_paper": weight.in_paper,
        "nodes": [{"name": n.name, "op": n.op, "groups": n.groups, "operator": None} for n in weight.nodes],
    }


def _ranks(ranks: RankProfile) -> dict[str, Any]:
    return {notion.value: _rank(ranks.rank(notion)) for notion in Notion}


def _rank(rank: Rank | None) -> dict[str, Any] | None:
    return None if rank is None else {"value": rank.value, "certainty": rank.certainty.value}


def number(value: float) -> float:
    """A float with six significant digits."""
    return float(f"{value:.6g}")
