"""Two models side by side in words, for text and Markdown."""

from __future__ import annotations

import math

from onnxnull.comparison.results import (
    Comparison,
    Crossing,
    InputPair,
    KernelAngle,
    Pair,
    WeightScale,
    WeightSide,
)
from onnxnull.comparison.runs.both import Runs
from onnxnull.comparison.verdicts import Crossed, Factors, InputMap, Matched, Order, Outcome, Verdict
from onnxnull.kernel.bounds import Bounds
from onnxnull.kernel.rank import Notion
from onnxnull.report.tables import TextTable
from onnxnull.report.words import count, described, nullity_cell, rank_cell, shown, some, unsupported

_PLACES = {"a": "first", "b": "second"}


def headlines(comparison: Comparison) -> list[str]:
    """What the two files are."""
    return [f"{place}: {described(info)}" for place, info in (("first", comparison.a), ("second", comparison.b))]


def verdict(comparison: Comparison, limit: Outcome) -> str:
    """The answer in a sentence."""
    found, same = comparison.outcome, comparison.same(limit)
    if same is None:
        return f"INCOMPLETE ({found.label}): {found.meaning}."
    if same:
        return f"SAME ({found.label}): {found.meaning}."
    if found.within(Outcome.QUANTIZED):
        return f"DIFFERENT up to '{limit.label}': the files are '{found.label}' ({found.meaning})."
    return f"DIFFERENT ({found.label}): {found.meaning}."


def summary(comparison: Comparison) -> list[str]:
    """What was found, in sentences."""
    lines = []
    if comparison.because:
        lines.append(f"Why: {some([shown(reason, 300) for reason in comparison.because], '; ', 6)}.")
    if comparison.graph.at is not None:
        lines.append(f"The graphs were read at these shapes: {shown(comparison.graph.at, 300)}.")
    if comparison.runs is not None:
        lines += _runs(comparison.runs)
    verdicts = [pair.verdict for pair in comparison.pairs]
    counts = ", ".join(f"{verdicts.count(v):,} {v.label}" for v in Verdict if v in verdicts)
    lines.append(f"{count(len(verdicts), 'pair')} of weights{f': {counts}' if counts else ''}.")
    lines += [_input(pair) for pair in comparison.inputs]
    lines += [_crossing(crossing) for crossing in comparison.crossings]
    return lines


def _runs(runs: Runs) -> list[str]:
    if runs.reason is not None:
        return [f"The outputs were not compared: {shown(runs.reason, 300)}."]
    which = "drawn inputs" if runs.drawn else "given inputs"
    left = f" ({runs.overflows} more overflowed in one of them)" if runs.overflows else ""
    worst = max((judged for judged in runs.outputs), key=lambda judged: judged.ratio, default=None)
    if worst is None:
        return ["Neither model has an output."]
    where = f" (channel {worst.channel})" if worst.channel is not None else ""
    what = f"output '{shown(worst.a)}'" if worst.enters is None else f"what enters the end of output '{shown(worst.enters)}'"
    share = f"in {worst.ratio:.2%} of its places" if worst.discrete else f"by {worst.ratio:.2g} of a channel's spread{where}"
    lines = [f"On {runs.samples} {which}{left}, {what} differs most: {share}."]
    snrs = [judged.snr for judged in runs.outputs if judged.snr is not None and judged.enters is None]
    agreements = [judged.agreement for judged in runs.outputs if judged.agreement is not None and judged.enters is None]
    if snrs and min(snrs) < 60.0:
        top = f"; the largest entry is the same in {min(agreements):.0%}" if agreements else ""
        lines.append(f"Least signal-to-noise ratio of an output {min(snrs):.3g} dB{top}.")
    return lines


def tensors(comparison: Comparison) -> TextTable | None:
    """The first matched tensors that part, in the order of the network; None where none does."""
    found = [] if comparison.runs is None else [j for j in comparison.runs.tensors if j.ratio > 1e-3 and j.reason is None]
    if not found or comparison.same() is True:
        return None
    rows = tuple(
        (shown(judged.a), shown(judged.b), f"{judged.ratio:.2g}", "-" if judged.snr is None else f"{judged.snr:.3g}")
        for judged in found[:8]
    )
    return TextTable(("first", "second", "apart", "SNR dB"), (False, False, True, True), rows)


