"""Walks along fibres whose shape is known: spheres, planes, boxes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from onnxnull.errors import Code, OnnxnullError
from onnxnull.fiber import Fiber, Stop, walk
from onnxnull.gradient import Function
from onnxnull.runtime.precision import Precision

Array = NDArray[np.float64]


def function(nodes: Sequence[onnx.NodeProto], size: int, constants: dict[str, Array], precision: Precision) -> Function:
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, size])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    stored = [numpy_helper.from_array(np.asarray(a, dtype=np.float32), name) for name, a in constants.items()]
    graph = helper.make_graph(nodes, "g", [x], [y], stored)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return Function(model, {"x": np.zeros((1, size))}, precision=precision, threads=1)


def fiber(
    nodes: Sequence[onnx.NodeProto], start: Array, low: float = -np.inf, high: float = np.inf, **constants: Array
) -> Fiber:
    exact, quick = (function(nodes, start.size, constants, p) for p in (Precision.FLOAT64, Precision.FLOAT32))
    return Fiber.through(exact, quick, start, np.full(start.shape, low), np.full(start.shape, high))


SPHERE = [helper.make_node("ReduceSumSquare", ["x"], ["y"], axes=[1])]
LINEAR = [helper.make_node("MatMul", ["x", "w"], ["y"])]
BENT = [helper.make_node("MatMul", ["x", "w"], ["h"]), helper.make_node("LeakyRelu", ["h"], ["y"], alpha=0.5)]


def test_on_a_sphere_the_nearest_point_lies_on_the_ray_to_the_wish() -> None:
    rng = np.random.default_rng(0)
    start, wish = rng.standard_normal((2, 1, 20))
    found = walk(fiber(SPHERE, start), wish)
    nearest = wish * np.linalg.norm(start) / np.linalg.norm(wish)
    assert found.stop is Stop.NO_DIRECTION
    assert abs(np.linalg.norm(found.point) - np.linalg.norm(start)) < 1e-11
    assert np.linalg.norm(found.point - nearest) < 0.05 * np.linalg.norm(start)
    assert np.linalg.norm(found.point - wish) < 1.002 * np.linalg.norm(nearest - wish)
    assert (found.rank, found.rows) == (1, 1)


def test_on_a_plane_the_walk_is_a_projection() -> None:
    rng = np.random.default_rng(1)
    w = np.asarray(rng.standard_normal((12, 5)), dtype=np.float32).astype(np.float64)
    start, wish = rng.standard_normal((2, 1, 12))
    found = walk(fiber(LINEAR, start, w=w), wish)
    expected = wish - (wish - start) @ w @ np.linalg.pinv(w)
    np.testing.assert_allclose(found.point, expected, rtol=0, atol=1e-2)
    assert np.abs((found.point - start) @ w).max() < 1e-11
    assert found.rank == 5


def test_dead_and_repeated_outputs_lose_rank_and_do_no_harm() -> None:
    rng = np.random.default_rng(2)
    w = rng.standard_normal((12, 6))
    w[:, 3], w[:, 4] = 0.0, w[:, 5]
    start, wish = rng.standard_normal((2, 1, 12))
    found = walk(fiber(BENT, start, w=w), wish)
    assert (found.rank, found.rows) == (4, 6)
    assert found.residual < 1e-11
    assert found.share > 0.1


def test_a_wish_on_the_fibre_is_reached() -> None:
    start, wish = np.array([[3.0, 4.0, 0.0]]), np.array([[3.0, 0.0, 4.0]])
    found = walk(fiber(SPHERE, start), wish)
    assert found.share > 0.99
    assert np.linalg.norm(found.point - wish) < 0.02 * np.linalg.norm(wish - start)


def test_the_box_is_kept() -> None:
    rng = np.random.default_rng(3)
    start, wish = rng.uniform(0.0, 1.0, (2, 1, 40))
    wish[0, ::3] = 1.0
    problem = fiber(BENT, start, 0.0, 1.0, w=rng.standard_normal((40, 8)))
    found = walk(problem, wish)
    assert found.point.min() >= 0.0
    assert found.point.max() <= 1.0
    assert np.any(found.point == 1.0)
    assert found.residual < 1e-11
    assert found.share > 0.5


def test_an_injective_function_has_no_direction() -> None:
    rng = np.random.default_rng(4)
    start, wish = rng.standard_normal((2, 1, 6))
    found = walk(fiber(LINEAR, start, w=rng.standard_normal((6, 9))), wish)
    assert found.stop is Stop.NO_DIRECTION
    assert found.steps == 0
    assert np.array_equal(found.point, start)


def test_the_time_limit_ends_a_walk_where_it_is() -> None:
    rng = np.random.default_rng(5)
    start, wish = rng.standard_normal((2, 1, 20))
    found = walk(fiber(SPHERE, start), wish, time_limit=0.0)
    assert found.stop is Stop.BUDGET
    assert np.array_equal(found.point, start)


def test_many_rows() -> None:
    """More rows than are differentiated for every correction: in rounds."""
    rng = np.random.default_rng(6)
    start, wish = rng.uniform(0.0, 1.0, (2, 1, 400))
    problem = fiber(BENT, start, 0.0, 1.0, w=rng.standard_normal((400, 80)))
    found = walk(problem, wish)
    assert found.rows == 80
    assert found.residual < 1e-11
    assert found.share > 0.6
    assert found.point.min() >= 0.0


@pytest.mark.parametrize("limit", [None, 60.0])
def test_progress_is_told(limit: float | None) -> None:
    told: list[str] = []
    start, wish = np.random.default_rng(7).standard_normal((2, 1, 20))
    walk(fiber(SPHERE, start), wish, time_limit=limit, progress=told.append)
    assert told
    assert all("along the fibre" in each and "residual" in each for each in told)


def test_a_derivative_beyond_float32_is_an_error() -> None:
    """exp(88) is a number of float32, and its product with 10³ is none."""
    nodes = [
        helper.make_node("Mul", ["x", "thousand"], ["s"]),
        helper.make_node("Exp", ["s"], ["e"]),
        helper.make_node("ReduceSum", ["e"], ["y"]),
    ]
    found = fiber(nodes, np.full((1, 4), 0.088), thousand=np.array(1000.0))
    with pytest.raises(OnnxnullError) as refused:
        walk(found, np.zeros((1, 4)))
    assert refused.value.code is Code.RUNTIME
