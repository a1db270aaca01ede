"""JSON, schema `onnxnull.analysis/1`: the stable contract. Byte-identical from run to run and from folder to folder.

No times, no absolute paths; floats with six significant digits; what was not computed is null, never 0. ASCII only, so that
names from outside reach neither a terminal nor an encoding raw.
"""

from __future__ import annotations

import json
import math
from typing import Any

from onnxnull.analysis.results import (
    FrontierReport,
    LookupTable,
    ModelInfo,
    ModelReport,
    OddConstant,
    OperatorReport,
    Quantization,
    QuantizerReport,
    Unsupported,
    WeightReport,
)
from onnxnull.kernel.bounds import Bounds
from onnxnull.kernel.rank import Notion, Rank, RankProfile
from onnxnull.ranges.results import OutputClaim
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
    return dump(document)


def dump(document: dict[str, Any]) -> str:
    """Any of our documents as text, always the same for the same document."""
    return json.dumps(document, indent=1, allow_nan=False) + "\n"


def model(report: ModelReport) -> dict[str, Any]:
    """One entry of `models`."""
    paper, full = report.paper, report.full
    return {
        "model": described(report.model),
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
                "input_nullity": bounds_of(full.input_nullity),
            },
        },
        "weights": [weight_document(weight) for weight in report.weights],
        "tables": [_table(table) for table in report.tables],
        "nonfinite": [_odd(odd) for odd in report.nonfinite],
        "unusual": [_odd(odd) for odd in report.unusual],
        "claims": [_claim(claim) for claim in report.claims],
        "frontier": [_frontier(frontier) for frontier in report.frontier],
        "unsupported": [unsupported(what) for what in report.unsupported],
    }


def _odd(odd: OddConstant) -> dict[str, Any]:
    return {"name": odd.name, "node": odd.node, "op": odd.op, "what": odd.what, "count": odd.count, "entries": odd.entries}


def _claim(claim: OutputClaim) -> dict[str, Any]:
    return {
        "output": claim.output,
        "effect": claim.effect.value,
        "node": claim.node or None,
        "op": claim.op or None,
        "constants": list(claim.constants),
        "stored": claim.stored,
    }


def described(info: ModelInfo) -> dict[str, Any]:
    """What the file says of itself."""
    return {
        "file": info.file,
        "sha256": info.sha256,
        "producer": info.producer,
        "ir_version": info.ir_version,
        "opset": dict(sorted(info.opset.items())),
        "inputs": [
            {"name": i.name, "dtype": i.dtype, "shape": None if i.shape is None else list(i.shape)} for i in info.inputs
        ],
        "overridable": list(info.overridable),
    }


def weight_document(weight: WeightReport) -> dict[str, Any]:
    """One entry of `weights`."""
    stacked = weight.stacked
    return {
        "name": weight.name,
        "op": weight.op,
        "dtype": weight.dtype,
        "inputs": weight.inputs,
        "outputs": weight.outputs,
        "rank": ranks_of(weight.ranks),
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
        "nearly_dead_outputs": weight.nearly_dead_outputs,
        "unread_inputs": weight.unread_inputs,
        "duplicate_outputs": weight.duplicate_outputs,
        "in_paper": weight.in_paper,
        "quantization": _quantization(weight.quantization),
        "nodes": [
            {
                "name": n.name,
                "op": n.op,
                "groups": n.groups,
                "operator": _operator(n.operator),
                "condition": n.condition or None,
            }
            for n in weight.nodes
        ],
    }


def _quantization(quantization: Quantization | None) -> dict[str, Any] | None:
    if quantization is None:
        return None
    executed = quantization.executed
    return {
        "scales": quantization.scales.value,
        "zero_scales": quantization.zero_scales,
        "zero_points": quantization.zero_points,
        "rank_without_zero_points": quantization.rank_without,
        "executed": None
        if executed is None
        else {
            "rank": ranks_of(executed),
            "nullity": {notion.value: executed.nullity(notion) for notion in Notion},
        },
    }


def _table(table: LookupTable) -> dict[str, Any]:
    return {
        "name": table.name,
        "dtype": table.dtype,
        "rows": table.rows,
        "columns": table.columns,
        "rank": None if table.ranks is None else ranks_of(table.ranks),
        "reason": table.reason,
        "nodes": list(table.nodes),
    }


def _operator(operator: OperatorReport | None) -> dict[str, Any] | None:
    if operator is None:
        return None
    return {
        "input_shape": list(operator.input_shape),
        "unread": operator.unread,
        "float64": bounds_of(operator.float64),
        "exact": bounds_of(operator.exact),
        "proved": {
            "float64": operator.float64.proved,
            "exact": None if operator.exact is None else operator.exact.proved,
        },
    }


def _frontier(frontier: FrontierReport) -> dict[str, Any]:
    return {
        "input": frontier.input,
        "inputs": frontier.inputs,
        "nodes": list(frontier.nodes),
        "weights": list(frontier.weights),
        "guaranteed": frontier.guaranteed,
        "reason": frontier.reason,
        "quantizer": _quantizer(frontier.quantizer),
        "input_nullity": bounds_of(frontier.input_nullity),
        "proved": None if frontier.input_nullity is None else frontier.input_nullity.proved,
        "data": [
            {"file": share.file, "kernel_share": None if share.share is None else number(share.share)}
            for share in frontier.shares
        ],
    }


def _quantizer(quantizer: QuantizerReport | None) -> dict[str, Any] | None:
    if quantizer is None:
        return None
    return {
        "node": quantizer.node,
        "scale": "dynamic" if quantizer.scale is None else number(quantizer.scale),
        "zero_point": "dynamic" if quantizer.zero_point is None else quantizer.zero_point,
        "range": [quantizer.low, quantizer.high],
    }


def unsupported(what: Unsupported) -> dict[str, Any]:
    """A weight that was not analysed, and why."""
    return {"node": what.node, "op": what.op, "code": what.code.code, "reason": what.reason}


def bounds_of(bounds: Bounds | None) -> list[int] | None:
    """[lower, upper]."""
    return None if bounds is None else [bounds.lower, bounds.upper]


def ranks_of(ranks: RankProfile) -> dict[str, Any]:
    """Value and certainty in every notion."""
    return {notion.value: _rank(ranks.rank(notion)) for notion in Notion}


def _rank(rank: Rank | None) -> dict[str, Any] | None:
    return None if rank is None else {"value": rank.value, "certainty": rank.certainty.value}


def number(value: float) -> float | None:
    """A float with six significant digits; None where it overflowed."""
    return float(f"{value:.6g}") if math.isfinite(value) else None
