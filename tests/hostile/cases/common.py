"""What cases are made of: a small model around nodes, and a chain of ops over constants that ends in a weight."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

node = helper.make_node
FLOAT, INT64, BOOL, STRING = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL, TensorProto.STRING
INT = np.int64


def weight(*shape: int) -> np.ndarray:
    """Random float32 numbers."""
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


W = weight(4, 3)


def value(name: str, shape: Sequence[int | str | None] | None, kind: int = FLOAT) -> onnx.ValueInfoProto:
    """A graph input or output."""
    return helper.make_tensor_value_info(name, kind, shape)


X = value("x", [2, 4])


def body(nodes: Sequence[onnx.NodeProto], output: str, inputs: Sequence[onnx.ValueInfoProto] = ()) -> onnx.GraphProto:
    """The body of a control-flow node."""
    return helper.make_graph(list(nodes), "body", list(inputs), [value(output, None)])


def model(
    nodes: Sequence[onnx.NodeProto],
    constants: Mapping[str, Any] | None = None,
    *,
    inputs: Sequence[onnx.ValueInfoProto] = (X,),
    outputs: Sequence[onnx.ValueInfoProto] = (),
    opset: int = 17,
    imports: Mapping[str, int] | None = None,
    functions: Sequence[onnx.FunctionProto] = (),
) -> onnx.ModelProto:
    """A model; constants are arrays, or tensors as they are to be stored."""
    graph = helper.make_graph(
        list(nodes),
        "graph",
        list(inputs),
        list(outputs) or [value(nodes[-1].output[0] if nodes else "y", None)],
        [
            item if isinstance(item, onnx.TensorProto) else numpy_helper.from_array(np.asarray(item), name)
            for name, item in (constants or {}).items()
        ],
    )
    opsets = [helper.make_opsetid(domain, version) for domain, version in ({"": opset} | dict(imports or {})).items()]
    made: onnx.ModelProto = helper.make_model(graph, opset_imports=opsets, ir_version=8, functions=list(functions))
    return made


def linear(**options: Any) -> onnx.ModelProto:
    """x · W, 4 inputs, 3 outputs: nothing wrong with it."""
    return model([node("MatMul", ["x", "W"], ["y"])], {"W": W}, **options)


def stored(tensor: onnx.TensorProto, op: str = "MatMul", **options: Any) -> onnx.ModelProto:
    """x · W with W stored like this."""
    tensor.name = "W"
    return model([node(op, ["x", "W"], ["y"])], {"W": tensor}, **options)


def chain(nodes: Sequence[onnx.NodeProto], constants: Mapping[str, Any], **options: Any) -> onnx.ModelProto:
    """x · w, where `nodes` make w from constants."""
    return model([*nodes, node("MatMul", ["x", "w"], ["y"])], constants, inputs=[value("x", None)], **options)


def repeated(op: str, count: int, inputs: Sequence[str] = ("{}",), start: str = "a", **attributes: Any) -> list[onnx.NodeProto]:
    """`count` nodes in a row from `start` to `w`; `{}` in `inputs` stands for what the one before gives."""
    names = [start, *(f"v{i}" for i in range(1, count)), "w"]
    return [node(op, [name.format(before) for name in inputs], [after], **attributes) for before, after in pairwise(names)]


def strings(*texts: str) -> np.ndarray:
    """Strings, as NumPy wants them for ONNX."""
    return np.array(texts, dtype=object)
