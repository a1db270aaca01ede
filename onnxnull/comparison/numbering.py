"""Value numbering: are two graphs the same, node by node and constant by constant, up to names and order?

A value's number says how it is computed from the graph's inputs: by an operator of a domain in the version of its schema
(Softmax of opset 11 and 13 are two), with its attributes, defaults filled in, of operands with these numbers, sorted where the
operator does not care about their order; of nodes that draw random numbers no two are the same. Constants are numbered by their
type, shape and bytes, bodies of If, Loop and Scan by what they compute. Two graphs are equal where their outputs have the same
numbers; nodes that no output needs do not count.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from onnxnull.graph import external
from onnxnull.graph.bodies import subgraphs
from onnxnull.graph.evaluable import is_random
from onnxnull.graph.model import Model
from onnxnull.graph.types import dtype_name, shape_of
from onnxnull.operators.traits import commutes

if TYPE_CHECKING:
    import onnx_ir as ir

Number = bytes


def equal_graphs(a: Model, b: Model, alike: tuple[Mapping[int, Number], Mapping[int, Number]] = ({}, {})) -> bool:
    """Whether both graphs compute the same of the same inputs.

    Args:
        alike: for each side, id of a stored tensor → the number it gets in place of its own, of weights that count as equal.
    """
    first, second = (_outputs(model, numbers) for model, numbers in zip((a, b), alike, strict=True))
    if set(first) == set(second):
        return all(first[name] == second[name] for name in first)
    return list(first.values()) == list(second.values())


def _outputs(model: Model, alike: Mapping[int, Number]) -> dict[str, Number]:
    numbers: dict[ir.Value, Number] = {}
    own = {described.name: place for place, described in enumerate(model.inputs)}
    for value in model.graph.inputs:
        if not value.is_initializer():
            kind = (dtype_name(value.dtype), str(shape_of(value)), str(own[value.name or ""]))
            numbers[value] = digest("input", *kind)
    Numbering(model.opsets, alike).graph(model.graph, numbers)
    return {value.name or "": numbers[value] for value in model.graph.outputs}


class Numbering:
    """Numbers of everything in a graph and its bodies."""

    def __init__(self, opsets: Mapping[str, int], alike: Mapping[int, Number]) -> None:
        self._opsets, self._alike = opsets, alike
        self._tensors: dict[int, Number] = {}
        self._drawn = 0

    def graph(self, graph: ir.Graph, numbers: dict[ir.Value, Number]) -> list[Number]:
        """The numbers of the outputs of a graph; `numbers` has those of its inputs and of what it captures."""
        for value in graph.initializers.values():
            if value.const_value is not None and value not in numbers:
                numbers[value] = self._tensor(value.const_value)
        for node in graph:
            found = self._node(node, numbers)
            for index, value in enumerate(node.outputs):
                numbers[value] = found if node.op_type == "Constant" and node.domain == "" else digest(found, str(index))
        return [numbers[value] for value in graph.outputs]

    def _node(self, node: ir.Node, numbers: dict[ir.Value, Number]) -> Number:
        if node.domain == "" and node.op_type == "Constant":
            (attribute,) = node.attributes.values()
            return self._constant(attribute)
        operands = [b"" if value is None or not value.name else numbers[value] for value in node.inputs]
        while operands and not operands[-1]:
            operands.pop()
        if commutes(node):
            operands.sort()
        version, defaults = defaults_of(node.domain, node.op_type, self._opsets.get(node.domain, 1))
        attributes = {**defaults, **{name: self._attribute(value, numbers) for name, value in node.attributes.items()}}
        parts: list[Number | str] = [part for name in sorted(attributes) for part in (name, attributes[name])]
        if draws(node):
            self._drawn += 1
            parts.append(str(self._drawn))
        return digest("node", node.domain, node.op_type, str(version), str(len(operands)), *operands, *parts)

    def _attribute(self, attribute: ir.Attr, numbers: dict[ir.Value, Number]) -> Number:
        kind = attribute.type.name
        if kind == "GRAPH":
            return self.body(attribute.value, numbers)
        if kind == "GRAPHS":
            return digest(*(self.body(body, numbers) for body in attribute.value))
        if kind == "TENSOR":
            return self._tensor(attribute.value)
        if kind == "TENSORS":
            return digest(*map(self._tensor, attribute.value))
        return plain(kind, attribute.value)

    def body(self, body: ir.Graph, numbers: dict[ir.Value, Number]) -> Number:
        """The number of a body of a node; `numbers` has those of what it captures."""
        inner = dict(numbers)
        level = str(len([v for v in numbers.values() if v.startswith(b"body")]))
        for place, value in enumerate(body.inputs):
            inner[value] = b"body" + digest(level, str(place))
        return digest("body", str(len(body.inputs)), *self.graph(body, inner))

    def _constant(self, attribute: ir.Attr) -> Number:
        if attribute.name == "value":
            return self._tensor(attribute.value)
        dtype = {"f": np.float32, "i": np.int64, "s": np.object_}[attribute.name.removeprefix("value_")[0]]
        return content(np.asarray(attribute.value, dtype=dtype))

    def _tensor(self, tensor: ir.TensorProtocol) -> Number:
        if id(tensor) in self._alike:
            return self._alike[id(tensor)]
        if id(tensor) not in self._tensors:
            self._tensors[id(tensor)] = tensor_content(tensor)
        return self._tensors[id(tensor)]


def draws(node: ir.Node) -> bool:
    """Whether a node may give other numbers than another one of the same operands: it draws some, or one in its bodies does.

    Dropout that is told to train (`training_mode`, an operand since opset 12) is one of them.
    """
    trains = node.op_type == "Dropout" and len(node.inputs) > 2
    return trains or is_random(node) or any(draws(inner) for _, body in subgraphs(node) for inner in body)


def tensor_content(tensor: ir.TensorProtocol) -> Number:
    """The number of a stored tensor, however large."""
    import onnx_ir as ir

    return content(np.asarray(external.read(tensor) if isinstance(tensor, ir.ExternalTensor) else tensor.numpy()))


def content(array: np.ndarray) -> Number:
    """The number of a constant: type, shape and bytes."""
    plain_bytes = repr(array.tolist()).encode() if array.dtype == object else np.ascontiguousarray(array).tobytes()
    return digest("constant", str(array.dtype), str(array.shape), plain_bytes)


def plain(kind: str, value: object) -> Number:
    """The number of an attribute that is no tensor and no graph; floats as float32, as ONNX stores them."""
    if kind in ("FLOAT", "FLOATS"):
        value = np.atleast_1d(np.asarray(value, np.float32)).tolist()
    if isinstance(value, tuple | list):
        value = list(value)
    return f"{kind} {value!r}".encode()


def defaults_of(domain: str, op_type: str, opset: int) -> tuple[int, dict[str, Number]]:
    """Since which version an operator is what it is at an opset, and the attributes it may leave out; (0, {}) if unknown."""
    import onnx
    import onnx_ir as ir

    try:
        schema = onnx.defs.get_schema(op_type, opset, domain)
    except onnx.defs.SchemaError:
        return 0, {}
    defaults = {}
    for name, described in schema.attributes.items():
        if described.default_value.type:
            stored = ir.serde.deserialize_attribute(described.default_value)
            defaults[name] = plain(stored.type.name, stored.value)
    return schema.since_version, defaults


def digest(*parts: bytes | str) -> Number:
    """A short name for these parts together."""
    found = hashlib.blake2b(digest_size=16)
    for part in parts:
        encoded = part.encode() if isinstance(part, str) else part
        found.update(len(encoded).to_bytes(8, "little"))
        found.update(encoded)
    return found.digest()
