"""Figures: valid PNG files, the same bytes twice, text that stays off the pictures; and what the pictures' numbers mean."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import Image

from onnxnull import drawing
from onnxnull.drawing import (
    Panel,
    arranged,
    as_picture,
    figure,
    mask_image,
    panels_figure,
    perturbation_image,
    save_image,
    trace_figure,
    trace_plot,
)

RNG = np.random.default_rng(0)
COLOUR = RNG.uniform(0, 255, (24, 24, 3))
MASK = RNG.integers(0, 3, (24, 24))
LINES = ("3   96.5 %", "8   1.2 %", "max |Δ| 5.4e-07 in float32, and more than one line can hold of it")


def panels(picture: np.ndarray = COLOUR, lines: tuple[str, ...] = LINES, mask: np.ndarray | None = None) -> list[Panel]:
    """Four of them, as the paper's."""
    return [
        Panel("original", picture, lines, mask),
        Panel("perturbation", picture, ("grey is none",), sign="+"),
        Panel("colliding image", picture, lines, mask, sign="="),
        Panel("control: as large a change that the network sees", picture, lines, mask),
    ]


def trace(tensors: int, size: float, zeros: int = 0) -> list[tuple[str, float]]:
    """A made-up trace whose first `zeros` tensors do not differ."""
    return [(f"/backbone/layer{i // 9}/Conv_{i}_output_0", 0.0 if i < zeros else size * (1 + i % 7)) for i in range(tensors)]


DRAWN: dict[str, Callable[[Path], None]] = {
    "panels": lambda path: figure(path, panels()),
    "masks": lambda path: figure(path, panels(mask=MASK)),
    "grey": lambda path: figure(path, panels(COLOUR[..., 0])),
    "one pixel": lambda path: figure(path, panels(COLOUR[:1, :1])),
    "a line of text": lambda path: figure(path, panels(np.arange(48 * 320).reshape(48, 320) % 251.0)),
    "a tower": lambda path: figure(path, panels(np.zeros((320, 20, 3)))),
    "of several shapes": lambda path: figure(path, [*panels(), Panel("vector", as_picture(np.arange(10)), LINES)]),
    "alone": lambda path: figure(path, [Panel("", COLOUR)]),
    "names from outside": lambda path: figure(path, [Panel("$\\frac{", COLOUR, ("$x$ 猫 \x00\t$$", "_" * 200, "a\nb"))]),
    "trace": lambda path: trace_plot(path, {"float64": trace(200, 1e-15, 3), "float32": trace(200, 1e-6)}),
    "trace and control": lambda path: trace_plot(path, {"float32": trace(9, 1e-6)}, control={"float32": trace(9, 1.0)}),
    "trace of nothing": lambda path: trace_plot(path, {"float64": trace(5, 0.0)}),
    "trace of one tensor": lambda path: trace_plot(path, {"native": [("y", 3.0)]}),
    "trace with NaN": lambda path: trace_plot(path, {"float32": [("a", np.nan), ("b", np.inf), ("$c$", 1.0)]}),
    "trace at the ends": lambda path: trace_plot(path, {"float64": [("a", 5e-324), ("b", 1.7e308), ("c", 0.0)]}),
}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", DRAWN)
def test_a_valid_png_and_the_same_bytes_twice(name: str, tmp_path: Path) -> None:
    first, second = tmp_path / "a.png", tmp_path / "b.anything"
    for path in (first, second):
        DRAWN[name](path)
    assert first.read_bytes() == second.read_bytes()
    with Image.open(first) as image:
        image.load()
        assert image.format == "PNG"
        assert not set(image.info) - {"dpi"}  # no dates, no versions
        assert all(100 <= side <= 2000 for side in image.size), image.size
        assert len(image.convert("L").getcolors(256) or []) > 1


def test_threads_draw_the_same(tmp_path: Path) -> None:
    paths = [tmp_path / f"{i}.png" for i in range(4)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(DRAWN["panels"], paths))
    assert len({path.read_bytes() for path in paths}) == 1


