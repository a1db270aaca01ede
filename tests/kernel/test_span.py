"""What is computed from a rank has as many dimensions as its certificate counts, also next to the cut-off."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pytest

from onnxnull.comparison.angles import kernel_angle
from onnxnull.kernel.images.input_nullity import image_nullities, image_nullity
from onnxnull.kernel.maps.convolution import Convolution, TransposedConvolution
from onnxnull.kernel.maps.im2col import ConvGeometry
from onnxnull.kernel.maps.linear_map import Array
from onnxnull.kernel.nullspace import null_space
from onnxnull.kernel.orthonormal import orthonormal
from onnxnull.kernel.rank import Notion, rank, rank_profile
from onnxnull.kernel.span import column_span
from tests.kernel.exact_truth import Truth, assemble

CUTOFFS = (Notion.FLOAT32, Notion.FLOAT64)


def near_the_cutoff(seed: int, q: int, p: int, groups: int = 1, notion: Notion = Notion.FLOAT64) -> Array:
    """Blocks (g, q, p) of σ₁ = 1 whose other singular values are 0.9 to 1.1 times the cut-off."""
    rng = np.random.default_rng(seed)
    count = min(q, p)
    blocks = np.zeros((groups, q, p))
    for block in blocks:
        sigma = rng.uniform(0.9, 1.1, count) * groups * max(q, p) * notion.eps
        sigma[0] = 1.0
        if seed % 3 == 0:  # axes, permuted: the singular values are the entries, exactly
            block[rng.permutation(q)[:count], rng.permutation(p)[:count]] = sigma
            continue
        left = np.linalg.qr(rng.standard_normal((q, count)))[0]
        right = np.linalg.qr(rng.standard_normal((p, count)))[0] if seed % 3 == 1 else np.eye(p, count)
        block[:] = (left * sigma) @ right.T
    return blocks


def patches(seed: int) -> Iterator[tuple[Convolution, int]]:
    """Convolutions whose patches are independent and fill the image, and how many patches there are."""
    rng = np.random.default_rng(seed)
    groups, channels, k, tiles = (int(n) for n in rng.integers(1, 4, 4))
    q, p = channels * k * k, int(rng.integers(1, 6))
    geometry = ConvGeometry.of((k * tiles,) * 2, (k, k), channels=groups * channels, groups=groups, strides=k)
    if min(q, p) > 1:
        yield Convolution(geometry, near_the_cutoff(seed, q, p, groups)), tiles**2


@pytest.mark.parametrize("start", range(0, 120, 60))
def test_bounds_next_to_the_cutoff_agree_with_the_rank(start: int) -> None:
    """Truth: the singular values above the cut-off, counted in exact integers, patch by patch."""
    seen = proved = 0
    for seed in range(start, start + 60):
        for operator, count in patches(seed):
            bounds = image_nullities(operator)[0]
            found = rank(operator.blocks, Notion.FLOAT64)
            truth = Truth(assemble(operator.blocks)).rank("float64")
            inputs = operator.blocks.shape[0] * operator.blocks.shape[1]
            assert not bounds.proved or found.certainty.is_proved
            if bounds.lower_proved:
                assert bounds.lower <= count * (inputs - truth)
            if bounds.upper_proved:
                assert bounds.upper >= count * (inputs - truth)
            seen, proved = seen + 1, proved + bounds.proved
    assert seen > 30
    assert proved > 0


def test_the_transposed_operator_too() -> None:
    for seed in range(60):
        for operator, count in patches(seed):
            turned = TransposedConvolution(operator.geometry, operator.blocks.swapaxes(1, 2))
            bounds = image_nullities(turned)[0]
            truth = Truth(assemble(turned.blocks)).rank("float64")
            inputs = turned.blocks.shape[0] * turned.blocks.shape[1]
            if bounds.proved:
                assert bounds.lower <= count * (inputs - truth) <= bounds.upper


@pytest.mark.parametrize("notion", CUTOFFS)
@pytest.mark.parametrize("shape", [(5, 3), (3, 5), (4, 4), (40, 6), (6, 40)])
def test_everything_counts_alike(notion: Notion, shape: tuple[int, int]) -> None:
    for seed in range(12):
        blocks = near_the_cutoff(seed, *shape, groups=1 + seed % 2, notion=notion)
        found, span = rank(blocks, notion), column_span(blocks, notion)
        assert span.proved == found.certainty.is_proved
        assert span.dimension == found.value
        assert null_space(blocks, notion).dimension == blocks.shape[0] * blocks.shape[1] - found.value
        for basis, block in zip(span.bases, blocks, strict=True):
            assert np.allclose(basis.T @ basis, np.eye(basis.shape[1]), atol=1e-13)
            outside = np.linalg.norm(block - basis @ (basis.T @ block), 2)
            assert outside <= span.dropped * (1 + 1e-6) + 1e-15
        assert span.dropped <= 1.11 * found_cutoff(blocks, notion)
        if notion is Notion.FLOAT64:
            angle = kernel_angle(blocks, blocks.copy())
            assert angle.degrees is None or angle.degrees < 1e-9


def found_cutoff(blocks: Array, notion: Notion) -> float:
    """σ_max is 1."""
    groups, q, p = blocks.shape
    return float(groups * max(q, p) * notion.eps)


def test_a_full_rank_that_is_known_is_not_proved_again(monkeypatch: pytest.MonkeyPatch) -> None:
    blocks = np.random.default_rng(0).standard_normal((2, 9, 4))
    known, expected = rank_profile(blocks), column_span(blocks)
    monkeypatch.setattr("onnxnull.kernel.span.RankDecision", None)
    found = column_span(blocks, ranks=known)
    assert found.proved
    assert all(np.array_equal(a, b) for a, b in zip(found.bases, expected.bases, strict=True))


@pytest.mark.parametrize("scale", [2.0**-1000, 1e-30, 1.0, 2.0**900])
def test_scales_and_zero_rows(scale: float) -> None:
    """Unread inputs stay exactly unread; tiny and huge weights have the same span."""
    blocks = np.zeros((2, 7, 4))
    blocks[:, [0, 2, 5]] = np.random.default_rng(1).standard_normal((2, 3, 4))
    blocks[1, :, 3] = blocks[1, :, 0]
    span = column_span(blocks * scale)
    assert [basis.shape for basis in span.bases] == [(7, 3), (7, 3)]
    assert not span.stacked()[:, [1, 3, 4, 6]].any()
    narrow = column_span(blocks[:, :, :2] * scale).bases[1]
    assert np.allclose(narrow @ (narrow.T @ blocks[1, :, :2]), blocks[1, :, :2])


@pytest.mark.parametrize("blocks", [np.zeros((3, 4, 2)), np.zeros((1, 4, 0)), np.zeros((1, 0, 4)), np.zeros((0, 3, 3))])
def test_nothing_spans_nothing(blocks: npt.NDArray[np.float64]) -> None:
    span = column_span(blocks)
    assert (span.dimension, span.proved, span.dropped) == (0, True, 0.0)
    assert not span.stacked().any()


def test_no_certificate_no_proof() -> None:
    """A singular value that no method can tell from the cut-off: neither end is proved, in the dense way or by sweeps."""
    ambiguous = [b for b in (near_the_cutoff(s, 8, 4) for s in range(60)) if not rank(b, Notion.FLOAT64).certainty.is_proved]
    assert ambiguous
    for blocks in ambiguous:
        for limit in (0, 1500):
            geometry = ConvGeometry.of((6, 6), (2, 2), channels=2)
            bounds = image_nullity(Convolution(geometry, blocks), Notion.FLOAT64, dense_limit=limit)
            assert not bounds.lower_proved
            assert not bounds.upper_proved


def test_filters_are_replaced_by_what_the_certificate_counts() -> None:
    for seed in range(30):
        blocks = near_the_cutoff(seed, 8, 4)
        operator = Convolution(ConvGeometry.of((6, 6), (2, 2), channels=2), blocks)
        replaced = orthonormal(operator)
        assert isinstance(replaced, Convolution)
        assert np.count_nonzero(replaced.blocks.any(axis=1)) == rank(blocks, Notion.FLOAT64).value


@pytest.mark.parametrize("shape", [(24, 60), (60, 24), (30, 30)])
@pytest.mark.parametrize("rank_", [3, 12, 20])
@pytest.mark.parametrize("smallest", [1.0, 1e-3, 1e-6])
def test_what_is_orthogonal_to_the_span_is_not_seen(shape: tuple[int, int], rank_: int, smallest: float) -> None:
    """To rounding, whichever side is longer and however the singular values are spread: eigenvectors alone are not enough."""
    rng = np.random.default_rng(rank_)
    q = shape[0]
    sigma = np.geomspace(1.0, smallest, rank_)
    left, right = (np.linalg.qr(rng.standard_normal((n, rank_)))[0] for n in shape)
    blocks = ((left * sigma) @ right.T)[None]
    span = column_span(blocks)
    assert span.dimension == rank_
    x = rng.standard_normal(q)
    for _ in range(2):
        x = x - span.bases[0] @ (span.bases[0].T @ x)
    assert np.linalg.norm(x @ blocks[0]) <= 2e-15 * np.linalg.norm(x)
    kernel = null_space(blocks)
    assert np.linalg.norm(kernel.project(rng.standard_normal(q)) @ blocks[0]) <= 1e-14
