"""Rules of ONNX whose breach would make us read another network than the one that was written, or hurt whoever reads it.

Checked on the protobuf, before onnx-ir sees it: sparse initializers, names, operator sets and attributes that are given twice,
of which it drops one without a word; text that is no text or too long; tensors of too many axes, or with data in two places.
Checked per node, against its schema: attributes of another type, missing ones, and how many inputs and outputs.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from onnxnull.errors import Code, OnnxnullError
from onnxnull.graph.limits import LONGEST_NAME, MOST_AXES
from onnxnull.graph.protobuf import bodies_of, is_external, stored_tensors

if TYPE_CHECKING:
    import onnx
    import onnx_ir as ir


def check_model(proto: onnx.ModelProto) -> None:
    """Check the graph, its bodies and those of the local functions, and every tensor. Raises `OnnxnullError`."""
    _check_opsets(proto.opset_import)
    _check_graph(proto.graph)
    for function in proto.functions:
        _check_opsets(function.opset_import)
        _check_text(function.name, function.domain, *function.input, *function.output, *function.attribute)
        _check_nodes(function.node)
    for tensor in stored_tensors(proto):
        _check_tensor(tensor)


def _check_opsets(opsets: Iterable[onnx.OperatorSetIdProto]) -> None:
    seen: dict[str, int] = {}
    for opset in opsets:
        _check_text(opset.domain)
        domain = "" if opset.domain == "ai.onnx" else opset.domain
        if opset.version < 1 or opset.version >= 1 << 31:
            raise OnnxnullError(Code.INVALID_MODEL, f"version {opset.version} of the operator set {domain or 'ai.onnx'!r}")
        if seen.setdefault(domain, opset.version) != opset.version:
            raise OnnxnullError(Code.INVALID_MODEL, f"two versions of the operator set {domain or 'ai.onnx'!r}")


def _check_graph(graph: onnx.GraphProto) -> None:
    if graph.sparse_initializer:
        name = graph.sparse_initializer[0].values.name
        raise OnnxnullError(Code.OPERATOR, f"sparse initializer {name!r}", "store it as a dense initializer")
    _refuse_repeated("initializer", (tensor.name for tensor in graph.initializer))
    _refuse_repeated("input", (value.name for value in graph.input))
    _check_text(*(value.name for values in (graph.output, graph.value_info) for value in values))
    _check_nodes(graph.node)


def _check_nodes(nodes: Iterable[onnx.NodeProto]) -> None:
    for node in nodes:
        _check_text(node.name, node.op_type, node.domain, node.overload, *node.input, *node.output)
        names = [attribute.name for attribute in node.attribute]
        _check_text(*names)
        if len(set(names)) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise OnnxnullError(Code.INVALID_MODEL, f"node {node.name!r} ({node.op_type}) has two attributes {twice!r}")
        for attribute in node.attribute:
            if attribute.HasField("sparse_tensor") or attribute.sparse_tensors:
                seen = f"node {node.name!r} ({node.op_type}) holds a sparse tensor"
                raise OnnxnullError(Code.OPERATOR, seen, "store it as a dense one")
            for body in bodies_of(attribute):
                _check_graph(body)


def _check_tensor(tensor: onnx.TensorProto) -> None:
    _check_text(tensor.name)
    if len(tensor.dims) > MOST_AXES:
        raise OnnxnullError(Code.INVALID_MODEL, f"tensor {tensor.name!r} has {len(tensor.dims)} axes; no tensor has that many")
    if not is_external(tensor):
        return
    keys = [entry.key for entry in tensor.external_data]
    for key, value in ((entry.key, entry.value) for entry in tensor.external_data):
        _check_text(key, value)
        if key in ("offset", "length") and not _NUMBER.fullmatch(value):
            raise OnnxnullError(Code.INVALID_MODEL, f"tensor {tensor.name!r}: {key} {value!r} of its external data")
    if len(set(keys)) < len(keys) or "location" not in keys:
        raise OnnxnullError(Code.INVALID_MODEL, f"tensor {tensor.name!r} does not say once where its external data lies")
    if any(len(getattr(tensor, name)) for name in DATA_FIELDS):
        raise OnnxnullError(Code.INVALID_MODEL, f"tensor {tensor.name!r} has data in the file and beside it")


DATA_FIELDS = ("raw_data", "float_data", "double_data", "int32_data", "int64_data", "uint64_data", "string_data")
"""Where a TensorProto may hold its numbers."""
_NUMBER = re.compile(r"-?[0-9]{1,30}")


def _refuse_repeated(what: str, names: Iterable[str]) -> None:
    seen: set[str] = set()
    for name in names:
        _check_text(name)
        if name in seen:
            raise OnnxnullError(Code.INVALID_MODEL, f"two graph {what}s are named {name!r}")
        seen.add(name)


_TERM = r"[A-Za-z]*(\.\.\.)?[A-Za-z]*"
_EQUATION = re.compile(rf"{_TERM}(,{_TERM})*(->{_TERM})?")


def _check_text(*names: object) -> None:
    """protobuf gives a string that is not UTF-8 as bytes."""
    for name in names:
        if isinstance(name, bytes):
            raise OnnxnullError(Code.INVALID_MODEL, f"the text {name!r} is not UTF-8")
        if isinstance(name, str) and len(name) > LONGEST_NAME:
            raise OnnxnullError(
                Code.TOO_LARGE, f"a name of {len(name)} characters, {name[:40]!r}...", "export it with shorter names"
            )


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
        if attribute.type.name == "STRING" and isinstance(attribute.value, bytes):
            _check_text(attribute.value)
    if node.op_type == "Einsum":
        _check_equation(name, node.attributes["equation"].as_string().replace(" ", ""))
    for what, count, least, most in (
        ("inputs", len(node.inputs), schema.min_input, schema.max_input),
        ("outputs", len(node.outputs), schema.min_output, schema.max_output),
    ):
        if not least <= count <= most:
            raise OnnxnullError(Code.INVALID_MODEL, f"node {name!r}: {node.op_type} with {count} {what}")


def _check_equation(name: str, equation: str) -> None:
    """onnx's own inference does not return from some malformed equations, and makes a shape of any length of others."""
    longest = max(len(term) for term in re.split(r",|->", equation))
    if longest > MOST_AXES or not _EQUATION.fullmatch(equation):
        raise OnnxnullError(Code.INVALID_MODEL, f"node {name!r}: Einsum with a malformed equation")
