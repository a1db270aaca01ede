"""Healthy networks are not called broken or undecided: dead activations, overflow, texts, branches that saturate."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from onnxnull.collision.cases import Case
from onnxnull.collision.perturb import Recipe
from onnxnull.collision.results import Decision
from onnxnull.collision.search import Execution, Place, Search
from onnxnull.errors import Code, OnnxnullError
from onnxnull.graph.model import open_model
from onnxnull.runtime.precision import Precision
from onnxnull.runtime.providers import Provider
from tests.collision.searches import collision, collisions, saved
from tests.helpers import model, value, weight

node = helper.make_node
FIRST = node("MatMul", ["x", "w"], ["h"], name="first")
W, X = weight(16, 6), weight(1, 16, seed=1)


def behind(*nodes: onnx.NodeProto, kind: int = TensorProto.FLOAT, **constants: object) -> onnx.ModelProto:
    """x 1×16 → MatMul → h, then these nodes; the last makes y."""
    arrays = {"w": W} | {name: np.asarray(array, dtype=np.float32) for name, array in constants.items()}
    return model([FIRST, *nodes], arrays, inputs=[value("x", (1, 16))], outputs=[value("y", None, kind)])


def depthwise_behind_dead_channels() -> onnx.ModelProto:
    """Two of eight channels are 0 behind their ReLU, for this input and all near it."""
    bias = np.zeros(8, dtype=np.float32)
    bias[[1, 5]] = -100.0
    nodes = [
        node("Conv", ["x", "k1", "b1"], ["a"], pads=[1] * 4, name="stem"),
        node("Relu", ["a"], ["r"]),
        node("Conv", ["r", "k2"], ["d"], name="depthwise", group=8, strides=[2, 2], pads=[1] * 4),
        node("GlobalAveragePool", ["d"], ["p"]),
        node("Flatten", ["p"], ["f"]),
        node("MatMul", ["f", "v"], ["y"]),
    ]
    arrays = {"k1": weight(8, 3, 3, 3), "b1": bias, "k2": weight(8, 1, 3, 3, seed=2), "v": weight(8, 5, seed=4)}
    return model(nodes, arrays, inputs=[value("x", (1, 3, 8, 8))])


@pytest.mark.parametrize("patches", [False, True])
def test_channels_that_are_dead_here_are_no_reason_to_refuse(patches: bool, tmp_path: Path) -> None:
    path = saved(tmp_path, depthwise_behind_dead_channels())
    found = collision(path, {"x": weight(1, 3, 8, 8, seed=3)}, Recipe(), place=Place(layer="depthwise", patches=patches))
    assert found.holds, [run.why for run in found.runs]


def test_texts_are_compared_as_texts(tmp_path: Path) -> None:
    """A label as a text, as classical classifiers give it: two runs give other objects and the same text."""
    proto = behind(node("Round", ["h"], ["r"]), node("Cast", ["r"], ["y"], to=TensorProto.STRING), kind=TensorProto.STRING)
    found = collision(saved(tmp_path, proto), {"x": X})
    assert [run.verdict.label for run in found.runs] == ["bitwise", "bitwise"]


@pytest.mark.parametrize("scale", [60.0, 200.0])
def test_what_overflows_at_float32_alone_is_no_fault_of_the_twin(scale: float, tmp_path: Path) -> None:
    """Some of exp(scale·h) is Inf at float32, and none at float64; all of it is compared at its own precision."""
    found = collision(saved(tmp_path, behind(node("Mul", ["h", "c"], ["q"]), node("Exp", ["q"], ["y"]), c=scale)), {"x": X})
    double, single = ([run.arrays["y"][0] for run in found.runs if run.precision == each] for each in ("float64", "float32"))
    assert np.isfinite(double[0]).sum() > np.isfinite(single[0]).sum() > 0
    assert found.holds


def test_a_branch_that_saturates_shows_what_enters_it(tmp_path: Path) -> None:
    """The last Sigmoid lies in a body of If, and is 1 for every input: h is judged, and the control moves it."""
    bodies = {
        name: helper.make_graph([node("Add", ["h", "c"], ["q"]), node("Sigmoid", ["q"], ["p"])], name, [], [value("p", None)])
        for name in ("then_branch", "else_branch")
    }
    proto = behind(node("If", ["which"], ["y"], **bodies), c=200.0)
    proto.graph.initializer.append(helper.make_tensor("which", TensorProto.BOOL, [], [True]))
    found = collision(saved(tmp_path, proto), {"x": X})
    assert found.holds
    assert [(each.name, each.enters, each.seen) for each in found.runs[0].judged] == [("y", None, False), ("h", "If", True)]


def test_a_provider_that_is_named_twice_runs_once(tmp_path: Path) -> None:
    path = saved(tmp_path, behind(node("Relu", ["h"], ["y"])))
    twice = Execution((Precision.FLOAT64, Precision.FLOAT32), (Provider.CPU, Provider.CPU))
    for place in (Place(), Place(layer="first")):
        (found,) = Search(open_model(path), place, twice).run(Case("random", {"x": X}), Recipe())
        assert [run.precision for run in found.runs] == ["float64", "float32"]
        assert found.decision is Decision.HOLDS


@pytest.mark.parametrize("entry", [np.nan, np.inf])
def test_an_input_that_is_no_number_is_refused(entry: float, tmp_path: Path) -> None:
    x = X.copy()
    x[0, 3] = entry
    with pytest.raises(OnnxnullError) as caught:
        collisions(saved(tmp_path, behind(node("Relu", ["h"], ["y"]))), {"x": x})
    assert caught.value.code is Code.DATA


@pytest.mark.parametrize("tail", [(), ("Softmax",), ("Relu", "Softmax")])
@pytest.mark.parametrize("seed", [0, 1])
def test_rounding_behind_a_quantizer_is_no_fault(seed: int, tail: tuple[str, ...], tmp_path: Path) -> None:
    """Floats behind DequantizeLinear: codes are equal, but sums of 64 products of them round, and some cancel to nearly 0."""
    rng = np.random.default_rng(seed)
    nodes = [
        node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        node("DequantizeLinear", ["q", "s", "z"], ["d"]),
        node("DequantizeLinear", ["k", "t", "zero"], ["w"], axis=1),
        node("MatMul", ["d", "w"], ["t0"], name="first"),
        *(node(op, [f"t{number}"], [f"t{number + 1}"]) for number, op in enumerate(tail)),
    ]
    columns = rng.integers(-127, 128, (64, 4)).astype(np.int8)
    columns[:, 3] = 0
    columns[0, 3] = 1
    arrays = {
        **{"s": np.float32(0.05), "z": np.uint8(128), "zero": np.zeros(4, np.int8)},
        **{"k": columns, "t": (0.01 * rng.uniform(0.5, 2.0, 4)).astype(np.float32)},
    }
    proto = model(nodes, arrays, inputs=[value("x", (1, 64))])
    found = collision(saved(tmp_path, proto), {"x": weight(1, 64, seed=seed)}, Recipe())
    assert found.holds, [run.why for run in found.runs]
    assert all(each.noise_ratio is None or each.noise_ratio < 8 for run in found.runs for each in run.judged)


def test_nothing_is_near_an_input_of_zeros(tmp_path: Path) -> None:
    """Inputs near x₀ differ from it by at most |x₀|: no length would help, and the report does not advise one."""
    found = collision(saved(tmp_path, behind(node("Relu", ["h"], ["y"]))), {"x": np.zeros((1, 16), np.float32)}, Recipe())
    assert found.decision is Decision.UNDECIDED
    for run in found.runs:
        assert run.why is not None
        assert "start from another input" in run.why
        assert "--beta" not in run.why
