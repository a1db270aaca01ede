"""Run a pair at one precision on one provider, hold its claims against the runs, and judge the outputs (`judge`)."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from onnxnull.collision.executables import Executable, RunResult
from onnxnull.collision.judge import Tried, judgements, verdict_of
from onnxnull.collision.merging import Merged
from onnxnull.collision.output_change import compare, identical
from onnxnull.collision.results import Change, Kind, LayerCheck, Run
from onnxnull.collision.yardstick import NOISE_RUNS, SCALE_RUNS, Box, Yardstick, distances, nearby, one_ulp, yardsticks
from onnxnull.errors import Code, OnnxnullError
from onnxnull.graph.floats import UNIT_ROUNDOFFS, is_float, unit_roundoff
from onnxnull.kernel.maps.linear_map import Array
from onnxnull.runtime.precision import Precision


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
    """The runs of the pair, and how far their tensors are from the same at the next higher precision, at most."""

    before: RunResult
    after: RunResult
    far: Mapping[str, Array]


@dataclass(frozen=True, slots=True, eq=False)
class Outcomes:
    """The three runs at one precision, and the yardstick of every tensor."""

    before: RunResult
    after: RunResult
    control: RunResult
    yardsticks: Mapping[str, Yardstick] = field(repr=False)

    @property
    def pair(self) -> tuple[RunResult, RunResult]:
        """Of the original and of what collides with it."""
        return self.before, self.after


@dataclass(frozen=True, slots=True, eq=False)
class Checks:
    """The claims of a pair, held against the runs of one precision.

    Attributes:
        claims: of each layer that reads the tensor, or of each tensor of a fibre.
        equal: which tensors are to stay equal beside; None for all that are judged.
        slack: tensor → the share of its scale that is allowed beside its noise.
        merged: what rounding makes the same on the way.
    """

    claims: tuple[LayerCheck, ...]
    equal: Container[str] | None = None
    slack: Mapping[str, float] = field(default_factory=dict)
    merged: Merged = field(default_factory=Merged)


Check = Callable[["Executable", "Trial", "Outcomes"], Checks]


def starts(subjects: Sequence[Executable], trial: Trial) -> list[Start]:
    """The pair at every precision on every provider.

    Raises:
        OnnxnullError: `runtime` where two runs of the original differ, or an output of it holds no finite number.
    """
    pairs = []
    for subject in subjects:
        before, again, after = (subject.run(subject.stored(x)) for x in (trial.original, trial.original, trial.colliding))
        _check_repeats(before, again)
        pairs.append((before, after))
    found = []
    for subject, pair in zip(subjects, pairs, strict=True):
        beside = [(s.precision, p) for s, p in zip(subjects, pairs, strict=True) if s.provider is subject.provider]
        far, other = (distances({precision: p[i].tensors for precision, p in beside})[subject.precision] for i in (0, 1))
        for name, array in far.items():
            if name in other and other[name].shape == array.shape:
                np.maximum(array, other[name], out=array)
        found.append(Start(*pair, far))
    return found


def outcomes(subject: Executable, trial: Trial, start: Start) -> Outcomes:
    """The runs of one precision: three of the pair and the control, `NOISE_RUNS` of each of the pair, `SCALE_RUNS` nearby."""
    pair = subject.stored(trial.original), subject.stored(trial.colliding)
    before, after, control = start.before, start.after, subject.run(subject.stored(trial.control))
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


def verify(subject: Executable, trial: Trial, start: Start, check: Check) -> Run:
    """Run the three inputs, check the claims, and judge what is claimed to stay equal."""
    found = outcomes(subject, trial, start)
    return _run_of(subject, trial, check(subject, trial, found), found)


def _run_of(subject: Executable, trial: Trial, checks: Checks, found: Outcomes) -> Run:
    """The run with its verdict."""
    before, after, control = found.before, found.after, found.control
    tolerance = trial.tolerances[subject.precision]
    tried = Tried(
        {name: array for name, array in before.tensors.items() if checks.equal is None or name in checks.equal},
        after.tensors,
        control.tensors,
        found.yardsticks,
        tolerance,
        subject.enters,
        checks.slack,
    )
    judged = judgements(tried)
    differ = not np.array_equal(subject.stored(trial.original), subject.stored(trial.colliding))
    verdict, why = verdict_of(
        trial.kind, checks.claims, judged, differ=differ, read=bool(checks.claims), merged=checks.merged.all
    )
    return Run(
        precision=subject.precision.value,
        session=subject.description,
        layers=checks.claims,
        outputs=compare_all(before, after),
        control=compare_all(before, control),
        verdict=verdict,
        arrays={name: (array, after.outputs[name], control.outputs[name]) for name, array in before.outputs.items()},
        judged=judged,
        tolerance=tolerance,
        why=why,
        notes=tuple(filter(None, (_how(subject), checks.merged.note))),
        merged=checks.merged,
    )


def _how(subject: Executable) -> str | None:
    """How a file with 16 bits inside runs where the provider has no kernels for them."""
    if subject.precision is not Precision.NATIVE or not subject.lowered:
        return None
    *others, last = subject.lowered
    named = f"{', '.join(others)} and {last}" if others else last
    return f"the file as it stores numbers: {named} in float32 here, and what they give rounded to the file's 16 bits"


def accumulator(subject: Executable, op: str, dtype: np.dtype[Any]) -> float:
    """The unit roundoff of a layer's sums: that of its type, and float32's where it runs in float32 in the place of 16 bits."""
    through = any(name.rpartition(".")[2] == op for name in subject.lowered)
    return min(unit_roundoff(dtype), UNIT_ROUNDOFFS["float32"]) if through else unit_roundoff(dtype)


def _check_repeats(outcome: RunResult, again: RunResult) -> None:
    """Whether there is something to compare."""
    for name, array in outcome.outputs.items():
        if not identical(array, again.outputs[name]):
            raise OnnxnullError(
                Code.RUNTIME, f"output {name!r} of one input differs from run to run", "take out what is random"
            )
        if is_float(array) and array.size and not np.any(np.isfinite(array.astype(np.float64))):
            raise OnnxnullError(Code.RUNTIME, f"output {name!r} is NaN or Inf everywhere", "start from another input")


def compare_all(before: RunResult, after: RunResult) -> tuple[Change, ...]:
    """Every output of two runs."""
    return tuple(compare(name, before.outputs[name], after.outputs[name]) for name in before.outputs)
