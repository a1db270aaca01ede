"""Input nullities: against dense operators over many geometries, known numbers of trained models, and what is proved."""

from __future__ import annotations

import numpy as np
import pytest

from onnxnull.kernel.budget import Budget, OutOfBudget
from onnxnull.kernel.images.banded_rank import banded_rank
from onnxnull.kernel.images.counting_bound import rank_at_most
from onnxnull.kernel.images.input_nullity import InputNullity, count_read, image_nullities, image_nullity
from onnxnull.kernel.images.splitting import Axis, ConvolutionPart, flip, parts, swap, unroll
from onnxnull.kernel.images.sweep import Sweep, SweepStrategy, attainable, views
from onnxnull.kernel.maps.convolution import Convolution, TransposedConvolution
from onnxnull.kernel.maps.im2col import ConvGeometry
from onnxnull.kernel.maps.linear_map import Array
from onnxnull.kernel.numerics.arithmetic import PRIME, Float64, Prime, residues
from onnxnull.kernel.orthonormal import to_unit
from onnxnull.kernel.rank import Notion
from onnxnull.kernel.span import column_span

from .linear_algebra import random_geometry
from .real_weights import first_convolution


def modular_rank(matrix: Array) -> int:
    """The rank modulo 2³¹ − 1, which for random matrices is that over ℚ."""
    return Prime().rank(residues(matrix))


def small_geometry(rng: np.random.Generator) -> ConvGeometry:
    while True:
        geometry = random_geometry(rng)
        if np.prod(geometry.input_shape) <= 500:
            return geometry


def random_operator(seed: int) -> tuple[Convolution, np.random.Generator]:
    """Random filters; every third one deficient: equal, zero or numerically dead filters, inputs without weight."""
    rng = np.random.default_rng(seed)
    geometry = small_geometry(rng)
    blocks = rng.standard_normal((geometry.groups, geometry.patch_size, int(rng.integers(1, 7))))
    if seed % 3 == 0:
        blocks[:, :, -1] = blocks[:, :, 0]
        blocks[:, rng.integers(geometry.patch_size)] = 0
    if seed % 6 == 0:
        blocks[:, :, 0] *= 1e-30
    return Convolution(geometry, blocks), rng


def test_300_random_geometries_against_the_dense_operator() -> None:
    tight = {Notion.FLOAT64: 0, Notion.EXACT: 0}
    for seed in range(300):
        convolution, _ = random_operator(seed)
        seen = {
            Notion.EXACT: convolution,
            Notion.FLOAT64: Convolution(convolution.geometry, column_span(convolution.blocks).stacked()),
        }
        for notion, operator in seen.items():
            truth = convolution.inputs - modular_rank(operator.dense())
            bounds = image_nullity(convolution, notion, dense_limit=0)
            assert bounds.lower <= truth <= bounds.upper, (seed, notion, bounds, truth)
            assert bounds.upper - bounds.lower <= 0.05 * convolution.inputs, (seed, notion, bounds)
            tight[notion] += bounds.tight
    assert min(tight.values()) >= 0.95 * 300, tight


def test_100_transposed_convolutions_against_the_dense_operator() -> None:
    tight = 0
    for seed in range(100):
        forward, _ = random_operator(seed)
        operator = TransposedConvolution(forward.geometry, forward.blocks.swapaxes(1, 2))
        truth = operator.inputs - modular_rank(operator.dense())
        bounds = image_nullity(operator, Notion.EXACT, dense_limit=0)
        assert bounds.lower <= truth <= bounds.upper, (seed, bounds, truth)
        assert bounds.inputs == operator.inputs
        assert bounds.unread == np.count_nonzero(~operator.dense().any(axis=1))
        tight += bounds.tight
    assert tight >= 95


@pytest.mark.parametrize("seed", range(20))
def test_dense_and_structured_agree(seed: int) -> None:
    convolution, _ = random_operator(seed)
    for notion in (Notion.FLOAT64, Notion.EXACT):
        dense = image_nullity(convolution, notion)
        structured = image_nullity(convolution, notion, dense_limit=0)
        assert max(dense.lower, structured.lower) <= min(dense.upper, structured.upper)


@pytest.mark.parametrize("seed", range(40))
def test_unread_inputs_are_the_zero_rows(seed: int) -> None:
    convolution, _ = random_operator(seed)
    matrix = convolution.dense()
    assert count_read(convolution) == (int(matrix.any(axis=1).sum()), int(matrix.any(axis=0).sum()))
    assert image_nullity(convolution, Notion.EXACT, dense_limit=0).unread == np.count_nonzero(~matrix.any(axis=1))


