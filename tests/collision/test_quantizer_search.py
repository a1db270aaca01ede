"""Collisions behind a quantizer: whole steps in the kernel of the integers, the same bits behind them; cells claimed apart."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

from onnxnull.collision.cases import Case, quantizer_ranges
from onnxnull.collision.integer_windows import integers_of
from onnxnull.collision.perturb import Recipe
from onnxnull.collision.quantizer_grid import Rounding
from onnxnull.collision.results import Collision, Kind
from onnxnull.collision.search import Execution, Place, Search
from onnxnull.collision.strategies.strategy import Method
from onnxnull.errors import Code, OnnxnullError
from onnxnull.evidence.replay import replay
from onnxnull.evidence.write_bundle import Bundle
from onnxnull.frontier import Quantizer
from onnxnull.graph.model import open_model
from onnxnull.inputs import Preprocessing
from onnxnull.kernel.maps.selection import identity
from onnxnull.policy.config import RunSettings
from onnxnull.policy.run_request import RunRequest
from onnxnull.runtime.precision import Precision
from tests.collision.quantized import SCALE, ZERO, codes, dynamic, grey, mlp, qdq, stem
from tests.collision.searches import between, collision, dense, labels, largest_move, saved
from tests.helpers import model, run, value, weight

node = helper.make_node
STATIC = Quantizer("q", float(SCALE), int(ZERO), 0, 255, identity((4, 9)), "q")
PATCHES = {"kernel_shape": [4, 4], "strides": [4, 4]}


def session_codes(proto: onnx.ModelProto, x: np.ndarray) -> np.ndarray:
    """What onnxruntime's quantizer makes of x."""
    with_codes = onnx.ModelProto()
    with_codes.CopyFrom(proto)
    with_codes.graph.output.insert(0, value("q", None, onnx.TensorProto.UINT8))
    return run(with_codes, {"x": x.astype(np.float32)})[0].astype(np.int64)


def assert_exact(found: Collision, proto: onnx.ModelProto, matrix: np.ndarray, patches: Any) -> None:
    """Codes differ by kernel vectors of `matrix` (q, p), patch by patch, by onnxruntime's own codes; all bits are the same."""
    moved = session_codes(proto, found.colliding) - session_codes(proto, found.original)
    assert np.any(moved)
    assert not np.any(patches(moved) @ matrix.astype(np.int64))
    before, after, control = (
        run(proto, {"x": x.astype(np.float32)})[0] for x in (found.original, found.colliding, found.control)
    )
    assert before.tobytes() == after.tobytes()
    assert np.any(before != control)
    assert np.linalg.norm(found.control - found.original) <= found.perturbation.l2 * (1 + 1e-6)
    assert (found.kind, labels(found)) == (Kind.KERNEL, {"native": "bitwise"})
    assert all(check.kernel.value == 0 and check.runtime.value == 0 for check in found.runs[0].layers)


def rows(moved: np.ndarray) -> np.ndarray:
    return moved


def tiles(moved: np.ndarray) -> np.ndarray:
    """(1, C, H, W) → 4×4 patches as rows, channels first."""
    _, c, h, w = moved.shape
    return moved.reshape(c, h // 4, 4, w // 4, 4).transpose(1, 3, 0, 2, 4).reshape(-1, 16 * c)


EXACT: dict[str, tuple[onnx.ModelProto, np.ndarray, np.ndarray, Any, int]] = {
    "QLinearMatMul": (mlp(w := codes(40, 12)), grey(2, 40), w, rows, 2 * 28),
    "a patch embedding": (
        stem(w := codes(16, 3, 4, 4), 8, **PATCHES),
        grey(1, 3, 8, 8),
        w.reshape(16, -1).T,
        tiles,
        4 * 32,
    ),
    "overlapping filters": (
        stem(w := codes(2, 3, 3, 3, bound=3), 24, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]),
        grey(1, 3, 24, 24),
        np.zeros((0, 0)),
        None,
        0,
    ),
    "DynamicQuantizeLinear": (dynamic(w := codes(40, 12)), weight(2, 40), w, rows, 2 * 28),
}