def test_neither_matplotlib_nor_pillow_is_imported_before_it_is_needed() -> None:
    code = "import sys, onnxnull.drawing; print({'matplotlib', 'PIL'} & set(sys.modules))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "set()"


@pytest.mark.parametrize("name", ["square", "masks", "wide", "tall", "mixed"])
def test_no_text_lies_on_a_picture_or_on_other_text(name: str) -> None:
    long = ("W" * 60, "words of which there are more than one line holds", "x")
    row = {
        "square": panels(lines=long),
        "masks": panels(lines=long, mask=MASK),
        "wide": panels(np.zeros((10, 200)), lines=long),
        "tall": panels(np.zeros((300, 20)), lines=long),
        "mixed": [Panel("a", np.zeros((1, 30)), long), Panel("b", np.zeros((50, 10)), long)],
    }[name]
    drawn = panels_figure(row)
    FigureCanvasAgg(drawn)
    drawn.draw_without_rendering()
    pictures = [axes.get_window_extent() for axes in drawn.axes if axes.axison]
    texts = [text.get_window_extent() for axes in drawn.axes for text in (axes.title, axes.xaxis.label) if text.get_text()]
    assert len(texts) >= 2 * len(row)
    everything = pictures + texts
    for i, one in enumerate(everything):
        assert not any(one.overlaps(other) for other in everything[i + 1 :])
    for box in everything:
        assert box.x0 >= -1
        assert box.x1 <= drawn.bbox.x1 + 1


def test_the_figure_grows_with_its_text() -> None:
    heights = [float(panels_figure([Panel("a", COLOUR, ("line",) * n)]).get_size_inches()[1]) for n in (1, 2, 6, 12)]
    line = drawing._TEXT / 72
    for (few, low), (many, high) in zip(
        zip((1, 2, 6), heights, strict=False), zip((2, 6, 12), heights[1:], strict=True), strict=True
    ):
        assert high - low >= (many - few) * line
    assert panels_figure(panels(mask=MASK)).get_size_inches()[1] > 1.5 * panels_figure(panels()).get_size_inches()[1]


@pytest.mark.parametrize(
    "wrong", [np.zeros((2, 2, 4)), np.zeros(5), np.zeros((0, 3)), np.full((2, 2), np.nan), np.full((2, 2, 3), np.inf)]
)
def test_what_is_no_picture_is_refused(wrong: np.ndarray, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="picture"):
        save_image(tmp_path / "a.png", wrong)
    with pytest.raises(ValueError, match="picture"):
        figure(tmp_path / "a.png", [Panel("a", wrong)])
    assert not (tmp_path / "a.png").exists()


def test_nothing_to_draw(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="panel"):
        figure(tmp_path / "a.png", [])
    with pytest.raises(ValueError, match="tensor"):
        trace_plot(tmp_path / "a.png", {"float32": []})


@pytest.mark.parametrize("shape", [(5, 7), (5, 7, 3)])
def test_saved_images_hold_the_rounded_pixels(shape: tuple[int, ...], tmp_path: Path) -> None:
    pixels = np.random.default_rng(3).uniform(-20, 275, shape)
    save_image(tmp_path / "a", pixels)
    with Image.open(tmp_path / "a") as image:
        np.testing.assert_array_equal(np.asarray(image), np.rint(np.clip(pixels, 0, 255)))
        assert image.info == {}


@given(hnp.arrays(np.float64, (4, 3, 3), elements=st.floats(-1e6, 1e6)))
def test_perturbations_are_symmetric_about_grey(delta: np.ndarray) -> None:
    picture, largest = perturbation_image(delta)
    assert largest == np.abs(delta).max()
    np.testing.assert_allclose(perturbation_image(-delta)[0], 255 - picture, atol=1e-9)
    np.testing.assert_allclose((picture - 127.5) / 127.5 * largest, delta, atol=1e-9 * largest)
    assert np.all(picture[delta == 0] == 127.5)
    assert largest == 0 or np.abs(picture - 127.5).max() == 127.5