def unpaired(comparison: Comparison, limit: Outcome, *, every: bool) -> list[str]:
    """Weights that were not analysed or have no partner; only how many where the files are the same, unless all are wanted."""
    lines = [*incomplete(comparison), *alone(comparison)]
    if not lines or every or comparison.same(limit) is not True:
        return lines
    return [f"{count(len(lines), 'weight')} went without a partner or an analysis; --all lists them."]


def incomplete(comparison: Comparison) -> list[str]:
    """One line for each weight that was not analysed."""
    sides = (("first", comparison.unsupported_a), ("second", comparison.unsupported_b))
    return [f"not analysed in the {place} model: {unsupported(what)}" for place, gaps in sides for what in gaps]


def alone(comparison: Comparison) -> list[str]:
    """One line for each weight without a partner."""
    sides = (("first", comparison.only_a), ("second", comparison.only_b))
    return [
        f"only in the {place} model: {_names(side)} ({' and '.join(map(shown, side.ops))}, {side.inputs:,}×{side.outputs:,})"
        for place, only in sides
        for side in only
    ]


def folded(comparison: Comparison, *, every: bool) -> int:
    """How many pairs of weights go without a row: those that are the same in the same order, unless every one is shown."""
    return 0 if every else sum(_is_plain(pair) for pair in comparison.pairs)


def _is_plain(pair: Pair) -> bool:
    same_order = {pair.inputs, pair.outputs} == {Order.SAME} and not pair.moved
    return pair.verdict is Verdict.IDENTICAL and same_order and pair.angle.degrees in (None, 0.0)


def pairs(comparison: Comparison, *, every: bool = True) -> TextTable:
    """One row per pair; with `every` those that are the same too."""
    rows = tuple(
        (
            _names(pair.a),
            _names(pair.b),
            pair.verdict.label,
            f"{pair.b.inputs:,}",
            f"{pair.b.outputs:,}",
            _both(*(rank_cell(side.ranks) if side.ranks is not None else "-" for side in (pair.a, pair.b))),
            _both(*(nullity_cell(side.ranks) if side.ranks is not None else "-" for side in (pair.a, pair.b))),
            angle(pair.angle),
            _notes(pair),
        )
        for pair in comparison.pairs
        if every or not _is_plain(pair)
    )
    header = ("first", "second", "verdict", "inputs", "outputs", "rank", "nullity", "angle", "notes")
    numeric = (False, False, False, True, True, True, True, True, False)
    return TextTable(header, numeric, rows, optional=(("inputs", "outputs"), ("notes",)))


def legend(comparison: Comparison) -> list[str]:
    """What the verdicts and the columns that occur mean."""
    verdicts = {pair.verdict for pair in comparison.pairs}
    lines = [f"{found.label}: {found.meaning}" for found in Verdict if found in verdicts]
    if any(pair.angle.degrees is not None for pair in comparison.pairs):
        lines.append("angle: the largest principal angle between the two kernels, inputs in the same order (float64 cut-off)")
    if any(pair.matched is not Matched.CONTENT for pair in comparison.pairs):
        lines.append("by name, by order: partners although their numbers do not belong together")
    return lines


def angle(found: KernelAngle) -> str:
    """ "2.2e-06°", "≥ 12°", "-" where there is none."""
    if found.degrees is None:
        return "-"
    return f"{'≥ ' if found.at_least else ''}{found.degrees:.3g}°"


