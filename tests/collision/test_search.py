"""What a search finds at a network's inputs: behind linear steps, through several layers, at other precisions; or why not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from onnxnull.collision.cases import Case, load_cases
from onnxnull.collision.perturb import Recipe
from onnxnull.collision.search import Execution, Place, Search
from onnxnull.errors import Code, OnnxnullError
from onnxnull.graph.model import open_model
from onnxnull.inputs import Preprocessing
from onnxnull.runtime.precision import Precision
from onnxnull.runtime.providers import Provider, cuda_problem
from tests.collision.bundles import two_input_model
from tests.collision.searches import (
    assert_collides,
    between,
    collision,
    dense,
    labels,
    saved,
)
from tests.helpers import INT64, model, value, weight

node = helper.make_node
DOUBLE, HALF = TensorProto.DOUBLE, TensorProto.FLOAT16


def test_the_other_inputs_stay_as_they_are(tmp_path: Path) -> None:
    path = two_input_model(tmp_path / "two.onnx")
    feeds = {"x": weight(1, 8), "scale/../x": weight(3, seed=1)}
    found = collision(path, feeds)
    assert_collides(found)
    assert found.where == "x"
    assert set(found.others) == {"scale/../x"}
    np.testing.assert_array_equal(found.others["scale/../x"], feeds["scale/../x"])
    with pytest.raises(OnnxnullError) as refused:
        collision(path, feeds, place=Place("scale/../x"))
    assert refused.value.code is Code.NOT_GUARANTEED


def test_each_input_collides_by_itself(tmp_path: Path) -> None:
    nodes = [
        node("MatMul", ["x", "a"], ["h"], name="left"),
        node("MatMul", ["z", "b"], ["i"], name="right"),
        node("Mul", ["h", "i"], ["y"]),
    ]
    proto = model(nodes, {"a": weight(6, 3), "b": weight(9, 3)}, inputs=[value("x", [1, 6]), value("z", [1, 9])])
    feeds = {"x": weight(1, 6, seed=1), "z": weight(1, 9, seed=2)}
    for name, reader, nullity in (("x", "left", 3), ("z", "right", 6)):
        found = collision(saved(tmp_path, proto), feeds, place=Place(name))
        assert (found.where, found.readers, found.nullity) == (name, (reader,), (nullity, nullity))
        assert_collides(found)


def test_two_layers_on_one_input_see_the_joint_kernel(tmp_path: Path) -> None:
    nodes = [
        node("MatMul", ["x", "a"], ["h"], name="left"),
        node("Gemm", ["x", "b", "c"], ["i"], name="right"),
        node("Relu", ["h"], ["r"]),
        node("Add", ["r", "i"], ["y"]),
    ]
    a, b = weight(9, 3), weight(9, 3, seed=1)
    proto = model(nodes, {"a": a, "b": b, "c": weight(3)}, inputs=[value("x", [2, 9])])
    found = collision(saved(tmp_path, proto), {"x": weight(2, 9, seed=2)}, Recipe(beta=3.0))
    assert (found.readers, found.nullity) == (("left", "right"), (6, 6))
    assert_collides(found)
    moved = found.colliding - found.original
    for w in (a, b):
        assert np.abs(moved @ w.astype(np.float64)).max() <= 1e-14


IMAGE = value("x", [1, 3, 8, 8])
NO_GUARANTEE: dict[str, tuple[list[onnx.NodeProto], onnx.ValueInfoProto, np.ndarray]] = {
    "a residual over the stem": (
        [node("Conv", ["x", "w"], ["s"], pads=[1, 1, 1, 1]), node("Relu", ["s"], ["r"]), node("Add", ["x", "r"], ["y"])],
        IMAGE,
        weight(1, 3, 8, 8),
    ),
    "a non-linear op first": ([node("Tanh", ["x"], ["t"]), node("Conv", ["t", "w"], ["y"])], IMAGE, weight(1, 3, 8, 8)),
    "tokens": (
        [node("Gather", ["table", "x"], ["e"]), node("MatMul", ["e", "m"], ["y"])],
        value("x", [1, 4], INT64),
        np.zeros((1, 4), np.int64),
    ),
}


@pytest.mark.parametrize("name", NO_GUARANTEE)
def test_no_collision_is_claimed_without_a_guarantee(name: str, tmp_path: Path) -> None:
    nodes, x, array = NO_GUARANTEE[name]
    constants = {"w": weight(3, 3, 3, 3), "table": weight(10, 6), "m": weight(6, 2)}
    with pytest.raises(OnnxnullError) as refused:
        collision(saved(tmp_path, model(nodes, constants, inputs=[x])), {"x": array})
    assert refused.value.code is Code.NOT_GUARANTEED
    assert refused.value.exit_code == 3


def steps(*nodes: onnx.NodeProto, last: str = "h") -> list[onnx.NodeProto]:
    """Steps from x to h, and a Conv with overlapping patches or, where h is 2-D, a MatMul behind them."""
    return [*nodes, node("Conv", [last, "w"], ["y"], name="layer", strides=[2, 2])]


FOCUS = [
    *(node("Slice", ["x", f"from{a}{b}", "end", "axes", "by"], [f"s{a}{b}"]) for b in (0, 1) for a in (0, 1)),
    node("Concat", ["s00", "s10", "s01", "s11"], ["h"], axis=1),
]
BEHIND: dict[str, tuple[list[onnx.NodeProto], tuple[int, ...]]] = {
    "Transpose": (steps(node("Transpose", ["x"], ["h"], perm=[0, 3, 1, 2])), (1, 8, 8, 3)),
    "Pad": (steps(node("Pad", ["x", "pads"], ["h"])), (1, 3, 8, 8)),
    "Pad, reflected": (steps(node("Pad", ["x", "pads"], ["h"], mode="reflect")), (1, 3, 8, 8)),
    "scale and shift": (steps(node("Mul", ["x", "scale"], ["m"]), node("Add", ["m", "shift"], ["h"])), (1, 3, 8, 8)),
    "mean and deviation": (steps(node("Sub", ["x", "shift"], ["m"]), node("Div", ["m", "scale"], ["h"])), (1, 3, 8, 8)),
    "BatchNormalization": (steps(node("BatchNormalization", ["x", "g", "b", "mu", "var"], ["h"])), (1, 3, 8, 8)),
    "AveragePool": (steps(node("AveragePool", ["x"], ["h"], kernel_shape=[2, 2], strides=[2, 2])), (1, 3, 12, 12)),
    "Reshape": (steps(node("Reshape", ["x", "shape"], ["h"])), (1, 192)),
    "Focus": ([*FOCUS, node("Conv", ["h", "focus"], ["y"], name="layer")], (1, 3, 8, 8)),
}
CONSTANTS: dict[str, Any] = {
    "w": weight(4, 3, 3, 3),
    "focus": weight(8, 12, 1, 1),
    "pads": np.array([0, 0, 1, 2, 0, 0, 2, 1]),
    "scale": np.array([0.25, 3.0, -1.5], np.float32).reshape(3, 1, 1),
    "shift": np.array([0.1, -0.7, 5.0], np.float32).reshape(3, 1, 1),
    "g": np.array([0.3, 1.7, 2.2], np.float32),
    "b": weight(3),
    "mu": weight(3, seed=1),
    "var": np.array([0.5, 1.0, 2.0], np.float32),
    "shape": np.array([1, 3, 8, 8]),
    "end": np.array([100, 100]),
    "axes": np.array([2, 3]),
    "by": np.array([2, 2]),
    **{f"from{a}{b}": np.array([a, b]) for a in (0, 1) for b in (0, 1)},
}


@pytest.mark.parametrize("pattern", ["random", "toward"])
@pytest.mark.parametrize("name", BEHIND)
def test_a_perturbation_is_pulled_back_through_linear_steps(name: str, pattern: Any, tmp_path: Path) -> None:
    nodes, shape = BEHIND[name]
    path = saved(tmp_path, model(nodes, CONSTANTS, inputs=[value("x", shape)]))
    toward = {"x": weight(*shape, seed=3)} if pattern == "toward" else None
    recipe = Recipe(pattern=pattern, beta=2.0)
    found = collision(path, {"x": weight(*shape, seed=2)}, recipe, toward=toward)
    assert found.readers == ("layer",)
    assert found.nullity is not None
    assert found.nullity[0] > 0
    assert_collides(found)
    assert pattern == "toward" or abs(found.perturbation.l2 - 2.0) < 1e-12


def stem(folder: Path, size: int, w: np.ndarray, **attributes: Any) -> Path:
    """x 1×3×size×size → Conv 3×3."""
    layer = node("Conv", ["x", "w"], ["y"], name="layer", **attributes)
    return saved(folder, model([layer], {"w": w}, inputs=[value("x", [1, 3, size, size])]))


@pytest.mark.parametrize("size", [8, 9, 32])
@pytest.mark.parametrize("pads", [[1, 1, 1, 1], [2, 2, 2, 2], [1, 2, 2, 1]])
def test_outputs_that_read_little_hold_too(pads: list[int], size: int, tmp_path: Path) -> None:
    """An output at the border reads a pixel or two, whose change has to be 0, whatever the change is elsewhere."""
    for seed in range(4):
        path = stem(tmp_path, size, weight(4, 3, 3, 3, seed=seed), strides=[2, 2], pads=pads)
        assert_collides(collision(path, {"x": weight(1, 3, size, size, seed=50 + seed)}, Recipe(beta=40.0, seed=seed)))


@pytest.mark.parametrize(
    ("seed", "size", "pad", "lower"), [(3, 32, 1, -1.0), (5, 32, 1, -1.0), (4, 9, 0, 0.0), (2, 9, 0, -1.0)]
)
def test_black_pixels_hold_too(seed: int, size: int, pad: int, lower: float, tmp_path: Path) -> None:
    """Where x₀ is 0, representing x₁ = Δ costs next to nothing: what the box holds at 0 has to be 0."""
    path = stem(tmp_path, size, weight(2, 3, 3, 3, seed=seed), pads=[pad] * 4)
    x = np.clip(weight(1, 3, size, size), lower, 1)
    x[:, :, : size // 2] = 0
    box = between(lower, 1.0)
    assert_collides(collision(path, {"x": x}, Recipe(largest=True, box=box, seed=seed)))


@pytest.mark.parametrize("pattern", ["repeat", "patches", "betas"])
def test_patterns_of_patches_are_pulled_back_through_a_focus(pattern: Any, tmp_path: Path) -> None:
    nodes, shape = BEHIND["Focus"]
    path = saved(tmp_path, model(nodes, CONSTANTS, inputs=[value("x", shape)]))
    assert_collides(collision(path, {"x": weight(*shape, seed=2)}, Recipe(pattern=pattern, beta=2.0)))


def test_several_samples_in_one_tensor_each_collide(tmp_path: Path) -> None:
    found = collision(saved(tmp_path, dense(weight(9, 4), rows=3)), {"x": weight(3, 9, seed=1)})
    assert found.nullity == (15, 15)
    assert_collides(found)
    assert np.all(np.any(found.colliding != found.original, axis=1))


def test_an_open_batch_makes_a_case_of_every_sample(tmp_path: Path) -> None:
    proto = model([node("MatMul", ["x", "w"], ["y"])], {"w": weight(9, 4)}, inputs=[value("x", ["N", 9])])
    path = saved(tmp_path, proto)
    batch = weight(3, 9, seed=1)
    np.save(tmp_path / "batch.npy", batch)
    cases = load_cases(tmp_path / "batch.npy", open_model(path).inputs, Preprocessing())
    assert [case.source.rpartition("/")[2] for case in cases] == ["batch.npy[0]", "batch.npy[1]", "batch.npy[2]"]
    for case, row in zip(cases, batch, strict=True):
        found = collision(path, case.arrays)
        np.testing.assert_array_equal(found.original, row[None])
        assert_collides(found)


def test_models_of_doubles_collide_at_both_precisions(tmp_path: Path) -> None:
    path = saved(tmp_path, dense(weight(9, 4).astype(np.float64), kind=DOUBLE))
    found = collision(path, {"x": np.random.default_rng(1).standard_normal((1, 9))})
    assert_collides(found)
    assert np.any(found.original != found.original.astype(np.float32))  # as the input's own type stores it


@pytest.mark.parametrize(
    ("kind", "dtype", "runs"), [(TensorProto.FLOAT, np.float32, "float32"), (DOUBLE, np.float64, "float64")]
)
def test_native_is_the_models_own_precision(kind: int, dtype: Any, runs: str, tmp_path: Path) -> None:
    path = saved(tmp_path, dense(weight(9, 4).astype(dtype), kind=kind))
    found = collision(path, {"x": weight(1, 9, seed=1)}, precisions=[Precision.NATIVE])
    assert_collides(found, {runs: "rounding"})


def test_float16_is_not_run_where_it_would_be_float32(tmp_path: Path) -> None:
    path = saved(tmp_path, dense(weight(9, 4).astype(np.float16), kind=HALF))
    with pytest.raises(OnnxnullError) as refused:
        collision(path, {"x": weight(1, 9, seed=1)}, precisions=[Precision.FLOAT16])
    assert refused.value.code is Code.PROVIDER


def test_a_quantized_model_runs_as_it_is(tmp_path: Path) -> None:
    nodes = [
        node("DynamicQuantizeLinear", ["x"], ["q", "s", "z"]),
        node("MatMulInteger", ["q", "w", "z"], ["n"], name="integers"),
        node("Cast", ["n"], ["f"], to=TensorProto.FLOAT),
        node("Mul", ["f", "s"], ["h"]),
        node("MatMul", ["h", "v"], ["y"], name="floats"),
    ]
    constants = {"w": np.random.default_rng(0).integers(-9, 9, (9, 4), dtype=np.int8), "v": weight(4, 2)}
    path = saved(tmp_path, model(nodes, constants, inputs=[value("x", [3, 9])]))
    assert labels(collision(path, {"x": weight(3, 9)})) == {"native": "bitwise"}
    found = collision(path, {"x": weight(3, 9)}, place=Place(layer="floats"))
    assert_collides(found, {"native": "rounding"})


@pytest.mark.skipif(cuda_problem() is None, reason="CUDA works here")
def test_cuda_is_never_replaced_by_the_cpu(tmp_path: Path) -> None:
    path = saved(tmp_path, dense(weight(9, 4)))
    search = Search(open_model(path), Place(), Execution(providers=(Provider.CUDA,)))
    with pytest.raises(OnnxnullError) as refused:
        list(search.run(Case("random", {"x": weight(1, 9)}), Recipe(beta=1.0)))
    assert refused.value.code is Code.PROVIDER
    assert refused.value.exit_code == 2
