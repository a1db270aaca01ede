"""Graphs that are none, or that break the rules of ONNX; files that were cut."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import helper

from onnxnull.errors import Code
from tests.hostile.case import nothing_linear, refused
from tests.hostile.cases.common import BOOL, W, X, body, linear, model, node, value


def cut(share: float) -> bytes:
    data: bytes = model([node("MatMul", ["x", "W"], ["y"])], {"W": np.ones((40, 30), np.float32)}).SerializeToString()
    return data[: int(share * len(data))]


@refused(Code.TRUNCATED)
def cut_in_the_header(folder: Path) -> bytes:
    """Three bytes of a model."""
    data: bytes = linear().SerializeToString()
    return data[:3]


@refused(Code.TRUNCATED)
def cut_at_a_tenth(folder: Path) -> bytes:
    """A tenth of a model."""
    return cut(0.1)


@refused(Code.TRUNCATED)
def cut_in_the_middle(folder: Path) -> bytes:
    """Half a model."""
    return cut(0.5)


@refused(Code.TRUNCATED)
def cut_before_the_end(folder: Path) -> bytes:
    """All of a model but its last hundredth."""
    return cut(0.99)


@refused(Code.TRUNCATED)
def no_graph(folder: Path) -> onnx.ModelProto:
    """A model without a graph."""
    return onnx.ModelProto(ir_version=8)


@refused(Code.INVALID_MODEL)
def no_opset(folder: Path) -> onnx.ModelProto:
    """A model that names no operator set."""
    made = linear()
    del made.opset_import[:]
    return made


@nothing_linear
def empty_graph(folder: Path) -> onnx.ModelProto:
    """A graph of nothing."""
    made = linear()
    made.graph.Clear()
    return made


@refused(Code.INVALID_MODEL)
def cycle(folder: Path) -> onnx.ModelProto:
    """Two nodes that read each other."""
    return model([node("Add", ["x", "b"], ["a"]), node("Relu", ["a"], ["b"])])


@refused(Code.INVALID_MODEL)
def node_that_reads_itself(folder: Path) -> onnx.ModelProto:
    """A node that reads its own output."""
    return model([node("Add", ["x", "y"], ["y"])])


@refused(Code.INVALID_MODEL)
def cycle_of_ten_thousand(folder: Path) -> onnx.ModelProto:
    """Ten thousand nodes in a ring."""
    return model([node("Relu", [f"v{i}"], [f"v{(i + 1) % 10_000}"]) for i in range(10_000)])


@refused(Code.INVALID_MODEL)
def cycle_through_a_body(folder: Path) -> onnx.ModelProto:
    """An If whose branch reads what the If gives."""
    branch = body([node("Relu", ["y"], ["b"])], "b")
    inputs = [X, value("c", [], BOOL)]
    return model([node("If", ["c"], ["y"], then_branch=branch, else_branch=branch)], inputs=inputs)


@refused(Code.INVALID_MODEL)
def missing_input(folder: Path) -> onnx.ModelProto:
    """A node reads what nothing makes."""
    return model([node("MatMul", ["x", "nothing"], ["y"])])


@refused(Code.INVALID_MODEL)
def missing_output(folder: Path) -> onnx.ModelProto:
    """Nothing makes the output."""
    return model([node("Relu", ["x"], ["z"])], outputs=[value("y", None)])


@refused(Code.INVALID_MODEL)
def value_made_twice(folder: Path) -> onnx.ModelProto:
    """Two nodes make one value."""
    return model([node("MatMul", ["x", "W"], ["y"]), node("Relu", ["x"], ["y"])], {"W": W})


@refused(Code.INVALID_MODEL)
def initializer_twice(folder: Path) -> onnx.ModelProto:
    """Two initializers have one name: which of them is the weight depends on the reader."""
    made = linear()
    made.graph.initializer.add().CopyFrom(onnx.numpy_helper.from_array(np.zeros((4, 3), np.float32), "W"))
    return made


@refused(Code.INVALID_MODEL)
def input_twice(folder: Path) -> onnx.ModelProto:
    """Two inputs have one name."""
    return linear(inputs=[X, X])


@refused(Code.INVALID_MODEL)
def initializer_that_a_node_makes(folder: Path) -> onnx.ModelProto:
    """A node makes a value that is stored as well."""
    return model([node("Relu", ["x"], ["W"]), node("MatMul", ["x", "W"], ["y"])], {"W": W})


@refused(Code.INVALID_MODEL)
def opset_twice(folder: Path) -> onnx.ModelProto:
    """The default operator set twice, of two versions: which of them counts depends on the reader."""
    made = linear()
    made.opset_import.append(helper.make_opsetid("ai.onnx", 7))
    return made


@refused(Code.INVALID_MODEL)
def function_twice(folder: Path) -> onnx.ModelProto:
    """Two local functions of one name: which of them is called depends on the reader."""
    opsets = [helper.make_opsetid("", 17)]
    functions = [helper.make_function("local", "F", ["a"], ["b"], [node(op, ["a"], ["b"])], opsets) for op in ("Relu", "Neg")]
    return model([node("F", ["x"], ["y"], domain="local")], functions=functions, imports={"local": 1})


@refused(Code.INVALID_MODEL)
def attribute_twice(folder: Path) -> onnx.ModelProto:
    """A node with one attribute twice: which of them counts depends on the reader."""
    made = model([node("Gemm", ["x", "W"], ["y"], transB=0)], {"W": W})
    made.graph.node[0].attribute.append(helper.make_attribute("transB", 1))
    return made


@refused(Code.INVALID_MODEL)
def text_that_is_none(folder: Path) -> bytes:
    """A name that is not UTF-8."""
    data: bytes = linear().SerializeToString()
    return data.replace(b"MatMul", b"Mat\xff\xfe\xfd")


@refused(Code.TOO_LARGE)
def name_of_ten_megabytes(folder: Path) -> onnx.ModelProto:
    """A weight whose name has ten million letters, used by ten nodes."""
    long = "W" * 10_000_000
    nodes = [node("MatMul", ["x", long], [f"y{i}"]) for i in range(10)]
    return model(nodes, {long: W})
