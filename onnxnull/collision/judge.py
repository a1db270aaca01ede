"""From the runs of a pair to a verdict: every output, and what enters the last flat operators, held against its yardstick.

| | |
|---|---|
| broken | a claim fails; an output has another shape, other whole numbers, truth values or texts, or NaN or Inf on one side; it moves by more than `TIMES` its noise; a label changes whose margin is above twice the noise |
| undecided | rounding on the way makes both inputs the same; a claim is refused; an output is NaN in an entry of both; it moves by more than τ of its scale; or the control moves nothing: to be seen it moves an output by more than `TIMES` its noise, or at all where the pair is equal to the last bit |
| holds | the rest |

An entry that is the same infinity in both (a mask, an overflow) is equal. It shows nothing, whatever the control makes of it, and
is counted, as NaN is, which is no number and equals nothing.
"""  # noqa: E501 - a table

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from onnxnull.collision.output_change import class_maps, compare
from onnxnull.collision.results import Decision, Judgement, Kind, LayerCheck, RunVerdict
from onnxnull.collision.yardstick import DROWNED, TIMES, Tensors, Yardstick, change
from onnxnull.graph.floats import unit_roundoff
from onnxnull.kernel.maps.linear_map import Array

_MERGED = "rounding on the way makes the two inputs the same numbers, so that outputs are equal whatever the weights are"
_LAST_DIGITS = 8.0
"""In units of u·|y|: four units in the last place, below which an output is not told apart from its own rounding."""
_NO_FINER = (
    "its last digits are no finer, however small the change is; start from another input, or ask for a higher precision alone"
)
_OTHER_INPUT = "start from another input"
_ELSEWHERE = f"{_OTHER_INPUT}, or take a larger change"


@dataclass(frozen=True, slots=True, eq=False)
class Tried:
    """The tensors of the three runs, with what measures them.

    Attributes:
        tolerance: τ.
        enters: tensor → the flat operator that it enters; outputs are not in it.
        slack: tensor → the share of its scale that is allowed beside the noise; a fibre is reached by steps.
    """

    before: Tensors
    after: Tensors
    control: Tensors
    yardsticks: Mapping[str, Yardstick]
    tolerance: float
    enters: Mapping[str, str]
    slack: Mapping[str, float]


def judgements(tried: Tried) -> tuple[Judgement, ...]:
    """One for every tensor."""
    return tuple(_judged(name, tried) for name in tried.before)


def verdict_of(
    kind: Kind,
    checks: Sequence[LayerCheck],
    judged: Sequence[Judgement],
    *,
    differ: bool,
    read: bool,
    merged: bool = False,
) -> tuple[RunVerdict, str | None]:
    """The verdict, and why it is broken or undecided with what to do, in a line.

    Args:
        differ: whether the two inputs do at this precision.
        read: whether anything reads the input.
        merged: whether rounding leaves nothing of the change before anything multiplies it.
    """
    bitwise = all(each.bitwise for each in judged if each.enters is None)
    for decision, reasons in (
        (Decision.BROKEN, _broken(kind, checks, judged, differ=differ, bitwise=bitwise, read=read)),
        (Decision.UNDECIDED, _undecided(kind, checks, judged, merged=merged)),
    ):
        why = next(reasons, None)
        if why is not None:
            return (RunVerdict.BROKEN if decision is Decision.BROKEN else RunVerdict.UNDECIDED), why
    if kind is Kind.NEAR_KERNEL:
        return RunVerdict.NEAR, None
    if bitwise:
        return RunVerdict.BITWISE, None
    if kind is Kind.FIBER:
        return RunVerdict.EQUAL, None
    return (RunVerdict.ROUNDING if all(check.runtime.holds for check in checks) else RunVerdict.UNBOUNDED), None


def _broken(
    kind: Kind, checks: Sequence[LayerCheck], judged: Sequence[Judgement], *, differ: bool, bitwise: bool, read: bool
) -> Iterator[str]:
    if not differ:
        yield "the two inputs are the same numbers at this precision: make the change larger"
    if any(False in (check.kernel.holds, check.runtime.holds) for check in checks):
        yield "a claim does not hold"
    if kind is Kind.NEAR_KERNEL:
        return
    if kind is Kind.QUANTIZER_CELL and not bitwise:
        yield "the quantizer rounds both to the same codes, and yet the outputs differ"
    if not read and not bitwise:
        yield "nothing reads the input, and yet the outputs differ"
    yield from (each.why for each in judged if each.decision is Decision.BROKEN and each.why is not None)


def _undecided(kind: Kind, checks: Sequence[LayerCheck], judged: Sequence[Judgement], *, merged: bool) -> Iterator[str]:
    if merged:
        yield f"{_MERGED}: make the change larger"
    for check in checks:
        if check.kernel.holds is None:
            yield f"the kernel claim is refused: {check.kernel.reason}"
    if kind is not Kind.NEAR_KERNEL:
        yield from (each.why for each in judged if each.decision is Decision.UNDECIDED and each.why is not None)
    if not any(each.seen for each in judged):
        yield f"the control moves nothing either, so these outputs show nothing of this input: {_ELSEWHERE}"


