"""Verdicts: each occurs where it should and nowhere else, and what a search finds is judged by what runs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from onnxnull.collision.cases import Case
from onnxnull.collision.perturb import Recipe
from onnxnull.collision.results import Collision, Kind, Space
from onnxnull.collision.search import Execution, Place, Search
from onnxnull.errors import OnnxnullError
from onnxnull.graph.model import open_model
from onnxnull.runtime.precision import Precision
from tests.collision.bundles import near_model, patch_model
from tests.collision.searches import (
    ROUNDING,
    assert_collides,
    collision,
    collisions,
    dense,
    labels,
    largest_move,
    saved,
)
from tests.helpers import BOOL, model, value, weight

node = helper.make_node


def test_rounding_where_sums_cancel(tmp_path: Path) -> None:
    found = collision(saved(tmp_path, dense(weight(9, 4))), {"x": weight(1, 9, seed=1)}, Recipe(beta=2.0))
    assert_collides(found)
    assert found.nullity == (5, 5)
    assert (found.space, found.where, found.readers, found.kind) == (Space.INPUT, "x", ("mm",), Kind.KERNEL)
    assert not any(change.bitwise for run in found.runs for change in run.outputs)


def test_bitwise_where_the_weight_has_zeros_only(tmp_path: Path) -> None:
    w = weight(9, 9)
    w[[2, 5]] = 0
    found = collision(saved(tmp_path, dense(w)), {"x": weight(1, 9, seed=1)})
    assert labels(found) == {"float64": "bitwise", "float32": "bitwise"}
    assert found.nullity == (2, 2)
    assert set(np.flatnonzero(found.colliding != found.original)) == {2, 5}
    assert all(largest_move(run)[1] > 0.1 for run in found.runs)


def test_undecided_where_nothing_reads_the_input(tmp_path: Path) -> None:
    proto = model([node("Relu", ["c"], ["y"])], {"c": weight(3)}, inputs=[value("x", [1, 5])])
    found = collision(saved(tmp_path, proto), {"x": weight(1, 5)})
    assert labels(found) == {"float64": "undecided", "float32": "undecided"}
    assert "the control moves nothing" in str(found.runs[0].why)
    assert (found.readers, found.nullity) == ((), (5, 5))


def test_random_models_are_no_evidence(tmp_path: Path) -> None:
    """A model that gives other numbers at every run is no evidence of anything."""
    noise = node("RandomNormal", [], ["n"], shape=[1, 64])
    proto = model([noise, node("Relu", ["n"], ["y"])], inputs=[value("x", [1, 5])])
    with pytest.raises(OnnxnullError, match="differs from run to run"):
        collision(saved(tmp_path, proto), {"x": weight(1, 5)}, precisions=[Precision.FLOAT32])


def test_outputs_without_a_number_are_no_evidence(tmp_path: Path) -> None:
    """NaN is equal to NaN, and tells nothing."""
    nodes = [node("MatMul", ["x", "w"], ["h"]), node("Abs", ["h"], ["a"]), node("Neg", ["a"], ["n"]), node("Log", ["n"], ["y"])]
    proto = model(nodes, {"w": weight(6, 2)}, inputs=[value("x", [1, 6])])
    with pytest.raises(OnnxnullError, match="NaN or Inf everywhere"):
        collision(saved(tmp_path, proto), {"x": weight(1, 6, seed=1)}, precisions=[Precision.FLOAT32])


def test_amplified_rounding_is_no_collision(tmp_path: Path) -> None:
    """Float32 rounds the product, and what follows makes that as large as what any other input does; float64 does not.

    A move within rounding is not broken: it shows nothing.
    """
    nodes = [node("MatMul", ["x", "w"], ["h"]), node("Mul", ["h", "c"], ["m"]), node("Sin", ["m"], ["y"])]
    proto = model(nodes, {"w": weight(40, 8), "c": np.float32(1e5)}, inputs=[value("x", [1, 40])])
    found = collision(saved(tmp_path, proto), {"x": weight(1, 40, seed=1)})
    assert labels(found) == {"float64": "rounding", "float32": "undecided"}


def test_small_outputs_count_at_their_own_scale(tmp_path: Path) -> None:
    """An output far below the float64 cut-off of the whole weight, which the next node brings up again."""
    w = weight(12, 4).astype(np.float64)
    w[:, 0] *= 1e-17
    scale = np.array([1e17, 1, 1, 1])
    nodes = [node("MatMul", ["x", "w"], ["h"], name="layer"), node("Mul", ["h", "s"], ["y"])]
    double = TensorProto.DOUBLE
    x, y = value("x", [1, 12], double), value("y", [1, 4], double)
    proto = model(nodes, {"w": w, "s": scale}, inputs=[x], outputs=[y])
    found = collision(saved(tmp_path, proto), {"x": weight(1, 12, seed=1)}, precisions=[Precision.FLOAT64])
    assert labels(found)["float64"] in ("rounding", "bitwise")
    assert found.runs[0].outputs[0].max_abs <= 1e-12


def lstm(folder: Path) -> Path:
    """x 4×1×9 → LSTM of 2 hidden units: the frontier's only reader, whose product nobody sees."""
    constants = {"W": weight(1, 8, 9), "R": weight(1, 8, 2, seed=1)}
    layer = node("LSTM", ["x", "W", "R"], ["y"], name="lstm", hidden_size=2)
    return saved(folder, model([layer], constants, inputs=[value("x", [4, 1, 9])]))


