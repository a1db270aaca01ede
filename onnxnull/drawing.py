"""Pictures for evidence folders and the README: PNG files drawn from plain arrays. Nothing here knows a model.

A picture is (H, W) grey or (H, W, 3) RGB, floats in 0..255. matplotlib is imported where it is used and without pyplot, so
that threads can draw; the same arguments give the same bytes (with the same version of matplotlib).
"""

from __future__ import annotations

import colorsys
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DPI = 110
INK, FAINT = "#222222", "#8a8a8a"
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
"""Okabe and Ito's, told apart by colour-blind readers as well."""
MOST_TILES = 144
"""Channels that a mosaic shows."""
_FONT = "DejaVu Sans"
_TITLE, _TEXT = 11.0, 9.5
_PANEL = 2.6
"""Width of a panel in inches; text is wrapped to it."""
_PLAIN: dict[str, Any] = {"family": _FONT, "parse_math": False}
"""Names come from outside: a "$" in them is no formula."""

Series = Mapping[str, Sequence[tuple[str, float]]]
"""Label of a line → (tensor, max |Δ|) in the order of the network."""


@dataclass(frozen=True, slots=True, eq=False)
class Panel:
    """One picture of a row.

    Attributes:
        picture: (H, W) or (H, W, 3), 0..255.
        lines: what stands below it; long lines are wrapped.
        mask: labels per position, (H, W) integers, drawn in a second row.
        sign: what stands between this picture and the one before it: "+", "=".
    """

    title: str
    picture: np.ndarray
    lines: tuple[str, ...] = ()
    mask: np.ndarray | None = None
    sign: str = ""


def figure(path: Path, panels: Sequence[Panel]) -> None:
    """Pictures side by side as in the paper's Figures 1 and 2: original, perturbation, colliding image, control.

    Raises:
        ValueError: there is no panel, or a picture is not (H, W) or (H, W, 3) with finite numbers.
    """
    _save(panels_figure(panels), path)


def panels_figure(panels: Sequence[Panel]) -> Figure:
    """What `figure` saves."""
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    if not panels:
        raise ValueError("a figure needs at least one panel")
    pictures = [_eight_bits(panel.picture) for panel in panels]
    titles = [_wrapped(panel.title, _TITLE) for panel in panels]
    texts = [_wrapped("\n".join(panel.lines), _TEXT) for panel in panels]
    rows = 2 if any(panel.mask is not None for panel in panels) else 1
    ratios = [picture.shape[0] / picture.shape[1] for picture in pictures]
    text_points = max(title.count("\n") + 1 for title in titles) * _TITLE + max(t.count("\n") + 1 for t in texts) * _TEXT
    height = rows * (_PANEL * min(2.0, max(0.15, *ratios)) + 0.1) + 1.3 * text_points / 72 + 0.3
    # to draw the panels together without gaps, matplotlib needs them alike; those narrower than their text keep the gaps
    alike = len(set(ratios)) == 1 and ratios[0] <= 2.0
    engine = ConstrainedLayoutEngine(compress=alike, w_pad=0.11, h_pad=0.04, wspace=0.0, hspace=0.02)
    result = Figure(figsize=(len(panels) * (_PANEL + 0.22), height), dpi=DPI, layout=engine, facecolor="white")
    axes = result.subplots(rows, len(panels), squeeze=False)
    for panel, picture, title, text, column in zip(panels, pictures, titles, texts, axes.T, strict=True):
        _show(column[0], picture)
        column[0].set_title(title, fontsize=_TITLE, color=INK, **_PLAIN)
        if panel.sign:
            _sign(column[0], panel.sign)
        lowest = column[0]
        if panel.mask is not None:
            lowest = column[1]
            _show(lowest, _eight_bits(mask_image(panel.mask)))
        elif rows == 2:
            column[1].set_axis_off()
        lowest.set_xlabel(text, fontsize=_TEXT, color=INK, linespacing=1.3, **_PLAIN)
    return result


def save_image(path: Path, pixels: np.ndarray) -> None:
    """A picture as a PNG file, rounded to 8 bits, values beyond 0..255 clipped.

    Raises:
        ValueError: it is not (H, W) or (H, W, 3) with finite numbers.
    """
    path.write_bytes(png(pixels))


