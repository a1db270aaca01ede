"""Whole models: derivatives against central differences, the Jacobian as a linear map, and errors that say what is missing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from onnxnull.errors import Code, OnnxnullError
from onnxnull.gradient import Function, SampleJacobian, jvp, vjp
from onnxnull.graph.model import open_model
from onnxnull.runtime.precision import Precision
from tests.shared import shared_model

MODELS = Path(__file__).parents[2] / "models"
SHIPPED = [
    ("digits_mlp.onnx", (1, 1, 8, 8)),
    ("digits_cnn.onnx", (1, 3, 64, 64)),
    ("digits_vit.onnx", (1, 3, 64, 64)),
    ("digits_segmentation.onnx", (1, 3, 96, 96)),
]
REAL: list[tuple[str, tuple[int, ...], str | None]] = [
    ("cifar_bias_field_3.onnx", (1, 16), None),
    ("metaroom_4cnn.onnx", (1, 3, 32, 56), None),
    ("mnist_cntk.onnx", (1, 1, 28, 28), None),
    ("ppocr_v4_det.onnx", (1, 3, 32, 32), "p2o.Add.281"),
    ("resnet20_cifar10.onnx", (1, 3, 32, 32), None),
    ("rivagan_decoder.onnx", (1, 3, 1, 16, 16), None),
    ("unet_carvana_small.onnx", (1, 4, 31, 47), "42"),
    ("vit_cifar_pgd_2_3_16.onnx", (1, 3, 32, 32), None),
    ("wakeword_embedding.onnx", (1, 76, 32, 1), None),
]
"""The differentiable ones that take no long; the others pass the same check, by hand."""


def check(path: Path, shape: tuple[int, ...], output: str | None) -> None:
    """One entry of the input is moved (few kinks are met then), in several places and by several steps; the best counts."""
    rng = np.random.default_rng(0)
    x = rng.uniform(0.0, 1.0, shape)
    name = next(i.name for i in onnx.load(path).graph.input)
    function = Function(open_model(path), {name: x}, output=output, threads=1)
    error = np.inf
    for _ in range(4):
        tangent = np.zeros(x.size)
        tangent[rng.integers(x.size)] = 1.0
        tangent = tangent.reshape(shape)
        pushed = function.push(x, tangent)
        cotangent = rng.standard_normal(pushed.shape)
        value, pulled = function.pull(x, cotangent)
        sizes = np.linalg.norm(pushed) * np.linalg.norm(cotangent) + 1e-300
        assert abs(np.vdot(pushed, cotangent) - np.vdot(tangent, pulled)) <= 1e-10 * sizes
        assert np.array_equal(value, function.value(x))
        for h in (1e-4, 1e-5, 1e-6):
            values = [function.value(x + step * h * tangent) for step in (1, -1, 2, -2)]
            slope = (8 * (values[0] - values[1]) - (values[2] - values[3])) / (12 * h)
            error = min(error, float(np.linalg.norm(slope - pushed) / (np.linalg.norm(pushed) or np.nan)))
        if error <= 1e-8:
            break
    assert error <= 1e-7


@pytest.mark.parametrize(("file", "shape"), SHIPPED)
def test_shipped_models(file: str, shape: tuple[int, ...]) -> None:
    check(MODELS / file, shape, None)


@pytest.mark.parametrize(("file", "shape", "output"), REAL)
def test_real_models(file: str, shape: tuple[int, ...], output: str | None) -> None:
    check(shared_model(file), shape, output)


def test_the_jacobian_is_a_linear_map() -> None:
    x = np.random.default_rng(1).uniform(0, 1, (1, 1, 8, 8))
    function = Function(open_model(MODELS / "digits_mlp.onnx"), {"image": x}, threads=1)
    jacobian = function.jacobian(x)
    matrix = jacobian.dense()
    assert matrix.shape == (64, 10)
    rows = np.stack([jacobian.adjoint(unit.reshape(1, 10)).ravel() for unit in np.eye(10)], axis=1)
    np.testing.assert_allclose(matrix, rows, rtol=0, atol=1e-13)
    step = 1e-6 * np.random.default_rng(2).standard_normal(x.shape)
    moved = function.value(x + step) - function.value(x - step)
    np.testing.assert_allclose(jacobian.apply(2 * step), moved, rtol=0, atol=1e-9 * np.abs(moved).max())


@pytest.mark.parametrize("precision", [Precision.FLOAT64, Precision.FLOAT32])
def test_many_directions_at_once(precision: Precision) -> None:
    """Where the model takes a batch, a batch of the same point takes as many directions."""
    x = np.random.default_rng(1).uniform(0, 1, (1, 3, 64, 64))
    one = Function(open_model(MODELS / "digits_cnn.onnx"), {"image": x}, precision=precision, threads=1).jacobian(x)
    batch = Function(open_model(MODELS / "digits_cnn.onnx"), {"image": np.repeat(x, 4, axis=0)}, precision=precision, threads=1)
    many = SampleJacobian.at(batch, x[0])
    assert (many.input_shape, many.output_shape) == ((3, 64, 64), (10,))
    tolerance = 1e-12 if precision is Precision.FLOAT64 else 1e-4
    rows = many.adjoint(np.eye(10))
    np.testing.assert_allclose(rows[:, None], one.adjoint(np.eye(10)[:, None]), rtol=0, atol=tolerance * np.abs(rows).max())
    v = np.random.default_rng(3).standard_normal((6, 3, 64, 64))
    np.testing.assert_allclose(many.apply(v)[:, None], one.apply(v[:, None]), rtol=0, atol=tolerance * 100)


def test_from_a_tensor_inside() -> None:
    """The chain rule: the gradient at the input is that at a hidden tensor, pulled back through what lies before it."""
    x = np.random.default_rng(1).uniform(0, 1, (1, 1, 8, 8))
    path = MODELS / "digits_mlp.onnx"
    hidden = next(node.output[0] for node in onnx.load(path).graph.node if node.op_type == "Relu")
    before = Function(open_model(path), {"image": x}, output=hidden, threads=1)
    whole = Function(open_model(path), {"image": x}, threads=1)
    h = before.value(x)
    behind = Function(open_model(path), {hidden: h}, input=hidden, threads=1)
    cotangent = np.random.default_rng(2).standard_normal((1, 10))
    value, middle = behind.pull(h, cotangent)
    np.testing.assert_allclose(value, whole.value(x), rtol=0, atol=1e-13)
    np.testing.assert_allclose(before.pull(x, middle)[1], whole.pull(x, cotangent)[1], rtol=0, atol=1e-13)


def graph(nodes: list[onnx.NodeProto], inputs: dict[str, int], output: str) -> onnx.ModelProto:
    values = [helper.make_tensor_value_info(name, kind, [3]) for name, kind in inputs.items()]
    made = helper.make_graph(nodes, "g", values, [helper.make_tensor_value_info(output, TensorProto.FLOAT, None)])
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def test_operators_without_a_rule_are_all_named_before_anything_runs() -> None:
    nodes = [
        helper.make_node("Det", ["m"], ["d"], name="determinant"),
        helper.make_node("CumSum", ["x", "zero"], ["c"], name="cumulative"),
        helper.make_node("Einsum", ["c", "c"], ["m"], equation="i,j->ij"),
        helper.make_node("Identity", ["d"], ["y"]),
        helper.make_node("NonZero", ["x"], ["unused"], name="aside"),
        helper.make_node("Constant", [], ["zero"], value_int=0),
    ]
    with pytest.raises(OnnxnullError) as caught:
        vjp(graph(nodes, {"x": TensorProto.FLOAT}, "y"))
    assert caught.value.code is Code.NO_GRADIENT
    assert "Det (node 'determinant')" in caught.value.seen
    assert "CumSum (node 'cumulative')" in caught.value.seen
    assert "NonZero" not in caught.value.seen


def test_filters_that_depend_on_the_input_are_named() -> None:
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 1, 3, 3])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    made = helper.make_graph([helper.make_node("Conv", ["x", "x"], ["y"], name="own")], "g", [x], [y])
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    with pytest.raises(OnnxnullError, match=r"own.*filters depend on the input") as caught:
        vjp(model)
    assert caught.value.code is Code.NO_GRADIENT


def test_outputs_that_do_not_depend_on_the_input() -> None:
    nodes = [helper.make_node("Relu", ["z"], ["y"]), helper.make_node("Relu", ["x"], ["h"])]
    model = graph(nodes, {"x": TensorProto.FLOAT, "z": TensorProto.FLOAT}, "y")
    for make in (vjp, jvp):
        with pytest.raises(OnnxnullError, match="'y' does not depend on 'x'") as caught:
            make(model, ["y"], ["x"])
        assert caught.value.code is Code.DATA
    with pytest.raises(OnnxnullError, match="no tensor 'nowhere'"):
        vjp(model, ["nowhere"])


def test_quantized_models_have_no_gradient() -> None:
    with pytest.raises(OnnxnullError) as caught:
        vjp(open_model(shared_model("anomaly_int8.onnx")))
    assert caught.value.code is Code.NO_GRADIENT


def test_two_inputs_at_once() -> None:
    """y = x·z: both cotangents from one run, and the tangent of both together."""
    model = graph([helper.make_node("Mul", ["x", "z"], ["y"])], {"x": TensorProto.FLOAT, "z": TensorProto.FLOAT}, "y")
    from onnxnull.runtime.session import Runner

    x, z, w = np.array([1.0, 2.0, 3.0]), np.array([5.0, 7.0, 11.0]), np.array([0.5, -1.0, 2.0])
    back = vjp(model, ["y"], ["x", "z"])
    got = Runner(back.proto, Precision.FLOAT64).run({"x": x, "z": z, back.seeds["y"]: w})
    assert np.array_equal(got[back.results["x"]], w * z)
    assert np.array_equal(got[back.results["z"]], w * x)
    forth = jvp(model, ["y"], ["x", "z"])
    runner = Runner(forth.proto, Precision.FLOAT64)
    given = {"x": x, "z": z, forth.seeds["x"]: w, forth.seeds["z"]: 2 * w}
    assert np.array_equal(runner.run({n: given[n] for n in runner.inputs})[forth.results["y"]], w * z + 2 * w * x)
