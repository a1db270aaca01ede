"""Magnitudes against dense matrices; counts of roundings against float32 evaluations and against known numbers."""

from __future__ import annotations

import numpy as np
import pytest

from onnxnull.kernel.maps.batched import Batched
from onnxnull.kernel.maps.contraction import Contraction, ContractionMap
from onnxnull.kernel.maps.convolution import Convolution, transposed
from onnxnull.kernel.maps.im2col import ConvGeometry, Im2col
from onnxnull.kernel.maps.linear_map import Array, Embed, LinearMap, Shape, Stack
from onnxnull.kernel.maps.primitives import BlockMatrix, Identity, Matrix, Permute, Reshape, Scale
from onnxnull.kernel.maps.selection import NOTHING, Selection
from onnxnull.kernel.numerics.rounding_model import magnitude, nonzero_terms, powers_of_two, roundings
from onnxnull.operators.pooling.steps import AxesSum

RNG = np.random.default_rng(0)
GEOMETRY = ConvGeometry.of((5, 4), (3, 3), channels=2, pads=1)
CONVOLUTION = Convolution(GEOMETRY, RNG.standard_normal((1, 18, 3)))
TRANSPOSED = transposed(
    (3, 4), (3, 2), RNG.standard_normal((2, 2, 12)), strides=(2, 1), dilations=(1, 2), pads_begin=(1, 0), pads_end=(0, 1)
)
SELECTION = Selection((2, 3), RNG.integers(NOTHING, 6, (4, 2)), RNG.standard_normal((4, 2)))
CONTRACTION = ContractionMap(Contraction((2, 1), (3, 0, 2), (3, 0, 1)), (4, 5), RNG.standard_normal((1, 4, 5)), (2, 3, 4))
EXACT: dict[str, tuple[LinearMap, int]] = {
    "identity": (Identity((2, 3)), 0),
    "reshape": (Reshape((2, 6), (3, 4)), 0),
    "permute": (Permute((2, 3, 4), (2, 0, 1)), 0),
    "embed": (Embed((4, 5), ((1, 3), (0, 4))), 0),
    "im2col": (Im2col(GEOMETRY), 0),
    "scale": (Scale((2, 5, 4), RNG.standard_normal((2, 1, 1))), 1),
    "power of two": (Scale((2, 3), np.array([-0.5, 4.0, 0.0])), 0),
    "selection": (SELECTION, 1),
    "matrix": (Matrix(RNG.standard_normal((4, 3)), leading=(2,)), 4),
    "sparse matrix": (Matrix(np.diag([1.0, -2.0, 3.0])), 1),
    "blocks": (BlockMatrix(RNG.standard_normal((2, 4, 3)), leading=(5,)), 4),
    "convolution": (CONVOLUTION, 18),
    "transposed": (TRANSPOSED, 2 * 2 * 2),  # 2 channels a group; of 3 taps at stride 2 two meet, and both of the other axis
    "batched": (Batched(CONVOLUTION, 2), 18),
    "stack": (
        Stack((CONVOLUTION, Scale((2, 5, 4), np.array(-3.0)))),
        18,
    ),
    "adjoint": (CONVOLUTION.T, 61),
    "contraction": (CONTRACTION, 4),
    "sum of axes": (AxesSum((2, 3, 4), (0, 2), -0.3, (3,)), 8),
}


@pytest.mark.parametrize("name", EXACT)
def test_magnitudes_and_roundings(name: str) -> None:
    linear_map, count = EXACT[name]
    np.testing.assert_array_equal(magnitude(linear_map).dense(), np.abs(linear_map.dense()))
    assert roundings(linear_map) == count


@pytest.mark.parametrize(
    ("linear_map", "count"),
    [
        (CONVOLUTION @ Scale((2, 5, 4), RNG.standard_normal((2, 1, 1))) @ Permute((5, 4, 2), (2, 0, 1)), 19),
        (CONVOLUTION + Convolution(GEOMETRY, RNG.standard_normal((1, 18, 3))), 19),
        ((Matrix(np.ones((3, 1))) @ Matrix(-np.ones((2, 3)))).T, 4 + 2),
        (Batched(CONVOLUTION, 2).T, 61),
        (
            Stack((Matrix(np.ones((2, 3))), Identity((2,)))).T,
            4 + 2,
        ),
    ],
)
def test_compositions_and_sums_are_bounded(linear_map: LinearMap, count: int) -> None:
    assert (magnitude(linear_map).dense() >= np.abs(linear_map.dense()) * (1 - 1e-14)).all()
    assert roundings(linear_map) == count


def test_every_output_of_a_transposed_convolution_sums_no_more_terms_than_are_counted() -> None:
    for strides, dilations in (((1, 1), (1, 1)), ((2, 3), (1, 1)), ((4, 2), (2, 3)), ((3, 1), (2, 2))):
        linear_map = transposed(
            (6, 5), (4, 3), np.ones((1, 3, 24)), strides=strides, dilations=dilations, pads_begin=(0, 0), pads_end=(0, 0)
        )
        assert linear_map.apply(np.ones(linear_map.input_shape)).max() == roundings(linear_map)


def test_helpers() -> None:
    assert nonzero_terms(np.array([[[1.0, 0.0], [0.0, 0.0], [2.0, 3.0]]])) == 2
    assert nonzero_terms(np.zeros((1, 0, 3))) == 0
    assert powers_of_two(np.array([0.0, -0.25, 1024.0]))
    assert not powers_of_two(np.array([0.0, 3.0]))


class Strange(LinearMap):
    @property
    def input_shape(self) -> Shape:
        return (1,)

    @property
    def output_shape(self) -> Shape:
        return (1,)

    def _apply(self, x: Array) -> Array:
        return x

    def _adjoint(self, y: Array) -> Array:
        return y


def test_an_unknown_class_is_refused() -> None:
    for linear_map in (Strange(), Strange().T, Strange() @ Identity((1,))):
        with pytest.raises(TypeError, match="Strange"):
            magnitude(linear_map)
        with pytest.raises(TypeError, match="Strange"):
            roundings(linear_map)