@pytest.mark.parametrize(
    ("file", "spatial", "notion", "nullity"),
    [
        ("squeezenet_v1.0.onnx", (227, 227), Notion.FLOAT64, 0),
        ("squeezenet_v1.0.onnx", (227, 227), Notion.EXACT, 0),
        ("resnet18_upto_layer3.onnx", (224, 224), Notion.FLOAT64, 0),
        ("resnet18_upto_layer3.onnx", (224, 224), Notion.EXACT, 0),
        ("vit_tiny_patch16_224.onnx", (224, 224), Notion.FLOAT64, 196 * 576),
        ("vit_tiny_patch16_224.onnx", (224, 224), Notion.EXACT, 196 * 576),
        # 3·48·192 inputs, 8·24·96 outputs
        ("ppocr_v2_cls.onnx", (48, 192), Notion.FLOAT64, 9216),
        ("ppocr_v2_cls.onnx", (48, 192), Notion.EXACT, 9216),
        # 3·32·56 inputs, 16·28 positions, 7 filters at float64 and 8 over ℚ
        ("metaroom_4cnn.onnx", (32, 56), Notion.FLOAT64, 2240),
        ("metaroom_4cnn.onnx", (32, 56), Notion.EXACT, 1792),
    ],
)
def test_trained_stems(file: str, spatial: tuple[int, int], notion: Notion, nullity: int) -> None:
    convolution = first_convolution(file, spatial)
    bounds = image_nullity(convolution, notion)
    assert (bounds.lower, bounds.upper) == (nullity, nullity)
    assert bounds.proved


def test_the_nearly_dead_filters_of_resnets_stem_do_not_matter() -> None:
    convolution = first_convolution("resnet18_upto_layer3.onnx", (224, 224))
    norms = np.linalg.norm(convolution.blocks[0], axis=0)
    assert 5 <= np.count_nonzero(norms < 1e-7 * norms.max()) <= 12
    alive = Convolution(convolution.geometry, convolution.blocks[:, :, norms > 1e-7 * norms.max()])
    for notion in (Notion.FLOAT32, Notion.FLOAT64):
        assert image_nullity(convolution, notion).upper == image_nullity(alive, notion).upper == 0


def test_a_1x1_stride_2_convolution_does_not_read_three_quarters() -> None:
    rng = np.random.default_rng(0)
    convolution = Convolution(ConvGeometry.of((56, 56), (1, 1), channels=16, strides=2), rng.standard_normal((1, 16, 32)))
    bounds = image_nullity(convolution, Notion.EXACT)
    assert bounds.unread == bounds.lower == bounds.upper == 16 * 56 * 56 * 3 // 4
    assert bounds.proved


def test_a_dead_group_and_an_unread_channel() -> None:
    rng = np.random.default_rng(1)
    geometry = ConvGeometry.of((20, 20), (3, 3), channels=4, pads=1, groups=2)
    blocks = rng.standard_normal((2, 18, 4))
    blocks[1] = 0
    assert image_nullity(Convolution(geometry, blocks), Notion.EXACT, dense_limit=0).lower == 800
    blocks[0, 9:] = 0
    bounds = image_nullity(Convolution(geometry, blocks), Notion.EXACT, dense_limit=0)
    assert (bounds.unread, bounds.lower, bounds.upper) == (1200, 1200, 1200)


def test_all_zero_weights() -> None:
    geometry = ConvGeometry.of((50, 50), (3, 3), channels=2)
    for notion in Notion:
        bounds = image_nullity(Convolution(geometry, np.zeros((1, 18, 4))), notion)
        assert (bounds.unread, bounds.lower, bounds.upper) == (5000, 5000, 5000)


def test_no_outputs() -> None:
    bounds = image_nullity(Convolution(ConvGeometry.of((2, 2), (5, 5), channels=3), np.ones((1, 75, 2))), Notion.EXACT)
    assert (bounds.unread, bounds.lower, bounds.upper) == (12, 12, 12)


def test_nan_is_refused() -> None:
    blocks = np.ones((1, 9, 2))
    blocks[0, 3, 1] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        image_nullity(Convolution(ConvGeometry.of((5, 5), (3, 3), channels=1), blocks), Notion.FLOAT64)


