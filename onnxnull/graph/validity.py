"""Rules of ONNX whose breach would make us read another network than the one that was written.

Checked on the protobuf, before onnx-ir sees it: sparse initializers and names that are used twice, which it drops without a
word. Checked per node, against its schema: attributes of another type, missing ones, and how many inputs and outputs.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from onnxnull.errors import Code, OnnxnullError

if TYPE_CHECKING:
    import onnx
    import onnx_ir as ir


def check_graphs(proto: onnx.ModelProto) -> None:
    """Check the graph, its bodies and those of the local functions. Raises `OnnxnullError`."""
    for opset in proto.opset_import:
        _refuse_bytes(opset.domain)
    _check_graph(proto.graph)
    for function in proto.functions:
        _refuse_bytes(function.name, function.domain, *function.input, *function.output, *function.attribute)
        _check_nodes(function.node)


def _check_graph(graph: onnx.GraphProto) -> None:
    if graph.sparse_initializer:
        name = graph.sparse_initializer[0].values.name
        raise OnnxnullError(Code.OPERATOR, f"sparse initializer {name!r}", "store it as a dense initializer")
    _refuse_repeated("initializer", (tensor.name for tensor in graph.initializer))
    _refuse_repeated("input", (value.name for value in graph.input))
    _refuse_bytes(*(value.name for values in (graph.output, graph.value_info) for value in values))
    _check_nodes(graph.node)


def _check_nodes(nodes: Iterable[onnx.NodeProto]) -> None:
    for node in nodes:
        _refuse_bytes(node.name, node.op_type, node.domain, *node.input, *node.output, *(a.name for a in node.attribute))
        for attribute in node.attribute:
            for body in (*attribute.graphs, *([attribute.g] if attribute.HasField("g") else [])):
                _check_graph(body)


def _refuse_repeated(what: str, names: Iterable[str]) -> None:
    seen: set[str] = set()
    for name in names:
        _refuse_bytes(name)
        if name in seen:
            raise OnnxnullError(Code.INVALID_MODEL, f"two graph {what}s are named {name!r}")
        seen.add(name)


_TERM = r"[A-Za-z]*(\.\.\.)?[A-Za-z]*"
_EQUATION = re.compile(rf"{_TERM}(,{_TERM})*(->{_TERM})?")


def _refuse_bytes(*names: object) -> None:
    """protobuf gives a string that is not UTF-8 as bytes."""
    for name in names:
        if isinstance(name, bytes):
            raise OnnxnullError(Code.INVALID_MODEL, f"the text {name!r} is not UTF-8")


def check_node(node: ir.Node, name: str, schema: onnx.defs.OpSchema | None) -> None:
    """Check a node; `schema` is None for an operator that ONNX does not define. Raises `OnnxnullError`."""
    for attribute in node.attributes.values():
        if attribute.is_ref() or attribute.type.name == "UNDEFINED":
            raise OnnxnullError(Code.INVALID_MODEL, f"node {name!r}: attribute {attribute.name!r} has no value")
    if schema is None:
        return
    for key, expected in schema.attributes.items():
        given = node.attributes.get(key)
        if given is None and expected.required:
            raise OnnxnullError(Code.INVALID_MODEL, f"node {name!r}: {node.op_type} without attribute {key!r}")
        kind = str(expected.type).rpartition(".")[2]  # "AttrType.INTS"; onnx's stubs know no name
        if given is not None and given.type.name != kind:
            kinds = f"is {given.type.name} where {kind} is needed"
            raise OnnxnullError(Code.INVALID_MODEL, f"node {name!r}: attribute {key!r} {kinds}")
    for attribute in node.attributes.values():
        if attribute.type.name == "STRING":
            _refuse_bytes(attribute.value)
    # onnx's own inference does not return from some malformed equations
    if node.op_type == "Einsum" and not _EQUATION.fullmatch(node.attributes["equation"].as_string().replace(" ", "")):
        raise OnnxnullError(Code.INVALID_MODEL, f"node {name!r}: Einsum with a malformed equation")
    for what, count, least, most in (
        ("inputs", len(node.inputs), schema.min_input, schema.max_input),
        ("outputs", len(node.outputs), schema.min_output, schema.max_output),
    ):
        if not least <= count <= most:
            raise OnnxnullError(Code.INVALID_MODEL, f"node {name!r}: {node.op_type} with {count} {what}")
