"""Projections on kernels: against dense ones, on whole images, with nearly singular filters, and honest failure."""

from __future__ import annotations

import numpy as np
import pytest

from onnxnull.kernel.maps.convolution import Convolution, transposed
from onnxnull.kernel.maps.im2col import ConvGeometry
from onnxnull.kernel.maps.linear_map import Array, LinearMap, Stack
from onnxnull.kernel.maps.primitives import BlockMatrix, Matrix, Permute, Scale
from onnxnull.kernel.orthonormal import norm_estimate, orthonormal
from onnxnull.kernel.preconditioner import circulant, factorised, sparse_matrix
from onnxnull.kernel.project import NotConvergedError, project

from .linear_algebra import random_geometry
from .real_weights import first_convolution


def dense_projection(linear_map: LinearMap, wish: Array) -> Array:
    """By an SVD of the dense matrix, with its own cut-off."""
    left, sigma, _ = np.linalg.svd(linear_map.dense(), full_matrices=False)
    row_space = left[:, sigma > 1e-11 * sigma[0]]
    flat = wish.ravel() - row_space @ (row_space.T @ wish.ravel())
    return flat.reshape(wish.shape)


def strided(r: int, size: int = 12) -> Convolution:
    """3×3, stride 2, pad 1: r filters on the 12 inputs of a cell, as in PP-OCR's stems."""
    rng = np.random.default_rng(r)
    return Convolution(ConvGeometry.of((size, size), (3, 3), channels=3, strides=2, pads=1), rng.standard_normal((1, 27, r)))


RNG = np.random.default_rng(0)
MAPS: dict[str, LinearMap] = {
    "strided": strided(8),
    "dilated, grouped": Convolution(
        ConvGeometry.of((9, 8), (3, 2), channels=4, dilations=2, groups=2), RNG.standard_normal((2, 12, 1))
    ),
    "one axis": Convolution(ConvGeometry.of((50,), (10,), channels=1, strides=5), RNG.standard_normal((1, 10, 3))),
    "injective": strided(20, size=6),
    "matrix": Matrix(RNG.standard_normal((20, 5)) @ RNG.standard_normal((5, 9))),
    "blocks": BlockMatrix(RNG.standard_normal((3, 6, 2)), leading=(4,)),
    "composition": strided(8)
    @ Scale((3, 12, 12), np.array([2.0, 0.5, 3.0]).reshape(3, 1, 1))
    @ Permute((12, 12, 3), (2, 0, 1)),
    "stack": Stack((strided(4), strided(3))),
    "transposed": transposed(
        (4, 4),
        (2, 2),
        RNG.standard_normal((1, 6, 4)),
        strides=(2, 2),
        dilations=(1, 1),
        pads_begin=(0, 0),
        pads_end=(0, 0),
    ),
}


@pytest.mark.parametrize("name", MAPS)
def test_it_is_the_orthogonal_projection(name: str) -> None:
    linear_map = MAPS[name]
    wish = np.random.default_rng(1).standard_normal(linear_map.input_shape)
    found = project(linear_map, wish)
    np.testing.assert_allclose(found.vector, dense_projection(linear_map, wish), atol=1e-9)
    assert found.residual <= 1e-13 * np.linalg.norm(linear_map.dense(), 2) * np.linalg.norm(wish)
    assert found.residual == pytest.approx(float(np.linalg.norm(linear_map.apply(found.vector))))


def test_projecting_twice_changes_nothing() -> None:
    once = project(strided(8), RNG.standard_normal((3, 12, 12))).vector
    np.testing.assert_allclose(project(strided(8), once).vector, once, atol=1e-12)


def test_nearly_dead_filters_are_dropped_not_inverted() -> None:
    healthy = strided(7)
    dead = 1e-17 * np.random.default_rng(9).standard_normal((1, 27, 1))
    nearly_equal = healthy.blocks[:, :, :1] * (1 + 1e-16)
    sick = Convolution(healthy.geometry, np.concatenate([healthy.blocks, dead, nearly_equal], axis=2))
    assert orthonormal(sick).output_shape[0] == 7
    wish = RNG.standard_normal(healthy.input_shape)
    np.testing.assert_allclose(project(sick, wish).vector, project(healthy, wish).vector, atol=1e-10)


