"""Projections on kernels: against dense linear algebra, patch by patch and through conjugate gradients."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import helper

from onnxnull.collision.kernel import FrontierKernel, Kernel, PatchKernel, kernel_of
from onnxnull.frontier import Frontier, Layer, find
from onnxnull.graph.flow import Flow
from onnxnull.graph.model import GraphInput, open_model
from onnxnull.kernel.maps.batched import Batched
from onnxnull.kernel.maps.convolution import Convolution, conv_blocks
from onnxnull.kernel.maps.im2col import ConvGeometry
from onnxnull.kernel.maps.linear_map import LinearMap
from onnxnull.kernel.maps.patches import patches_of
from onnxnull.kernel.maps.primitives import Matrix
from onnxnull.kernel.maps.selection import Selection, identity
from tests.frontier.judge import only_frontier
from tests.helpers import model, value, weight
from tests.shared import shared_model

Array = NDArray[np.float64]


def convolution(
    size: int, kernel: int, stride: int, pad: int, channels: int, filters: int, groups: int, seed: int
) -> LinearMap:
    rng = np.random.default_rng(seed)
    geometry = ConvGeometry.of((size, size), (kernel, kernel), channels=channels, strides=stride, pads=pad, groups=groups)
    blocks = conv_blocks(rng.standard_normal((filters, channels // groups, kernel, kernel)), groups)
    return Batched(Convolution(geometry, blocks), 2)


def dense_projection(linear_map: LinearMap, wish: Array, free: NDArray[np.bool_] | None = None) -> Array:
    """By the singular vectors of the rows that may be used."""
    matrix = linear_map.dense()
    rows = np.ones(len(matrix), dtype=bool) if free is None else free.ravel()
    left, sigma, _ = np.linalg.svd(matrix[rows], full_matrices=False)
    span = left[:, sigma > 1e-10 * sigma.max(initial=1.0)]
    flat = np.zeros(len(matrix))
    flat[rows] = wish.ravel()[rows] - span @ (span.T @ wish.ravel()[rows])
    return flat.reshape(wish.shape)


independent_layers = st.builds(
    convolution,
    size=st.integers(3, 7),
    kernel=st.just(2),
    stride=st.integers(2, 3),
    pad=st.integers(0, 1),
    channels=st.sampled_from([2, 4]),
    filters=st.sampled_from([2, 4, 10]),
    groups=st.integers(1, 2),
    seed=st.integers(0, 99),
)
rows = st.builds(
    lambda q, p, count, seed: Matrix(np.random.default_rng(seed).standard_normal((q, p)), (count,)),
    q=st.integers(1, 7),
    p=st.integers(1, 7),
    count=st.integers(1, 4),
    seed=st.integers(0, 99),
)
layers = independent_layers | rows


@given(layers, st.floats(0.0, 1.0), st.integers(0, 99))
@settings(max_examples=40)
def test_patch_kernel_is_the_dense_projection(layer: LinearMap, share: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    kernel = PatchKernel.of([layer])
    assert kernel is not None
    free = rng.random(layer.input_shape) < share
    wish = rng.standard_normal(layer.input_shape)
    np.testing.assert_allclose(kernel.project(wish), dense_projection(layer, wish), atol=1e-12)
    found = kernel.within(free).project(wish)
    np.testing.assert_allclose(found, dense_projection(layer, wish, free), atol=1e-9)
    np.testing.assert_array_equal(found[~free], 0.0)
    np.testing.assert_allclose(kernel.within(free).rough(wish), found, atol=1e-5)
    is_projection_on_kernel(kernel.within(free), layer, rng)


def is_projection_on_kernel(kernel: Kernel, layer: LinearMap, rng: np.random.Generator) -> None:
    """Idempotent, self-adjoint, and unseen by the layer."""
    x, y = rng.standard_normal((2, *layer.input_shape))
    px, py = kernel.project(x), kernel.project(y)
    np.testing.assert_allclose(kernel.project(px), px, atol=1e-12)
    np.testing.assert_allclose(np.vdot(px, y), np.vdot(x, py), atol=1e-11)
    scale = float(np.abs(layer.dense()).sum(axis=0).max(initial=0.0))
    assert np.abs(layer.apply(px)).max(initial=0.0) <= 1e-14 * scale * np.abs(x).max()


def test_a_path_that_scales_and_moves_is_pulled_back() -> None:
    rng = np.random.default_rng(0)
    layer = convolution(4, 2, 2, 0, 2, 3, 1, seed=1)
    indices = rng.permutation(layer.inputs + 5)[: layer.inputs].reshape(layer.input_shape)
    indices[0, 0, 0, 0] = -1
    path = Selection((layer.inputs + 5,), indices, rng.choice([0.5, 2.0, 3.0], layer.input_shape))
    kernel = PatchKernel.of([layer], path)
    assert kernel is not None
    wish = rng.standard_normal(layer.inputs + 5)
    np.testing.assert_allclose(kernel.project(wish), dense_projection(layer @ path, wish), atol=1e-12)


def test_layers_with_the_same_patches_are_taken_together_each_at_its_own_cutoff() -> None:
    rng = np.random.default_rng(0)
    first, second = rng.standard_normal((6, 2)), 1e-20 * rng.standard_normal((6, 3))
    kernel = PatchKernel.of([Matrix(first, (4,)), Matrix(second, (4,))])
    assert kernel is not None
    both = Matrix(np.concatenate([first, 1e20 * second], axis=1), (4,))
    wish = rng.standard_normal((4, 6))
    np.testing.assert_allclose(kernel.project(wish), dense_projection(both, wish), atol=1e-12)


def test_small_columns_are_unseen_as_accurately_as_large_ones() -> None:
    rng = np.random.default_rng(0)
    matrix = rng.standard_normal((60, 8)) * 10.0 ** -np.arange(8)
    kernel = PatchKernel.of([Matrix(matrix, (3,))])
    assert kernel is not None
    found = kernel.project(rng.standard_normal((3, 60)))
    assert np.all(np.abs(found @ matrix) <= 60 * 2.0**-53 * (np.abs(found) @ np.abs(matrix)))


def test_nearly_dependent_rows_take_the_safe_path() -> None:
    rng = np.random.default_rng(0)
    matrix = rng.standard_normal((12, 6))
    matrix[:7] = matrix[:1] + 1e-7 * rng.standard_normal((7, 6))
    layer = Matrix(matrix, (2,))
    kernel = PatchKernel.of([layer])
    assert kernel is not None
    free = np.zeros((2, 12), dtype=bool)
    free[0, :7] = free[1, :5] = True
    found = kernel.within(free).project(rng.standard_normal((2, 12)))
    assert np.linalg.norm(found) > 0.1
    assert np.abs(layer.apply(found)).max() <= 1e-14


def test_overlapping_patches_or_shared_entries_are_not_taken_patch_by_patch() -> None:
    assert PatchKernel.of([convolution(5, 3, 2, 1, 2, 2, 1, seed=0)]) is None
    twice = Selection((3,), np.array([[0, 1, 2], [2, 1, 0]]), np.ones(()))
    assert PatchKernel.of([Matrix(np.ones((3, 1)), (2,))], twice) is None
    assert PatchKernel.of([Matrix(np.ones((3, 1)), (2,)), Matrix(np.ones((3, 1)), (2,))]) is not None
    assert PatchKernel.of([]) is None


def frontier_of_conv(folder: Path, **attributes: Any) -> Frontier:
    node = helper.make_node("Conv", ["x", "w"], ["y"], name="conv", **attributes)
    proto = model([node], {"w": weight(3, 2, 3, 3)}, inputs=[value("x", (2, 2, 12, 14))])
    return only_frontier(proto, folder)


@pytest.mark.parametrize("stride", [2, 3])
def test_kernel_of_takes_the_fast_way_where_patches_are_independent(tmp_path: Path, stride: int) -> None:
    frontier = frontier_of_conv(tmp_path, strides=[stride, stride])
    kernel = kernel_of(frontier)
    assert isinstance(kernel, PatchKernel if stride == 3 else FrontierKernel)
    assert kernel.shape == (2, 2, 12, 14)
    rng = np.random.default_rng(0)
    wish = rng.standard_normal(kernel.shape)
    layer = frontier.map()
    np.testing.assert_allclose(kernel.project(wish), dense_projection(layer, wish), atol=1e-11)
    np.testing.assert_allclose(kernel.project(wish), FrontierKernel(frontier).project(wish), atol=1e-11)
    np.testing.assert_allclose(kernel.rough(wish), kernel.project(wish), atol=1e-4)
    is_projection_on_kernel(kernel, layer, rng)
    box = np.zeros(kernel.shape, dtype=bool)
    box[:, :, 2:9, 3:11] = True
    for free in (box, rng.random(kernel.shape) < 0.7, box & (rng.random(kernel.shape) < 0.8), np.zeros_like(box)):
        part = kernel.within(free)
        found = part.project(wish)
        np.testing.assert_allclose(found, dense_projection(layer, wish, free), atol=1e-9)
        np.testing.assert_array_equal(found[~free], 0.0)
        assert np.abs(layer.apply(found)).max() < 1e-13
        is_projection_on_kernel(part, layer, rng)
    twice = kernel.within(box).within(~box)
    np.testing.assert_array_equal(twice.project(wish), 0.0)


def test_large_overlapping_convolution_within_a_mask(tmp_path: Path) -> None:
    node = helper.make_node("Conv", ["x", "w"], ["y"], name="conv", strides=[2, 2], pads=[1, 1, 1, 1])
    proto = model([node], {"w": weight(8, 3, 3, 3)}, inputs=[value("x", (2, 3, 48, 50))])
    frontier = only_frontier(proto, tmp_path)
    rng = np.random.default_rng(0)
    kernel = kernel_of(frontier).within(rng.random((2, 3, 48, 50)) < 0.85)
    assert isinstance(kernel, FrontierKernel)
    found = kernel.project(rng.standard_normal(kernel.shape))
    assert np.linalg.norm(found) > 0.2 * np.sqrt(found.size)
    assert np.abs(frontier.map().apply(found)).max() < 1e-13


def test_several_layers_that_read_different_patches(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Conv", ["x", "v"], ["a"], name="a", strides=[3, 3]),
        helper.make_node("Conv", ["x", "w"], ["b"], name="b", strides=[2, 2]),
    ]
    proto = model(
        nodes,
        {"v": weight(2, 2, 3, 3), "w": weight(1, 2, 2, 2, seed=1)},
        inputs=[value("x", (1, 2, 12, 12))],
        outputs=[value("a", None), value("b", None)],
    )
    frontier = only_frontier(proto, tmp_path)
    kernel = kernel_of(frontier)
    assert isinstance(kernel, FrontierKernel)
    wish = np.random.default_rng(0).standard_normal(kernel.shape)
    np.testing.assert_allclose(kernel.project(wish), dense_projection(frontier.map(), wish), atol=1e-11)


def test_nothing_reads_the_tensor() -> None:
    frontier = Frontier(GraphInput("x", "float32", (2, 3)), (), None, 6)
    kernel = kernel_of(frontier)
    wish = np.arange(6.0).reshape(2, 3)
    np.testing.assert_array_equal(kernel.project(wish), wish)
    np.testing.assert_array_equal(kernel.within(wish > 2).project(wish), np.where(wish > 2, wish, 0.0))


def test_a_hidden_layer_is_a_frontier_too(tmp_path: Path) -> None:
    frontier = frontier_of_conv(tmp_path, strides=[3, 3])
    (layer,) = frontier.layers
    shape = (1, 2, 7, 7)
    hidden = Frontier(GraphInput("h", "float32", shape), (Layer("conv", layer.use, identity(shape)),), None, 98)
    kernel = kernel_of(hidden)
    assert isinstance(kernel, PatchKernel)
    unread = np.zeros(shape)
    unread[..., 6] = 1.0
    np.testing.assert_array_equal(kernel.project(unread), unread)


def test_around_and_shared() -> None:
    kernel = PatchKernel.of([Matrix(np.ones((2, 1)), (2,))])
    assert kernel is not None
    np.testing.assert_array_equal(kernel.shared(np.array([[1.0, 2.0], [4.0, 3.0]])), [[1.0, 1.0], [3.0, 3.0]])
    np.testing.assert_array_equal(kernel.around(np.array([[1.0, 2.0], [4.0, 3.0]])), [[2.0, 2.0], [4.0, 4.0]])


def test_many_patterns_of_a_real_patch_embedding() -> None:
    (frontier,) = find(Flow(open_model(shared_model("vit_tiny_patch16_224.onnx"))))
    kernel = kernel_of(frontier)
    assert isinstance(kernel, PatchKernel)
    rng = np.random.default_rng(0)
    wish = rng.standard_normal(kernel.shape)
    free = rng.random(kernel.shape) < 0.5
    found = kernel.within(free).project(wish)
    np.testing.assert_array_equal(found[~free], 0.0)
    layer = frontier.layers[0].map()
    patches = patches_of(layer.second)  # type: ignore[attr-defined]
    assert patches is not None
    rounding = 768 * 2.0**-53 * (np.abs(patches.unfold.apply(found)) @ np.abs(patches.blocks))
    assert np.all(np.abs(patches.unfold.apply(found) @ patches.blocks) <= rounding)
