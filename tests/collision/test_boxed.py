"""The nearest and the largest unseen change inside a box, against SLSQP and with boxes that leave hardly any room."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import helper
from scipy.optimize import LinearConstraint, minimize

from onnxnull.collision.boxed import largest, nearest
from onnxnull.collision.kernel import Kernel, PatchKernel, kernel_of
from onnxnull.frontier import find
from onnxnull.graph.flow import Flow
from onnxnull.graph.model import open_model
from onnxnull.kernel.linear_map import LinearMap
from onnxnull.kernel.primitives import Matrix
from tests.frontier.judge import only_frontier
from tests.helpers import model, value, weight
from tests.shared import shared_file, shared_model

Array = NDArray[np.float64]
Find = Callable[[Kernel, Array, Array, float, float], Array]


def kernel_of_rows(matrix: Array, count: int) -> PatchKernel:
    kernel = PatchKernel.of([Matrix(matrix, (count,))])
    assert kernel is not None
    return kernel


def image(rng: np.random.Generator, shape: tuple[int, ...], saturated: float) -> Array:
    """In [0, 1], representable in float32; this share of the pixels black or white."""
    pixels = rng.random(shape).astype(np.float32).astype(np.float64)
    return np.where(rng.random(shape) < saturated, np.round(pixels), pixels)


def keeps_its_promises(
    found: Array, start: Array, layer: LinearMap, lower: float | Array = 0.0, upper: float | Array = 1.0
) -> None:
    assert np.all(start + found >= lower)
    assert np.all(start + found <= upper)
    scale = float(np.abs(layer.dense()).sum(axis=0).max()) if layer.inputs < 2000 else 100.0
    assert np.abs(layer.apply(found)).max() <= 1e-14 * scale * max(1.0, float(np.abs(found).max()))


def by_slsqp(layer: LinearMap, start: Array, wish: Array) -> Array:
    """The nearest point in coordinates of the kernel."""
    left, sigma, _ = np.linalg.svd(layer.dense(), full_matrices=True)
    basis = left[:, int(np.count_nonzero(sigma > 1e-10)) :]
    if basis.shape[1] == 0:
        return np.zeros_like(wish)
    target = basis.T @ wish.ravel()
    box = LinearConstraint(basis, -start.ravel(), 1.0 - start.ravel())
    result = minimize(  # type: ignore[call-overload]
        lambda c: 0.5 * float(np.sum((c - target) ** 2)),
        np.zeros(basis.shape[1]),
        jac=lambda c: c - target,
        constraints=[box],
        method="SLSQP",
        options={"maxiter": 300, "ftol": 1e-12},
    )
    solution: Array = (basis @ result.x).reshape(wish.shape)
    return solution


@given(st.integers(3, 8), st.integers(1, 4), st.integers(1, 3), st.floats(0.0, 0.5), st.floats(0.1, 3.0), st.integers(0, 999))
@settings(max_examples=30, deadline=None)
def test_nearest_is_as_near_as_slsqp(q: int, p: int, count: int, saturated: float, length: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    layer = Matrix(rng.standard_normal((q, p)), (count,))
    start, wish = image(rng, (count, q), saturated), length * rng.standard_normal((count, q))
    found = nearest(kernel_of_rows(layer.weight, count), start, wish, 0.0, 1.0)
    keeps_its_promises(found, start, layer)
    best = by_slsqp(layer, start, wish)
    assert np.linalg.norm(found - wish) <= np.linalg.norm(best - wish) + 0.02 * np.linalg.norm(best) + 1e-6


@given(st.integers(4, 10), st.integers(1, 3), st.floats(0.0, 0.6), st.integers(0, 999))
@settings(max_examples=20, deadline=None)
def test_largest_is_no_worse_than_plain_scaling(q: int, p: int, saturated: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    layer = Matrix(rng.standard_normal((q, p)), (3,))
    kernel = kernel_of_rows(layer.weight, 3)
    start, direction = image(rng, (3, q), saturated), rng.standard_normal((3, q))
    found = largest(kernel, start, direction, 0.0, 1.0)
    keeps_its_promises(found, start, layer)
    inside = kernel.project(direction)
    room = np.where(inside > 0, 1.0 - start, start)
    plain = float((room / np.maximum(np.abs(inside), 1e-300)).min()) * inside if inside.any() else inside
    assert np.vdot(direction, found) >= (1 - 1e-9) * np.vdot(direction, plain)
    assert np.linalg.norm(found) >= (1 - 1e-9) * np.linalg.norm(plain)


def test_a_wish_that_fits_is_projected_only() -> None:
    kernel = kernel_of_rows(np.ones((4, 1)), 2)
    wish = np.array([[0.1, 0.2, 0.0, 0.0], [0.0, 0.0, 0.1, -0.1]])
    np.testing.assert_array_equal(nearest(kernel, np.full((2, 4), 0.5), wish, 0.0, 1.0), kernel.project(wish))
    np.testing.assert_array_equal(nearest(kernel, np.full((2, 4), 0.5), 9 * wish, -np.inf, np.inf), kernel.project(9 * wish))


def test_one_saturated_pixel_does_not_stop_the_others() -> None:
    rng = np.random.default_rng(0)
    layer = Matrix(rng.standard_normal((40, 5)), (6,))
    kernel = kernel_of_rows(layer.weight, 6)
    start = image(rng, (6, 40), 0.0)
    wish = rng.standard_normal((6, 40))
    free = nearest(kernel, start, wish, 0.0, 1.0)
    start[2, 7], start[4, 1] = 1.0, 0.0
    wish[2, 7], wish[4, 1] = 3.0, -3.0
    found = nearest(kernel, start, wish, 0.0, 1.0)
    keeps_its_promises(found, start, layer)
    assert np.linalg.norm(found) > 0.9 * np.linalg.norm(free)


@pytest.mark.parametrize("find_it", [nearest, largest])
def test_a_patch_without_any_room_stays_and_the_others_move(find_it: Find) -> None:
    """All of patch 1 is white, and a filter of ones lets no white patch get darker."""
    rng = np.random.default_rng(0)
    weights = rng.standard_normal((30, 4))
    weights[:, 0] = 1.0
    layer = Matrix(weights, (3,))
    start = image(rng, (3, 30), 0.3)
    start[1] = 1.0
    found = find_it(kernel_of_rows(weights, 3), start, rng.standard_normal((3, 30)), 0.0, 1.0)
    keeps_its_promises(found, start, layer)
    assert np.abs(found[1]).max() < 1e-3
    assert np.linalg.norm(found[0]) > 0.5
    assert np.linalg.norm(found[2]) > 0.5


@pytest.mark.parametrize("find_it", [nearest, largest])
def test_nothing_is_feasible_but_zero(find_it: Find) -> None:
    rng = np.random.default_rng(1)
    kernel = kernel_of_rows(np.ones((5, 1)), 2)
    wish = rng.standard_normal((2, 5))
    np.testing.assert_allclose(find_it(kernel, np.ones((2, 5)), wish, 0.0, 1.0), 0.0, atol=1e-9)
    np.testing.assert_array_equal(find_it(kernel, np.full((2, 5), 0.3), wish, 0.3, 0.3), 0.0)
    np.testing.assert_array_equal(find_it(kernel_of_rows(np.eye(5), 2), np.full((2, 5), 0.3), wish, 0.0, 1.0), 0.0)


def test_entries_of_no_width_are_left_alone_and_cost_the_others_nothing() -> None:
    rng = np.random.default_rng(0)
    layer = Matrix(rng.standard_normal((20, 3)), (4,))
    start = image(rng, (4, 20), 0.2)
    fixed = rng.random((4, 20)) < 0.3
    lower, upper = np.where(fixed, start, 0.0), np.where(fixed, start, 1.0)
    kernel = kernel_of_rows(layer.weight, 4)
    found = nearest(kernel, start, 2 * rng.standard_normal((4, 20)), lower, upper)
    keeps_its_promises(found, start, layer, lower, upper)
    np.testing.assert_array_equal(found[fixed], 0.0)
    assert np.linalg.norm(found) > 1.0


def test_a_small_box_around_the_start() -> None:
    """ε as an adversary's: float32 bounds that need not be centred on the start."""
    rng = np.random.default_rng(0)
    layer = Matrix(rng.standard_normal((30, 5)), (8,))
    start = image(rng, (8, 30), 0.2)
    epsilon = 8 / 255
    lower = np.maximum(0.0, np.minimum(start, (start - epsilon).astype(np.float32).astype(np.float64)))
    upper = np.minimum(1.0, np.maximum(start, (start + epsilon).astype(np.float32).astype(np.float64)))
    found = largest(kernel_of_rows(layer.weight, 8), start, rng.standard_normal((8, 30)), lower, upper)
    keeps_its_promises(found, start, layer, lower, upper)
    rounded = (start + found).astype(np.float32)
    assert np.all((rounded >= lower) & (rounded <= upper))
    assert np.linalg.norm(found) > 0.6 * epsilon * np.sqrt(found.size)