def test_whole_images() -> None:
    convolution = strided(8, size=224)
    wish = np.random.default_rng(2).standard_normal(convolution.input_shape)
    found = project(convolution, wish)
    assert found.residual <= 1e-12 * norm_estimate(convolution) * np.linalg.norm(wish)
    # 8 of 12 dimensions of a cell are read
    assert 0.30 < np.sum(found.vector**2) / np.sum(wish**2) < 0.37


def test_metaroom_at_its_shape() -> None:
    convolution = first_convolution("metaroom_4cnn.onnx")
    assert orthonormal(convolution).output_shape[0] == 7
    wish = np.random.default_rng(3).standard_normal(convolution.input_shape)
    found = project(convolution, wish)
    assert found.residual <= 1e-12 * norm_estimate(convolution) * np.linalg.norm(wish)
    assert np.sum(found.vector**2) / np.sum(wish**2) == pytest.approx(2240 / convolution.inputs, abs=0.03)


def test_what_stalls_is_factorised() -> None:
    convolution = strided(11, size=72)
    wish = np.random.default_rng(4).standard_normal(convolution.input_shape)
    found = project(convolution, wish)
    assert "factorisation" in found.method
    assert found.residual <= 1e-13 * norm_estimate(convolution) * np.linalg.norm(wish)


def test_failure_is_an_error_that_holds_what_was_reached() -> None:
    wish = np.random.default_rng(5).standard_normal((3, 12, 12))
    with pytest.raises(NotConvergedError, match="after 3 iterations") as caught:
        project(strided(8), wish, max_iterations=3)
    assert not caught.value.projection.converged
    assert caught.value.projection.residual > caught.value.projection.bound


def test_more_outputs_than_inputs() -> None:
    """AAᵀ is singular there: preconditioners that invert it lead astray, and the kernel is {0}."""
    rng = np.random.default_rng(6)
    convolution = Convolution(
        ConvGeometry((6, 5), (2, 2), (1, 1), (1, 1), (0, 0), (1, 0), 3, 3), rng.standard_normal((3, 4, 3))
    )
    found = project(convolution, rng.standard_normal(convolution.input_shape))
    assert found.converged
    assert np.abs(found.vector).max() < 1e-12


def test_a_wish_of_another_shape_is_refused() -> None:
    with pytest.raises(ValueError, match="the wish has shape"):
        project(strided(8), np.zeros((12, 12, 3)))


@pytest.mark.parametrize("seed", range(15))
def test_the_sparse_matrix_is_the_convolution(seed: int) -> None:
    rng = np.random.default_rng(seed)
    geometry = random_geometry(rng, largest=7)
    convolution = Convolution(geometry, rng.standard_normal((geometry.groups, geometry.patch_size, 2)))
    np.testing.assert_array_equal(sparse_matrix(convolution).toarray().T, convolution.dense())


def test_the_factorisation_inverts_the_normal_matrix() -> None:
    convolution = orthonormal(strided(5))
    assert isinstance(convolution, Convolution)
    solve = factorised(convolution)
    assert solve is not None
    y = RNG.standard_normal(convolution.output_shape)
    np.testing.assert_allclose(convolution.apply(convolution.adjoint(solve(y))), y, atol=1e-6)


def test_the_circulant_is_the_inverse_away_from_borders() -> None:
    convolution = orthonormal(strided(3, size=60))
    assert isinstance(convolution, Convolution)
    solve = circulant(convolution)
    assert solve is not None
    y = np.zeros(convolution.output_shape)
    y[:, 15, 15] = [1.0, -2.0, 0.5]
    np.testing.assert_allclose(solve(convolution.apply(convolution.adjoint(y))), y, atol=1e-9)