@pytest.mark.parametrize("name", EXACT)
def test_whole_steps_in_the_kernel_leave_every_bit(name: str, tmp_path: Path) -> None:
    proto, x, matrix, patches, nullity = EXACT[name]
    found = collision(saved(tmp_path, proto), {"x": x}, Recipe())
    if patches is None:  # every output of the convolution, by onnxruntime's own sums
        matrix, patches = np.zeros((0, 0), np.int64), lambda _: np.zeros((1, 0), np.int64)
        assert found.nullity is not None
        assert found.nullity[0] > 0
    else:
        assert found.nullity == (nullity, nullity)
    assert found.steps is not None
    assert found.steps.changed == np.count_nonzero(found.colliding != found.original)
    assert_exact(found, proto, matrix, patches)


def test_floats_behind_the_grid_differ_by_rounding(tmp_path: Path) -> None:
    w = codes(16, 3, 4, 4)
    found = collision(saved(tmp_path, qdq(w, 8, **PATCHES)), {"x": grey(1, 8, 8, 3)}, Recipe())
    moved = session_codes(qdq(w, 8, **PATCHES), found.colliding) - session_codes(qdq(w, 8, **PATCHES), found.original)
    assert not np.any(tiles(moved.transpose(0, 3, 1, 2)) @ w.reshape(16, -1).T.astype(np.int64))
    assert labels(found) in ({"native": "rounding"}, {"native": "bitwise"})
    (check,) = found.runs[0].layers
    assert check.kernel.value == 0
    assert check.runtime.holds
    moved_by, control = largest_move(found.runs[0])
    assert 1e3 * moved_by <= control


def test_the_extremes_of_a_dynamic_scale_stay(tmp_path: Path) -> None:
    x = weight(2, 40)
    found = collision(saved(tmp_path, dynamic(codes(40, 12))), {"x": x}, Recipe())
    for end in (np.min, np.max):
        assert end(found.original) == end(found.colliding)
    assert found.steps is not None
    assert found.steps.dynamic


@pytest.mark.parametrize("beta", [0.5, 2.0])
def test_sizes_and_bounds_hold_on_the_grid(beta: float, tmp_path: Path) -> None:
    path, x = saved(tmp_path, mlp(codes(60, 8, bound=20))), grey(2, 60)
    found = collision(path, {"x": x}, Recipe(beta=beta))
    assert 0.2 * beta < found.perturbation.l2 <= beta
    found = collision(path, {"x": x}, Recipe(epsilon=0.5))
    assert 0 < found.perturbation.linf <= 0.5
    found = collision(path, {"x": x}, Recipe(box=between(0.9, 3.6)))
    assert np.all((found.colliding >= 0.9) & (found.colliding <= 3.6))
    free = np.arange(120).reshape(2, 60) % 2 == 0
    found = collision(path, {"x": x}, Recipe(free=free))
    assert np.all((found.colliding == found.original) | free)


def test_toward_another_input_on_the_grid(tmp_path: Path) -> None:
    path, x = saved(tmp_path, mlp(w := codes(60, 8, bound=20))), grey(2, 60)
    other = grey(2, 60, seed=1)
    found = collision(path, {"x": x}, Recipe(pattern="toward"), toward={"x": other})
    assert_exact(found, mlp(w), w, rows)
    assert np.linalg.norm(found.colliding - other) < 0.7 * np.linalg.norm(x - other)


def test_what_the_quantizer_hides_is_claimed_apart(tmp_path: Path) -> None:
    proto, x = mlp(codes(8, 8)), grey(2, 8)  # a square matrix of full rank: nothing in whole steps
    path = saved(tmp_path, proto)
    with pytest.raises(OnnxnullError) as refused:
        collision(path, {"x": x})
    assert refused.value.code is Code.INJECTIVE
    assert "--quantizer-cell" in str(refused.value)
    search = Search(open_model(path), Place(), Execution(), method=Method(Kind.QUANTIZER_CELL))
    (found,) = search.run(Case("random", {"x": x}), Recipe())
    assert (found.kind, found.nullity, labels(found)) == (Kind.QUANTIZER_CELL, None, {"native": "bitwise"})
    assert np.array_equal(session_codes(proto, found.original), session_codes(proto, found.colliding))
    assert np.mean(found.colliding != found.original) > 0.9
    assert largest_move(found.runs[0])[1] > 0


