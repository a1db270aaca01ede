"""Operators that do not exist, or that are used in ways that their definitions do not allow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx

from onnxnull.errors import Code
from tests.hostile.case import harmless, listed, nothing_linear, refused
from tests.hostile.cases.common import FLOAT, W, linear, model, node, stored, value


@listed(Code.OPERATOR)
def unknown_operator(folder: Path) -> onnx.ModelProto:
    """An operator that ONNX does not have, with a matrix."""
    return model([node("Frobnicate", ["x", "W"], ["y"])], {"W": W})


@listed(Code.OPERATOR)
def unknown_domain(folder: Path) -> onnx.ModelProto:
    """An operator of a domain that nobody knows, and that the model does not import."""
    return model([node("MatMul", ["x", "W"], ["y"], domain="evil.example")], {"W": W})


@listed(Code.OPERATOR)
def operator_that_loads_a_file(folder: Path) -> onnx.ModelProto:
    """An EPContext, whose attribute names a file that some execution providers load."""
    attributes: dict[str, Any] = {"ep_cache_context": "../outside.bin", "embed_mode": 0, "main_context": 1}
    imports = {"com.microsoft": 1}
    return model([node("EPContext", ["x", "W"], ["y"], domain="com.microsoft", **attributes)], {"W": W}, imports=imports)


@listed(Code.OPERATOR)
def code_in_an_attribute(folder: Path) -> onnx.ModelProto:
    """A PyOp, whose attributes name Python code that onnxruntime once ran."""
    attributes: dict[str, Any] = {"module": "os", "class_name": "system", "compute": "touch run", "W": W.ravel().tolist()}
    return model([node("PyOp", ["x"], ["y"], domain="pyopadd", **attributes)], imports={"pyopadd": 1})


@harmless
def opset_from_the_future(folder: Path) -> onnx.ModelProto:
    """Opset 10⁹: operators are taken as the newest that are known."""
    return linear(opset=1_000_000_000)


@refused(Code.INVALID_MODEL)
def negative_opset(folder: Path) -> onnx.ModelProto:
    """Opset −1."""
    return linear(opset=-1)


@nothing_linear
def node_without_a_type(folder: Path) -> onnx.ModelProto:
    """A node that names no operator."""
    return model([node("", ["x"], ["y"])])


@refused(Code.INVALID_MODEL)
def attribute_of_another_type(folder: Path) -> onnx.ModelProto:
    """A Conv whose strides are a word."""
    constants = {"W": np.ones((4, 3, 1, 1), np.float32)}
    return model([node("Conv", ["x", "W"], ["y"], strides="many")], constants, inputs=[value("x", [1, 3, 8, 8])])


@refused(Code.INVALID_MODEL)
def too_many_inputs(folder: Path) -> onnx.ModelProto:
    """A MatMul of a hundred thousand inputs."""
    return model([node("MatMul", ["x"] * 100_000, ["y"])])


@refused(Code.INVALID_MODEL)
def reference_to_nowhere(folder: Path) -> onnx.ModelProto:
    """An attribute of a function, outside of any function."""
    made = model([node("Gemm", ["x", "W"], ["y"])], {"W": W})
    made.graph.node[0].attribute.add(name="transB", ref_attr_name="outer", type=onnx.AttributeProto.INT)
    return made


@harmless
def a_million_integers(folder: Path) -> onnx.ModelProto:
    """An attribute of a million integers that nobody asked for."""
    return model([node("MatMul", ["x", "W"], ["y"], extra=list(range(1_000_000)))], {"W": W})


@harmless
def twenty_thousand_attributes(folder: Path) -> onnx.ModelProto:
    """A node of twenty thousand attributes that nobody asked for."""
    many: dict[str, Any] = {f"a{i}": i for i in range(20_000)}
    return model([node("MatMul", ["x", "W"], ["y"], **many)], {"W": W})


@refused(Code.INVALID_MODEL)
def equation_that_is_none(folder: Path) -> onnx.ModelProto:
    """An Einsum whose equation ends nowhere."""
    return model([node("Einsum", ["x", "W"], ["y"], equation="ij,jk->" + "." * 7)], {"W": W})


@refused(Code.INVALID_MODEL)
def equation_of_a_million_letters(folder: Path) -> onnx.ModelProto:
    """An Einsum whose output has a million axes."""
    return model([node("Einsum", ["x", "W"], ["y"], equation="ij,jk->" + "ik" * 500_000)], {"W": W})


@listed(Code.INVALID_MODEL)
def strides_of_nothing(folder: Path) -> onnx.ModelProto:
    """A Conv with strides of 0, dilations of −1 and pads of 2⁶²."""
    attributes: dict[str, Any] = {"strides": [0, 0], "dilations": [-1, -1], "pads": [1 << 62] * 4}
    constants = {"W": np.ones((4, 3, 3, 3), np.float32)}
    return model([node("Conv", ["x", "W"], ["y"], **attributes)], constants, inputs=[value("x", [1, 3, 8, 8])])


@harmless
def axes_out_of_range(folder: Path) -> onnx.ModelProto:
    """A Transpose, a Concat and a Split of axes that the input does not have, in front of the weight."""
    nodes = [
        node("Transpose", ["x"], ["a"], perm=[7, -9]),
        node("Concat", ["a", "a"], ["b"], axis=1 << 40),
        node("Split", ["b"], ["c", "d"], axis=-(1 << 40)),
        node("MatMul", ["c", "W"], ["y"]),
    ]
    return model(nodes, {"W": W})


@listed(Code.CONSTANT)
def cast_to_nothing(folder: Path) -> onnx.ModelProto:
    """A Cast of the weight to a type that does not exist."""
    return model([node("Cast", ["a"], ["W"], to=77), node("MatMul", ["x", "W"], ["y"])], {"a": W})


@listed(Code.CONSTANT)
def division_by_zero(folder: Path) -> onnx.ModelProto:
    """A weight of integers divided by 0."""
    zeros = np.zeros((4, 3), np.int64)
    nodes = [node("Div", ["a", "b"], ["c"]), node("Cast", ["c"], ["W"], to=FLOAT), node("MatMul", ["x", "W"], ["y"])]
    return model(nodes, {"a": zeros + 1, "b": zeros})


@harmless
def metadata_that_configures(folder: Path) -> onnx.ModelProto:
    """Metadata that tells onnxruntime to register a library, and to write a file."""
    made = linear()
    config = '{"session_options": {"custom_ops_library": "evil.so", "optimized_model_filepath": "written.onnx"}}'
    made.metadata_props.add(key="ort_config", value=config)
    return made


@harmless
def names_that_are_commands(folder: Path) -> onnx.ModelProto:
    """Names with terminal escapes, new lines and shell commands."""
    made = stored(onnx.numpy_helper.from_array(W))
    made.graph.node[0].name = "\x1b]0;owned\x07\x1b[2J$(touch run)\n`touch run`\r\n"
    made.producer_name = "\x1b[31m<script>"
    return made
