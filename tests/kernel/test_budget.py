"""Every method that may be dear knows its cost before it starts: inputs that would take hours are refused, or bounded, at once.

The matrices are one number that is repeated: they take no memory until somebody writes them down.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from onnxnull.kernel.budget import Budget, OutOfBudget
from onnxnull.kernel.images.banded_rank import banded_rank
from onnxnull.kernel.images.elimination import injective_channels
from onnxnull.kernel.images.rank_bounds import RankBounds, exact_filters, group_bounds, numerical_filters
from onnxnull.kernel.images.splitting import Axis, ConvolutionPart
from onnxnull.kernel.images.sweep import Sweep, SweepStrategy
from onnxnull.kernel.maps.im2col import ConvGeometry
from onnxnull.kernel.maps.linear_map import Array
from onnxnull.kernel.numerics.arithmetic import Prime
from onnxnull.kernel.rank.rational import rational_rank_at_least

SIDE = 200_000


def repeated(*shape: int) -> Array:
    return np.broadcast_to(np.ones(()), shape)


def never(matrix: Array, budget: Budget) -> int:
    raise AssertionError("it was written down")


IMAGE = (Axis(SIDE, 9, 2, 4, SIDE // 2), Axis(SIDE, 9, 2, 4, SIDE // 2))
DEAR: dict[str, Callable[[Budget], object]] = {
    "rank over the rationals": lambda budget: rational_rank_at_least(repeated(SIDE, SIDE), budget),
    "frontier": lambda budget: banded_rank(ConvolutionPart(IMAGE, repeated(3, 9, 9, 4)), Prime(), budget),
    "sweep": lambda budget: Sweep(never, budget).lower_bound(
        ConvolutionPart(IMAGE, repeated(512, 9, 9, 512)), SweepStrategy(12, 12, 12)
    ),
}


@pytest.mark.parametrize("method", DEAR)
def test_what_is_too_dear_is_not_begun(method: str) -> None:
    budget = Budget(1e9)
    with pytest.raises(OutOfBudget):
        DEAR[method](budget)


def test_no_channel_is_eliminated_that_would_take_hours() -> None:
    geometry = ConvGeometry.of((512, 512), (9, 9), channels=64, groups=64, pads=4)
    assert not injective_channels(geometry, repeated(64, 81, 1), work=1e9).any()


@pytest.mark.parametrize("exact", [True, False])
def test_a_group_gets_the_weaker_bounds(exact: bool) -> None:
    """Filters of 4608 inputs on an image: no strip of it is affordable, so that what is left is counting."""
    rng = np.random.default_rng(0)
    basis = np.linalg.qr(rng.standard_normal((4608, 8)))[0]
    filters = exact_filters(basis, (3, 3), 8) if exact else numerical_filters(basis, (3, 3))
    geometry = ConvGeometry.of((300, 300), (3, 3), channels=512, pads=1)
    found = group_bounds(geometry, filters, work=1e4)
    assert found == RankBounds(0, 8 * 300 * 300, "none", "count", True, True)
