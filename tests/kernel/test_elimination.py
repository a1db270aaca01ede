"""Elimination over all channels at once, against ranks modulo the prime."""

from __future__ import annotations

import numpy as np
import pytest

from onnxnull.kernel.images.elimination import injective_channels
from onnxnull.kernel.images.input_nullity import image_nullity
from onnxnull.kernel.maps.convolution import Convolution
from onnxnull.kernel.maps.im2col import ConvGeometry
from onnxnull.kernel.numerics.arithmetic import Prime, residues
from onnxnull.kernel.rank import Notion


@pytest.mark.parametrize(
    ("spatial", "kernel", "pads"),
    [
        ((6, 5), (3, 3), 1),
        ((7, 7), (5, 5), 2),
        ((9,), (3,), 1),
        ((4, 3, 3), (3, 3, 3), 1),
        ((5, 6), (2, 2), (1, 0, 0, 1)),
    ],
)
def test_a_channel_is_called_injective_only_if_it_is(
    spatial: tuple[int, ...], kernel: tuple[int, ...], pads: int | tuple[int, ...]
) -> None:
    rng = np.random.default_rng(0)
    groups = 8
    geometry = ConvGeometry.of(spatial, kernel, channels=groups, pads=pads, groups=groups)
    # small integers make many singular channels
    blocks = rng.integers(-1, 2, (groups, geometry.patch_size, 1)).astype(float)
    blocks[0] = 0
    blocks[1:4] = rng.standard_normal((3, geometry.patch_size, 1))
    found = injective_channels(geometry, blocks, work=1e12)
    alone = ConvGeometry.of(spatial, kernel, channels=1, pads=pads)
    inputs = int(np.prod(spatial))
    for called, block in zip(found, blocks, strict=True):
        matrix = Convolution(alone, block[None]).dense()
        injective = Prime().rank(residues(matrix)) == inputs
        assert not called or injective
    assert found[1:4].all()
    assert not found[0]


def test_a_same_depthwise_convolution_is_injective() -> None:
    rng = np.random.default_rng(1)
    geometry = ConvGeometry.of((14, 14), (3, 3), channels=64, pads=1, groups=64)
    blocks = rng.standard_normal((64, 9, 1))
    blocks[5] = 0
    for notion in (Notion.FLOAT64, Notion.EXACT):
        bounds = image_nullity(Convolution(geometry, blocks), notion, dense_limit=0)
        # the dead channel is ignored whole
        assert (bounds.lower, bounds.upper, bounds.unread) == (196, 196, 196)
        assert bounds.proved


def test_other_geometries_are_left_alone() -> None:
    geometry = ConvGeometry.of((8, 8), (3, 3), channels=2, pads=1, strides=2, groups=2)
    assert not injective_channels(geometry, np.ones((2, 9, 1)), work=1e12).any()
    geometry = ConvGeometry.of((8, 8), (3, 3), channels=2, pads=1, groups=2)
    assert not injective_channels(geometry, np.ones((2, 9, 1)), work=1.0).any()