def test_same_input_same_answer() -> None:
    rng = np.random.default_rng(0)
    kernel = kernel_of_rows(rng.standard_normal((20, 3)), 4)
    start, wish = image(rng, (4, 20), 0.3), rng.standard_normal((4, 20))
    np.testing.assert_array_equal(nearest(kernel, start, wish, 0.0, 1.0), nearest(kernel, start, wish, 0.0, 1.0))


def test_what_cannot_be_asked() -> None:
    kernel = kernel_of_rows(np.ones((3, 1)), 1)
    with pytest.raises(ValueError, match="not in the box"):
        nearest(kernel, np.full((1, 3), 2.0), np.ones((1, 3)), 0.0, 1.0)
    with pytest.raises(ValueError, match="not in the box"):
        nearest(kernel, np.full((1, 3), np.nan), np.ones((1, 3)), 0.0, 1.0)
    with pytest.raises(ValueError, match="bounds this direction"):
        largest(kernel, np.zeros((1, 3)), np.array([[1.0, -1.0, 0.0]]), -np.inf, np.inf)


def test_progress_is_told() -> None:
    rng = np.random.default_rng(0)
    told: list[tuple[int, float]] = []
    kernel = kernel_of_rows(rng.standard_normal((40, 9)), 3)
    start = image(rng, (3, 40), 0.4)
    largest(kernel, start, rng.standard_normal((3, 40)), 0.0, 1.0, progress=lambda done, left: told.append((done, left)))
    assert told
    assert told == sorted(told, key=lambda one: one[0])


