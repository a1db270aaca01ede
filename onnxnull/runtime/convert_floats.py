"""The same model at another floating-point type: every float in it, stored or declared, becomes `target`.

1. tensors: initializers (sparse ones too), attributes, Constant in all its forms;
2. attributes that name a type: `to` of Cast, `dtype` of ops that generate, the default of ConstantOfShape;
3. declared types: inputs, outputs, value_info, in bodies of control flow too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from onnxnull.graph.protobuf import array_of, graphs
from onnxnull.operators.traits import type_attribute

if TYPE_CHECKING:
    import onnx

FLOATS = {1: "FLOAT", 10: "FLOAT16", 11: "DOUBLE", 16: "BFLOAT16"}
"""TensorProto.DataType numbers of the floats that networks compute in."""


def floats_of(proto: onnx.ModelProto) -> set[int]:
    """The float types that the model stores, casts to or takes in."""
    found: set[int] = set()
    for graph in graphs(proto.graph):
        found.update(t.data_type for t in graph.initializer)
        found.update(t.values.data_type for t in graph.sparse_initializer)
        found.update(i.type.tensor_type.elem_type for i in (*graph.input, *graph.output))
        for node in graph.node:
            named = type_attribute(node)
            for attribute in node.attribute:
                if attribute.HasField("t"):
                    found.add(attribute.t.data_type)
                found.update(t.data_type for t in attribute.tensors)
                if named is not None and attribute.name == named.name:
                    found.add(attribute.i)
    return found & FLOATS.keys()


def convert_floats(proto: onnx.ModelProto, target: int) -> None:
    """Replace every float type in `proto` by `target` (a TensorProto.DataType), in place. To float16, finite stays finite."""
    for graph in graphs(proto.graph):
        for tensor in graph.initializer:
            convert_tensor(tensor, target)
        for sparse in graph.sparse_initializer:
            convert_tensor(sparse.values, target)
        for value in (*graph.input, *graph.output, *graph.value_info):
            _type(value.type, target)
        for node in graph.node:
            convert_node(node, target)


def convert_tensor(tensor: onnx.TensorProto, target: int) -> None:
    """Store a float tensor as `target`; others stay."""
    from onnx import helper, numpy_helper

    if tensor.data_type not in FLOATS or tensor.data_type == target:
        return
    array = array_of(tensor)
    dtype = helper.tensor_dtype_to_np_dtype(target)
    if target == 10:
        wide = array.astype(np.float64)
        largest = float(np.finfo(np.float16).max)
        array = np.where(np.isfinite(wide), np.clip(wide, -largest, largest), wide)
    tensor.CopyFrom(numpy_helper.from_array(np.asarray(array.astype(dtype)), tensor.name))


def convert_node(node: onnx.NodeProto, target: int) -> None:
    """The same of what one node stores and declares; its bodies stay."""
    from onnx import helper, numpy_helper

    named = type_attribute(node)
    given = {a.name for a in node.attribute}
    for attribute in node.attribute:
        if attribute.HasField("t"):
            convert_tensor(attribute.t, target)
        if attribute.HasField("sparse_tensor"):
            convert_tensor(attribute.sparse_tensor.values, target)
        for tensor in attribute.tensors:
            convert_tensor(tensor, target)
        if attribute.HasField("tp"):
            _type(attribute.tp, target)
        if named is not None and attribute.name == named.name and attribute.i in FLOATS:
            attribute.i = target
    if named is not None and named.is_float and named.name not in given:
        node.attribute.append(helper.make_attribute(named.name, target))
    if node.op_type == "ConstantOfShape" and "value" not in given:
        zero = numpy_helper.from_array(np.zeros(1, dtype=helper.tensor_dtype_to_np_dtype(target)))
        node.attribute.append(helper.make_attribute("value", zero))
    if node.op_type == "Constant" and given & {"value_float", "value_floats"}:
        value = helper.get_attribute_value(node.attribute[0])
        array = np.asarray(np.asarray(value, dtype=np.float32), dtype=helper.tensor_dtype_to_np_dtype(target))
        del node.attribute[:]
        node.attribute.append(helper.make_attribute("value", numpy_helper.from_array(array)))


def _type(type_proto: onnx.TypeProto, target: int) -> None:
    kind = type_proto.WhichOneof("value")
    if kind in ("tensor_type", "sparse_tensor_type"):
        tensor_type = getattr(type_proto, kind)
        if tensor_type.elem_type in FLOATS:
            tensor_type.elem_type = target
    elif kind in ("sequence_type", "optional_type"):
        _type(getattr(type_proto, kind).elem_type, target)
    elif kind == "map_type":
        _type(type_proto.map_type.value_type, target)