def _judged(name: str, tried: Tried) -> Judgement:
    before, after, beside = tried.before[name], tried.after[name], tried.control[name]
    moved, control = compare(name, before, after), compare(name, before, beside)
    enters, yardstick = tried.enters.get(name), tried.yardsticks.get(name)
    what = f"output {name!r}" if enters is None else f"{name!r}, which enters {enters},"
    found = Judgement(name, enters, moved, control, Decision.HOLDS, seen=moved.bitwise and control.max_abs != 0.0)
    if before.shape != after.shape:
        why = f"{what} has shape {after.shape} in the place of {before.shape}"
        return replace(found, decision=Decision.BROKEN, why=why)
    if yardstick is None:
        if moved.bitwise or moved.max_abs == 0.0:
            return found
        return replace(found, decision=Decision.BROKEN, why=f"{what} holds no floats, and differs: there it has to be equal")
    far, beyond = change(before, after), change(before, beside)
    known = beyond.shape == before.shape
    entries, others = before.astype(np.float64), after.astype(np.float64)
    if known:
        beyond = np.where(np.isfinite(entries), beyond, 0.0)
    nan = int(np.count_nonzero(np.isnan(entries) & np.isnan(others)))
    labels = _labels(before, after, yardstick.noise)
    noise_ratio, scale_ratio = _ratio(far, yardstick.noise), _ratio(far, yardstick.scale)
    seen_ratio = _ratio(beyond, yardstick.noise) if known else np.inf
    found = replace(
        found,
        noise=_at_worst(far, yardstick.noise),
        scale=_at_worst(far, yardstick.scale),
        noise_ratio=noise_ratio,
        scale_ratio=scale_ratio,
        control_noise_ratio=seen_ratio,
        control_scale_ratio=_ratio(beyond, yardstick.scale) if known else np.inf,
        margin=None if labels is None else labels[0],
        ties=None if labels is None else labels[1],
        relabelled=None if labels is None else labels[2],
        seen=seen_ratio > TIMES or (moved.bitwise and (not known or bool(np.any(beyond > 0.0)))),
        nan=nan,
        infinite=int(np.count_nonzero(np.isinf(entries) & (entries == others))),
    )
    slack = tried.slack.get(name, 0.0)
    if np.isnan(moved.max_abs) or np.any(far > TIMES * yardstick.noise + slack * yardstick.scale):
        times = f"{_number(noise_ratio)} times what rounding moves it (at most {TIMES:g})"
        why = f"{what} moves by {_number(moved.max_abs)}, {times}: at this precision it is no collision"
        return replace(found, decision=Decision.BROKEN, why=why)
    if labels is not None and labels[2]:
        why = f"{what} has another label at {labels[2]:,} of its positions, whose margins are above twice the rounding"
        return replace(found, decision=Decision.BROKEN, why=why)
    if nan:
        share = f"in {nan:,} of its {before.size:,} entries"
        why = f"{what} is NaN for both inputs {share}, of which nothing is shown: {_OTHER_INPUT}"
        return replace(found, decision=Decision.UNDECIDED, why=why)
    if np.any(far > tried.tolerance * yardstick.scale):
        share = f"{_number(scale_ratio)} of what other inputs do (at most {tried.tolerance:g})"
        above = far > tried.tolerance * yardstick.scale
        in_last_digits = np.all(far[above] <= _LAST_DIGITS * unit_roundoff(before.dtype) * np.abs(entries[above]))
        advice = _NO_FINER if in_last_digits else DROWNED
        why = f"{what} moves by {_number(moved.max_abs)}, as rounding moves it, which is {share}: {advice}"
        return replace(found, decision=Decision.UNDECIDED, why=why)
    return found


def _number(value: float) -> str:
    return "NaN or Inf" if np.isnan(value) else f"{value:.3g}"


def _ratio(far: Array, of: Array) -> float:
    """The largest quotient; 0/0 = 0."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        ratios = np.where(far == 0.0, 0.0, far / of)
    return float(np.max(np.where(np.isnan(ratios), np.inf, ratios), initial=0.0))


def _at_worst(far: Array, of: Array) -> float:
    """Of the entry with the largest quotient; where nothing moved, the largest of all."""
    if not far.size:
        return 0.0
    if not np.any(far):
        return float(of.max())
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        ratios = np.where(far == 0.0, 0.0, far / of)
    return float(of.flat[int(np.argmax(np.where(np.isnan(ratios), np.inf, ratios)))])


def _labels(before: np.ndarray, after: np.ndarray, noise: Array) -> tuple[float, int, int] | None:
    """(the least margin, ties, labels that changed and are no ties) of what `compare` takes for classes or for a map of them.

    A label is the first of the largest scores, and its margin that score less the runner-up's. Two scores tie where they are no
    farther apart than their noises together. None for other outputs.
    """
    maps = class_maps(before, after, noise)
    if maps is None:
        return None
    scores, others, noises = maps
    if not scores.size:
        return None
    scores, others = (np.where(np.isnan(each), -np.inf, each) for each in (scores, others))
    label, other = scores.argmax(axis=1), others.argmax(axis=1)
    best = _take(scores, label)
    without = scores.copy()
    np.put_along_axis(without, label[:, None], -np.inf, axis=1)
    second = without.argmax(axis=1)
    margin = _gap(best, _take(scores, second))
    ties = int(np.count_nonzero(margin <= _take(noises, label) + _take(noises, second)))
    changed = (label != other) & (_gap(best, _take(scores, other)) > _take(noises, label) + _take(noises, other))
    return float(margin.min()), ties, int(np.count_nonzero(changed))


def _take(rows: Array, index: np.ndarray) -> Array:
    found: Array = np.take_along_axis(rows, index[:, None], axis=1)[:, 0]
    return found


def _gap(one: Array, other: Array) -> Array:
    """one − other, 0 between equal infinities."""
    with np.errstate(invalid="ignore"):
        return np.where(one == other, 0.0, one - other)
