"""Lower bounds of ranks over ℚ within a budget, and ranks that an image kernel takes over from the weight's own proof."""

from __future__ import annotations

import numpy as np
import pytest

from onnxnull.kernel.budget import Budget, OutOfBudget
from onnxnull.kernel.images.input_nullity import count_read, image_nullity
from onnxnull.kernel.maps.convolution import Convolution
from onnxnull.kernel.maps.im2col import ConvGeometry
from onnxnull.kernel.rank import ExactPolicy, Notion, rank_profile
from onnxnull.kernel.rank.rational import has_full_rank, rational_rank_at_least

RNG = np.random.default_rng(0)
FULL = RNG.standard_normal((60, 50))
LOW = (RNG.integers(-4, 5, (60, 20)) @ RNG.integers(-4, 5, (20, 50))).astype(np.float64)
TINY_SIGMA = FULL.copy()
TINY_SIGMA[:, 0] = TINY_SIGMA[:, 1] + 2.0**-45 * FULL[:, 0]


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize(
    ("matrix", "expected"),
    [(FULL, 50), (LOW, 20), (TINY_SIGMA, 50), (np.ldexp(FULL, 700), 50), (np.ldexp(FULL, -700), 50), (0 * FULL, 0)],
)
def test_the_bound_is_the_rank(matrix: np.ndarray, expected: int, turned: bool) -> None:
    matrix = matrix.T if turned else matrix
    assert rational_rank_at_least(matrix, Budget(1e9)) == expected
    assert not has_full_rank(matrix) or expected == 50


def test_full_rank_costs_less_than_elimination_and_neither_is_done_on_credit() -> None:
    budget = Budget(1e6)
    assert rational_rank_at_least(FULL, budget) == 50
    assert 0 < budget.left < 1e6
    for matrix in (LOW, np.ones((5, 5), dtype=np.float64)):
        with pytest.raises(OutOfBudget):
            rational_rank_at_least(matrix, Budget(1e4))


@pytest.mark.parametrize("groups", [1, 2])
def test_ranks_taken_over_say_what_is_computed_without_them(groups: int) -> None:
    """Of one block of less than full rank, and of two of which one has less: there the sum says nothing of either."""
    blocks = RNG.standard_normal((groups, 18, 4))
    blocks[0, :, 3] = blocks[0, :, 0] + blocks[0, :, 1]
    convolution = Convolution(ConvGeometry.of((9, 9), (3, 3), channels=2 * groups, strides=2, groups=groups), blocks)
    ranks = rank_profile(convolution.blocks, exact=ExactPolicy.ALWAYS)
    assert image_nullity(convolution, Notion.EXACT, ranks=ranks, dense_limit=0) == image_nullity(
        convolution, Notion.EXACT, dense_limit=0
    )


@pytest.mark.parametrize("boxed", [True, False])
@pytest.mark.parametrize(("strides", "dilations", "pads"), [(1, 1, 0), (3, 1, 1), (2, 3, (2, -1, 0, 3))])
def test_what_is_read_is_what_the_matrix_reads(boxed: bool, strides: int, dilations: int, pads: int | tuple[int, ...]) -> None:
    """A box of taps is counted axis by axis, any other set of taps on the image."""
    taps = np.zeros((1, 3, 3, 1))
    taps[0, 1:, :2] = 1.0
    if not boxed:
        taps[0, 0, 0] = 1.0
    geometry = ConvGeometry.of((11, 8), (3, 3), channels=1, strides=strides, dilations=dilations, pads=pads)
    convolution = Convolution(geometry, taps.reshape(1, 9, 1))
    dense = convolution.dense() != 0
    assert count_read(convolution) == (dense.any(axis=1).sum(), dense.any(axis=0).sum())
