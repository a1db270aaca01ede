"""Charts as SVG inside the page: bars and lines stretch with the width, text and strokes do not.

A chart is a grid of three drawings: labels on the left, the plot (0..1000 wide, stretched), labels below (placed in percent).
Its words are in the caption, its numbers in the table; for who does not see it, it is one image with a description.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from onnxnull.report.chart_data import ChartWeight
from onnxnull.report.html.markup import Markup, join, tag

DECADES = 16
"""Singular values are drawn from σ_max down to 10⁻¹⁶ of it; what is 0 lies on a line of its own below."""
_WIDTH = 1000.0
_NAMED = 400
"""Bars that say their name; more are too thin to point at."""
_FLOOR = 14.0
"""Pixels for what is 0."""


def nullity_bars(weights: Sequence[ChartWeight]) -> Markup:
    """A bar per weight: which share of its inputs it cannot see, and why."""
    height, slot = 180.0, _WIDTH / len(weights)
    bars = []
    for index, weight in enumerate(weights):
        top, pieces = height, []
        for part, kind in ((weight.shape, "shape-fill"), (weight.lost, "lost-fill"), (weight.near, "near-fill")):
            tall = height * part / max(1, weight.inputs)
            if part:
                pieces.append(_bar(index, slot, top - tall, tall, kind))
            top -= tall
        told = f"{weight.number} {weight.name}: nullity {weight.nullity:,} of {weight.inputs:,}"
        if len(weights) <= _NAMED:
            area = tag("rect", x=index * slot, y=0, width=slot, height=height, fill="transparent")
            bars.append(tag("g", tag("title", told), area, *pieces))
        else:
            bars += pieces
    ticks = [(height * (1 - share / 100), f"{share} %") for share in (0, 25, 50, 75, 100)]
    highest = max(weights, key=lambda weight: weight.nullity / max(1, weight.inputs))
    spoken = (
        f"Bar chart of the share of its inputs that each of {len(weights)} weights cannot see. "
        f"The largest: {highest.name}, {highest.nullity:,} of {highest.inputs:,}."
    )
    return _plot(height, ticks, join(bars), _numbers(len(weights)), spoken)


def sigma_ranges(weights: Sequence[ChartWeight]) -> Markup:
    """For every weight where its singular values lie, and its two cut-offs."""
    height, slot = 260.0, _WIDTH / len(weights)
    drawn: list[str] = []
    for index, weight in enumerate(weights):
        if weight.quartiles is None or weight.sigma is None:
            continue
        positive = [value for _, value in weight.sigma if value > 0]
        top, low, _, high, _ = (_y(value, height) for value in weight.quartiles)
        bottom = _y(positive[-1], height)
        pieces = [_bar(index, slot, top, max(1.5, bottom - top), "bar-fill", 0.3), _bar(index, slot, low, max(1.5, high - low))]
        pieces += [_bar(index, slot, _y(value, height), 2, "lost-fill") for value in positive if value <= weight.float32]
        if weight.quartiles[-1] == 0:
            pieces.append(_bar(index, slot, height - _FLOOR + 3, _FLOOR - 6, "lost-fill"))
        told = f"{weight.number} {weight.name}: σ min / σ max {weight.quartiles[-1]:.2g}"
        drawn += [tag("g", tag("title", told), *pieces)] if len(weights) <= _NAMED else pieces
    for notion in ("float32", "float64"):
        steps = [
            f"M{_short(index * slot)} {_short(_y(getattr(weight, notion), height))}h{_short(slot)}"
            for index, weight in enumerate(weights)
        ]
        drawn.append(tag("path", d="".join(steps), class_=notion if len(weights) <= 40 else f"{notion} whole"))
    zero = any(weight.quartiles is not None and weight.quartiles[-1] == 0 for weight in weights)
    many = f"{len(weights)} weights"
    spoken = f"For each of {many} the range of its singular values relative to the largest, beside the cut-offs."
    return _plot(height, _decades(height, zero), join(drawn), _numbers(len(weights)), spoken)


def spectrum(weight: ChartWeight) -> Markup:
    """The singular values of one weight in order, and its two cut-offs."""
    assert weight.sigma is not None
    height, count = 170.0, min(weight.inputs, weight.outputs)
    points = [((place - 0.5) / count * _WIDTH, _y(value, height)) for place, value in weight.sigma]
    cut = [
        tag("line", x1=0, x2=_WIDTH, y1=_y(share, height), y2=_y(share, height), class_=notion)
        for notion, share in (("float32", weight.float32), ("float64", weight.float64))
    ]
    line = [_polyline(points, "line")] if len(points) > 1 else [_bar(0, _WIDTH, points[0][1] - 1, 2, "shape-fill")]
    spoken = f"The {count:,} singular values of {weight.name}; the smallest is {weight.sigma[-1][1]:.2g} of the largest."
    labels = [(0.0, "1"), (100.0, f"{count:,}")] if count > 1 else [(50.0, "1")]
    return _plot(height, _decades(height, weight.sigma[-1][1] == 0, step=4), join([*cut, *line]), labels, spoken)


def trace(series: Sequence[tuple[str, Sequence[tuple[int, float]]]], names: Sequence[str]) -> Markup:
    """Lines over the tensors of a network on a logarithmic scale: (class, [(place from 0, value)]).

    0 lies on a line of its own; NaN and Inf are left out.
    """
    height, values = 220.0, [value for _, line in series for _, value in line if 0 < value < math.inf]
    low, high = (math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))) if values else (-1, 0)
    low = min(low, high - 1)

    def y(value: float) -> float:
        if value <= 0:
            return height - _FLOOR / 2
        return (high - math.log10(value)) / (high - low) * (height - _FLOOR)

    lines = []
    for kind, line in series:
        points = [((place + 0.5) / len(names) * _WIDTH, y(value)) for place, value in line if value < math.inf]
        lines.append(_polyline(points, kind))
    step = max(1, (high - low) // 6)
    ticks = [(y(10.0**n), _power(n)) for n in range(high, low - 1, -step)]
    if any(value <= 0 for _, line in series for _, value in line):
        ticks = [tick for tick in ticks if tick[0] < height - 2 * _FLOOR] + [(height - _FLOOR / 2, "0")]
    spoken = f"How far the two runs are apart in each of {len(names)} tensors, from {names[0]} to {names[-1]}."
    return _plot(height, ticks, join(lines), _numbers(len(names)), spoken)


def key(*entries: tuple[str, str]) -> Markup:
    """What the colours and the lines mean: (class, words)."""

    def sign(kind: str) -> Markup:
        if kind.endswith("-fill"):
            return tag("rect", width=22, height=12, class_=kind)
        return tag("line", x1=0, x2=22, y1=6, y2=6, class_=kind)

    shown = (tag("li", tag("svg", sign(kind), viewBox="0 0 22 12", aria_hidden="true"), words) for kind, words in entries)
    return tag("ul", *shown, class_="key")


def _plot(
    height: float, ticks: Sequence[tuple[float, str]], drawn: Markup, below: Sequence[tuple[float, str]], spoken: str
) -> Markup:
    left = (tag("text", label, x="3.1rem", y=y + 4, text_anchor="end") for y, label in ticks)
    grid = (tag("line", x1=0, x2=_WIDTH, y1=y, y2=y, class_="grid") for y, _ in ticks)
    size = f"0 0 1000 {height:g}"
    ends = {0.0: "start", 100.0: "end"}
    under = (tag("text", label, x=f"{x:.4g}%", y=14, text_anchor=ends.get(x, "middle")) for x, label in below)
    return tag(
        "div",
        tag("svg", *left, height=height, aria_hidden="true"),
        tag("svg", *grid, drawn, height=height, viewBox=size, preserveAspectRatio="none", role="img", aria_label=spoken),
        tag("svg", *under, class_="below", aria_hidden="true"),
        class_="plot",
    )


def _bar(index: int, slot: float, y: float, height: float, kind: str = "bar-fill", opacity: float | None = None) -> Markup:
    return tag("rect", x=(index + 0.1) * slot, y=y, width=0.8 * slot, height=height, class_=kind, opacity=opacity)


def _polyline(points: Sequence[tuple[float, float]], kind: str) -> Markup:
    return tag("polyline", points=" ".join(f"{_short(x)},{_short(y)}" for x, y in points), class_=kind)


def _short(value: float) -> str:
    return f"{value:.1f}".rstrip("0").rstrip(".")


def _y(share: float, height: float) -> float:
    """Of a share of σ_max."""
    if share <= 0:
        return height - _FLOOR / 2
    return min(DECADES, -math.log10(share)) / DECADES * (height - _FLOOR)


def _decades(height: float, zero: bool, step: int = 2) -> list[tuple[float, str]]:
    ticks = [(_y(10.0**-n, height), _power(-n)) for n in range(0, DECADES + 1, step)]
    if zero:  # in the place of the last decade, which it would touch
        ticks[-1] = (height - _FLOOR / 2, "0")
    return ticks


def _power(n: int) -> str:
    return "1" if n == 0 else f"1e{n}"


def _numbers(count: int) -> list[tuple[float, str]]:
    """At most six numbers of layers below a chart, each under its bar."""
    step = max(1, math.ceil(count / 5))
    step = next((nice for nice in (1, 2, 5, 10, 20, 25, 50, 100, 200, 500, 1000) if nice >= step), step)
    shown = [1, *range(step, count + 1, step)] if step > 1 else list(range(1, count + 1))
    return [((number - 0.5) / count * 100, str(number)) for number in dict.fromkeys(shown)]
