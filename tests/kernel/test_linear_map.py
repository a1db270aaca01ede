"""The algebra of linear maps: every class against its dense matrix, and the dot test."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse.linalg import lsmr

from onnxnull.kernel.maps.convolution import Convolution
from onnxnull.kernel.maps.im2col import ConvGeometry, Im2col
from onnxnull.kernel.maps.linear_map import Embed, LinearMap, Stack
from onnxnull.kernel.maps.primitives import BlockMatrix, Identity, Matrix, Permute, Reshape, Scale

from .linear_algebra import dot_test

RNG = np.random.default_rng(0)
CONVOLUTION = Convolution(ConvGeometry.of((5, 4), (3, 3), channels=2, pads=1), RNG.standard_normal((1, 18, 3)))
SCALE = Scale((2, 5, 4), RNG.standard_normal((2, 1, 1)))
MAPS: dict[str, LinearMap] = {
    "identity": Identity((2, 3)),
    "reshape": Reshape((2, 6), (3, 4)),
    "permute": Permute((2, 3, 4), (2, 0, 1)),
    "scale": SCALE,
    "matrix": Matrix(RNG.standard_normal((4, 3))),
    "matrix on rows": Matrix(RNG.standard_normal((4, 3)), leading=(2, 5)),
    "blocks": BlockMatrix(RNG.standard_normal((2, 4, 3)), leading=(5,)),
    "embed": Embed((4, 5), ((1, 3), (0, 4))),
    "convolution": CONVOLUTION,
    "im2col": Im2col(CONVOLUTION.geometry),
    "composition": CONVOLUTION @ SCALE @ Permute((5, 4, 2), (2, 0, 1)),
    "sum": CONVOLUTION + Convolution(CONVOLUTION.geometry, RNG.standard_normal((1, 18, 3))),
    "stack": Stack((CONVOLUTION, SCALE, Reshape((2, 5, 4), (40,)))),
    "adjoint": CONVOLUTION.T,
    "window": Stack((CONVOLUTION, SCALE)).window([(0, 2), (1, 4), (2, 4)]),
}


@pytest.mark.parametrize("name", MAPS)
def test_dot(name: str) -> None:
    rng = np.random.default_rng(1)
    for batch in ((), (1,), (3, 2)):
        dot_test(MAPS[name], rng, batch)


@pytest.mark.parametrize("name", MAPS)
def test_dense_is_the_map(name: str) -> None:
    linear_map = MAPS[name]
    x = np.random.default_rng(2).standard_normal(linear_map.input_shape)
    matrix = linear_map.dense()
    assert matrix.shape == (linear_map.inputs, linear_map.outputs)
    np.testing.assert_allclose(x.ravel() @ matrix, linear_map.apply(x).ravel(), atol=1e-12)
    np.testing.assert_allclose(linear_map.T.dense(), matrix.T, atol=1e-12)
    assert linear_map.T.T.input_shape == linear_map.input_shape


def test_composition_order() -> None:
    first, second = Matrix(RNG.standard_normal((3, 4))), Matrix(RNG.standard_normal((4, 2)))
    np.testing.assert_allclose((second @ first).dense(), first.weight @ second.weight, atol=1e-14)
    with pytest.raises(ValueError, match="cannot compose"):
        first @ second


def test_a_stacks_kernel_is_the_intersection() -> None:
    left, right = Matrix(np.eye(4)[:, :2]), Matrix(np.eye(4)[:, 1:3])
    assert np.linalg.matrix_rank(Stack((left, right)).dense()) == 3


def test_permute_is_transpose() -> None:
    x = np.arange(24.0).reshape(2, 3, 4)
    np.testing.assert_array_equal(Permute((2, 3, 4), (2, 0, 1)).apply(x), x.transpose(2, 0, 1))


@pytest.mark.parametrize("name", ["convolution", "composition", "stack", "matrix"])
def test_a_window_keeps_every_output_that_it_reaches(name: str) -> None:
    linear_map = MAPS[name]
    ranges = [(max(0, n - 3), n) for n in linear_map.input_shape]
    rng = np.random.default_rng(3)
    window = linear_map.window(ranges)
    box = rng.standard_normal(window.input_shape)
    whole = Embed(linear_map.input_shape, tuple(ranges)).apply(box)
    assert np.linalg.norm(window.apply(box)) == pytest.approx(np.linalg.norm(linear_map.apply(whole)), rel=1e-13)


def test_as_linear_operator_serves_scipy() -> None:
    rng = np.random.default_rng(4)
    operator = CONVOLUTION.as_linear_operator()
    assert operator.shape == (CONVOLUTION.outputs, CONVOLUTION.inputs)
    b = CONVOLUTION.apply(rng.standard_normal(CONVOLUTION.input_shape)).ravel()
    solution = lsmr(operator, b, atol=1e-14, btol=1e-14, conlim=0, maxiter=5000)[0]
    np.testing.assert_allclose(operator.matvec(solution), b, atol=1e-9)
    np.testing.assert_allclose(operator.matmat(np.eye(CONVOLUTION.inputs)), CONVOLUTION.dense().T, atol=1e-13)
    np.testing.assert_allclose(operator.rmatmat(np.eye(CONVOLUTION.outputs)), CONVOLUTION.dense(), atol=1e-13)


def test_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="cannot reshape"):
        Reshape((2, 3), (4,))
    with pytest.raises(ValueError, match="permutation"):
        Permute((2, 3), (0, 0))
    with pytest.raises(ValueError, match="does not lie"):
        Embed((4,), ((2, 6),))
    with pytest.raises(ValueError, match="cannot add"):
        Matrix(np.eye(2)) + Matrix(np.eye(3))
    with pytest.raises(ValueError, match="cannot stack"):
        Stack((Matrix(np.eye(2)), Matrix(np.eye(3))))