def test_a_cell_needs_a_quantizer(tmp_path: Path) -> None:
    path = saved(tmp_path, model([node("MatMul", ["x", "w"], ["y"])], {"w": weight(9, 4)}, inputs=[value("x", [1, 9])]))
    with pytest.raises(OnnxnullError) as refused:
        list(
            Search(open_model(path), Place(), Execution(), method=Method(Kind.QUANTIZER_CELL)).run(
                Case("random", {"x": weight(1, 9)}), Recipe()
            )
        )
    assert refused.value.code is Code.NOT_FOUND


def test_black_pixels_leave_room_on_one_side(tmp_path: Path) -> None:
    w = codes(48, 10)
    x = grey(1, 48)
    x[:, ::2] = -1.0  # saturated: code 0
    found = collision(saved(tmp_path, mlp(w, rows=1)), {"x": x}, Recipe())
    assert_exact(found, mlp(w, rows=1), w, rows)


@pytest.mark.parametrize("patches", [False, True])
def test_layers_of_codes_inside_a_network(patches: bool, tmp_path: Path) -> None:
    w = codes(16, 3, 4, 4)
    path = saved(tmp_path, stem(w, 8, **PATCHES))
    found = collision(path, {"x": grey(1, 3, 8, 8)}, Recipe(), place=Place(layer="layer", patches=patches))
    moved = (found.colliding - found.original).astype(np.int64)
    assert np.any(moved)
    assert not np.any(tiles(moved) @ w.reshape(16, -1).T.astype(np.int64))
    assert found.colliding.min() >= 0
    assert found.colliding.max() <= 255
    assert labels(found) == {"native": "bitwise"}


@pytest.mark.parametrize("cell", [False, True])
def test_evidence_is_confirmed_and_a_changed_code_is_not(cell: bool, tmp_path: Path) -> None:
    path = saved(tmp_path, mlp(codes(40, 12)))
    search = Search(open_model(path), Place(), Execution(), method=Method(Kind.QUANTIZER_CELL if cell else Kind.KERNEL))
    (found,) = search.run(Case("random", {"x": grey(2, 40)}), Recipe())
    with Bundle(tmp_path / "bundle", search, Preprocessing(), None) as bundle:
        bundle.add(found)
    (again,) = replay(tmp_path / "bundle", path)
    assert again.confirmed
    document = tmp_path / "bundle" / "collision.json"
    written = document.read_text()
    document.write_text(written.replace('"zero_point": 10', '"zero_point": 11'))
    (doubted,) = replay(tmp_path / "bundle", path)
    assert doubted.objections == ("the bundle says quantizer's zero_point 11, and it is 10",)
    assert json.loads(written)["collisions"][0]["claim"] == {
        **{"kind": "quantizer-cell" if cell else "kernel", "residual": 0.0, "sigma": 0.0},
        "proof": None if cell else "integers",
    }
    assert again.recorded.kind is (Kind.QUANTIZER_CELL if cell else Kind.KERNEL)
    there = found.colliding.copy()
    there.flat[3] += 5 * float(SCALE)
    three = found.original, there, found.control
    broken = search.verify_pair("random", three, {}, found.perturbation)
    assert not broken.holds
    assert broken.runs[0].layers[0].kernel.holds is False


def test_a_precision_that_it_has_not_is_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(OnnxnullError) as refused:
        collision(saved(tmp_path, mlp(codes(40, 12))), {"x": grey(2, 40)}, precisions=[Precision.FLOAT32])
    assert refused.value.code is Code.PRECISION


def test_what_rounds_by_itself_is_no_linear_layer(tmp_path: Path) -> None:
    w, scale = codes(9, 4), np.float32(0.01)
    nodes = [node("DynamicQuantizeMatMul", ["x", "w", "s"], ["y"], domain="com.microsoft", name="layer")]
    proto = model(nodes, {"w": w, "s": scale}, inputs=[value("x", [1, 9])], imports={"com.microsoft": 1})
    with pytest.raises(OnnxnullError) as refused:
        collision(saved(tmp_path, proto), {"x": weight(1, 9)})
    assert refused.value.code is Code.NOT_GUARANTEED
    assert "rounds what it reads" in refused.value.seen


