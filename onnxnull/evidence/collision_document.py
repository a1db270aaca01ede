"""JSON, schema `onnxnull.collision/1`: collisions with every number that was measured, for programs and for replay.

As the analysis: byte-identical from run to run, no times, no absolute paths, floats with six significant digits, ASCII only.
What was not computed, or what no bound applies to, is null. What was computed and is no number is the text "nan", "inf" or
"-inf" in the place of a number, so that neither reads as the other (JSON itself has no such numbers).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from onnxnull.collision.output_change import classes
from onnxnull.collision.results import (
    Change,
    Claim,
    Collision,
    EightBit,
    Judgement,
    Kind,
    LayerCheck,
    Perturbation,
    Run,
    Steps,
    TraceStep,
)
from onnxnull.collision.yardstick import NOISE_RUNS, SCALE_RUNS, SEED, TIMES
from onnxnull.documents.base import digits, text_of
from onnxnull.evidence.provenance import Facts, model_facts
from onnxnull.strict_json import path_text
from onnxnull.version import __version__

if TYPE_CHECKING:
    from onnxnull.inputs import Preprocessing

__all__ = ["SCHEMA", "TOP", "document", "entry", "model_facts", "number", "plain", "predictions", "render"]

SCHEMA = "onnxnull.collision/1"
TOP = 5
"""Classes that are listed for every sample."""
_EXACTNESS = ("float64", "float32", "float16", "native")
"""Precisions from the highest to the lowest."""


def document(facts: Facts, entries: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The whole document; `entries` are those of `entry`."""
    import onnx

    return {
        "schema": SCHEMA,
        "versions": {"onnxnull": __version__, "numpy": np.__version__, "onnx": str(onnx.__version__)},
        "model": {"file": facts.file, "sha256": facts.sha256, "external_data": dict(facts.external)},
        "setup": {
            "input_shapes": {name: list(shape) for name, shape in facts.input_shapes.items()},
            "precisions": list(facts.precisions),
            "providers": list(facts.providers),
            "yardstick": {"seed": SEED, "noise_runs": NOISE_RUNS, "scale_runs": SCALE_RUNS, "times": TIMES},
            "preprocessing": None if facts.preprocessing is None else _preprocessing(facts.preprocessing),
        },
        "collisions": list(entries),
    }


def render(facts: Facts, entries: Sequence[Mapping[str, Any]]) -> str:
    """The document as text."""
    return text_of(document(facts, entries))


def entry(
    collision: Collision,
    labels: Sequence[str] | None = None,
    *,
    arrays: Mapping[str, Any] | None = None,
    inputs: Mapping[str, Any] | None = None,
    pictures: Sequence[str] = (),
) -> dict[str, Any]:
    """One collision.

    Args:
        labels: names of the classes.
        arrays: "original", "colliding", "control" → file and hash, in a bundle.
        inputs: file, hash and names of the other inputs, in a bundle.
        pictures: files in a bundle that show it. They are no evidence.
    """
    return {
        "source": path_text(collision.source),
        "space": collision.space.value,
        "where": collision.where,
        "weight": collision.weight,
        "op": collision.op,
        "readers": list(collision.readers),
        "nullity": None if collision.nullity is None else list(collision.nullity),
        "caveat": collision.caveat,
        "holds": collision.holds,
        "decision": collision.decision.label,
        "claim": {
            "kind": collision.kind.value,
            "residual": residual([(run.precision, [check.kernel.value for check in run.layers]) for run in collision.runs]),
            "sigma": number(collision.perturbation.sigma),
            "proof": proof(collision),
        },
        "quantizer": steps(collision.steps),
        "perturbation": _perturbation(collision.perturbation),
        "shape": list(collision.original.shape),
        "arrays": None if arrays is None else dict(arrays),
        "inputs": None if inputs is None else dict(inputs),
        "pictures": list(pictures),
        "runs": [_run(run, labels) for run in collision.runs],
        "eight_bit": None if collision.eight_bit is None else _eight_bit(collision.eight_bit),
    }


def steps(found: Steps | None) -> dict[str, Any] | None:
    """What rounds the tensor, and how far codes moved; None where nothing does."""
    if found is None:
        return None
    return {
        "node": found.node,
        "dynamic": found.dynamic,
        "scale": number(found.scale),
        "zero_point": found.zero_point,
        "range": [found.low, found.high],
        "changed": found.changed,
        "largest": found.largest,
    }


def number(value: float | None) -> float | str | None:
    """A float with six significant digits; None stays None, what is no finite number becomes a text."""
    if value is None:
        return None
    if math.isnan(value):
        return "nan"
    if math.isinf(value):
        return "inf" if value > 0 else "-inf"
    return digits(value)


def plain(value: Any) -> Any:
    """The same in JSON's own types: mappings, sequences, NumPy's scalars, numbers as `number` writes them, paths as text."""
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, str):
        return path_text(value)
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, float):
        return number(value)
    if isinstance(value, Mapping):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, Sequence):
        return [plain(inner) for inner in value]
    raise TypeError(f"{type(value).__name__} has no place in a report")


