"""Sessions, precision twins, cuts and the canary."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from onnxnull.errors import Code, OnnxnullError
from onnxnull.graph.model import open_model
from onnxnull.runtime import canary, session
from onnxnull.runtime.canary import CanaryShape, check_float32, products_of
from onnxnull.runtime.convert_floats import convert_floats
from onnxnull.runtime.cut import cut
from onnxnull.runtime.precision import Precision, twin
from onnxnull.runtime.providers import Provider, choose, cuda_problem, load
from onnxnull.runtime.session import Runner

node = helper.make_node
FLOAT, FLOAT16, DOUBLE, INT64 = TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE, TensorProto.INT64


def value(name: str, shape: Any, kind: int = FLOAT) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, shape)


def model(
    nodes: list[onnx.NodeProto],
    constants: dict[str, NDArray[Any]],
    *,
    x: Any = (None, 4),
    kind: int = FLOAT,
    opset: int = 17,
    outputs: tuple[str, ...] = ("y",),
) -> onnx.ModelProto:
    stored = [numpy_helper.from_array(array, name) for name, array in constants.items()]
    ends = [onnx.ValueInfoProto(name=name) for name in outputs]
    graph = helper.make_graph(nodes, "graph", [value("x", x, kind)], ends, stored)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def perceptron() -> onnx.ModelProto:
    rng = np.random.default_rng(0)
    constants = {name: rng.standard_normal(shape).astype(np.float32) for name, shape in (("a", (4, 5)), ("b", (5, 3)))}
    nodes = [node("MatMul", ["x", "a"], ["h"]), node("Relu", ["h"], ["r"]), node("MatMul", ["r", "b"], ["y"])]
    return model(nodes, constants)


X = np.random.default_rng(1).standard_normal((2, 4)).astype(np.float32)


def test_both_precisions_and_what_they_say() -> None:
    narrow, wide = Runner(perceptron(), Precision.FLOAT32), Runner(perceptron(), Precision.FLOAT64)
    y, z = narrow.run({"x": X})["y"], wide.run({"x": X})["y"]
    assert y.dtype == np.float32
    assert z.dtype == np.float64
    np.testing.assert_allclose(y, z, rtol=1e-5)
    description = wide.description
    assert description == json.loads(json.dumps(description))
    assert description["precision"] == "float64"
    assert description["provider"] == "CPUExecutionProvider"
    assert description["session"]["graph_optimization"] == "disabled"
    assert wide.inputs == ("x",)


def test_extra_outputs() -> None:
    runner = Runner(perceptron(), Precision.FLOAT64, extra_outputs=["h", "r", "y"])
    results = runner.run({"x": X})
    assert set(results) == {"h", "r", "y"}
    np.testing.assert_array_equal(results["r"], np.maximum(results["h"], 0))
    with pytest.raises(OnnxnullError) as error:
        Runner(perceptron(), extra_outputs=["nothing"])
    assert error.value.code is Code.DATA


def test_inputs_are_checked() -> None:
    runner = Runner(perceptron())
    for feeds in ({}, {"x": X, "z": X}, {"x": np.zeros((2, 5), dtype=np.float32)}):
        with pytest.raises(OnnxnullError) as error:
            runner.run(feeds)
        assert error.value.code in (Code.DATA, Code.RUNTIME)


def test_a_model_larger_than_a_protobuf_goes_in_by_reference(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = Runner(perceptron(), Precision.FLOAT64).run({"x": X})["y"]
    big = model(
        [node("MatMul", ["x", "w"], ["h"]), node("MatMul", ["h", "v"], ["y"])],
        {"w": np.ones((4, 400), np.float32), "v": np.ones((400, 2), np.float32)},
    )
    monkeypatch.setattr(session, "_INSIDE", 100)
    np.testing.assert_array_equal(Runner(perceptron(), Precision.FLOAT64).run({"x": X})["y"], expected)
    for precision, dtype in ((Precision.FLOAT64, np.float64), (Precision.FLOAT32, np.float32), (Precision.NATIVE, np.float32)):
        got = Runner(big, precision).run({"x": X})["y"]
        assert got.dtype == dtype
        np.testing.assert_allclose(got, np.repeat(400 * X.sum(axis=1, keepdims=True), 2, axis=1), rtol=1e-4)


def test_external_data_is_read_after_its_checks(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    onnx.save(perceptron(), path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    expected = Runner(perceptron(), Precision.FLOAT64).run({"x": X})["y"]
    np.testing.assert_array_equal(Runner(open_model(path), Precision.FLOAT64).run({"x": X})["y"], expected)
    Runner(open_model(path), Precision.NATIVE).run({"x": X})
    proto = onnx.load(path, load_external_data=False)
    for tensor in proto.graph.initializer:
        for entry in tensor.external_data:
            if entry.key == "location":
                entry.value = "../weights.bin"
    path.write_bytes(proto.SerializeToString())
    with pytest.raises(OnnxnullError) as error:
        Runner(open_model(path), Precision.FLOAT64)
    assert error.value.code is Code.EXTERNAL_ESCAPES


def test_what_cannot_run_in_double_is_named_and_nothing_runs() -> None:
    proto = model([node("Det", ["x"], ["d"]), node("Multinomial", ["x"], ["y"])], {}, x=(3, 3))
    with pytest.raises(OnnxnullError) as error:
        Runner(proto, Precision.FLOAT64)
    assert error.value.code is Code.NO_DOUBLE_KERNEL
    assert "Det" in error.value.seen
    assert "Multinomial" in error.value.seen


def test_quantized_models_are_native() -> None:
    constants: dict[str, NDArray[Any]] = {"s": np.array(0.1, dtype=np.float32), "z": np.array(3, dtype=np.uint8)}
    nodes = [node("QuantizeLinear", ["x", "s", "z"], ["q"]), node("DequantizeLinear", ["q", "s", "z"], ["y"])]
    assert Runner(model(nodes, constants), Precision.FLOAT32).description["precision"] == "native"
    with pytest.raises(OnnxnullError) as error:
        Runner(model(nodes, constants), Precision.FLOAT64)
    assert error.value.code is Code.NO_DOUBLE_KERNEL


def test_float16_on_the_cpu_says_float32() -> None:
    runner = Runner(perceptron(), Precision.FLOAT16)
    assert runner.precision is Precision.FLOAT32
    y = runner.run({"x": X})["y"]
    assert y.dtype == np.float16
    np.testing.assert_allclose(y, Runner(perceptron(), Precision.FLOAT64).run({"x": X})["y"], rtol=0, atol=0.02)


def test_recast_reaches_every_float() -> None:
    """Constants in all forms, Cast, ConstantOfShape with and without a value, bodies of control flow, sequences."""
    then = helper.make_graph([node("Constant", [], ["t"], value_float=0.1)], "then", [], [value("t", [])])
    other = helper.make_graph([node("Identity", ["k"], ["e"])], "else", [], [value("e", [])])
    nodes = [
        node("Constant", [], ["k"], value_floats=[0.1, 0.2]),
        node("Shape", ["x"], ["shape"]),
        node("ConstantOfShape", ["shape"], ["zeros"]),
        node("ConstantOfShape", ["shape"], ["fives"], value=numpy_helper.from_array(np.array([5], dtype=np.float32))),
        node("Cast", ["shape"], ["c"], to=FLOAT),
        node("ReduceSum", ["c"], ["s"], keepdims=0),
        node("Greater", ["s", "zero"], ["positive"]),
        node("If", ["positive"], ["i"], then_branch=then, else_branch=other),
        node("Sum", ["x", "zeros", "fives", "s", "i"], ["y"]),
    ]
    proto = model(nodes, {"zero": np.array(0, dtype=np.float32)})
    got = Runner(proto, Precision.FLOAT64).run({"x": X})["y"]
    np.testing.assert_allclose(got, X.astype(float) + 5 + 6 + np.float32(0.1).astype(float), rtol=0, atol=1e-14)
    copy = onnx.ModelProto()
    copy.CopyFrom(proto)
    convert_floats(copy, DOUBLE)
    assert FLOAT not in {t.data_type for t in copy.graph.initializer} | {i.type.tensor_type.elem_type for i in copy.graph.input}


def test_old_models_whose_initializers_are_inputs() -> None:
    proto = perceptron()
    proto.ir_version = 3
    proto.opset_import[0].version = 8
    proto.graph.input.extend(value(t.name, list(t.dims)) for t in proto.graph.initializer)
    for precision in Precision:
        assert Runner(proto, precision).inputs == ("x",)
        Runner(proto, precision).run({"x": X})


OLD: list[tuple[int, list[onnx.NodeProto], dict[str, NDArray[Any]], Any]] = [
    (7, [node("Slice", ["x"], ["y"], starts=[1], ends=[-1], axes=[1])], {}, (2, 4)),
    (7, [node("Pad", ["x"], ["y"], pads=[0, 1, 1, 0], value=0.3)], {}, (2, 4)),
    (7, [node("Clip", ["x"], ["y"], min=-0.2)], {}, (2, 4)),
    (7, [node("Squeeze", ["x"], ["s"], axes=[1]), node("Unsqueeze", ["s"], ["y"], axes=[0, 2])], {}, (2, 1, 4)),
    (7, [node("Split", ["x"], ["y", "z"], split=[1, 3], axis=1)], {}, (2, 4)),
    (7, [node("ReduceSum", ["x"], ["y"], axes=[1])], {}, (2, 3, 4)),
    (7, [node("Softmax", ["x"], ["y"])], {}, (2, 3, 4)),
    (7, [node("LogSoftmax", ["x"], ["y"], axis=2)], {}, (2, 3, 4)),
    (7, [node("Dropout", ["x"], ["y"])], {}, (2, 4)),
    (9, [node("TopK", ["x"], ["y", "i"], k=2, axis=1)], {}, (2, 4)),
    (9, [node("Scatter", ["x", "at", "u"], ["y"])], {"at": np.array([[1, 0]]), "u": np.ones((1, 2), np.float32)}, (2, 4)),
    (
        7,
        [node("BatchNormalization", ["x", "s", "b", "m", "v"], ["y"], spatial=1)],
        {n: np.arange(1, 4, dtype=np.float32) for n in "sbmv"},
        (2, 3, 4),
    ),
]


@pytest.mark.parametrize(("opset", "nodes", "constants", "shape"), OLD, ids=[case[1][0].op_type for case in OLD])
def test_old_operator_sets(opset: int, nodes: list[onnx.NodeProto], constants: dict[str, NDArray[Any]], shape: Any) -> None:
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    proto = model(nodes, constants, x=[None] * len(shape), opset=opset)
    got = Runner(proto, Precision.FLOAT64).run({"x": x})["y"]
    expected = Runner(proto, Precision.FLOAT32).run({"x": x})["y"]
    assert got.shape == expected.shape
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-6)


def test_an_operator_that_changed_is_not_guessed() -> None:
    nodes = [node("BatchNormalization", ["x", "s", "s", "s", "s"], ["y"], spatial=0)]
    with pytest.raises(OnnxnullError) as error:
        twin(model(nodes, {"s": np.ones(4, np.float32)}, opset=8), Precision.FLOAT64, provider=Provider.CPU)
    assert error.value.code is Code.NO_DOUBLE_KERNEL


def test_nodes_out_of_order_are_sorted() -> None:
    proto = perceptron()
    nodes = list(proto.graph.node)[::-1]
    copies = [onnx.NodeProto.FromString(n.SerializeToString()) for n in nodes]
    del proto.graph.node[:]
    proto.graph.node.extend(copies)
    np.testing.assert_array_equal(
        Runner(proto, Precision.FLOAT64).run({"x": X})["y"], Runner(perceptron(), Precision.FLOAT64).run({"x": X})["y"]
    )


def test_local_functions_are_inlined() -> None:
    proto = perceptron()
    opsets = [helper.make_opsetid("", 17)]
    proto.functions.append(helper.make_function("own", "Double", ["v"], ["w"], [node("Add", ["v", "v"], ["w"])], opsets))
    proto.opset_import.append(helper.make_opsetid("own", 1))
    proto.graph.node.append(node("Double", ["y"], ["z"], domain="own"))
    proto.graph.output.append(onnx.ValueInfoProto(name="z"))
    results = Runner(proto, Precision.FLOAT64).run({"x": X})
    np.testing.assert_array_equal(results["z"], 2 * results["y"])


@pytest.mark.parametrize("precision", [Precision.FLOAT32, Precision.FLOAT64])
def test_a_cut_model_gives_the_same_outputs(precision: Precision) -> None:
    made = twin(perceptron(), precision, provider=Provider.CPU)
    whole = Runner(made, extra_outputs=["h", "r"]).run({"x": X})
    for name in ("h", "r", "y"):
        part = Runner(cut(made.proto, name))
        assert part.inputs == (name,)
        (result,) = part.run({name: whole[name]}).values()
        np.testing.assert_array_equal(result, whole["y"])


def test_a_cut_keeps_what_other_paths_need() -> None:
    """A residual: behind `h` the input x is still read; the body of an If reads from outside."""
    then = helper.make_graph([node("Add", ["h", "x"], ["t"])], "then", [], [value("t", None)])
    other = helper.make_graph([node("Sub", ["h", "x"], ["e"])], "else", [], [value("e", None)])
    nodes = [
        node("MatMul", ["x", "a"], ["h"]),
        node("ReduceSum", ["x"], ["s"], keepdims=0),
        node("Greater", ["s", "zero"], ["c"]),
        node("If", ["c"], ["y"], then_branch=then, else_branch=other),
        node("Neg", ["x"], ["unrelated"]),
    ]
    constants = {"a": np.eye(4, dtype=np.float32) * 3, "zero": np.array(0, np.float32)}
    proto = model(nodes, constants, outputs=("y", "unrelated"))
    part = Runner(cut(proto, "h"))
    assert set(part.inputs) == {"h", "x"}
    assert part.outputs == ("y",)
    whole = Runner(proto, extra_outputs=["h"]).run({"x": X})
    np.testing.assert_array_equal(part.run({"h": whole["h"], "x": X})["y"], whole["y"])
    with pytest.raises(OnnxnullError):
        cut(proto, "nowhere")


def test_providers() -> None:
    assert choose("cpu") is Provider.CPU
    if cuda_problem() is None:
        assert choose("auto") is choose("cuda") is Provider.CUDA
        return
    assert choose("auto") is Provider.CPU
    with pytest.raises(OnnxnullError) as error:
        choose("cuda")
    assert error.value.code is Code.PROVIDER
    with pytest.raises(OnnxnullError):
        Runner(perceptron(), provider=Provider.CUDA)


def test_the_canary_sings_in_float32() -> None:
    rng = np.random.default_rng(0)
    constants = {
        "w": rng.standard_normal((6, 2, 3, 3)).astype(np.float32),
        "v": rng.standard_normal((30, 5)).astype(np.float32),
    }
    nodes = [
        node("Conv", ["x", "w"], ["c"], group=2, strides=[2, 2], dilations=[1, 2]),
        node("Flatten", ["c"], ["f"]),
        node("Slice", ["f", "zero", "end", "one"], ["g"]),
        node("Gemm", ["g", "v"], ["y"]),
    ]
    integers = {"zero": np.array([0]), "end": np.array([30]), "one": np.array([1])}
    proto = model(nodes, constants | integers, x=[None, 4, 9, 9])
    products = products_of(proto, [("x", (2, 4, 9, 9))])
    assert products == (
        CanaryShape("Conv", (2, 4, 9, 9), (6, 2, 3, 3), (2, 2), 2, (1, 2)),
        CanaryShape("MatMul", (2, 30), (30, 5)),
    )
    check_float32(Provider.CPU, products)
    check_float32(Runner(proto, Precision.FLOAT32), products)


def test_the_canary_finds_tf32(monkeypatch: pytest.MonkeyPatch) -> None:
    """Operands rounded to ten bits of fraction."""

    class Rounding(Runner):
        def run(self, feeds: Any, fetch: Any = None) -> dict[str, NDArray[Any]]:
            rounded = {n: (a.view(np.uint32) + 0x1000 & 0xFFFFE000).view(np.float32) for n, a in feeds.items()}
            return super().run(rounded, fetch)

    monkeypatch.setattr(canary, "Runner", Rounding)
    for product in (CanaryShape("MatMul", (3, 20), (20, 7)), CanaryShape("Conv", (1, 3, 8, 8), (4, 3, 3, 3), (1, 1))):
        with pytest.raises(OnnxnullError) as error:
            check_float32(Provider.CPU, [product])
        assert error.value.code is Code.TF32


def test_onnxruntime_is_loaded_with_tf32_off() -> None:
    import os

    load()
    assert os.environ["NVIDIA_TF32_OVERRIDE"] == "0"
