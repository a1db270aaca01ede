"""A model to run as a protobuf: checked as any file from outside, functions inlined, external data brought in."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from onnxnull.errors import Code, OnnxnullError, one_line
from onnxnull.graph import external, functions, validity
from onnxnull.graph.limits import Limits
from onnxnull.graph.model import parse

if TYPE_CHECKING:
    import numpy as np
    import onnx


def load(source: str | os.PathLike[str] | onnx.ModelProto, limits: Limits | None = None) -> onnx.ModelProto:
    """A protobuf that may be changed: functions inlined, nodes in order, every tensor inside.

    Args:
        source: the file, which passes the checks of `open_model`; or a model in memory, which is copied.

    Raises:
        OnnxnullError: with the code of what is wrong with the file.
    """
    import onnx

    if isinstance(source, onnx.ModelProto):
        proto = onnx.ModelProto()
        proto.CopyFrom(source)
    else:
        path, limits = Path(source), limits or Limits()
        proto = parse(path, limits).proto
        folder = Path(os.path.abspath(path)).parent
        external.check_all(proto, folder, limits)
        bring_in(validity.stored_tensors(proto), folder)
    if proto.functions:
        proto = _inlined(proto)
    _sort(proto.graph, set())
    return proto


def graphs(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    """A graph and the bodies inside it."""
    import onnx

    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                yield from graphs(attribute.g)
            for body in attribute.graphs:
                yield from graphs(body)


def tensors(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    """Every tensor that a graph and its bodies store."""
    import onnx

    for each in graphs(graph):
        yield from each.initializer
        for node in each.node:
            for attribute in node.attribute:
                if attribute.type == onnx.AttributeProto.TENSOR:
                    yield attribute.t
                yield from attribute.tensors


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


def reads(node: onnx.NodeProto) -> set[str]:
    """What a node reads: its inputs, and what its bodies take from outside."""
    import onnx

    names = {name for name in node.input if name}
    for attribute in node.attribute:
        bodies = [attribute.g] if attribute.type == onnx.AttributeProto.GRAPH else list(attribute.graphs)
        for body in bodies:
            inner = {name for each in body.node for name in reads(each)} | {o.name for o in body.output}
            inner -= {i.name for i in body.input} | {t.name for t in body.initializer}
            names |= inner - {name for each in body.node for name in each.output}
    return names


def bring_in(stored: Iterable[onnx.TensorProto], folder: Path) -> None:
    """Replace references to external data, which were checked, by the data, in place."""
    import onnx

    for tensor in stored:
        if not is_external(tensor):
            continue
        data = b"".join(external_chunks(tensor, folder))
        del tensor.external_data[:]
        tensor.data_location = onnx.TensorProto.DEFAULT
        tensor.raw_data = data


def is_external(tensor: onnx.TensorProto) -> bool:
    """Whether the data of a tensor lies beside the model."""
    import onnx

    return tensor.data_location == onnx.TensorProto.EXTERNAL


def external_chunks(tensor: onnx.TensorProto, folder: Path) -> Iterator[bytes]:
    """The external data of a checked tensor, piece by piece. Raises as `external.chunks`."""
    import onnx_ir as ir

    reference = ir.serde.deserialize_tensor(tensor, base_path=str(folder))
    assert isinstance(reference, ir.ExternalTensor)
    return external.chunks(reference)


def _inlined(proto: onnx.ModelProto) -> onnx.ModelProto:
    """Inlined as `open_model` does it: names of nodes and values are those of the `Flow`."""
    import onnx_ir as ir

    try:
        model = ir.serde.deserialize_model(proto)
        functions.inline(model)
        inlined: onnx.ModelProto = ir.serde.serialize_model(model)
    except ir.serde.SerdeError as error:
        raise OnnxnullError(Code.INVALID_MODEL, functions.root_cause(error)) from None
    return inlined


def _sort(graph: onnx.GraphProto, outer: set[str]) -> None:
    """Operands before their users, in place; the order of the file stays where it is valid."""
    made = {name for node in graph.node for name in node.output if name}
    done: set[str] = set()
    pending = list(graph.node)
    ordered: list[onnx.NodeProto] = []
    while pending:
        later = []
        for node in pending:
            if all(name in done or name not in made for name in reads(node)):
                ordered.append(node)
                done.update(node.output)
            else:
                later.append(node)
        if len(later) == len(pending):
            raise OnnxnullError(Code.INVALID_MODEL, "the graph has a cycle")
        pending = later
    if len(ordered) and any(a is not b for a, b in zip(ordered, graph.node, strict=True)):
        copies = [type(node).FromString(node.SerializeToString()) for node in ordered]
        del graph.node[:]
        graph.node.extend(copies)