def png(pixels: np.ndarray, shrink: int = 1) -> bytes:
    """What `save_image` writes; with `shrink`, each side divided by it."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(_eight_bits(pixels)).reduce(shrink).save(buffer, format="PNG")
    return buffer.getvalue()


def perturbation_image(delta: np.ndarray) -> tuple[np.ndarray, float]:
    """A change, (H, W) or (H, W, 3), as a picture, and the largest |Δ|, in the unit of `delta`: the scale, for the caption.

    Grey (127.5) is no change; black and white are −max |Δ| and +max |Δ|, a symmetric scale.
    """
    values = np.nan_to_num(np.asarray(delta, dtype=np.float64), nan=0.0)
    largest = float(np.max(np.abs(values), initial=0.0))
    return 127.5 + 127.5 * (values / largest if largest else values), largest


def mask_image(labels: np.ndarray) -> np.ndarray:
    """Labels, (H, W) integers, in categorical colours, (H, W, 3): 0 is dark, negative ones ("ignore") light grey."""
    present, places = np.unique(np.asarray(labels), return_inverse=True)
    colours = np.array([_label_colour(int(label)) for label in present], dtype=np.float64)
    return np.asarray(colours[places.reshape(np.shape(labels))])


def as_picture(array: np.ndarray, like: np.ndarray | None = None) -> np.ndarray:
    """Any tensor of one sample as a picture: the smallest entry of `like` is black, its largest is white.

    Args:
        array: any shape; see `arranged`.
        like: what sets the scale, so that several pictures share it; `array` itself if None.
    """
    values = arranged(array)
    scale = np.asarray(array if like is None else like, dtype=np.float64)
    scale = scale[np.isfinite(scale)]
    low, high = (float(scale.min()), float(scale.max())) if scale.size else (0.0, 0.0)
    if low == high:
        return np.where(np.isnan(values), 255.0, 127.5 + 127.5 * np.sign(values - low))
    grey = np.clip((values - low) / (high - low) * 255.0, 0.0, 255.0)
    return np.where(np.isnan(grey), 255.0, grey)


def arranged(array: np.ndarray) -> np.ndarray:
    """Any tensor of one sample laid out flat, (H, W) or (H, W, 3), float64; NaN where there is no entry.

    1. Axes of length 1 are dropped.
    2. (3, H, W) is a colour picture.
    3. (H, W) is itself; (C, H, W) is a mosaic of its first 144 channels; further axes in front count as channels.
    4. A vector of up to 64 entries is a row; a longer one is folded into rows that make about a square.
    """
    values = np.squeeze(np.asarray(array, dtype=np.float64))
    if values.ndim < 2:
        count = max(values.size, 1)
        return _mosaic(values.reshape(-1, 1, 1), count if count <= 64 else math.ceil(math.sqrt(count)), gap=0)
    if values.ndim == 2:
        return values
    channels = values.reshape(-1, *values.shape[-2:])
    if values.ndim == 3 and len(values) == 3:
        return np.moveaxis(values, 0, -1)
    return _mosaic(channels[:MOST_TILES], math.ceil(math.sqrt(min(len(channels), MOST_TILES))), gap=1)


def trace_plot(path: Path, series: Series, *, control: Series | None = None) -> None:
    """How far the two runs are apart in every tensor on the way to the outputs, on a logarithmic scale.

    Zeros are drawn on a line of their own below the scale, NaN and Inf as crosses above it.

    Args:
        series: one line for each precision.
        control: the same for the control, as thin lines in the colours of the precisions with the same labels.

    Raises:
        ValueError: there is nothing to draw.
    """
    _save(trace_figure(series, control=control), path)


def trace_figure(series: Series, *, control: Series | None = None) -> Figure:
    """What `trace_plot` saves."""
    from matplotlib.figure import Figure

    lines = [(label, values, True) for label, values in series.items()]
    lines += [(label, values, False) for label, values in (control or {}).items()]
    tensors = list(dict.fromkeys(tensor for _, values, _ in lines for tensor, _ in values))
    if not tensors:
        raise ValueError("a trace needs at least one tensor")
    numbers = np.array([value for _, values, _ in lines for _, value in values])
    positive = numbers[np.isfinite(numbers) & (numbers > 0)]
    low, high = (
        (min(max(math.floor(np.log10(f(positive))), -250), 250) for f in (np.min, np.max)) if positive.size else (-16, -1)
    )
    floor, ceiling = 10.0 ** (low - 1), 10.0 ** (high + 1.5)
    result = Figure(figsize=(9.0, 4.2), dpi=DPI, layout="constrained", facecolor="white")
    axes = result.subplots()
    order, place = list(series), {tensor: index for index, tensor in enumerate(tensors)}
    for number, (label, values, thick) in enumerate(lines):
        x = np.array([place[tensor] for tensor, _ in values])
        y = np.array([value for _, value in values], dtype=np.float64)
        colour = COLOURS[(order.index(label) if label in order else number) % len(COLOURS)]
        style: dict[str, Any] = {"color": colour, "linewidth": 1.9 if thick else 0.8, "alpha": 1.0 if thick else 0.75}
        name = plain_text(label if thick else f"{label}, control")
        shown = np.where(y == 0, floor, np.where(np.isfinite(y), np.clip(y, 10.0**low, 10.0 ** (high + 1)), np.nan))
        dots = "o" if len(tensors) <= 40 else ("." if len(values) == 1 else "")
        axes.plot(x, shown, label=name, marker=dots, markersize=3.5 if thick else 2.0, zorder=3 if thick else 2, **style)
        if thick:
            zero, lost = x[y == 0], x[~np.isfinite(y)]
            ring = 4.5 + 2.5 * (len(series) - 1 - number)  # the zeros of several precisions are rings around each other
            axes.plot(zero, np.full(len(zero), floor), "o", mfc="white", mec=colour, markersize=ring, zorder=4)
            axes.plot(lost, np.full(len(lost), ceiling / 2), "x", color=colour, markersize=6, zorder=4)
    _trace_axes(axes, tensors, low, high, zeros=bool(np.any(numbers == 0)), lost=not np.all(np.isfinite(numbers)))
    legend = result.legend(loc="outside upper center", ncols=min(len(lines), 4), frameon=False, fontsize=_TEXT)
    for text in legend.get_texts():
        text.set(**_PLAIN)
    return result


def _trace_axes(axes: Axes, tensors: Sequence[str], low: int, high: int, *, zeros: bool, lost: bool) -> None:
    """Few ticks: decades on the left, at most a dozen tensors below."""
    floor, ceiling = 10.0 ** (low - 1), 10.0 ** (high + 1.5)
    axes.set_yscale("log")
    axes.set_ylim(floor / 2.5 if zeros else 10.0 ** (low - 0.3), ceiling)
    decades = list(range(low, high + 2, max(1, (high - low + 2) // 7)))
    ticks, labels = [10.0**n for n in decades], [f"1e{n}" if n else "1" for n in decades]
    if zeros:
        ticks, labels = [floor, *ticks], ["0", *labels]
        axes.axhspan(floor / 2.5, floor * 2.5, color="#f0f0f0", zorder=0)
    if lost:
        ticks, labels = [*ticks, ceiling / 2], [*labels, "NaN, Inf"]
    axes.set_yticks(ticks, labels, fontsize=_TEXT, color=INK, **_PLAIN)
    axes.minorticks_off()
    places = np.unique(np.linspace(0, len(tensors) - 1, min(len(tensors), 12)).round().astype(int)).tolist()
    names = [plain_text(tensors[i] if len(tensors[i]) <= 26 else "…" + tensors[i][-25:]) for i in places]
    axes.set_xticks(places, names, rotation=35, ha="right", rotation_mode="anchor", fontsize=8, color=INK, **_PLAIN)
    axes.set_xlim(-0.02 * len(tensors) - 0.3, 1.02 * len(tensors) - 0.7)
    axes.set_ylabel("max |Δ| of the tensor", fontsize=_TEXT, color=INK, **_PLAIN)
    strip_axes(axes)


def strip_axes(axes: Axes) -> None:
    """Two spines and a faint grid across."""
    axes.grid(axis="y", color="#e4e4e4", linewidth=0.7)
    axes.set_axisbelow(True)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(FAINT)
    axes.tick_params(color=FAINT)


def _show(axes: Axes, picture: np.ndarray) -> None:
    small = 2 * max(picture.shape[:2]) <= _PANEL * DPI
    axes.imshow(picture, cmap="gray", vmin=0, vmax=255, interpolation="nearest" if small else "antialiased")
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set(color=FAINT, linewidth=0.6)


def _sign(axes: Axes, sign: str) -> None:
    """In the gap to the left of the picture."""
    place: dict[str, Any] = {"xycoords": "axes fraction", "xytext": (-9.5, 0), "textcoords": "offset points"}
    text = axes.annotate(
        sign, (0.0, 0.5), ha="center", va="center", fontsize=15, color=FAINT, annotation_clip=False, **place, **_PLAIN
    )
    text.set_in_layout(False)


def _save(drawn: Figure, path: Path) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    FigureCanvasAgg(drawn)
    drawn.savefig(path, format="png", dpi=DPI, bbox_inches="tight", pad_inches=0.08, metadata={"Software": None})


def _eight_bits(picture: np.ndarray) -> np.ndarray:
    """(H, W) or (H, W, 3), uint8."""
    values = np.asarray(picture, dtype=np.float64)
    if values.size == 0 or not (values.ndim == 2 or (values.ndim == 3 and values.shape[2] == 3)):
        raise ValueError(f"an array of shape {values.shape} is no picture")
    if not np.all(np.isfinite(values)):
        raise ValueError("a picture holds NaN or Inf")
    return np.rint(np.clip(values, 0.0, 255.0)).astype(np.uint8)


def _mosaic(tiles: np.ndarray, columns: int, gap: int) -> np.ndarray:
    """(n, h, w) → rows of `columns` tiles, `gap` entries of NaN between them."""
    count, height, width = tiles.shape
    rows = max(1, math.ceil(count / columns))
    result = np.full((rows * (height + gap) - gap, columns * (width + gap) - gap), np.nan)
    for index, tile in enumerate(tiles):
        top, left = (index // columns) * (height + gap), (index % columns) * (width + gap)
        result[top : top + height, left : left + width] = tile
    return result


def _label_colour(label: int) -> tuple[float, float, float]:
    if label < 0:
        return (215.0, 215.0, 215.0)
    if label == 0:
        return (38.0, 40.0, 48.0)
    if label <= len(COLOURS):
        hexed = COLOURS[(label + 3) % len(COLOURS)]
        return (float(int(hexed[1:3], 16)), float(int(hexed[3:5], 16)), float(int(hexed[5:7], 16)))
    # the golden ratio spreads hues evenly, however many there are
    red, green, blue = colorsys.hsv_to_rgb(label * 0.618034 % 1.0, 0.45 + 0.15 * (label % 4), 0.95 - 0.12 * (label % 3))
    return (255.0 * red, 255.0 * green, 255.0 * blue)


def _wrapped(text: str, size: float) -> str:
    """`text` with lines no wider than a panel at this font size; words that are too long are cut."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import text_to_path

    font = FontProperties(family=_FONT, size=size)

    def fits(line: str) -> bool:
        return bool(text_to_path.get_text_width_height_descent(line, font, ismath=False)[0] <= 70.0 * _PANEL)

    rows: list[str] = []
    for line in text.split("\n"):
        row = ""
        for word in plain_text(line).split(" "):
            longer = f"{row} {word}" if row else word
            if row and not fits(longer):
                rows.append(row)
                longer = word
            while not fits(longer):
                length = next(n for n in range(min(len(longer), 80), 0, -1) if n == 1 or fits(longer[:n]))
                rows.append(longer[:length])
                longer = longer[length:]
            row = longer
        rows.append(row)
    return "\n".join(rows)


def plain_text(text: str) -> str:
    """`text` with a "?" for what the font cannot draw."""
    from matplotlib.font_manager import findfont, get_font

    font = get_font(findfont(_FONT))
    return "".join(c if c == " " or (c.isprintable() and font.get_char_index(ord(c))) else "?" for c in text)