def test_unbounded_where_the_product_stays_inside_its_node(tmp_path: Path) -> None:
    found = collision(lstm(tmp_path), {"x": weight(4, 1, 9, seed=1)})
    assert found.nullity == (4, 4)
    for run in found.runs:
        (check,) = run.layers
        assert check.kernel.holds
        assert (check.runtime.holds, check.runtime.reason) == (None, "the product stays inside the node")
        assert run.verdict.label in ("unbounded", "bitwise")
        assert 1e3 * largest_move(run)[0] <= largest_move(run)[1]
    assert labels(found)["float64"] == "unbounded"


def test_unbounded_where_the_layer_sits_in_a_branch(tmp_path: Path) -> None:
    def branch(name: str) -> onnx.GraphProto:
        return helper.make_graph(
            [node("MatMul", ["x", name], [f"{name}y"], name=f"{name}mm")], name, [], [value(f"{name}y", None)]
        )

    inputs = [value("c", [], BOOL), value("x", [1, 9])]
    choice = node("If", ["c"], ["y"], then_branch=branch("a"), else_branch=branch("b"))
    path = saved(tmp_path, model([choice], {"a": weight(9, 3), "b": weight(9, 3, seed=1)}, inputs=inputs))
    for taken in (True, False):
        found = collision(path, {"x": weight(1, 9, seed=2), "c": np.array(taken)}, Recipe(beta=1.0))
        assert found.nullity == (3, 3)
        assert bool(found.others["c"]) is taken
        assert labels(found)["float64"] == "unbounded"
        assert {check.runtime.reason for run in found.runs for check in run.layers} == {"the layer sits in a branch"}


def test_near_is_no_collision(tmp_path: Path) -> None:
    found = collision(near_model(tmp_path / "near.onnx"), {"x": weight(1, 6).astype(np.float64)}, near=True)
    assert found.kind is Kind.NEAR_KERNEL
    assert labels(found) == {"float64": "near", "float32": "near"}
    np.testing.assert_allclose(found.perturbation.sigma, 1e-9, rtol=1e-5)


def searched(path: Path, x: np.ndarray) -> tuple[Search, Collision]:
    search = Search(open_model(path), Place(), Execution())
    (found,) = search.run(Case("random", {"x": x}), Recipe(beta=1.0))
    return search, found


def again(search: Search, found: Collision, colliding: np.ndarray) -> dict[str, str]:
    """Verdicts on another array in the place of the colliding one."""
    arrays = (found.original, colliding, found.control)
    return labels(search.verify_pair("test", arrays, found.others, found.perturbation))