def test_masks_have_a_colour_for_each_label() -> None:
    labels = np.arange(-1, 151).reshape(8, 19)
    colours = mask_image(labels)
    assert colours.shape == (8, 19, 3)
    assert colours.min() >= 0
    assert colours.max() <= 255
    assert len(np.unique(np.rint(colours).reshape(-1, 3), axis=0)) == labels.size
    # a label keeps its colour, whatever the others are
    np.testing.assert_array_equal(mask_image(labels[3:4, 5:6])[0, 0], colours[3, 5])


@pytest.mark.parametrize(
    ("shape", "laid_out"),
    [
        ((), (1, 1)),
        ((1, 10), (1, 10)),
        ((1, 1000), (32, 32)),
        ((1, 197, 768), (197, 768)),
        ((1, 3, 5, 6), (5, 6, 3)),
        ((1, 1, 5, 6), (5, 6)),
        ((1, 4, 5, 6), (11, 13)),
        ((1, 2048, 7, 7), (95, 95)),
        ((2, 3, 5, 6), (11, 20)),
        ((0,), (1, 1)),
    ],
)
def test_any_tensor_becomes_a_picture(shape: tuple[int, ...], laid_out: tuple[int, ...], tmp_path: Path) -> None:
    array = np.random.default_rng(0).standard_normal(shape)
    flat = arranged(array)
    assert flat.shape == laid_out
    kept = array.reshape(-1, *shape[-2:])[: drawing.MOST_TILES] if shape == (1, 2048, 7, 7) else array
    assert sorted(flat[~np.isnan(flat)].tolist()) == sorted(kept.ravel().tolist())
    picture = as_picture(array)
    assert picture.shape == laid_out
    save_image(tmp_path / "a.png", picture)


@settings(max_examples=30)
@given(hnp.arrays(np.float64, (4, 4), elements=st.floats(-1e3, 1e3)), st.floats(0.1, 10), st.floats(-5, 5))
def test_pictures_share_the_scale_of_another(array: np.ndarray, factor: float, shift: float) -> None:
    assert as_picture(array).min() >= 0
    assert as_picture(array).max() <= 255
    np.testing.assert_array_equal(as_picture(array, array), as_picture(array))
    if np.ptp(array) > 1e-3:
        np.testing.assert_allclose(as_picture(factor * array + shift), as_picture(array), atol=1e-3)
        assert as_picture(array + 2 * np.ptp(array), array).min() == 255


def test_a_long_trace_has_few_labels_and_shows_its_zeros() -> None:
    drawn = trace_figure({"float64": trace(200, 1e-15, 3), "float32": trace(200, 1e-6)}, control={"float32": trace(200, 1.0)})
    (axes,) = drawn.axes
    assert len(axes.get_xticklabels()) <= 12
    assert axes.get_yscale() == "log"
    assert axes.get_yticklabels()[0].get_text() == "0"
    (zeros,) = [line for line in axes.lines if line.get_marker() == "o" and len(np.asarray(line.get_xdata()))]
    assert list(np.asarray(zeros.get_xdata())) == [0, 1, 2]
    low = axes.get_ylim()[0]
    assert np.all(np.asarray(zeros.get_ydata()) > low)
    assert np.all(np.asarray(zeros.get_ydata()) < 1e-15)
    widths = {str(line.get_label()): line.get_linewidth() for line in axes.lines}
    assert widths["float32, control"] < widths["float32"] == widths["float64"]


def test_traces_of_different_tensors_share_an_axis() -> None:
    drawn = trace_figure({"float32": [("a", 1.0), ("b", 2.0)], "float64": [("b", 1e-9), ("c", 1e-8)]})
    lines = {str(line.get_label()): list(np.asarray(line.get_xdata())) for line in drawn.axes[0].lines}
    assert lines["float32"] == [0, 1]
    assert lines["float64"] == [1, 2]