@pytest.mark.parametrize("seed", range(4))
def test_rounding_is_onnxruntimes(seed: int) -> None:
    """Codes of a static and a dynamic quantizer, halves and saturated entries among them."""
    rng = np.random.default_rng(seed)
    x = (rng.standard_normal((4, 9)) * 4).astype(np.float32)
    x[0, :4] = (np.arange(4) + np.float32(0.5)) * SCALE
    assert np.array_equal(
        Rounding.at(STATIC, x.astype(np.float64)).codes(x.astype(np.float64)), session_codes(mlp(codes(9, 4), rows=4), x)
    )
    moving = Quantizer("q", None, None, 0, 255, identity((4, 9)), "q")
    for part in (x, np.abs(x), np.zeros_like(x)):
        there = part.astype(np.float64)
        assert np.array_equal(Rounding.at(moving, there).codes(there), session_codes(dynamic(codes(9, 4), rows=4), part))


def test_weights_become_their_integers() -> None:
    w, scale = codes(1, 30, 7).astype(np.float64), np.float32(0.0123).astype(np.float64)
    w[0, 0] = 1.0  # nothing in common
    np.testing.assert_array_equal(integers_of(w * scale), w)
    np.testing.assert_array_equal(integers_of(w * 6.0), w)
    with pytest.raises(OnnxnullError):
        integers_of(np.array([[[1.0], [1e-20]]]))


@pytest.mark.parametrize("bits", [4, 8])
def test_weights_of_few_bits_collide_as_floats(bits: int, tmp_path: Path) -> None:
    packed = np.random.default_rng(0).integers(0, 256, (12, 2, 16 * bits // 8)).astype(np.uint8)
    attributes: dict[str, Any] = {"K": 32, "N": 12, "bits": bits, "block_size": 16}
    nodes = [node("MatMulNBits", ["x", "b", "s"], ["y"], domain="com.microsoft", name="layer", **attributes)]
    constants = {"b": packed, "s": np.full(24, 0.01, np.float32)}
    path = saved(tmp_path, model(nodes, constants, inputs=[value("x", [2, 32])], imports={"com.microsoft": 1}))
    for precision in (Precision.NATIVE, Precision.FLOAT32):
        found = collision(path, {"x": weight(2, 32)}, precisions=[precision])
        assert (found.nullity, found.holds) == ((40, 40), True)
        moved, control = largest_move(found.runs[0])
        assert 1e3 * moved <= control
    with pytest.raises(OnnxnullError) as refused:
        collision(path, {"x": weight(2, 32)})
    assert refused.value.code is Code.NO_DOUBLE_KERNEL


def test_dequantized_weights_collide_at_both_precisions(tmp_path: Path) -> None:
    nodes = [node("DequantizeLinear", ["w", "s"], ["f"], axis=1), node("MatMul", ["x", "f"], ["y"], name="layer")]
    constants = {"w": codes(32, 12), "s": np.linspace(0.01, 0.02, 12).astype(np.float32)}
    path = saved(tmp_path, model(nodes, constants, inputs=[value("x", [2, 32])]))
    found = collision(path, {"x": weight(2, 32)})
    assert (found.nullity, labels(found)) == ((40, 40), {"float64": "rounding", "float32": "rounding"})


def test_random_inputs_lie_in_the_middle_of_the_range(tmp_path: Path) -> None:
    """Of a static quantizer that tells -0.2 to 4.9 apart; a dynamic one has no range, and normal numbers do."""
    flow = open_model(saved(tmp_path, mlp(codes(9, 3)))).flow
    ((name, (low, high)),) = quantizer_ranges(flow).items()
    assert name == "x"
    assert [float(low), float(high)] == pytest.approx([1.075, 3.625])
    request = RunRequest(open_model(saved(tmp_path, mlp(codes(9, 3)))), RunSettings())
    for case in request.cases:
        assert case.arrays["x"].min() >= low
        assert case.arrays["x"].max() <= high
    for proto in (dynamic(codes(9, 3)), dense(weight(6, 3))):
        assert quantizer_ranges(open_model(saved(tmp_path, proto)).flow) == {}