@pytest.mark.parametrize("change", [1e-5, -1e-3, 1.0])
def test_one_changed_pixel_is_broken_at_both_precisions(change: float, tmp_path: Path) -> None:
    search, found = searched(patch_model(tmp_path / "m.onnx"), weight(1, 3, 8, 8, seed=5))
    assert again(search, found, found.colliding) == ROUNDING
    rng = np.random.default_rng(0)
    for _ in range(5):
        other = found.colliding.copy()
        other[tuple(rng.integers(other.shape))] += change
        assert again(search, found, other) == {"float64": "broken", "float32": "broken"}


def test_a_change_below_float32_breaks_float64_only(tmp_path: Path) -> None:
    search, found = searched(patch_model(tmp_path / "m.onnx"), weight(1, 3, 8, 8, seed=5))
    other = found.colliding.copy()
    other[0, 1, 2, 3] += 1e-10
    assert again(search, found, other) == {"float64": "broken", "float32": "rounding"}


def test_the_original_does_not_collide_with_itself(tmp_path: Path) -> None:
    search, found = searched(patch_model(tmp_path / "m.onnx"), weight(1, 3, 8, 8, seed=5))
    assert again(search, found, found.original) == {"float64": "broken", "float32": "broken"}
    closer = found.original * (1 + 2.0**-40)  # differs in double only; and is no kernel vector either
    assert again(search, found, closer) == {"float64": "broken", "float32": "broken"}


def test_the_control_is_never_confirmed_as_a_collision(tmp_path: Path) -> None:
    search, found = searched(patch_model(tmp_path / "m.onnx"), weight(1, 3, 8, 8, seed=5))
    assert again(search, found, found.control) == {"float64": "broken", "float32": "broken"}


def test_numbers_that_are_not_finite_are_broken(tmp_path: Path) -> None:
    search, found = searched(patch_model(tmp_path / "m.onnx"), weight(1, 3, 8, 8, seed=5))
    for bad in (np.nan, np.inf):
        other = found.colliding.copy()
        other[0, 0, 0, 0] = bad
        assert again(search, found, other) == {"float64": "broken", "float32": "broken"}


def test_a_hidden_layer_collides_in_its_network(tmp_path: Path) -> None:
    """The rest of the network runs on what the layer makes of the real activation and of the colliding one."""
    path = patch_model(tmp_path / "m.onnx")
    x = weight(1, 3, 8, 8, seed=5)
    found = collision(path, {"x": x}, Recipe(beta=3.0), place=Place(layer="head"))
    assert (found.space, found.where, found.weight, found.op) == (Space.ACTIVATION, "head", "v", "Gemm")
    assert_collides(found)
    (whole,) = collisions(path, {"x": x})
    for run, outer, tolerance in zip(found.runs, whole.runs, (1e-5, 0.0), strict=True):  # the activation is float32's
        np.testing.assert_allclose(run.arrays["y"][0], outer.arrays["y"][0], rtol=tolerance)


def test_every_layer_moves_the_networks_own_outputs(tmp_path: Path) -> None:
    path = patch_model(tmp_path / "m.onnx")
    found = collisions(path, {"x": weight(1, 3, 8, 8, seed=5)}, place=Place(layer="all"))
    assert [(each.where, each.space) for each in found] == [("stem", Space.PATCHES), ("head", Space.PATCHES)]
    for each in found:
        assert_collides(each)
        assert [change.name for run in each.runs for change in run.outputs] == ["y", "y"]


def test_an_altered_layer_of_a_network_is_broken(tmp_path: Path) -> None:
    search = Search(open_model(patch_model(tmp_path / "m.onnx")), Place(layer="head"), Execution())
    x = weight(1, 3, 8, 8, seed=5)
    (found,) = search.run(Case("random", {"x": x}), Recipe(beta=1.0))
    found = replace(found, others={"x": x})
    assert again(search, found, found.colliding) == ROUNDING
    other = found.colliding.copy()
    other[0, 3] += 1e-3
    assert again(search, found, other) == {"float64": "broken", "float32": "broken"}