def test_gradients_of_an_image_do_not_see_constants() -> None:
    """Forward differences along both axes: the kernel holds the constants only, which no dimension count finds."""
    filters = np.array([[[-1.0, -1.0], [1.0, 0.0], [0.0, 1.0], [0.0, 0.0]]])
    convolution = Convolution(ConvGeometry.of((9, 9), (2, 2), channels=1), filters)
    truth = convolution.inputs - np.linalg.matrix_rank(convolution.dense())
    for notion in (Notion.FLOAT64, Notion.EXACT):
        bounds = image_nullity(convolution, notion, dense_limit=0)
        assert bounds.lower <= truth <= bounds.upper
        assert (image_nullity(convolution, notion).lower, image_nullity(convolution, notion).upper) == (truth, truth)


def test_a_kernel_that_no_count_finds() -> None:
    """Two filters that factor through common differences: counting outputs finds no kernel, the frontier finds all of it."""
    sobel = np.array([[1.0, 0, -1], [2, 0, -2], [1, 0, -1]])
    filters = np.stack([sobel.ravel(), sobel.T.ravel()], axis=1)[None]
    convolution = Convolution(ConvGeometry.of((16, 16), (3, 3), channels=1), filters)
    truth = convolution.inputs - np.linalg.matrix_rank(convolution.dense())
    numerical = image_nullity(convolution, Notion.FLOAT64, dense_limit=0)
    assert (numerical.lower, numerical.upper) == (truth, truth)
    assert not numerical.proved
    exact = image_nullity(convolution, Notion.EXACT)
    assert (exact.lower, exact.upper) == (truth, truth)
    assert exact.proved


def test_a_small_budget_gives_a_wider_answer_never_a_wrong_one() -> None:
    rng = np.random.default_rng(2)
    convolution = Convolution(ConvGeometry.of((14, 14), (3, 3), channels=3, pads=1), rng.standard_normal((1, 27, 3)))
    truth = convolution.inputs - modular_rank(convolution.dense())
    poor = image_nullity(convolution, Notion.EXACT, dense_limit=0, work=2e6)
    rich = image_nullity(convolution, Notion.EXACT, dense_limit=0, work=1e11)
    assert poor.lower <= rich.lower <= truth <= rich.upper <= poor.upper
    assert rich.tight
    assert poor.upper > rich.upper


@pytest.mark.parametrize("seed", range(40))
def test_parts_add_up_to_the_operators_rank(seed: int) -> None:
    convolution, _ = random_operator(seed)
    geometry, field = convolution.geometry, Prime()
    total = inputs = 0
    for block in convolution.blocks:
        weight = residues(block).reshape(-1, *geometry.kernel, block.shape[1])
        for count, part in parts(geometry, weight):
            line = part.weight
            for axis in part.axes:
                line = unroll(line, axis, (0, axis.inputs), (0, axis.outputs))
            total += count * field.rank(line)
            inputs += count * part.inputs
            assert count * field.rank(line) <= count * rank_at_most(part.axes, part.weight.shape[0], block.shape[1])
            if part.axes:
                assert banded_rank(part, field, Budget(1e12)) == field.rank(line)
                for view in views(part):
                    for strategy in (SweepStrategy(1, 1, 1), SweepStrategy(3, 1, 1), SweepStrategy(1, 2, 3)):
                        bound = Sweep(lambda leaf, _: field.rank(leaf), Budget(1e12)).lower_bound(view, strategy)
                        assert bound <= min(field.rank(line), attainable(view, block.shape[1], strategy))
    assert total == modular_rank(convolution.dense())
    assert inputs <= convolution.inputs


def test_one_block_that_holds_all_outputs_is_the_rank_itself() -> None:
    convolution, _ = random_operator(1)
    geometry = convolution.geometry
    weight = residues(convolution.blocks[0]).reshape(-1, *geometry.kernel, convolution.blocks.shape[2])
    field = Prime()
    total = sum(
        count
        * (
            Sweep(lambda leaf, _: field.rank(leaf), Budget(1e12)).lower_bound(part, SweepStrategy(99, 1, 1))
            if part.axes
            else field.rank(part.weight)
        )
        for count, part in parts(geometry, weight)
    )
    assert total * geometry.groups >= modular_rank(convolution.dense())


def test_views_are_the_same_operator() -> None:
    rng = np.random.default_rng(3)
    axes = (Axis(9, 3, 2, 1, 4), Axis(7, 4, 1, 0, 4))
    part = ConvolutionPart(axes, rng.integers(0, PRIME, (2, 3, 4, 2)))
    for view in (flip(part, 0), flip(part, 1), swap(part, 1), *views(part)):
        assert banded_rank(view, Prime(), Budget(1e12)) == banded_rank(part, Prime(), Budget(1e12))
    assert flip(flip(part, 0), 0).axes == axes


