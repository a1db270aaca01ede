"""JSON, schema `onnxnull.compare/1` (schemas/compare.json): two models side by side, every number that was found.

As the analysis: byte-identical from run to run, no times, no absolute paths, floats with six significant digits, ASCII only.
What was not computed is null; what was computed and is no finite number is the text "nan" or "inf".
"""

from __future__ import annotations

from typing import Any

from onnxnull.comparison.results import (
    Comparison,
    CrossedRun,
    Crossing,
    GraphFinding,
    InputPair,
    KernelAngle,
    Pair,
    WeightSide,
)
from onnxnull.comparison.runs.both import Runs
from onnxnull.comparison.runs.outputs import TensorPair
from onnxnull.comparison.runs.regions import RegionRun
from onnxnull.comparison.verdicts import Outcome
from onnxnull.documents.base import plain, text_of
from onnxnull.evidence.collision_document import change_of, number
from onnxnull.kernel.bounds import Bounds
from onnxnull.kernel.rank import Notion
from onnxnull.report.json import bounds_of, described, ranks_of, unsupported

SCHEMA = "onnxnull.compare/1"


def render(comparison: Comparison, limit: Outcome) -> str:
    """The comparison as JSON text."""
    return text_of(document(comparison, limit))


def document(comparison: Comparison, limit: Outcome) -> dict[str, Any]:
    """The whole document."""
    return {
        "schema": SCHEMA,
        "a": plain(described(comparison.a)),
        "b": plain(described(comparison.b)),
        "same_up_to": limit.label,
        "same": comparison.same(limit),
        "outcome": comparison.outcome.label,
        "because": list(comparison.because),
        "graph": _graph(comparison.graph),
        "runs": None if comparison.runs is None else _runs(comparison.runs),
        "regions": [_region(region) for region in comparison.regions],
        "input_map": comparison.input_map,
        "allowed": comparison.allowed,
        "pairs": [_pair(pair) for pair in comparison.pairs],
        "only_a": [_side(side) for side in comparison.only_a],
        "only_b": [_side(side) for side in comparison.only_b],
        "inputs": [_input(pair) for pair in comparison.inputs],
        "collisions": [_crossing(crossing) for crossing in comparison.crossings],
        "unsupported_a": [plain(unsupported(what)) for what in comparison.unsupported_a],
        "unsupported_b": [plain(unsupported(what)) for what in comparison.unsupported_b],
    }


def _graph(finding: GraphFinding) -> dict[str, Any]:
    return {
        "identical": finding.identical,
        "proved": finding.proved,
        "nearness": finding.nearness,
        "types": finding.types,
        "quantized": finding.quantized,
        "codes": finding.codes,
        "differences": [
            {"what": d.what, "a": d.a, "b": d.b, "distance": number(d.distance), "rearranged": d.rearranged}
            for d in finding.differences
        ],
        "regions": finding.regions,
        "at": finding.at,
        "reason": finding.reason,
    }


def _runs(runs: Runs) -> dict[str, Any]:
    return {
        "samples": runs.samples,
        "drawn": runs.drawn,
        "overflows": runs.overflows,
        "outputs": [_judgement(judged) for judged in runs.outputs],
        "tensors": [_judgement(judged) for judged in runs.tensors],
        "reason": runs.reason,
    }


def _judgement(judged: TensorPair) -> dict[str, Any]:
    return {
        "a": judged.a,
        "b": judged.b,
        "enters": judged.enters,
        "ratio": number(judged.ratio),
        "channel": judged.channel,
        "exercised": judged.exercised,
        "agreement": number(judged.agreement),
        "snr": number(judged.snr),
        "reason": judged.reason,
    }


def _region(region: RegionRun) -> dict[str, Any]:
    return {
        "a": region.a,
        "b": region.b,
        "inputs": list(region.inputs),
        "recorded": None if region.recorded is None else _judgement(region.recorded),
        "wide": None if region.wide is None else _judgement(region.wide),
        "reason": region.reason,
    }


def _pair(pair: Pair) -> dict[str, Any]:
    scale = pair.scale
    return {
        "a": _side(pair.a),
        "b": _side(pair.b),
        "matched": pair.matched.label,
        "verdict": pair.verdict.label,
        "order": {"inputs": pair.inputs.label, "outputs": pair.outputs.label},
        "moved": pair.moved,
        "scale": {
            "factors": scale.factors.label,
            "least": number(scale.least),
            "most": number(scale.most),
            "nodes_a": list(scale.nodes_a),
            "nodes_b": list(scale.nodes_b),
            "explained": scale.explained,
        },
        "difference": number(pair.difference),
        "steps": number(pair.steps),
        "rounding": pair.rounding,
        "kernel_angle": _angle(pair.angle),
    }


def _side(side: WeightSide) -> dict[str, Any]:
    ranks = side.ranks
    numerical = (Notion.FLOAT32, Notion.FLOAT64)
    return {
        "weights": list(side.names),
        "nodes": list(side.nodes),
        "ops": list(side.ops),
        "dtype": side.dtype,
        "inputs": side.inputs,
        "outputs": side.outputs,
        "rank": None if ranks is None else {notion.value: plain(ranks_of(ranks))[notion.value] for notion in numerical},
        "nullity": None if ranks is None else {notion.value: ranks.nullity(notion) for notion in numerical},
        "sigma_max": None if ranks is None else number(ranks.sigma_max),
        "sigma_min": None if ranks is None else number(ranks.sigma_min),
    }


def _angle(angle: KernelAngle) -> dict[str, Any]:
    return {"degrees": number(angle.degrees), "at_least": angle.at_least, "reason": angle.reason}


def _input(pair: InputPair) -> dict[str, Any]:
    return {
        "a": pair.a,
        "b": pair.b,
        "mapped": pair.mapped.label,
        "reason": pair.reason,
        "nullity_a": _nullity(pair.nullity_a),
        "nullity_b": _nullity(pair.nullity_b),
        "kernel_angle": _angle(pair.angle),
    }


def _nullity(bounds: Bounds | None) -> dict[str, Any] | None:
    return None if bounds is None else {"bounds": bounds_of(bounds), "proved": bounds.proved}


def _crossing(crossing: Crossing) -> dict[str, Any]:
    return {
        "built_on": crossing.built_on,
        "failed": crossing.failed,
        "reason": crossing.reason,
        "runs": [_run(run) for run in crossing.runs],
    }


def _run(run: CrossedRun) -> dict[str, Any]:
    return {
        "precision": run.precision,
        "own": run.own,
        "other": run.crossed.label,
        "outputs": [change_of(each) for each in run.outputs],
        "control": [change_of(each) for each in run.control],
    }
