"""`analyze --plot`: the picture says what the numbers say, for few weights and for many; and the singular values in it."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from onnx import helper
from PIL import Image

from onnxnull import analyze
from onnxnull.kernel.rank import Notion, RankProfile, rank_profile
from onnxnull.report import csv, plot
from onnxnull.report.chart_data import MOST_VALUES, chart_weights, places
from tests.cli.console import ROOT, onnxnull
from tests.shared import matmul, random, save, shared_model

from .batches import HOSTILE, batch, profile, report, weight
from .test_html import with_spectrum

CNN = ROOT / "models/digits_cnn.onnx"


class TestSingularValues:
    """Against NumPy's, which share no code with them."""

    @pytest.mark.parametrize("shape", [(40, 30), (30, 40), (3, 20, 5), (1, 1, 1), (64, 9, 1)])
    @pytest.mark.parametrize("scale", [1.0, 2.0**-600])
    def test_random_weights(self, shape: tuple[int, ...], scale: float) -> None:
        stack = random(*shape, dtype=np.float64) * scale
        blocks = stack if stack.ndim == 3 else stack[None]
        expected = np.sort(np.concatenate([np.linalg.svd(block, compute_uv=False) for block in blocks]))[::-1]
        found = rank_profile(stack, spectrum=True).sigma
        assert found is not None
        assert len(found) == min(blocks.shape[0] * blocks.shape[1], blocks.shape[0] * blocks.shape[2])
        np.testing.assert_allclose(found[: len(expected)], expected, rtol=1e-7)
        assert not any(found[len(expected) :])

    def test_small_ones_are_resolved_down_to_the_cut_off_and_0_below(self) -> None:
        u, v = (np.linalg.qr(random(rows, 12, seed=rows, dtype=np.float64))[0] for rows in (60, 12))
        sigma = np.array([2.0, 1.0, 0.5, 1e-3, 1e-5, 1e-7, 1e-9, 1e-11, 1e-12, 1e-16, 1e-18, 0.0])
        ranks = rank_profile(u @ np.diag(sigma) @ v.T, spectrum=True)
        assert ranks.sigma is not None
        np.testing.assert_allclose(ranks.sigma[:9], sigma[:9], rtol=1e-3)
        assert not any(ranks.sigma[9:])
        assert sum(value > ranks.cutoff(Notion.FLOAT32) for value in ranks.sigma) == ranks.float32.value
        assert ranks.cutoff(Notion.FLOAT64) == pytest.approx(2.0 * 60 * 2.0**-52)

    def test_a_zero_weight_has_only_zeros(self) -> None:
        assert rank_profile(np.zeros((3, 5)), spectrum=True).sigma == (0.0, 0.0, 0.0)

    def test_only_where_asked_for(self) -> None:
        assert rank_profile(random(6, 4)).sigma is None

    def test_no_time_costs_the_picture_and_not_the_ranks(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("onnxnull.kernel.rank.values._SECONDS", 1e9)
        ranks = rank_profile(random(60, 40), spectrum=True, deadline=float("inf"))
        assert ranks.sigma is not None
        ranks = rank_profile(random(60, 40), spectrum=True, deadline=time.monotonic() + 60)
        assert (ranks.sigma, ranks.float64.value) == (None, 40)

    def test_of_a_real_model(self) -> None:
        """The eight nearly dead filters of a trained stem (design §3): rank 56 at the float32 cut-off, 63 at float64."""
        stem = analyze(shared_model("resnet18_upto_layer3.onnx"), spectra=True).weights[0].ranks
        assert stem.sigma is not None
        assert len(stem.sigma) == 64
        assert sum(value > stem.cutoff(Notion.FLOAT32) for value in stem.sigma) == stem.float32.value == 56
        assert sum(value > 0 for value in stem.sigma) == stem.float64.value == 63


def test_places_keep_both_ends_and_both_cut_offs() -> None:
    sigma = tuple(0.5**n for n in range(3000))
    ranks = RankProfile(
        5000, 3000, profile(5000, 3000, 1201, 1201).float32, profile(5000, 3000, 1, 2222).float64, None, 1, 0, sigma
    )
    chosen = list(places(ranks))
    assert chosen == sorted(set(chosen))
    assert len(chosen) <= MOST_VALUES
    assert {0, 2999, *range(1193, 1209), *range(2214, 2230)} <= set(chosen)
    assert max(np.diff(chosen)) < 25
    assert list(places(replace(ranks, sigma=sigma[:MOST_VALUES]))) == list(range(MOST_VALUES))


def test_the_parts_of_a_nullity_add_up() -> None:
    narrow, lost, near = profile(27, 8, 8, 8), profile(8, 27, 6, 6), profile(27, 8, 5, 7)
    layers = chart_weights(report(weight("narrow", narrow), weight("lost", lost), weight("near", near)))
    assert [(each.shape, each.lost, each.near) for each in layers] == [(19, 0, 0), (0, 2, 0), (19, 1, 2)]
    assert [each.nullity for each in layers] == [19, 2, 20]
    assert [each.number for each in layers] == [1, 2, 3]


def test_the_command_writes_the_picture_beside_the_report(tmp_path: Path) -> None:
    done = onnxnull("analyze", CNN, "--plot", tmp_path / "one.SVG", "--format", "csv")
    told = analyze(CNN, spectra=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, csv.render(batch(told)), "")
    data = (tmp_path / "one.SVG").read_bytes()
    assert data.startswith(b"<?xml")
    assert data == plot.render(told, "svg")


def test_the_figure_says_what_the_numbers_say() -> None:
    told = analyze(CNN, spectra=True)
    above, below = plot.figure(told).axes
    heights = [bar.get_path().get_extents(bar.get_transform() - above.transData).height for bar in above.patches]
    assert heights == pytest.approx([100 * w.ranks.nullity(Notion.FLOAT64) / w.inputs for w in told.weights])  # type: ignore[operator]
    (values,) = (each for each in below.collections if each.get_label() == "singular values")
    assert len(values.get_segments()) == sum(min(w.inputs, w.outputs, MOST_VALUES) for w in told.weights)  # type: ignore[attr-defined]
    assert {"float32 cut-off", "float64 cut-off"} <= {each.get_label() for each in below.patches}


@pytest.mark.parametrize("count", [1, 30, 200])
def test_names_or_numbers_and_no_text_over_another(count: int) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    told = with_spectrum(report(*(weight(f"block{n}.attention.projection.weight") for n in range(count))))
    figure = plot.figure(told)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()  # type: ignore[no-untyped-call]
    renderer = canvas.get_renderer()  # type: ignore[no-untyped-call]
    below = figure.axes[1]
    labels = [label for label in below.get_xticklabels() if label.get_text()]
    assert len(labels) == (count if count <= 60 else 11)
    assert (labels[0].get_text() == "1") == (count > 60)
    starts = sorted(label.get_window_extent(renderer).x1 for label in labels)
    assert all(np.diff(starts) >= 11)  # pixels between two labels: 8 points are 12
    assert figure.get_size_inches()[0] <= 24


def test_any_name_is_drawn_without_a_warning(recwarn: pytest.WarningsRecorder) -> None:
    names = [*HOSTILE.values(), "$x_1^2$ \\frac", "层.重量"]
    for file in ("$x_1^2$ \\frac 层", "\udcff" * 300):
        told = with_spectrum(report(*map(weight, names), file=file))
        assert plot.render(told, "png").startswith(b"\x89PNG")
    assert not [str(warning.message) for warning in recwarn]


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (("m.onnx", "--plot", "p.pdf"), 4, "ends neither in .png nor in .svg"),
        (("m.onnx", "m.onnx", "--plot", "p.png"), 4, "--plot draws one model"),
        (("m.onnx", "--plot", "p.svg", "-o", "p.svg"), 4, "name the same file"),
        (("m.onnx", "--plot", "absent/p.png"), 2, "error[output]"),
    ],
)
def test_what_cannot_be_drawn_is_said_before_the_work(arguments: tuple[str, ...], code: int, told: str, tmp_path: Path) -> None:
    matmul(tmp_path / "m.onnx", random(6, 4))
    done = onnxnull("analyze", *arguments, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (code, "")
    assert told in done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m.onnx"]


def test_a_model_without_weights_has_no_picture(tmp_path: Path) -> None:
    save(tmp_path / "m.onnx", [helper.make_node("Relu", ["x"], ["y"])], {})
    done = onnxnull("analyze", "m.onnx", "--plot", "p.png", cwd=tmp_path)
    assert done.returncode == 3
    assert "m.onnx: no weight was analysed, so 'p.png' is not drawn" in done.stderr
    assert not (tmp_path / "p.png").exists()
    with pytest.raises(ValueError, match="no weight"):
        plot.figure(report())
    with pytest.raises(ValueError, match="png or svg"):
        plot.render(report(weight("w")), "pdf")


def test_the_png_is_a_picture(tmp_path: Path) -> None:
    path = tmp_path / "p.png"
    path.write_bytes(plot.render(with_spectrum(report(weight("w"))), "png"))
    with Image.open(path) as image:
        assert image.size == (880, 836)
