"""Run a pair at one precision on one provider, and judge it: the two claims of design §4, and the outputs (`judge`)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from onnxnull.collision.claims import Reader, kernel_claim, runtime_claim
from onnxnull.collision.claims import rounded as with_weights
from onnxnull.collision.executables import Outcome, Seen, Subject
from onnxnull.collision.judge import Tried, judgements, verdict_of
from onnxnull.collision.output_change import compare, identical
from onnxnull.collision.results import Change, Claim, Kind, LayerCheck, Run
from onnxnull.collision.yardstick import (
    NOISE_RUNS,
    SCALE_RUNS,
    Box,
    Yardstick,
    distances,
    nearby,
    one_ulp,
    yardsticks,
)
from onnxnull.errors import Code, OnnxnullError
from onnxnull.graph.floats import is_float
from onnxnull.kernel.maps.linear_map import Array
from onnxnull.operators.products import product_called
from onnxnull.runtime.precision import Precision
from onnxnull.runtime.providers import Provider

UNIT_ROUNDOFF = {
    Precision.FLOAT64: 2.0**-53,
    Precision.FLOAT32: 2.0**-24,
    Precision.NATIVE: 2.0**-24,
    Precision.FLOAT16: 2.0**-11,
}
"""Unit roundoffs. What a quantized model computes in floats, it computes in float32."""


@dataclass(frozen=True, slots=True, eq=False)
class Trial:
    """A pair and its control, to be run at several precisions.

    Attributes:
        original, colliding, control: float64; the precision rounds them.
        box: bounds of the inputs nearby that give outputs their scale.
        tolerances: τ.
    """

    kind: Kind
    original: Array
    colliding: Array
    control: Array
    box: Box
    tolerances: Mapping[Precision, float]


@dataclass(frozen=True, slots=True, eq=False)
class Start:
    """The run of the original, and how far each of its tensors is from the same at the next higher precision."""

    outcome: Outcome
    far: Mapping[str, Array]


@dataclass(frozen=True, slots=True, eq=False)
class Outcomes:
    """The three runs at one precision, and the yardstick of every tensor."""

    before: Outcome
    after: Outcome
    control: Outcome
    yardsticks: Mapping[str, Yardstick] = field(repr=False)

    @property
    def pair(self) -> tuple[Outcome, Outcome]:
        """Of the original and of what collides with it."""
        return self.before, self.after


def starts(subjects: Sequence[Subject], original: Array) -> list[Start]:
    """The original at every precision on every provider. Raises `OnnxnullError` where two runs of it differ (`runtime`)."""
    outcomes = []
    for subject in subjects:
        outcomes.append(subject.run(subject.stored(original)))
        _check_repeats(outcomes[-1], subject.run(subject.stored(original)))
    found = []
    for subject, outcome in zip(subjects, outcomes, strict=True):
        own = {s.precision: o.tensors for s, o in zip(subjects, outcomes, strict=True) if s.provider is subject.provider}
        found.append(Start(outcome, distances(own)[subject.precision]))
    return found


def outcomes(subject: Subject, trial: Trial, start: Start) -> Outcomes:
    """The runs of one precision: three of the pair and the control, `NOISE_RUNS` of each of the pair, `SCALE_RUNS` nearby."""
    pair = subject.stored(trial.original), subject.stored(trial.colliding)
    before, after, control = start.outcome, subject.run(pair[1]), subject.run(subject.stored(trial.control))
    found = yardsticks(
        before.tensors,
        (
            (which, subject.nudged(pair[which], (before, after)[which], partial(one_ulp, which=which, run=run)).tensors)
            for which in (0, 1)
            for run in range(NOISE_RUNS)
        ),
        (subject.run(subject.stored(nearby(trial.original, run, trial.box))).tensors for run in range(SCALE_RUNS)),
        after.tensors,
        start.far,
        subject.channels,
    )
    return Outcomes(before, after, control, found)


def verify(subject: Subject, readers: Sequence[Reader], trial: Trial, start: Start) -> Run:
    """Run the three inputs and check every claim.

    Args:
        readers: the layers, in the order of the subject's `Outcome.seen`.
    """
    found = outcomes(subject, trial, start)
    stored = [subject.stored(x).astype(np.float64) for x in (trial.original, trial.colliding)]
    checks = tuple(
        LayerCheck(
            reader.node,
            _kernel(subject, reader, trial, stored, found.before.seen[number], found.after.seen[number]),
            _runtime(subject, reader, found.before.seen[number], found.after.seen[number]),
        )
        for number, reader in enumerate(readers)
    )
    return run_of(subject, trial, checks, found)


def run_of(
    subject: Subject,
    trial: Trial,
    checks: Sequence[LayerCheck],
    found: Outcomes,
    *,
    claimed: Callable[[str], bool] = lambda name: True,
    slack: Mapping[str, float] | None = None,
) -> Run:
    """The run with its verdict.

    Args:
        claimed: which tensors are to stay equal.
        slack: tensor → the share of its scale that is allowed beside its noise.
    """
    before, after, control = found.before, found.after, found.control
    tolerance = trial.tolerances[subject.precision]
    tried = Tried(
        {name: array for name, array in before.tensors.items() if claimed(name)},
        after.tensors,
        control.tensors,
        found.yardsticks,
        tolerance,
        subject.enters,
        slack or {},
    )
    judged = judgements(tried)
    differ = not np.array_equal(subject.stored(trial.original), subject.stored(trial.colliding))
    verdict, why = verdict_of(trial.kind, checks, judged, differ=differ, read=bool(checks))
    return Run(
        precision=subject.precision.value,
        session=subject.description,
        layers=tuple(checks),
        outputs=compare_all(before, after),
        control=compare_all(before, control),
        verdict=verdict,
        arrays={name: (array, after.outputs[name], control.outputs[name]) for name, array in before.outputs.items()},
        judged=judged,
        tolerance=tolerance,
        why=why,
    )


def _kernel(subject: Subject, reader: Reader, trial: Trial, stored: Sequence[Array], before: Seen, after: Seen) -> Claim:
    """A near-kernel claims nothing that its scale could refuse."""
    tolerance = None if trial.kind is Kind.NEAR_KERNEL else trial.tolerances[subject.precision]
    seen = None if isinstance(before, str) or isinstance(after, str) else (before[0], after[0])
    unit = UNIT_ROUNDOFF[subject.precision]
    return kernel_claim(reader, stored[0], stored[1], unit, tolerance=tolerance, box=trial.box, seen=seen)


def _runtime(subject: Subject, reader: Reader, before: Seen, after: Seen) -> Claim:
    if isinstance(before, str) or isinstance(after, str):
        return Claim(float("nan"), None, None, before if isinstance(before, str) else str(after))
    reason = None
    if subject.provider is Provider.CUDA and (kind := product_called(reader.op)) is not None and kind.may_be_transformed:
        reason = "cuDNN may compute it by Winograd's or Fourier transforms"
    own = with_weights(reader, before[0].dtype)
    return runtime_claim(own, before[0], after[0], before[1], after[1], UNIT_ROUNDOFF[subject.precision], reason)


def _check_repeats(outcome: Outcome, again: Outcome) -> None:
    """Whether there is something to compare."""
    for name, array in outcome.outputs.items():
        if not identical(array, again.outputs[name]):
            raise OnnxnullError(
                Code.RUNTIME, f"output {name!r} of one input differs from run to run", "take out what is random"
            )
        if is_float(array) and array.size and not np.any(np.isfinite(array.astype(np.float64))):
            raise OnnxnullError(Code.RUNTIME, f"output {name!r} is NaN or Inf everywhere", "start from another input")


def compare_all(before: Outcome, after: Outcome) -> tuple[Change, ...]:
    """Every output of two runs."""
    return tuple(compare(name, before.outputs[name], after.outputs[name]) for name in before.outputs)