def _notes(pair: Pair) -> str:
    parts = []
    if pair.matched is not Matched.CONTENT:
        parts.append(f"by {pair.matched.label}")
    ops = [" and ".join(dict.fromkeys(map(shown, side.ops))) for side in (pair.a, pair.b)]
    if ops[0] != ops[1]:
        parts.append(f"{ops[0]} → {ops[1]}")
    if pair.a.dtype != pair.b.dtype:
        parts.append(f"{pair.a.dtype} → {pair.b.dtype}")
    for what, order in (("inputs", pair.inputs), ("outputs", pair.outputs)):
        if order is not Order.SAME:
            parts.append(f"{what} {'exchanged axes' if order is Order.LAYOUT else 'permuted'}")
    if pair.moved:
        parts.append("in another place")
    if pair.scale.factors is not Factors.NONE:
        parts.append(_scale(pair.scale))
    if pair.rounding is not None and pair.verdict in (Verdict.ROUNDED, Verdict.SCALED):
        parts.append(f"rounded to {pair.rounding}")
    if pair.steps is not None:
        parts.append(f"at most {pair.steps:.2f} steps apart")
    if pair.difference:
        parts.append(f"‖A − B‖/‖B‖ {pair.difference:.2g}")
    if pair.angle.reason is not None and 0 not in [_kernel(side) for side in (pair.a, pair.b)]:
        parts.append(f"no angle: {shown(pair.angle.reason)}")
    return ", ".join(parts)


def _kernel(side: WeightSide) -> int | None:
    """The nullity that angles are about."""
    return None if side.ranks is None else side.ranks.nullity(Notion.FLOAT64)


def _scale(scale: WeightScale) -> str:
    what = {Factors.ONE: "one factor", Factors.BOTH: "factors on inputs and outputs"}.get(
        scale.factors, f"factors on {scale.factors.label}"
    )
    size = f"{scale.least:.3g}" if math.isclose(scale.least, scale.most) else f"{scale.least:.3g} to {scale.most:.3g}"
    nodes = [shown(node) for node in (*scale.nodes_a, *scale.nodes_b)]
    return f"{what} ({size}), {'of ' + some(nodes) if nodes else 'which no graph explains'}"


def _input(pair: InputPair) -> str:
    names = f"Input '{shown(pair.a)}'" if pair.a == pair.b else f"Inputs '{shown(pair.a)}' and '{shown(pair.b)}'"
    kernels = _both(_nullity(pair.nullity_a), _nullity(pair.nullity_b))
    text = f"{names}: dimensions that the network cannot see {kernels}; "
    if pair.angle.degrees is not None:
        text += f"largest principal angle between these kernels {angle(pair.angle)}; "
    elif pair.angle.reason is not None and pair.mapped is not InputMap.NONE:
        text += f"no angle between kernels: {shown(pair.angle.reason, 300)}; "
    if pair.mapped is InputMap.NONE:
        return f"{text}one cannot be carried over to the other: {shown(pair.reason or '', 300)}."
    return f"{text}carried over {pair.mapped.meaning}."


def _nullity(bounds: Bounds | None) -> str:
    if bounds is None:
        return "not guaranteed or not known"
    text = f"{bounds.lower:,}" if bounds.lower == bounds.upper else f"{bounds.lower:,} to {bounds.upper:,}"
    return f"{text} ({'proved' if bounds.proved else 'numerical'})"


def _crossing(crossing: Crossing) -> str:
    place = _PLACES[crossing.built_on]
    if crossing.reason is not None:
        fails = "failed" if crossing.failed else "none"
        return f"A collision of the {place} model on the other: {fails}: {shown(crossing.reason, 300)}."
    runs = []
    for run in crossing.runs:
        moved = max((change.max_abs for change in run.outputs), default=0.0)
        other = max((change.max_abs for change in run.control), default=0.0)
        runs.append(f"{run.precision} {run.crossed.label} (outputs move by {moved:.2g}, for the control by {other:.2g})")
    worst = max((run.crossed for run in crossing.runs), key=list(Crossed).index, default=Crossed.COLLIDES)
    return f"A collision of the {place} model on the other: {'; '.join(runs)}: {worst.meaning}."


def _names(side: WeightSide) -> str:
    return " + ".join(shown(name) for name in side.names)


def _both(first: str, second: str) -> str:
    return first if first == second else f"{first} → {second}"
