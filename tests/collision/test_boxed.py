"""The nearest and the largest unseen change inside a box: against an exact method, and in boxes that leave hardly any room."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import helper
from scipy.optimize import nnls

from onnxnull.collision import boxed
from onnxnull.collision.boxed import largest, nearest, solve
from onnxnull.collision.kernel import Kernel, PatchKernel, kernel_of
from onnxnull.collision.small_boxes import MOST
from onnxnull.frontier import find
from onnxnull.graph.flow import Flow
from onnxnull.graph.model import open_model
from onnxnull.kernel.maps.linear_map import LinearMap
from onnxnull.kernel.maps.primitives import Matrix
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


def exactly(layer: Matrix, start: Array, wish: Array) -> Array:
    """The nearest point, row by row: least distance programming (Lawson, Hanson 1974, ch. 23) in coordinates of the kernel."""
    left, sigma, _ = np.linalg.svd(layer.weight, full_matrices=True)
    basis = left[:, int(np.count_nonzero(sigma > 1e-10 * sigma[0])) :]
    solution = np.zeros_like(wish)
    if basis.shape[1] == 0:
        return solution
    for row, (x, d) in enumerate(zip(start, wish, strict=True)):
        target = basis.T @ d
        sides = np.vstack([basis, -basis])
        least = np.concatenate([-x, x - 1.0]) - sides @ target
        system = np.vstack([sides.T, least])
        goal = np.append(np.zeros(len(target)), 1.0)
        residual = system @ nnls(system, goal)[0] - goal
        solution[row] = basis @ (target - residual[:-1] / residual[-1])
    return solution


def is_nearest(layer: Matrix, start: Array, wish: Array) -> None:
    """By active sets, as tensors of few entries are searched, and by the search that larger ones take."""
    for most in (MOST, 0):
        with patch.object(boxed, "MOST", most):
            is_nearest_there(layer, start, wish)


def is_nearest_there(layer: Matrix, start: Array, wish: Array) -> None:
    solved = solve(kernel_of_rows(layer.weight, len(start)), start, wish, 0.0, 1.0)
    found, best = solved.change, exactly(layer, start, wish)
    keeps_its_promises(found, start, layer)
    length = float(np.linalg.norm(best))
    rounding = 1e-7 * float(np.linalg.norm(wish))
    if np.linalg.norm(found - wish) >= np.linalg.norm(best - wish):  # else SciPy stopped early, as it does on a few of these
        assert np.linalg.norm(found - best) <= solved.within + rounding, "the certificate"
    assert np.linalg.norm(found - wish) <= np.linalg.norm(best - wish) + 0.002 * length + 10 * rounding


@given(st.integers(3, 8), st.integers(1, 4), st.integers(1, 3), st.floats(0.0, 0.5), st.floats(0.1, 3.0), st.integers(0, 999))
@settings(max_examples=60)
@example(8, 3, 2, 0.4375, 0.5625, 595)  # the point strictly inside touched the box
@example(7, 4, 2, 0.43401904781459943, 0.24350297544647798, 726424)  # ADMM was cut short
@example(7, 4, 3, 0.36528656337717647, 1.3228731137448522, 953926)  # entries were held that can move
@example(3, 2, 2, 0.4928203529661784, 2.7228474849399595, 227384)  # lines, with room for less than the margin
@example(5, 4, 3, 0.2830552649204052, 0.5, 420)
def test_nearest_is_the_nearest(q: int, p: int, count: int, saturated: float, length: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    layer = Matrix(rng.standard_normal((q, p)), (count,))
    is_nearest(layer, image(rng, (count, q), saturated), length * rng.standard_normal((count, q)))


@pytest.mark.parametrize("saturated", [0.2, 0.8, 1.0])
@pytest.mark.parametrize("kind", ["positive", "with a filter of ones", "signs"])
def test_nearest_among_saturated_entries(kind: str, saturated: float) -> None:
    """Most of these have entries that no point of kernel and box can move."""
    for seed in range(6):
        rng = np.random.default_rng(seed)
        weights = rng.standard_normal((9, 4))
        if kind == "positive":
            weights = np.abs(weights)
        elif kind == "signs":
            weights = np.sign(weights)
        else:
            weights[:, 0] = 1.0
        is_nearest(Matrix(weights, (2,)), image(rng, (2, 9), saturated), rng.standard_normal((2, 9)))


@pytest.mark.parametrize("seed", range(4))
def test_boxes_of_all_sizes_in_one_tensor(seed: int) -> None:
    """Room from 1e-6 to 1e6, wishes far beyond, fixed entries: what is found is in both, and goes the way of the wish."""
    rng = np.random.default_rng(seed)
    layer = Matrix(rng.standard_normal((16, 3)), (1,))
    width = 10.0 ** rng.choice([-6, -3, 0, 3, 6], (1, 16))
    width[0, rng.random(16) < 0.2] = 0.0
    start, kernel = np.zeros((1, 16)), kernel_of_rows(layer.weight, 1)
    for length in (1.0, 1e7):
        wish = length * rng.standard_normal((1, 16))
        for find_it in (nearest, largest):
            found = find_it(kernel, start, wish, -width, width)
            keeps_its_promises(found, start, layer, -width, width)
            assert np.vdot(found, kernel.project(wish)) > 0.0


def test_a_tight_entry_among_loose_ones_is_no_rounding() -> None:
    """ε = 1e-7 on a feature near 1 beside one of 1e-12: what is found is 1e-12 of the wish, and a vector of the kernel."""
    weights = np.array([[1.0, 2.0], [3.0, -1.0], [0.5, 4.0], [1.5, 1.0]])
    room = np.array([[0.0, 1e-7, 1e5, 6e-8]])
    start, direction = np.zeros((1, 4)), np.array([[0.0, 0.3, 1.0, -0.8]])
    found = largest(kernel_of_rows(weights, 1), start, direction, -room, room)
    assert 5e-8 < np.linalg.norm(found) < 1e-6
    assert np.abs(found @ weights).max() < 1e-22
    assert np.all(np.abs(found) <= room)


def test_how_near_is_known() -> None:
    """Also of large tensors, whose search ends early: the bound is then larger, and still one."""
    rng = np.random.default_rng(0)
    layer = Matrix(rng.standard_normal((40, 9)), (5,))
    start, wish = image(rng, (5, 40), 0.1), 3.0 * rng.standard_normal((5, 40))
    best = exactly(layer, start, wish)
    bounds = []
    for tolerance in (1.0, 0.1, 1e-3, 1e-5):
        found = solve(kernel_of_rows(layer.weight, 5), start, wish, 0.0, 1.0, tolerance=tolerance)
        off = float(np.linalg.norm(found.change - best))
        assert off <= found.within + 1e-7
        assert found.within <= tolerance * np.linalg.norm(found.change)
        bounds.append(found.within)
    assert bounds == sorted(bounds, reverse=True)


@given(st.integers(4, 10), st.integers(1, 3), st.floats(0.0, 0.6), st.integers(0, 999))
@settings(max_examples=20)
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
