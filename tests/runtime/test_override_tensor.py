"""Switches: off they change nothing, on they replace one tensor and nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import helper

from onnxnull.errors import Code, OnnxnullError
from onnxnull.runtime.override_tensor import OverridableTwin, with_overrides
from onnxnull.runtime.precision import Precision, twin
from onnxnull.runtime.providers import Provider
from onnxnull.runtime.session import Runner
from tests.helpers import model, value, weight
from tests.shared import shared_model

node = helper.make_node
PRECISIONS = [Precision.FLOAT32, Precision.FLOAT64]


def network(opset: int = 17) -> onnx.ModelProto:
    """x 2×3×6×6 → Conv a → Relu b → Split left, right → one Conv on each, c and d → e = c − d; outputs e and c."""
    nodes = [
        node("Conv", ["x", "w"], ["a"], pads=[1, 1, 1, 1]),
        node("Relu", ["a"], ["b"]),
        node("Split", ["b"], ["left", "right"], axis=1),
        node("Conv", ["left", "v"], ["c"]),
        node("Conv", ["right", "v"], ["d"]),
        node("Sub", ["c", "d"], ["e"]),
    ]
    outputs = [value("e", None), value("c", None)]
    constants = {"w": weight(4, 3, 3, 3), "v": weight(2, 2, 3, 3, seed=1)}
    return model(nodes, constants, inputs=[value("x", [2, 3, 6, 6])], outputs=outputs, opset=opset)


def switched(
    proto: onnx.ModelProto, feeds: dict[str, Any], names: list[str], precision: Precision
) -> tuple[Runner, OverridableTwin]:
    """A session with switches at these tensors."""
    made = twin(proto, precision, provider=Provider.CPU)
    seen = Runner(made, extra_outputs=[name for name in names if name not in Runner(made).outputs]).run(feeds)
    board = with_overrides(made, {name: seen[name] for name in names})
    return Runner(board.twin), board


def computed(proto: onnx.ModelProto, feeds: dict[str, Any], precision: Precision, *extra: str) -> dict[str, NDArray[Any]]:
    """What the model computes without switches."""
    return Runner(twin(proto, precision, provider=Provider.CPU), extra_outputs=extra).run(feeds)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("opset", [7, 12, 17])
def test_switches_that_are_off_change_no_bit(opset: int, precision: Precision) -> None:
    feeds = {"x": weight(2, 3, 6, 6, seed=2)}
    expected = computed(network(opset), feeds, precision)
    runner, board = switched(network(opset), feeds, ["a", "b", "right", "c"], precision)
    found = runner.run({**feeds, **board.feeds({})}, ["e", "c"])
    assert {name: array.tobytes() for name, array in found.items()} == {n: a.tobytes() for n, a in expected.items()}


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("opset", [7, 17])
@pytest.mark.parametrize("name", ["a", "b", "left", "right", "c"])
def test_a_switch_that_is_on_replaces_its_tensor_alone(name: str, opset: int, precision: Precision) -> None:
    """By what another input gives there: then everything behind is as from that input, if nothing else leads to it."""
    feeds, others = {"x": weight(2, 3, 6, 6, seed=2)}, {"x": weight(2, 3, 6, 6, seed=3)}
    tensors = ["a", "b", "left", "right", "c"]
    here = computed(network(opset), feeds, precision, "a", "b", "left", "right", "d")
    there = computed(network(opset), others, precision, "a", "b", "left", "right", "d")
    runner, board = switched(network(opset), feeds, tensors, precision)
    found = runner.run({**feeds, **board.feeds({name: there[name]})}, ["e", "c"])
    left = there if name in ("a", "b", "left", "c") else here
    right = there if name in ("a", "b", "right") else here
    np.testing.assert_array_equal(found["c"], left["c"])
    np.testing.assert_array_equal(found["e"], left["c"] - right["d"])
    assert not np.array_equal(found["e"], here["e"])


def test_several_switches_at_once() -> None:
    feeds, others = {"x": weight(2, 3, 6, 6, seed=2)}, {"x": weight(2, 3, 6, 6, seed=3)}
    there = computed(network(), others, Precision.FLOAT32, "left", "right", "d")
    runner, board = switched(network(), feeds, ["a", "left", "right"], Precision.FLOAT32)
    replaced = board.feeds({"left": there["left"], "right": there["right"]})
    np.testing.assert_array_equal(runner.run({**feeds, **replaced}, ["e"])["e"], there["e"])


def test_values_are_cast_to_the_tensors_type() -> None:
    feeds = {"x": weight(2, 3, 6, 6, seed=2)}
    runner, board = switched(network(), feeds, ["b"], Precision.FLOAT64)
    ones = np.ones((2, 4, 6, 6), dtype=np.float32)
    assert board.feeds({"b": ones})["onnxnull/switch/value/b"].dtype == np.float64
    expected = weight(2, 2, 3, 3, seed=1).astype(np.float64).sum(axis=(1, 2, 3))
    found = runner.run({**feeds, **board.feeds({"b": ones})}, ["c", "e"])
    np.testing.assert_allclose(found["c"][0, :, 0, 0], expected, rtol=1e-13)
    np.testing.assert_array_equal(found["e"], np.zeros_like(found["e"]))


def test_a_tensor_that_only_a_branch_reads_is_replaced() -> None:
    def branch(name: str) -> onnx.GraphProto:
        return helper.make_graph([node("Neg", ["h"], [name])], name, [], [value(name, None)])

    nodes = [
        node("MatMul", ["x", "w"], ["h"]),
        node("ReduceMax", ["x"], ["m"], keepdims=0),
        node("Greater", ["m", "zero"], ["c"]),
        node("If", ["c"], ["y"], then_branch=branch("t"), else_branch=branch("f")),
    ]
    proto = model(nodes, {"w": weight(3, 2), "zero": np.float32(0)}, inputs=[value("x", [1, 3])])
    feeds = {"x": weight(1, 3)}
    runner, board = switched(proto, feeds, ["h"], Precision.FLOAT32)
    (found,) = runner.run({**feeds, **board.feeds({"h": np.array([[3.0, -4.0]])})}, ["y"]).values()
    np.testing.assert_array_equal(found, [[-3.0, 4.0]])


@pytest.mark.parametrize("name", ["x", "w", "nobody", ""])
def test_what_no_node_computes_cannot_be_replaced(name: str) -> None:
    made = twin(network(), Precision.FLOAT32, provider=Provider.CPU)
    with pytest.raises(OnnxnullError) as refused:
        with_overrides(made, {name: np.zeros((1, 1), np.float32)})
    assert refused.value.code is Code.DATA


def test_the_twin_itself_stays_as_it_was() -> None:
    made = twin(network(), Precision.FLOAT32, provider=Provider.CPU)
    before = made.proto.SerializeToString()
    with_overrides(made, {"a": np.zeros((2, 4, 6, 6), np.float32)})
    assert made.proto.SerializeToString() == before


@pytest.mark.parametrize("precision", PRECISIONS)
def test_switches_at_the_products_of_a_real_model_change_no_bit(precision: Precision, tmp_path: Path) -> None:
    path = shared_model("resnet20_cifar10.onnx")
    proto = onnx.load(path)
    (given,) = (i for i in proto.graph.input if i.name not in {t.name for t in proto.graph.initializer})
    feeds = {given.name: weight(*(d.dim_value or 1 for d in given.type.tensor_type.shape.dim))}
    products = [n.output[0] for n in proto.graph.node if n.op_type in ("Conv", "Gemm", "MatMul")]
    expected = computed(proto, feeds, precision)
    runner, board = switched(proto, feeds, products, precision)
    found = runner.run({**feeds, **board.feeds({})}, list(expected))
    assert all(np.array_equal(found[name], array) for name, array in expected.items())
    assert len(products) > 15