CONVOLUTIONS: dict[str, dict[str, Any]] = {
    "overlapping": {"strides": [2, 2], "pads": [1, 1, 1, 1]},
    "independent": {"strides": [3, 3]},
    "padded": {"strides": [4, 4], "pads": [1, 1, 1, 1]},
    "grouped": {"strides": [2, 2], "group": 2},
}


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_convolutions_of_saturated_images(name: str, tmp_path: Path) -> None:
    attributes = CONVOLUTIONS[name]
    groups = attributes.get("group", 1)
    node = helper.make_node("Conv", ["x", "w"], ["y"], name="conv", **attributes)
    filters = weight(4, 4 // groups, 3, 3)
    frontier = only_frontier(model([node], {"w": filters}, inputs=[value("x", (1, 4, 18, 20))]), tmp_path)
    kernel: Kernel = kernel_of(frontier)
    rng = np.random.default_rng(0)
    start, other = image(rng, (1, 4, 18, 20), 0.2), rng.random((1, 4, 18, 20))
    layer = frontier.layers[0].map()
    for found in (nearest(kernel, start, other - start, 0.0, 1.0), largest(kernel, start, other - 0.5, 0.0, 1.0)):
        keeps_its_promises(found, start, layer)
        assert np.linalg.norm(found) > 0.05 * np.sqrt(start.size)


def test_real_vit_and_real_images() -> None:
    """One picture toward another: what is found is about as near as 150 rounds of Dykstra's, which leave the box."""
    from PIL import Image

    (frontier,) = find(Flow(open_model(shared_model("vit_tiny_patch16_224.onnx"))))
    kernel = kernel_of(frontier)
    files = [shared_file(f"images/{name}.png") for name in ("n01847000_10087", "n02113978_10037")]
    start, other = (np.asarray(Image.open(f).convert("RGB").resize((224, 224))) / 127.5 - 1.0 for f in files)
    start = start.transpose(2, 0, 1)[None].astype(np.float32).astype(np.float64)
    wish = other.transpose(2, 0, 1)[None] - start
    found = nearest(kernel, start, wish, -1.0, 1.0)
    keeps_its_promises(found, start, frontier.layers[0].map(), -1.0, 1.0)
    x, residual = wish, np.zeros_like(wish)
    for _ in range(150):
        inside = kernel.rough(x)
        x = np.clip(inside + residual, -1.0 - start, 1.0 - start)
        residual = inside + residual - x
    assert np.linalg.norm(found) > 0.98 * np.linalg.norm(inside)
    assert np.linalg.norm(found - wish) < 1.005 * np.linalg.norm(inside - wish)
