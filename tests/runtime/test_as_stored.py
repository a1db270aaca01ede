"""Files that compute in 16 bits, run as they are stored: every value is rounded to the type that the file says."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from onnxnull.errors import Code, OnnxnullError
from onnxnull.runtime.as_stored import computed_floats, stored_twin
from onnxnull.runtime.precision import Precision, Twin
from onnxnull.runtime.providers import Provider
from onnxnull.runtime.session import Runner
from tests.helpers import BOOL, FLOAT, INT64, model, run, value

HALF, BRAIN, DOUBLE = TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.DOUBLE
NUMPY: dict[int, Any] = {HALF: np.float16, BRAIN: ml_dtypes.bfloat16}
node = helper.make_node
KINDS = pytest.mark.parametrize("kind", [HALF, BRAIN], ids=["float16", "bfloat16"])


def numbers(*shape: int, seed: int = 0, kind: int = HALF) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32).astype(NUMPY[kind])


def constants(kind: int) -> dict[str, np.ndarray]:
    return {"w": numbers(8, 4, kind=kind), "v": numbers(4, 4, seed=1, kind=kind), "b": numbers(4, seed=2, kind=kind)}


def cast(one: str, other: str, given: int, to: int) -> onnx.NodeProto:
    return node("Identity", [one], [other]) if given == to else node("Cast", [one], [other], to=to)


def mixed(kind: int, ends: Sequence[int] = (FLOAT, FLOAT)) -> onnx.ModelProto:
    """x → Cast → MatMul, Add, Softmax, MatMul in 16 bits → Cast → y; without the casts where that end has 16 bits."""
    first, last = ends
    nodes = [
        cast("x", "h", first, kind),
        node("MatMul", ["h", "w"], ["a"]),
        node("Add", ["a", "b"], ["c"]),
        node("Softmax", ["c"], ["p"]),
        node("MatMul", ["p", "v"], ["z"]),
        cast("z", "y", kind, last),
    ]
    return model(nodes, constants(kind), inputs=[value("x", [3, 8], first)], outputs=[value("y", None, last)])


def alone(nodes: Sequence[onnx.NodeProto], name: str, feeds: dict[str, np.ndarray], kind: int) -> np.ndarray:
    """What the node that makes `name` gives in plain onnxruntime at float32, rounded."""
    (found,) = (each for each in nodes if name in each.output)
    given = {each: feeds[each].astype(np.float32) for each in found.input}
    inputs = [value(each, array.shape) for each, array in given.items()]
    return run(model([found], inputs=inputs, outputs=[value(name, None)]), given)[0].astype(NUMPY[kind])


@KINDS
@pytest.mark.parametrize("ends", ["kept", "first", "last", "none"])
def test_every_value_is_rounded_as_the_file_says(kind: int, ends: str) -> None:
    first, last = {"kept": (FLOAT, FLOAT), "first": (kind, FLOAT), "last": (FLOAT, kind), "none": (kind, kind)}[ends]
    proto = mixed(kind, (first, last))
    assert computed_floats(proto) & set(NUMPY) == {kind}
    names = ["h", "a", "c", "p", "z"]
    x = np.random.default_rng(5).standard_normal((3, 8)).astype(np.float32)
    twin = stored_twin(proto, Provider.CPU)
    assert (twin.precision, twin.lowered) == (Precision.NATIVE, ("Add", "MatMul", "Softmax"))
    found = Runner(twin, extra_outputs=names).run({"x": x})
    np.testing.assert_array_equal(found["h"], x.astype(NUMPY[kind]))
    for name in names[1:]:
        assert found[name].dtype == NUMPY[kind]
        np.testing.assert_array_equal(found[name], alone(proto.graph.node, name, {**constants(kind), **found}, kind), name)
    assert found["y"].dtype == (NUMPY[kind] if last == kind else np.float32)
    np.testing.assert_array_equal(found["y"].astype(np.float32), found["z"].astype(np.float32))
    np.testing.assert_array_equal(Runner(twin).run({"x": x})["y"], found["y"])  # looking changes nothing


def test_onnxruntime_takes_the_casts_of_a_file_out() -> None:
    """Why there are such twins: the file itself rounds nothing but the last value, and other values once they are looked at."""
    proto = mixed(HALF)
    x = np.random.default_rng(5).standard_normal((3, 8)).astype(np.float32)
    wide = Runner(proto, Precision.FLOAT32).run({"x": x})["y"]
    plain = Runner(proto).run({"x": x})["y"]
    ours = Runner(stored_twin(proto, Provider.CPU)).run({"x": x})["y"]
    assert np.abs(plain - wide).max() < 1e-6 < np.abs(ours - wide).max()


def test_onnxruntime_inserts_no_cast_into_a_twin(tmp_path: Path) -> None:
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.optimized_model_filepath = str(tmp_path / "loaded.onnx")
    proto = stored_twin(mixed(HALF), Provider.CPU).proto
    ort.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    assert [each.op_type for each in onnx.load(tmp_path / "loaded.onnx").graph.node] == [n.op_type for n in proto.graph.node]


def test_bfloat16_is_refused_by_onnxruntime_itself() -> None:
    with pytest.raises(OnnxnullError) as refused:
        Runner(mixed(BRAIN))
    assert refused.value.code is Code.RUNTIME
    assert "NOT_IMPLEMENTED" in refused.value.seen


def body(nodes: Sequence[onnx.NodeProto], name: str, stored: dict[str, np.ndarray] | None = None) -> onnx.GraphProto:
    tensors = [numpy_helper.from_array(array, key) for key, array in (stored or {}).items()]
    return helper.make_graph(list(nodes), f"to {name}", [], [onnx.ValueInfoProto(name=name)], tensors)


@KINDS
def test_bodies_and_what_they_read_of_the_graph_around_them(kind: int) -> None:
    then = body([node("MatMul", ["h", "own"], ["t"])], "t", {"own": numbers(8, 4, seed=3, kind=kind)})
    other = body([node("MatMul", ["h", "w"], ["e"])], "e")
    nodes = [
        node("Cast", ["x"], ["h"], to=kind),
        node("If", ["flag"], ["a"], then_branch=then, else_branch=other),
        node("Cast", ["a"], ["y"], to=FLOAT),
    ]
    flag = value("flag", [], BOOL)
    proto = model(nodes, {"w": constants(kind)["w"]}, inputs=[value("x", [3, 8]), flag], outputs=[value("y", None)])
    assert kind in computed_floats(proto)
    runner = Runner(stored_twin(proto, Provider.CPU))
    x = numbers(3, 8, seed=4, kind=kind)
    for chosen, weights in ((True, numbers(8, 4, seed=3, kind=kind)), (False, constants(kind)["w"])):
        wanted = (x.astype(np.float32) @ weights.astype(np.float32)).astype(NUMPY[kind])
        np.testing.assert_array_equal(runner.run({"x": x, "flag": np.array(chosen)})["y"], wanted.astype(np.float32))


@KINDS
def test_types_in_attributes(kind: int) -> None:
    """A constant of a node, one that a shape makes, and what is cast like another value."""
    fives = numpy_helper.from_array(np.array([5]).astype(NUMPY[kind]))
    nodes = [
        node("Constant", [], ["k"], value=numpy_helper.from_array(np.array([0.1, 0.2]).astype(NUMPY[kind]))),
        node("Shape", ["x"], ["s"]),
        node("ConstantOfShape", ["s"], ["f"], value=fives),
        node("CastLike", ["x", "k"], ["h"]),
        node("Add", ["h", "k"], ["a"]),
        node("Sqrt", ["f"], ["r"]),
        node("Mul", ["a", "r"], ["z"]),
        node("Cast", ["z"], ["y"], to=FLOAT),
    ]
    proto = model(nodes, inputs=[value("x", [3, 2])], outputs=[value("y", None)])
    x = numbers(3, 2, kind=kind)
    kept = NUMPY[kind]
    added = (x.astype(np.float32) + np.array([0.1, 0.2]).astype(kept).astype(np.float32)).astype(kept)
    root = np.sqrt(np.float32(5)).astype(kept)
    wanted = (added.astype(np.float32) * np.float32(root)).astype(kept).astype(np.float32)
    np.testing.assert_array_equal(Runner(stored_twin(proto, Provider.CPU)).run({"x": x.astype(np.float32)})["y"], wanted)


@KINDS
def test_a_recurrent_layer_of_16_bits(kind: int) -> None:
    stored = {"w": numbers(1, 12, 2, kind=kind), "r": numbers(1, 12, 3, seed=1, kind=kind)}
    nodes = [node("LSTM", ["x", "w", "r"], ["y"], hidden_size=3)]
    proto = model(nodes, stored, inputs=[value("x", [4, 1, 2], kind)], outputs=[value("y", None, kind)], opset=22)
    x = numbers(4, 1, 2, seed=2, kind=kind)
    wide = {name: array.astype(np.float32) for name, array in stored.items()}
    (wanted,) = run(
        model(nodes, wide, inputs=[value("x", [4, 1, 2])], outputs=[value("y", None)], opset=14), {"x": x.astype(np.float32)}
    )
    np.testing.assert_array_equal(Runner(stored_twin(proto, Provider.CPU)).run({"x": x})["y"], wanted.astype(NUMPY[kind]))


@pytest.mark.parametrize(
    ("nodes", "kinds"),
    {
        "weights alone": ([node("Cast", ["w"], ["f"], to=FLOAT), node("MatMul", ["x", "f"], ["y"])], {FLOAT}),
        "weights and what is added": (
            [node("Add", ["v", "b"], ["c"]), node("Cast", ["c"], ["f"], to=FLOAT), node("MatMul", ["x", "f"], ["y"])],
            {FLOAT},
        ),
        "a value": ([node("Cast", ["x"], ["h"], to=HALF), node("Cast", ["h"], ["y"], to=FLOAT)], {FLOAT, HALF}),
        "double": ([node("Cast", ["x"], ["h"], to=DOUBLE), node("Cast", ["h"], ["y"], to=FLOAT)], {FLOAT, DOUBLE}),
        "nothing": ([node("Relu", ["x"], ["y"])], {FLOAT}),
    }.values(),
)
def test_what_counts_is_what_a_run_computes(nodes: Sequence[onnx.NodeProto], kinds: set[int]) -> None:
    read = {name for each in nodes for name in each.input}
    stored = {name: array for name, array in constants(HALF).items() if name in read}
    assert computed_floats(model(nodes, stored, inputs=[value("x", [2, 8 if "w" in read else 4])])) == kinds


def test_a_twin_without_16_bits_is_the_model() -> None:
    proto = model([node("Relu", ["x"], ["y"])], inputs=[value("x", [2])])
    twin = stored_twin(proto, Provider.CPU)
    assert isinstance(twin, Twin)
    assert (twin.proto, twin.lowered) == (proto, ())


def test_what_has_no_float32_kernel_is_refused_by_the_session() -> None:
    """Nothing stands in for an operator that cannot run."""
    proto = model([node("Det", ["x"], ["y"])], inputs=[value("x", [2, 2], BRAIN)], outputs=[value("y", None, BRAIN)], opset=22)
    assert Runner(stored_twin(proto, Provider.CPU)).run({"x": np.eye(2)})["y"] == 1
    proto.graph.node[0].op_type, proto.graph.node[0].domain = "Nobody", "com.microsoft"
    proto.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    with pytest.raises(OnnxnullError) as refused:
        Runner(stored_twin(proto, Provider.CPU))
    assert refused.value.code is Code.RUNTIME


def test_indices_and_floats_side_by_side() -> None:
    """TopK: its numbers are rounded, its indices are none."""
    nodes = [node("TopK", ["x", "k"], ["v", "i"])]
    outputs = [value("v", None, BRAIN), value("i", None, INT64)]
    proto = model(nodes, {"k": np.array([2])}, inputs=[value("x", [1, 4], BRAIN)], outputs=outputs, opset=24)
    found = Runner(stored_twin(proto, Provider.CPU)).run({"x": np.array([[1.0, 3.0, 2.0, 0.1]])})
    np.testing.assert_array_equal(found["v"].astype(float), [[3, 2]])
    np.testing.assert_array_equal(found["i"], [[1, 2]])
