"""im2col against a plain loop, and its adjoint."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from onnxnull.kernel.maps.im2col import ConvGeometry, Im2col
from onnxnull.kernel.maps.linear_map import Array

from .linear_algebra import dot_test, random_geometry


def plain_im2col(x: Array, geometry: ConvGeometry) -> Array:
    """Entry by entry, as the definition says."""
    channels = geometry.channels // geometry.groups
    patches = np.zeros((geometry.groups, geometry.positions, geometry.patch_size))
    for line, position in enumerate(product(*(range(n) for n in geometry.output_spatial))):
        for row, (channel, *tap) in enumerate(product(range(channels), *(range(k) for k in geometry.kernel))):
            at = [
                o * s - begin + t * d
                for o, s, begin, t, d in zip(
                    position, geometry.strides, geometry.pads_begin, tap, geometry.dilations, strict=True
                )
            ]
            if all(0 <= a < n for a, n in zip(at, geometry.spatial, strict=True)):
                for group in range(geometry.groups):
                    patches[group, line, row] = x[(group * channels + channel, *at)]
    return patches


@pytest.mark.parametrize("seed", range(25))
def test_im2col_is_its_definition(seed: int) -> None:
    rng = np.random.default_rng(seed)
    geometry = random_geometry(rng, largest=7)
    x = rng.standard_normal(geometry.input_shape)
    np.testing.assert_array_equal(Im2col(geometry).apply(x), plain_im2col(x, geometry))
    dot_test(Im2col(geometry), rng)


def test_col2im_counts_how_often_an_input_is_read() -> None:
    geometry = ConvGeometry.of((5,), (3,), channels=1)
    counts = Im2col(geometry).adjoint(np.ones(Im2col(geometry).output_shape))
    np.testing.assert_array_equal(counts, [[1, 2, 3, 2, 1]])