def predictions(run: Run, labels: Sequence[str] | None = None) -> list[dict[str, Any]]:
    """The best classes of every output that is a list of class scores, sample by sample, of the three inputs."""
    return [
        {"output": name, **dict(zip(("original", "colliding", "control"), found, strict=True))}
        for name, arrays in run.arrays.items()
        if None not in (found := [_best(array, labels) for array in arrays])
    ]


def _best(array: np.ndarray, labels: Sequence[str] | None) -> list[list[dict[str, Any]]] | None:
    scores = classes(array)
    if scores is None:
        return None
    order = np.argsort(-scores.astype(np.float64), axis=1, kind="stable")[:, :TOP]
    return [
        [
            {"class": i, "label": labels[i] if labels is not None and i < len(labels) else None, "score": number(float(row[i]))}
            for i in map(int, best)
        ]
        for row, best in zip(scores, order, strict=True)
    ]


def proof(collision: Collision) -> str | None:
    """What the claim is proved by, beside what ran."""
    return "integers" if collision.steps is not None and collision.kind is Kind.KERNEL else None


def residual(values: Sequence[tuple[str, Sequence[float]]]) -> float | str | None:
    """The largest kernel claim at the highest precision that ran, of (precision, claims); None where there is no claim."""
    highest = min((_EXACTNESS.index(precision) for precision, _ in values), default=None)
    known = [value for precision, claims in values if _EXACTNESS.index(precision) == highest for value in claims]
    return number(float(np.max(known))) if known else None  # NumPy's maximum keeps a NaN


def _perturbation(found: Perturbation) -> dict[str, Any]:
    return {
        "pattern": found.pattern,
        "parameters": plain(found.parameters),
        "l2": number(found.l2),
        "linf": number(found.linf),
        "original_l2": number(found.original),
        "changed": found.changed,
        "entries": found.entries,
        "control_l2": number(found.control),
    }


def _run(run: Run, labels: Sequence[str] | None) -> dict[str, Any]:
    return {
        "precision": run.precision,
        "verdict": run.verdict.label,
        "why": run.why,
        "notes": list(run.notes),
        "merged": {"changed": run.merged.changed, "same": run.merged.same, "all": run.merged.all},
        "tolerance": number(run.tolerance),
        "session": plain(run.session),
        "layers": [_layer(check) for check in run.layers],
        "outputs": [change_of(change) for change in run.outputs],
        "control": [change_of(change) for change in run.control],
        "judged": [_judgement(each) for each in run.judged],
        "predictions": predictions(run, labels),
        "trace": [_step(step) for step in run.trace],
    }


def _judgement(each: Judgement) -> dict[str, Any]:
    control = {
        "max_abs": number(each.control.max_abs),
        "noise_ratio": number(each.control_noise_ratio),
        "scale_ratio": number(each.control_scale_ratio),
        "seen": each.seen,
    }
    labels = None
    if each.margin is not None:
        labels = {"margin": number(each.margin), "ties": each.ties, "changed": each.relabelled}
    return {
        "name": each.name,
        "enters": each.enters,
        "decision": each.decision.label,
        "why": each.why,
        "bitwise": each.bitwise,
        "max_abs": number(each.moved.max_abs),
        "ulps": number(each.moved.ulps),
        "noise": number(each.noise),
        "scale": number(each.scale),
        "noise_ratio": number(each.noise_ratio),
        "scale_ratio": number(each.scale_ratio),
        "nan": each.nan,
        "infinite": each.infinite,
        "control": control,
        "labels": labels,
    }


def _layer(check: LayerCheck) -> dict[str, Any]:
    return {"node": check.node, "kernel": _claim(check.kernel), "runtime": _claim(check.runtime)}


def _claim(claim: Claim) -> dict[str, Any]:
    seen = claim.reason is None or not math.isnan(claim.value)  # what could not be observed was not computed
    return {
        "holds": claim.holds,
        "value": number(claim.value) if seen else None,
        "bound": number(claim.bound),
        "ratio": number(claim.ratio),
        "reason": claim.reason,
    }


def change_of(change: Change) -> dict[str, Any]:
    """How far two runs are apart in one output."""
    return {
        "name": change.name,
        "shape": list(change.shape),
        "dtype": change.dtype,
        "bitwise": change.bitwise,
        "max_abs": number(change.max_abs),
        "relative": number(change.relative),
        "ulps": number(change.ulps),
        "top1": change.top1,
        "top5": change.top5,
        "mask": number(change.mask),
    }


def _step(step: TraceStep) -> dict[str, Any]:
    return {
        "tensor": step.tensor,
        "op": step.op,
        "max_abs": number(step.max_abs),
        "relative": number(step.relative),
        "control": number(step.control),
    }


def _eight_bit(found: EightBit) -> dict[str, Any]:
    return {
        "rounded": number(found.rounded),
        "precision": found.precision,
        "outputs": [change_of(change) for change in found.outputs],
    }


def _preprocessing(made: Preprocessing) -> dict[str, Any]:
    return {
        "size": None if made.size is None else list(made.size),
        "mean": plain(made.mean),
        "std": plain(made.std),
        "layout": made.layout,
        "channels": made.channels,
        "range": plain(made.value_range),
    }