def test_the_frontier_skips_what_repeats() -> None:
    """A hundred thousand positions cost no more than a few, and the count is exact: 1·n inputs, 2 of 3 dimensions read."""
    rng = np.random.default_rng(4)
    for field, draw in ((Prime(), rng.integers(0, PRIME, (1, 7, 2))), (Float64(), rng.standard_normal((1, 7, 2)))):
        outputs = 100_000
        part = ConvolutionPart((Axis(3 * (outputs - 1) + 7, 7, 3, 0, outputs),), draw)
        assert banded_rank(part, field, Budget(1e9)) == 2 * outputs
    with pytest.raises(OutOfBudget):
        banded_rank(part, Float64(), Budget(100.0))


def test_residues_are_a_ring_homomorphism() -> None:
    rng = np.random.default_rng(5)
    values = rng.standard_normal(50) * 2.0 ** rng.integers(-300, 300, 50)
    for value, residue in zip(values, residues(values), strict=True):
        numerator, denominator = float(value).as_integer_ratio()
        assert residue == numerator * pow(denominator, -1, PRIME) % PRIME
    assert residues(np.array([0.0, 1.0, -1.0, 5e-324])).tolist()[:3] == [0, 1, PRIME - 1]


def test_bounds_say_what_they_are() -> None:
    convolution, _ = random_operator(1)
    bounds = image_nullity(convolution, Notion.EXACT, dense_limit=0)
    assert isinstance(bounds, InputNullity)
    assert bounds.lower_reason
    assert bounds.upper_reason
    assert bounds.proved


@pytest.mark.parametrize("filters", [(1, 2), (1, 0.5), (0.5, 1)])
def test_weights_that_vanish_modulo_the_prime_are_not_taken_for_zeros(filters: tuple[float, float]) -> None:
    """(p, 2p) on 5 inputs: 4 outputs, nullity 1, not 5."""
    convolution = Convolution(ConvGeometry.of((5,), (2,), channels=1), PRIME * np.array(filters).reshape(1, 2, 1))
    bounds = image_nullity(convolution, Notion.EXACT, dense_limit=0)
    assert bounds.proved
    assert bounds.lower <= 1 <= bounds.upper
    for same_kernel in image_nullities(convolution):
        assert (same_kernel.lower, same_kernel.upper, same_kernel.proved) == (1, 1, True)


def test_without_work_the_bounds_are_still_bounds() -> None:
    geometry = ConvGeometry.of((40,), (3,), channels=3)
    convolution = Convolution(geometry, np.random.default_rng(0).standard_normal((1, 9, 3)))
    bounds = image_nullity(convolution, Notion.EXACT, dense_limit=0, work=1)
    assert (bounds.lower, bounds.upper, bounds.proved) == (6, 120, True)


def test_patches_that_the_border_cuts_are_ranked_whatever_may_be_spent() -> None:
    """They are parts of the weight, which is ranked anyway; found wider at inner layers, where little may be spent."""
    rng = np.random.default_rng(4)
    convolution = Convolution(
        ConvGeometry.of((9, 9), (2, 2), channels=48, strides=2, pads=1), rng.standard_normal((1, 192, 40))
    )
    found = image_nullity(convolution, Notion.EXACT, work=1e3)
    assert (found.lower, found.upper, found.proved) == (48 * 81 - 25 * 40, 48 * 81 - 25 * 40, True)


def test_nothing_is_proved_of_a_span_whose_dimension_is_ambiguous() -> None:
    rng = np.random.default_rng(3)
    left, right = (np.linalg.qr(rng.standard_normal((n, 3)))[0] for n in (12, 3))
    at_the_cutoff = left @ np.diag([1, 1, 12 * 2.0**-52]) @ right
    convolution = Convolution(ConvGeometry.of((60, 60), (2, 2), channels=3, strides=2), at_the_cutoff[None])
    float64, exact = image_nullities(convolution)
    assert not float64.lower_proved
    assert not float64.upper_proved
    assert (exact.lower, exact.upper, exact.proved) == (9 * 900, 9 * 900, True)


def test_no_entry_is_lost_to_a_common_scale() -> None:
    """Layers side by side are brought to one scale; an entry that underflows would be rank lost over ℚ."""
    assert np.array_equal(to_unit(np.array([[[12.0, 0], [0, -3]]])), [[[0.75, 0], [0, -0.1875]]])
    denormal = np.array([[[4.0, 0], [0, 5e-324]]])
    assert np.count_nonzero(to_unit(denormal)) == 2
