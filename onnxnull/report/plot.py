"""The picture of `onnxnull analyze --plot`: nullity and singular values of every weight of a model, PNG or SVG.

matplotlib without pyplot; the same report gives the same bytes (with the same version of matplotlib).
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from onnxnull.analysis.results import ModelReport
from onnxnull.drawing import COLOURS, DPI, FAINT, INK, plain_text, strip_axes
from onnxnull.report import words
from onnxnull.report.chart_data import ChartWeight, chart_weights

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_SHAPE, _LOST, _NEAR = COLOURS[0], COLOURS[1], COLOURS[3]
_SIZE: dict[str, Any] = {"fontsize": 9.5, "color": INK}
_NAMED = 60
"""Weights that are named below; more have numbers, in the order of the report."""
_DECADES = 16

_Line = list[tuple[float, float]]


def render(report: ModelReport, form: Literal["png", "svg"] | str) -> bytes:
    """The picture as a file.

    Raises:
        ValueError: the report holds no weight, or `form` is neither "png" nor "svg".
    """
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    canvas = {"png": FigureCanvasAgg, "svg": FigureCanvasSVG}.get(form)
    if canvas is None:
        raise ValueError(f"a plot is png or svg, not {form!r}")
    drawn = figure(report)
    canvas(drawn)
    stamp = {"Software": None} if form == "png" else {"Date": None, "Creator": None}
    buffer = io.BytesIO()
    with mpl.rc_context({"svg.hashsalt": "onnxnull"}):  # otherwise ids in the file are random
        drawn.savefig(buffer, format=form, dpi=DPI, metadata=stamp)
    return buffer.getvalue()


def figure(report: ModelReport) -> Figure:
    """Two charts, one above the other, with a column for every weight. Raises ValueError where there is none."""
    from matplotlib.figure import Figure

    weights = chart_weights(report)
    if not weights:
        raise ValueError("there is no weight to draw")
    width = min(24.0, max(8.0, 0.11 * len(weights) + 2.5))
    result = Figure(figsize=(width, 7.6), dpi=DPI, layout="constrained", facecolor="white")
    above, below = result.subplots(2, 1, sharex=True, height_ratios=(1, 1.35))
    title = f"{words.shortened(words.shown(report.model.file), 80)}: what {words.count(len(weights), 'weight')} cannot see"
    result.suptitle(plain_text(title), fontsize=11, color=INK, parse_math=False)
    _nullities(above, weights)
    _spectra(below, weights)
    _names(below, weights)
    return result


def _nullities(axes: Axes, weights: Sequence[ChartWeight]) -> None:
    x = np.arange(1, len(weights) + 1)
    inputs = np.array([max(1, weight.inputs) for weight in weights])
    base = np.zeros(len(weights))
    for name, colour, label in (
        ("shape", _SHAPE, "fewer outputs than inputs"),
        ("lost", _LOST, "rank below what the shape allows"),
        ("near", _NEAR, "at the float32 cut-off only"),
    ):
        share = 100 * np.array([getattr(weight, name) for weight in weights]) / inputs
        if name == "shape" or share.any():
            axes.bar(x, share, 0.8, base, color=colour, label=label, linewidth=0)
        base = base + share
    if len(weights) <= 24:
        for weight, top in zip(weights, base, strict=True):
            axes.text(weight.number, top + 1.5, f"{weight.nullity:,}", ha="center", fontsize=8, color=INK)
    axes.set_ylim(0, 108 if len(weights) <= 24 else 100)
    axes.set_yticks([0, 25, 50, 75, 100], ["0", "25", "50", "75", "100 %"])
    axes.set_ylabel("nullity, share of the inputs", **_SIZE)
    _finish(axes)


def _spectra(axes: Axes, weights: Sequence[ChartWeight]) -> None:
    from matplotlib.collections import LineCollection

    floor = 10.0 ** -(_DECADES + 0.7)
    seen: list[_Line] = []
    small: list[_Line] = []
    for weight in weights:
        for _, share in weight.sigma or ():
            y = max(share, floor) if share > 0 else floor
            (small if share <= weight.float32 else seen).append([(weight.number - 0.4, y), (weight.number + 0.4, y)])
    alpha = 0.5 if len(weights) <= _NAMED else 0.3
    if seen:
        lines = LineCollection(seen, colors=FAINT, linewidths=0.9, alpha=alpha, label="singular values", rasterized=True)
        axes.add_collection(lines)
    if small:
        axes.add_collection(
            LineCollection(small, colors=_LOST, linewidths=1.2, label="0 at the float32 cut-off", rasterized=True)
        )
    edges = np.arange(0.5, len(weights) + 1)
    for name, colour, style in (("float32", _LOST, (0, (5, 2))), ("float64", _NEAR, (0, (2, 2)))):
        axes.stairs(
            [getattr(weight, name) for weight in weights], edges, baseline=None, color=colour, ls=style, label=f"{name} cut-off"
        )
    axes.set_yscale("log")
    axes.set_ylim(10.0 ** -(_DECADES + 1), 3.0)
    ticks = list(range(0, _DECADES + 1, 2))
    names = ["1" if n == 0 else f"1e-{n}" for n in ticks]
    zero = any(share == 0 for weight in weights for _, share in weight.sigma or ())
    if zero:
        ticks, names = ticks[:-1], names[:-1]
    axes.set_yticks([*(10.0**-n for n in ticks), *([floor] if zero else [])], [*names, *(["0"] if zero else [])])
    axes.minorticks_off()
    axes.set_ylabel("σ / σ max of the weight", **_SIZE)
    _finish(axes)


def _names(axes: Axes, weights: Sequence[ChartWeight]) -> None:
    count = len(weights)
    axes.set_xlim(0.4, count + 0.6)
    if count <= _NAMED:
        shown = [plain_text(words.shortened(weight.name, 32)) for weight in weights]
        axes.set_xticks(range(1, count + 1), shown, rotation=60, ha="right", rotation_mode="anchor", fontsize=8, color=INK)
        for label in axes.get_xticklabels():
            label.set_parse_math(False)
    else:
        step = next(nice for nice in (5, 10, 20, 25, 50, 100, 200, 500, 1000, 10**9) if nice >= count / 16)
        axes.set_xticks([1, *range(step, count + 1, step)])
        axes.set_xlabel("weight, in the order of the report", **_SIZE)


def _finish(axes: Axes) -> None:
    strip_axes(axes)
    axes.tick_params(axis="both", labelsize=8.5, labelcolor=INK)
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncols=4, frameon=False, fontsize=8.5, borderaxespad=0.1)
