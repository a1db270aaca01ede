"""One run as a bundle records it, and whether its verdict is the one that its own claims and judgements give."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from onnxnull.collision.judge import verdict_of
from onnxnull.collision.results import Change, Claim, Decision, Judgement, Kind, LayerCheck, RunVerdict
from onnxnull.evidence.untrusted_json import finite, get, measured, objects, one_of, refuse, sizes
from onnxnull.evidence.write_bundle import DOCUMENT
from onnxnull.runtime.precision import Precision
from onnxnull.runtime.providers import Provider

T = TypeVar("T")
_VERDICTS = {verdict.label: verdict for verdict in RunVerdict}
_DECISIONS = {decision.label: decision for decision in Decision}
_ROUNDED = 1e-5
"""What six digits leave open, relative."""


@dataclass(frozen=True, slots=True)
class RecordedRun:
    """What a bundle says of one run.

    Attributes:
        max_abs: the largest of all outputs; None where it is no number.
        tolerance: τ.
        layers: what the claims are of, in order.
        residuals: the kernel claim's number of each; NaN where there is none.
        outputs: (name, shape, type), in order.
    """

    precision: str
    provider: str
    verdict: RunVerdict
    max_abs: float | None
    tolerance: float
    layers: tuple[str, ...]
    residuals: tuple[float, ...]
    outputs: tuple[tuple[str, tuple[int, ...], str], ...]


def read_run(run: Mapping[str, Any], kind: Kind) -> RecordedRun:
    """The run, of a collision of this kind. Raises `OnnxnullError` where it is malformed or contradicts itself (`evidence`)."""
    verdict = _named(_VERDICTS, run, "verdict")
    layers = [LayerCheck(get(x, "node", str), _claim(x, "kernel"), _claim(x, "runtime")) for x in objects(run, "layers")]
    outputs = objects(run, "outputs")
    changes = {get(output, "name", str): (get(output, "bitwise", bool), output.get("max_abs")) for output in outputs}
    judged = [_judgement(each) for each in objects(run, "judged")]
    for each in objects(run, "judged"):
        change = each["bitwise"], each.get("max_abs")
        if each["enters"] is None and changes.get(each["name"], change) != change:
            refuse(f"{DOCUMENT} contradicts itself: output {each['name']!r} moves in one way, and is judged to move in another")
    merged = get(get(run, "merged", dict), "all", bool)
    follows, _ = verdict_of(kind, layers, judged, differ=True, read=bool(layers), merged=merged)
    # two inputs that are the same at this precision are broken, whatever is judged
    if verdict not in (follows, RunVerdict.BROKEN):
        refuse(f"{DOCUMENT} contradicts itself: verdict {verdict.label!r} where its own numbers give {follows.label!r}")
    moves = [measured(output, "max_abs") for output in outputs]
    known = [move for move in moves if move is not None and math.isfinite(move)]
    tolerance = finite(run, "tolerance")
    if tolerance <= 0:
        refuse(f"{DOCUMENT} has no valid 'tolerance'")
    return RecordedRun(
        precision=one_of(Precision, run.get("precision"), "precision").value,
        provider=one_of(Provider, get(run, "session", dict).get("provider"), "provider").value,
        verdict=verdict,
        max_abs=max(known, default=0.0) if len(known) == len(moves) else None,
        tolerance=tolerance,
        layers=tuple(layer.node for layer in layers),
        residuals=tuple(layer.kernel.value for layer in layers),
        outputs=tuple(
            (get(output, "name", str), sizes(output.get("shape"), "shape"), get(output, "dtype", str)) for output in outputs
        ),
    )


def _claim(layer: Mapping[str, Any], key: str) -> Claim:
    found = get(layer, key, dict)
    value, bound, ratio = (measured(found, name) for name in ("value", "bound", "ratio"))
    holds, reason = found.get("holds"), found.get("reason")
    if type(holds) not in (bool, type(None)) or type(reason) not in (str, type(None)):
        refuse(f"{DOCUMENT} has no valid 'holds'")
    claim = Claim(math.nan if value is None else value, bound, ratio, reason)
    if claim.holds is not holds and (ratio is None or holds is None or abs(ratio - 1.0) > _ROUNDED):
        refuse(f"{DOCUMENT} contradicts itself: a claim whose ratio is {ratio} is said to hold: {holds}")
    return Claim(claim.value, bound, None if holds is None else 0.0 if holds else math.inf, reason)


def _judgement(each: Mapping[str, Any]) -> Judgement:
    enters, why = each.get("enters"), each.get("why")
    decision = _named(_DECISIONS, each, "decision")
    if "enters" not in each or any(type(text) not in (str, type(None)) for text in (enters, why)):
        refuse(f"{DOCUMENT} has no valid 'judged'")
    if (why is None) is not (decision is Decision.HOLDS):
        refuse(f"{DOCUMENT} contradicts itself: {decision.label!r}, and 'why' is {why!r}")
    name, size = get(each, "name", str), measured(each, "max_abs")
    moved = Change(name, (), "", get(each, "bitwise", bool), math.nan if size is None else size, *[None] * 5)
    return Judgement(name, enters, moved, moved, decision, get(get(each, "control", dict), "seen", bool), why)


def _named(known: Mapping[str, T], where: Mapping[str, Any], key: str) -> T:
    label = get(where, key, str)
    if label not in known:
        refuse(f"{DOCUMENT} has no valid {key!r}")
    return known[label]
