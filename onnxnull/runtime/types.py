"""Types and shapes of the values of a protobuf, by ONNX's own inference; true for every batch size that the file allows."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from onnxnull.errors import Code, OnnxnullError, one_line
from onnxnull.graph.protobuf import array_of
from onnxnull.graph.types import Shape
from onnxnull.runtime.convert_floats import FLOATS

if TYPE_CHECKING:
    import onnx

_LARGE = 4096
"""Tensors of more elements than this do not decide shapes: inference gets them without their data."""


@dataclass(slots=True)
class Scope:
    """What is known of the names that a graph sees: its own and those of the graphs around it.

    Attributes:
        types: name → (TensorProto.DataType, shape as far as it is known).
        constants: name → stored tensor.
    """

    outer: Scope | None = None
    types: dict[str, tuple[int, Shape | None]] = field(default_factory=dict)
    constants: dict[str, onnx.TensorProto] = field(default_factory=dict)

    def type_of(self, name: str) -> tuple[int, Shape | None]:
        """Type and shape; (0, None) where nothing is known."""
        if name in self.types:
            return self.types[name]
        return self.outer.type_of(name) if self.outer is not None else (0, None)

    def tensor(self, name: str) -> onnx.TensorProto | None:
        """The stored tensor of that name."""
        if name in self.constants:
            return self.constants[name]
        if name in self.types or self.outer is None:
            return None
        return self.outer.tensor(name)

    def array(self, name: str) -> np.ndarray | None:
        """Its values, floats in float64; None where `name` is no constant."""
        tensor = self.tensor(name)
        if tensor is None:
            return None
        array = array_of(tensor)
        return array.astype(np.float64) if tensor.data_type in FLOATS else array


def infer(proto: onnx.ModelProto) -> None:
    """Fill `value_info` of the graph and of the bodies in it, in place, and the shapes of outputs that say none.

    What the file says in `value_info` itself is not believed.
    """
    _adopt(inferred(proto), proto.graph)


def inferred(proto: onnx.ModelProto) -> onnx.GraphProto:
    """The graph with its `value_info` filled, as `infer` does; large initializers are inputs, without their data.

    Raises:
        OnnxnullError: `invalid-model` where types cannot be inferred.
    """
    import onnx

    skeleton = onnx.ModelProto()
    skeleton.ir_version = max(proto.ir_version, 8)
    skeleton.opset_import.extend(proto.opset_import)
    _skeleton(proto.graph, skeleton.graph)
    try:
        found = onnx.shape_inference.infer_shapes(skeleton, data_prop=True)
    except Exception as error:  # noqa: BLE001 - inference raises what it likes on a model that breaks the rules
        raise OnnxnullError(Code.INVALID_MODEL, f"types cannot be inferred: {one_line(error)}") from None
    graph: onnx.GraphProto = found.graph
    return graph


def enter(graph: onnx.GraphProto, outer: Scope | None) -> Scope:
    """The scope inside a graph whose `value_info` is filled."""
    import onnx

    scope = Scope(outer)
    for value in (*graph.input, *graph.value_info, *graph.output):
        if value.type.HasField("tensor_type"):
            tensor_type = value.type.tensor_type
            scope.types[value.name] = (tensor_type.elem_type, _shape(tensor_type))
    for tensor in graph.initializer:
        scope.constants[tensor.name] = tensor
        scope.types[tensor.name] = (tensor.data_type, tuple(tensor.dims))
    for node in graph.node:
        if node.op_type == "Constant" and len(node.attribute) == 1 and node.attribute[0].HasField("t"):
            tensor = node.attribute[0].t
            scope.constants[node.output[0]] = tensor
            scope.types[node.output[0]] = (tensor.data_type, tuple(tensor.dims))
        elif node.op_type == "Identity" and len(node.input) == 1:
            found = scope.tensor(node.input[0])
            if found is not None:
                scope.constants[node.output[0]] = found
        for name in node.output:
            if name and name not in scope.types:  # an operator that ONNX does not know: as its first input
                scope.types[name] = (scope.type_of(node.input[0])[0] if node.input else onnx.TensorProto.UNDEFINED, None)
    return scope


def _shape(tensor_type: onnx.TypeProto.Tensor) -> Shape | None:
    if not tensor_type.HasField("shape"):
        return None
    return tuple(d.dim_value if d.HasField("dim_value") and d.dim_value >= 0 else None for d in tensor_type.shape.dim)


def _skeleton(graph: onnx.GraphProto, target: onnx.GraphProto) -> None:
    """A copy of `graph` without declared intermediate types and without the data of large initializers."""
    import onnx

    target.name = graph.name or "graph"
    target.node.extend(graph.node)
    target.input.extend(graph.input)
    target.output.extend(graph.output)
    listed = {value.name for value in graph.input}
    for tensor in graph.initializer:
        if math.prod(tensor.dims) <= _LARGE:
            target.initializer.append(tensor)
        elif tensor.name not in listed:
            value = onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims))
            target.input.append(value)
    for node in target.node:
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                del attribute.g.value_info[:]


def _adopt(inferred: onnx.GraphProto, graph: onnx.GraphProto) -> None:
    import onnx

    del graph.value_info[:]
    graph.value_info.extend(inferred.value_info)
    for own, found in zip(graph.output, inferred.output, strict=True):
        if not own.type.tensor_type.HasField("shape") and found.type.HasField("tensor_type"):
            own.type.CopyFrom(found.type)
    for mine, theirs in zip(graph.node, inferred.node, strict=True):
        for a, b in zip(mine.attribute, theirs.attribute, strict=True):
            if a.type == onnx.AttributeProto.GRAPH:
                _adopt(b.g, a.g)
