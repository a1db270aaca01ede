"""Lists, in words, where what a bundle says cannot be true, given what was measured here.

Names, shapes, types, kinds and counts follow from the model and the arrays: they are the same everywhere. What rounding or the
machine decides (how far outputs move, noise, scale, scores) is measured here and not compared; but a verdict may not be weaker.
"""

from __future__ import annotations

from collections.abc import Iterator

from onnxnull.collision.results import Collision, Run, RunVerdict
from onnxnull.evidence.collision_document import proof, steps
from onnxnull.evidence.read_bundle import RecordedCollision
from onnxnull.evidence.recorded_run import RecordedRun

_STRENGTH = (
    *(RunVerdict.BROKEN, RunVerdict.UNDECIDED),
    *(RunVerdict.NEAR, RunVerdict.EQUAL, RunVerdict.UNBOUNDED, RunVerdict.ROUNDING, RunVerdict.BITWISE),
)
"""From the weakest to the strongest."""


def of_place(recorded: RecordedCollision, found: Collision) -> Iterator[str]:
    """What of the place and of the claim is not as the bundle says."""
    pairs: dict[str, tuple[object, object]] = {
        "space": (recorded.space.value, found.space.value),
        "where": (recorded.where, found.where),
        "weight": (recorded.weight, found.weight),
        "op": (recorded.op, found.op),
        "kind": (recorded.kind.value, found.kind.value),
        "readers": (sorted(recorded.readers), sorted(found.readers)),
        "proof": (recorded.proof, proof(found)),
    }
    rounding, rounds = recorded.quantizer or {}, steps(found.steps) or {}
    pairs |= {f"quantizer's {key}": (rounding.get(key), rounds.get(key)) for key in {**rounds, **rounding}}
    for name, (said, here) in pairs.items():
        if said != here:
            yield f"the bundle says {name} {said!r}, and it is {here!r}"
    if (found.nullity is None) is not (recorded.nullity is None):
        yield "the bundle and the model do not agree on whether there is a kernel"
    if found.nullity is not None and recorded.nullity is not None:
        (low, high), (least, most) = found.nullity, recorded.nullity
        if most < low or least > high:
            yield f"the bundle says a nullity of {least} to {most}, and it is {low} to {high}"
    if recorded.perturbation.control > 1.01 * recorded.perturbation.l2:
        yield "the control is farther from the original than what collides with it"
    sigma, said_sigma = found.perturbation.sigma, recorded.perturbation.sigma
    if abs(sigma - said_sigma) > 1e-4 * abs(sigma):
        yield f"the bundle says σ {said_sigma:.6g}, and it is {sigma:.6g}"


def of_run(run: Run, said: RecordedRun) -> Iterator[str]:
    """What of a run is not as the bundle says of the same one, or weaker."""
    where = f"{run.precision} on {provider_of(run)}"
    layers = tuple(check.node for check in run.layers)
    if said.layers != layers:
        yield f"{where}: the bundle says claims of {', '.join(said.layers)}, and they are of {', '.join(layers)}"
    outputs = tuple((change.name, change.shape, change.dtype) for change in run.outputs)
    if said.outputs != outputs:
        yield f"{where}: the bundle says outputs {_words(said.outputs)}, and they are {_words(outputs)}"
    if said.verdict is RunVerdict.BROKEN:
        yield f"{where}: recorded as broken"
    elif run.verdict is not RunVerdict.UNDECIDED and _STRENGTH.index(run.verdict) < _STRENGTH.index(said.verdict):
        because = "" if run.why is None else f": {run.why}"
        yield f"{where}: {said.verdict.label!r} is recorded, and here it is {run.verdict.label!r}{because}"


def provider_of(run: Run) -> str:
    """What the session says that ran it."""
    return str(run.session.get("provider"))


def _words(outputs: tuple[tuple[str, tuple[int, ...], str], ...]) -> str:
    return ", ".join(f"{name!r} {'×'.join(map(str, shape))} {dtype}".replace("  ", " ") for name, shape, dtype in outputs)
