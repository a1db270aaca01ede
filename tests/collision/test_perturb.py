"""Perturbations: in the kernel, in the box, as large and where they were wanted, and the control beside them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

from onnxnull import frontier
from onnxnull.collision.cases import load_cases, pixel_box, region
from onnxnull.collision.kernel import Kernel
from onnxnull.collision.perturb import PATTERNS, Recipe
from onnxnull.collision.results import Collision, Kind
from onnxnull.collision.search import Place
from onnxnull.collision.tensors import input_site
from onnxnull.errors import Code, OnnxnullError
from onnxnull.graph.flow import Flow
from onnxnull.graph.model import open_model
from onnxnull.inputs import Preprocessing
from tests.collision.bundles import near_model, patch_model
from tests.collision.searches import between, collision, labels, largest_move, saved
from tests.helpers import model, value, weight

ROOT = Path(__file__).resolve().parents[2]
UNIT_BOX = between(-1.0, 1.0)


def overlapping(path: Path) -> Path:
    """x 1×3×8×8 → Conv 3×3 of stride 2 to 4 channels: fewer than the 12 numbers of a cell."""
    layer = helper.make_node("Conv", ["x", "w"], ["y"], name="stem", strides=[2, 2])
    proto = model([layer], {"w": weight(4, 3, 3, 3)}, inputs=[value("x", [1, 3, 8, 8])])
    path.write_bytes(proto.SerializeToString())
    return path


MODELS: dict[str, Callable[[Path], Path]] = {"patches": patch_model, "overlapping": overlapping}


def start(seed: int = 5) -> dict[str, np.ndarray]:
    """Numbers of float32 in [−1, 1], some of them at its ends."""
    return {"x": np.clip(weight(1, 3, 8, 8, seed=seed), -1, 1)}


@pytest.fixture(params=list(MODELS))
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return MODELS[request.param](tmp_path / "m.onnx")


def kernel_at_input(path: Path) -> Kernel:
    return input_site(frontier.find(Flow(open_model(path))), None).kernel()


def change(found: Collision) -> np.ndarray:
    return found.colliding - found.original


def assert_in_kernel(found: Collision) -> None:
    """Every claim holds, and what differs is a vector of the kernel as a layer in double sees it."""
    assert labels(found) == {"float64": "rounding", "float32": "rounding"}
    assert all(check.kernel.holds and check.runtime.holds for run in found.runs for check in run.layers)


@pytest.mark.parametrize("pattern", [*PATTERNS, "toward"])
@pytest.mark.parametrize(
    "sized", [{"beta": 3.0}, {"largest": True, "box": UNIT_BOX}, {"epsilon": 0.05}], ids=["beta", "max", "epsilon"]
)
def test_every_pattern_lies_in_the_kernel_at_every_size(pattern: Any, sized: dict[str, Any], path: Path) -> None:
    toward = start(6) if pattern == "toward" else None
    assert_in_kernel(collision(path, start(), Recipe(pattern=pattern, **sized), toward=toward))


def patches_of(found: Collision) -> np.ndarray:
    """The four 4×4 patches of the change, as rows."""
    return change(found).reshape(3, 2, 4, 2, 4).transpose(1, 3, 0, 2, 4).reshape(4, 48)


def test_what_the_patterns_are(tmp_path: Path) -> None:
    """repeat: equal patches; betas: parallel ones; patches, random: independent ones."""
    path = patch_model(tmp_path / "m.onnx")
    rows = {name: patches_of(collision(path, start(), Recipe(pattern=name, beta=3.0))) for name in PATTERNS}
    np.testing.assert_allclose(rows["repeat"], np.broadcast_to(rows["repeat"][0], (4, 48)), atol=1e-13)
    assert [int(np.linalg.matrix_rank(rows[name], tol=1e-9)) for name in ("repeat", "betas", "patches", "random")] == [
        1,
        1,
        4,
        4,
    ]
    lengths = np.linalg.norm(rows["betas"], axis=1)
    assert np.unique(lengths.round(9)).size == 4


@pytest.mark.parametrize("beta", [1e-3, 1.0, 250.0])
def test_beta_is_the_length(beta: float, path: Path) -> None:
    found = collision(path, start(), Recipe(beta=beta))
    np.testing.assert_allclose(found.perturbation.l2, beta, rtol=1e-9)
    np.testing.assert_allclose(np.linalg.norm(change(found)), beta, rtol=1e-9)
    assert_in_kernel(found)


@pytest.mark.parametrize("beta", [None, 0.25, -1.5])
def test_toward_goes_a_share_of_the_way(beta: float | None, path: Path) -> None:
    found = collision(path, start(), Recipe(pattern="toward", beta=beta), toward=start(6))
    wanted = kernel_at_input(path).project(start(6)["x"].astype(np.float64) - start()["x"])
    np.testing.assert_allclose(change(found), (1.0 if beta is None else beta) * wanted, atol=1e-12)


@pytest.mark.parametrize("seed", range(4))
def test_the_largest_is_larger_than_plain_scaling(seed: int, path: Path) -> None:
    x = 0.9 * start()["x"].astype(np.float64).astype(np.float32)
    found = collision(path, {"x": x}, Recipe(largest=True, box=UNIT_BOX, seed=seed))
    direction = kernel_at_input(path).project(np.random.default_rng([seed, 0]).standard_normal(x.shape))
    x64 = found.original
    room = np.where(direction > 0, 1.0 - x64, 1.0 + x64) / np.abs(direction)
    plain = room.min() * np.linalg.norm(direction)
    assert found.perturbation.l2 > 1.5 * plain
    assert np.vdot(change(found), direction) >= room.min() * np.vdot(direction, direction)
    assert_in_kernel(found)


@pytest.mark.parametrize("recipe", [{"largest": True}, {"beta": 30.0}, {"epsilon": 0.3}, {"pattern": "toward", "beta": 5.0}])
@pytest.mark.parametrize("box", [(-1.0, 1.0), (-1.0, 1.1), (-1.7, 1.000001)])
def test_the_box_is_never_left(recipe: dict[str, Any], box: tuple[float, float], path: Path) -> None:
    """Neither by the float64 numbers, nor by those that float32 rounds them to; and some lie at its ends."""
    bounds = between(*box)
    toward = start(6) if "pattern" in recipe else None
    found = collision(path, start(), Recipe(box=bounds, **recipe), toward=toward)
    for each in (found.colliding, found.control):
        for stored in (each, each.astype(np.float32).astype(np.float64)):
            assert box[0] <= stored.min() <= stored.max() <= box[1]
    assert np.max(np.abs(found.colliding)) > 0.95
    assert_in_kernel(found)


@pytest.mark.parametrize("epsilon", [0.1, 1 / 255, 0.0314159, 1e-4])
@pytest.mark.parametrize("pattern", ["random", "repeat", "toward"])
@pytest.mark.parametrize("box", [None, UNIT_BOX])
def test_epsilon_bounds_every_entry_exactly(epsilon: float, pattern: Any, box: Any, path: Path) -> None:
    """As fractions, of the float64 numbers and of those that float32 rounds them to."""
    toward = start(6) if pattern == "toward" else None
    found = collision(path, start(), Recipe(pattern=pattern, epsilon=epsilon, box=box), toward=toward)
    for after in (found.colliding, found.colliding.astype(np.float32)):
        pairs = zip(after.ravel().tolist(), found.original.ravel().tolist(), strict=True)
        assert max(abs(Fraction(a) - Fraction(b)) for a, b in pairs) <= Fraction(epsilon)
    assert found.perturbation.linf > 0.5 * epsilon
    assert_in_kernel(found)


@pytest.mark.parametrize(
    "sized", [{"beta": 2.0}, {"largest": True, "box": UNIT_BOX}, {"epsilon": 0.1}], ids=["beta", "max", "epsilon"]
)
@pytest.mark.parametrize("where", ["half", "part of patches", "scattered"])
def test_nothing_changes_outside_of_the_mask(where: str, sized: dict[str, Any], path: Path) -> None:
    if where == "scattered":
        free = np.random.default_rng(1).random((1, 3, 8, 8)) < 0.8
    else:
        size = (8, 4) if where == "half" else (5, 6)
        free = region((1, 3, 8, 8), None, (0 if where == "half" else 2, 1), size)
    found = collision(path, start(), Recipe(free=free, **sized))
    for each in (found.colliding, found.control):
        np.testing.assert_array_equal(each[~free], found.original[~free])
    assert np.any(found.colliding != found.original)
    assert found.perturbation.changed <= np.count_nonzero(free)
    assert_in_kernel(found)


def test_a_mask_without_a_kernel_vector_is_told(path: Path) -> None:
    free = region((1, 3, 8, 8), None, (3, 3), (1, 1))
    with pytest.raises(OnnxnullError) as refused:
        collision(path, start(), Recipe(free=free, beta=1.0))
    assert refused.value.code is Code.NOT_FOUND


def test_a_box_without_room_is_told(tmp_path: Path) -> None:
    """Weights above 0 have no kernel vector ≥ 0, and a black image can only become brighter."""
    layer = helper.make_node("MatMul", ["x", "w"], ["y"], name="mm")
    path = saved(tmp_path, model([layer], {"w": np.abs(weight(9, 4))}, inputs=[value("x", [1, 9])]))
    box = between(0.0, 1.0)
    for recipe in (Recipe(largest=True, box=box), Recipe(beta=0.1, box=box)):
        with pytest.raises(OnnxnullError) as refused:
            collision(path, {"x": np.zeros((1, 9), np.float32)}, recipe)
        assert refused.value.code is Code.NOT_FOUND
    assert_in_kernel(collision(path, {"x": np.full((1, 9), 0.5, np.float32)}, Recipe(largest=True, box=box)))


def test_an_original_outside_of_the_box_is_told(path: Path) -> None:
    with pytest.raises(OnnxnullError) as refused:
        collision(path, start(), Recipe(largest=True, box=between(-0.5, 0.5)))
    assert refused.value.code is Code.DATA


def test_nothing_is_the_largest_without_bounds(path: Path) -> None:
    with pytest.raises(OnnxnullError) as refused:
        collision(path, start(), Recipe(largest=True))
    assert refused.value.code is Code.DATA


@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_seed_gives_the_same_bytes_and_another_seed_others(pattern: Any, path: Path) -> None:
    def made(seed: int) -> tuple[bytes, bytes]:
        found = collision(path, start(), Recipe(pattern=pattern, beta=1.0, seed=seed))
        return found.colliding.tobytes(), found.control.tobytes()

    assert made(3) == made(3)
    assert made(3)[0] != made(4)[0]
    assert made(3)[1] != made(4)[1]


@pytest.mark.parametrize("sized", [{"beta": 3.0}, {"epsilon": 0.02}, {"beta": 1.0, "box": between(-9, 9)}])
def test_the_control_is_as_long_where_it_has_room(sized: dict[str, Any], path: Path) -> None:
    """And runs along what the layers see, where nothing bends it."""
    found = collision(path, start(), Recipe(**sized))
    lengths = found.perturbation.l2, found.perturbation.control
    assert lengths[1] == pytest.approx(float(np.linalg.norm(found.control - found.original)))
    if "epsilon" in sized:
        assert np.abs(found.control - found.original).max() <= sized["epsilon"]
        assert lengths[1] >= 0.9 * lengths[0]
    else:
        np.testing.assert_allclose(lengths[1], lengths[0], rtol=1e-6)
        seen = kernel_at_input(path).project(found.control - found.original)
        assert np.linalg.norm(seen) <= 1e-4 * lengths[1]


@pytest.mark.parametrize("recipe", [Recipe(beta=5.0), Recipe(largest=True), Recipe(pattern="repeat", epsilon=0.2)])
def test_the_control_moves_a_trained_model_a_thousand_times_as_far(recipe: Recipe) -> None:
    path = ROOT / "models/digits_vit.onnx"
    described = open_model(path).inputs
    (case,) = load_cases(ROOT / "models/samples/digits_vit/3.png", described, Preprocessing())
    box = pixel_box(described[0], Preprocessing())
    found = collision(path, case.arrays, replace(recipe, box=box))
    assert_in_kernel(found)
    for run in found.runs:
        moved, control = largest_move(run)
        assert control >= 1000 * moved
    assert box is not None
    assert np.all((box[0] <= found.control) & (found.control <= box[1]))


SIGMA = 3e-10


def near_patches(folder: Path) -> tuple[Path, np.ndarray]:
    """x 1×1×4×4 → Conv 2×2 of stride 2 in double, singular values 1, 0.5, σ, 0; and the direction of σ."""
    rng = np.random.default_rng(0)
    u, v = (np.linalg.qr(rng.standard_normal((4, 4)))[0] for _ in range(2))
    w = u @ np.diag([1.0, 0.5, SIGMA, 0.0]) @ v
    double = onnx.TensorProto.DOUBLE
    layer = helper.make_node("Conv", ["x", "w"], ["y"], name="stem", strides=[2, 2])
    inputs, outputs = [value("x", [1, 1, 4, 4], double)], [value("y", None, double)]
    return saved(folder, model([layer], {"w": w.T.reshape(4, 1, 2, 2)}, inputs=inputs, outputs=outputs)), u[:, 2]


def test_near_kernels_are_the_directions_between_the_cut_offs(tmp_path: Path) -> None:
    path, direction = near_patches(tmp_path)
    found = collision(path, {"x": np.random.default_rng(1).random((1, 1, 4, 4))}, Recipe(beta=1.0), near=True)
    assert found.kind is Kind.NEAR_KERNEL
    assert set(labels(found).values()) == {"near"}
    np.testing.assert_allclose(found.perturbation.sigma, SIGMA, rtol=1e-5)
    rows = change(found).reshape(2, 2, 2, 2).transpose(0, 2, 1, 3).reshape(4, 4)
    along = rows @ direction
    np.testing.assert_allclose(np.abs(along), np.linalg.norm(rows, axis=1), rtol=1e-5)
    # σ lets through what it says, which no kernel vector does
    (run,) = (run for run in found.runs if run.precision == "float64")
    assert 0.1 * SIGMA < largest_move(run)[0] <= 1.01 * SIGMA


def test_the_kernel_itself_is_not_mixed_with_the_near_kernel(tmp_path: Path) -> None:
    path, direction = near_patches(tmp_path)
    found = collision(path, {"x": np.random.default_rng(1).random((1, 1, 4, 4))}, Recipe(beta=1.0))
    assert (found.kind, found.nullity, found.perturbation.sigma) == (Kind.KERNEL, (4, 4), 0.0)
    assert_in_kernel(found)
    rows = change(found).reshape(2, 2, 2, 2).transpose(0, 2, 1, 3).reshape(4, 4)
    assert np.abs(rows @ direction).max() <= 1e-6


def test_no_near_kernel_is_told(tmp_path: Path) -> None:
    with pytest.raises(OnnxnullError) as refused:
        collision(patch_model(tmp_path / "m.onnx"), start(), Recipe(beta=1.0), near=True)
    assert refused.value.code is Code.NOT_FOUND
    assert refused.value.exit_code == 3


def test_no_near_kernel_of_overlapping_patches_is_claimed(tmp_path: Path) -> None:
    with pytest.raises(OnnxnullError) as refused:
        collision(overlapping(tmp_path / "m.onnx"), start(), Recipe(beta=1.0), near=True)
    assert refused.value.code is Code.DATA


def test_a_near_kernel_of_a_box_stays_in_it(tmp_path: Path) -> None:
    path = near_model(tmp_path / "near.onnx")
    x = {"x": np.random.default_rng(1).random((1, 6))}
    found = collision(path, x, Recipe(largest=True, box=between(0.0, 1.0)), near=True)
    assert 0.0 <= found.colliding.min() <= found.colliding.max() <= 1.0
    assert found.perturbation.l2 > 0.01


def test_a_layers_change_may_go_toward_another_activation(tmp_path: Path) -> None:
    path = patch_model(tmp_path / "m.onnx")
    place = Place(layer="head")
    found = collision(path, start(), Recipe(pattern="toward"), toward=start(6), place=place)
    assert_in_kernel(found)
    other = collision(path, start(6), Recipe(beta=1.0), place=place).original
    before, after = (float(np.linalg.norm(other - each)) for each in (found.original, found.colliding))
    assert after < before
