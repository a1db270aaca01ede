"""Walk an ONNX protobuf: its graphs with the bodies inside them, its nodes, its tensors, and what a node reads."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from onnxnull.errors import Code, OnnxnullError, one_line

if TYPE_CHECKING:
    import numpy as np
    import onnx


def bodies_of(attribute: onnx.AttributeProto) -> Iterator[onnx.GraphProto]:
    """The graphs in an attribute."""
    if attribute.HasField("g"):
        yield attribute.g
    yield from attribute.graphs


def graphs(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    """A graph and the bodies inside it."""
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            for body in bodies_of(attribute):
                yield from graphs(body)


def all_nodes(nodes: Iterable[onnx.NodeProto]) -> Iterator[onnx.NodeProto]:
    """Nodes and those of the bodies inside them, outer ones first."""
    for node in nodes:
        yield node
        for attribute in node.attribute:
            for body in bodies_of(attribute):
                yield from all_nodes(body.node)


def stored_tensors(proto: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    """Every tensor of a model, wherever it is: in bodies, in functions that nobody calls, in what is for training."""
    for graph in (proto.graph, *(g for info in proto.training_info for g in (info.initialization, info.algorithm))):
        yield from _tensors_of_graph(graph)
    for function in proto.functions:
        yield from _tensors_of_nodes(function.node)
        yield from _tensors_of_attributes(function.attribute_proto)


def _tensors_of_graph(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    yield from _tensors_of_nodes(graph.node)


def _tensors_of_nodes(nodes: Iterable[onnx.NodeProto]) -> Iterator[onnx.TensorProto]:
    for node in nodes:
        if node.attribute:
            yield from _tensors_of_attributes(node.attribute)


def _tensors_of_attributes(attributes: Iterable[onnx.AttributeProto]) -> Iterator[onnx.TensorProto]:
    for attribute in attributes:
        if attribute.HasField("t"):
            yield attribute.t
        yield from attribute.tensors
        for sparse in (*attribute.sparse_tensors, *([attribute.sparse_tensor] if attribute.HasField("sparse_tensor") else [])):
            yield from (sparse.values, sparse.indices)
        for body in bodies_of(attribute):
            yield from _tensors_of_graph(body)


def declared_values(proto: onnx.ModelProto) -> Iterator[onnx.ValueInfoProto]:
    """Every value whose type the file declares: inputs, outputs and others, in bodies and functions too."""
    for graph in (proto.graph, *(body for function in proto.functions for body in _bodies_in(function.node))):
        for each in graphs(graph):
            for values in (each.input, each.output, each.value_info):
                yield from values
    for function in proto.functions:
        yield from function.value_info


def _bodies_in(nodes: Iterable[onnx.NodeProto]) -> Iterator[onnx.GraphProto]:
    for node in nodes:
        for attribute in node.attribute:
            yield from bodies_of(attribute)


def reads(node: onnx.NodeProto) -> set[str]:
    """What a node reads: its inputs, and what its bodies take from outside."""
    names = {name for name in node.input if name}
    for attribute in node.attribute:
        for body in bodies_of(attribute):
            inner = {name for each in body.node for name in reads(each)} | {o.name for o in body.output}
            inner -= {i.name for i in body.input} | {t.name for t in body.initializer}
            names |= inner - {name for each in body.node for name in each.output}
    return names


def is_external(tensor: onnx.TensorProto) -> bool:
    """Whether the data of a tensor lies beside the model."""
    import onnx

    return tensor.data_location == onnx.TensorProto.EXTERNAL


def array_of(tensor: onnx.TensorProto) -> np.ndarray:
    """The numbers of a tensor. Raises `OnnxnullError` where its data is not what its shape and its type say."""
    from onnx import numpy_helper

    try:
        array: np.ndarray = numpy_helper.to_array(tensor)
    except MemoryError:
        raise
    except Exception as error:  # onnx raises what NumPy raises
        raise OnnxnullError(Code.INVALID_MODEL, f"tensor {tensor.name!r}: {one_line(error)}") from error
    return array
