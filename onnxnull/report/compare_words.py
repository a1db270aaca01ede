"""Two models side by side in words, for text and Markdown."""

from __future__ import annotations

import math

from onnxnull.comparison.results import (
    Agreement,
    Comparison,
    Crossing,
    InputPair,
    KernelAngle,
    Pair,
    Scale,
    Side,
)
from onnxnull.comparison.verdicts import Crossed, Factors, InputMap, Matched, Order, Verdict
from onnxnull.kernel.bounds import Bounds
from onnxnull.kernel.rank import Notion
from onnxnull.report.tables import Table
from onnxnull.report.words import count, described, nullity_cell, rank_cell, shown, some, unsupported

_PLACES = {"a": "first", "b": "second"}


def headlines(comparison: Comparison) -> list[str]:
    """What the two files are."""
    return [f"{place}: {described(info)}" for place, info in (("first", comparison.a), ("second", comparison.b))]


def verdict(comparison: Comparison, limit: Verdict) -> str:
    """The answer in a sentence."""
    reasons = len(list(comparison.differences(limit)))
    if reasons:
        return f"DIFFERENT: the two files do not hold the same network up to '{limit.label}' ({count(reasons, 'reason')})."
    if not (comparison.complete and comparison.equal):
        return "INCOMPLETE: nothing different was found, but not everything was compared."
    if not comparison.pairs:
        return "NOTHING: neither file holds a linear weight."
    found = comparison.verdict
    if comparison.agreement is None:
        return (
            f"SAME WEIGHTS: the loosest pair is '{found.label}' ({found.meaning}), and everything else in the graphs is the "
            "same; run both without --no-run."
        )
    return f"SAME: the two files hold the same network; the loosest pair is '{found.label}' ({found.meaning})."


def summary(comparison: Comparison, limit: Verdict) -> list[str]:
    """What was found, in sentences."""
    verdicts = [pair.verdict for pair in comparison.pairs]
    counts = ", ".join(f"{verdicts.count(v):,} {v.label}" for v in Verdict if v in verdicts)
    lines = [f"{count(len(verdicts), 'pair')} of weights{f': {counts}' if counts else ''}."]
    reasons = list(comparison.differences(limit))
    if reasons:
        lines.append(f"Why they differ: {some([shown(reason, 300) for reason in reasons], '; ', 6)}.")
    if comparison.unsettled:
        names = some([shown(pair.a.names[0]) for pair in comparison.unsettled])
        lines.append(
            f"Not settled: {names} hold the same numbers in another order or place, or up to factors that no graph explains; "
            "whether the rest of the network makes up for it shows when both are run."
        )
    if not comparison.equal:
        lines.append("The graphs are not the same node by node, or constants other than weights differ.")
    lines += [_input(pair) for pair in comparison.inputs]
    lines += [_crossing(crossing) for crossing in comparison.crossings]
    if comparison.agreement is not None:
        lines.append(_agreement(comparison.agreement))
    else:
        lines.append("Neither was run.")
    return lines


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


def pairs(comparison: Comparison) -> Table:
    """One row per pair."""
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
    )
    header = ("first", "second", "verdict", "inputs", "outputs", "rank", "nullity", "angle", "notes")
    numeric = (False, False, False, True, True, True, True, True, False)
    return Table(header, numeric, rows, optional=(("inputs", "outputs"), ("notes",)))


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


def _kernel(side: Side) -> int | None:
    """The nullity that angles are about."""
    return None if side.ranks is None else side.ranks.nullity(Notion.FLOAT64)


def _scale(scale: Scale) -> str:
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


def _agreement(found: Agreement) -> str:
    if found.reason is not None:
        return f"The outputs for one input were not compared: {shown(found.reason, 300)}."
    worst = max(found.outputs, key=lambda pair: pair.ratio, default=None)
    if worst is None:
        return "Neither model has an output."
    allowed = "" if found.limit is None else f", where {found.limit:.2g} is allowed"
    if found.holds is None and found.needed is not None:
        allowed += f"; weights as far apart as these may change {found.needed:.2g}, so that this settles nothing"
    return (
        f"For one random input, output '{shown(worst.a)}' differs by {worst.max_abs:.2g} between the models, {worst.ratio:.2g} "
        f"times what another input changes{allowed}."
    )


def _names(side: Side) -> str:
    return " + ".join(shown(name) for name in side.names)


def _both(first: str, second: str) -> str:
    return first if first == second else f"{first} → {second}"
