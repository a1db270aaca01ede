"""One walk over a model in topological order: the type, the shape and the constant value of everything that flows.

Shapes come from ONNX's own inference, one node at a time (`onnx.shape_inference.infer_node_outputs`), which also works in
the bodies of If, Loop and Scan and goes on where one node cannot be inferred. Constants are folded in the same walk, since
each feeds the other: a `Shape` of a known shape is a constant, and a constant decides what `Reshape` gives.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from onnxnull.errors import Code, OnnxnullError, one_line
from onnxnull.graph import constants
from onnxnull.graph.constants import SMALL, Blocked, Constant, EvaluationError
from onnxnull.graph.model import Model, Shape, subgraphs

if TYPE_CHECKING:
    import onnx
    import onnx_ir as ir

_RANDOM = {"Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"}
# The size of their output depends on values, and is at most (rank of the input) × (its size).
_BOUNDED_BY_INPUT = {"Compress", "NonZero", "Unique"}


@dataclass(frozen=True, slots=True)
class Operand:
    """What is known of a value at a node.

    Attributes:
        dtype, shape: None where unknown.
        constant: the value itself where it is a constant (`Blocked` where it could not be evaluated), else None.
        value: the onnx-ir value.
    """

    name: str
    dtype: ir.DataType | None
    shape: Shape | None
    constant: Constant | Blocked | None
    value: ir.Value


@dataclass(frozen=True, slots=True)
class NodeView:
    """A node as the operators see it: names, opset version, attributes and what is known of its inputs and outputs.

    Attributes:
        name: the node's name, prefixed by the control-flow bodies that it lies in ("If_3.then_branch/Conv_7").
        version: of the opset of its domain that the model imports.
    """

    name: str
    op_type: str
    domain: str
    version: int
    inputs: tuple[Operand | None, ...]
    outputs: tuple[Operand | None, ...]
    node: ir.Node

    def attribute(self, name: str, default: Any) -> Any:
        """The attribute's value as Python type (int, float, str, list); `default` where the node leaves it out."""
        attribute = self.node.attributes.get(name)
        return default if attribute is None or attribute.value is None else attribute.value

    def input(self, index: int) -> Operand | None:
        """The operand at `index`; None where it is left out."""
        return self.inputs[index] if index < len(self.inputs) else None


class Flow:
    """What is known of every value of `model`, and its nodes in order, those of all bodies included.

    Attributes:
        nodes: every node, outer ones before the ones in their bodies.

    Raises:
        OnnxnullError: a node reads a value that nothing produces.
    """

    def __init__(self, model: Model) -> None:
        self.model = model
        self.nodes: list[NodeView] = []
        self._constants: dict[ir.Value, Constant | Blocked] = {}
        self._types: dict[ir.Value, onnx.TypeProto] = {}
        self._known: set[ir.Value] = set()
        self._walk(model.graph, "")

    def operand(self, value: ir.Value) -> Operand:
        """What is known of `value`."""
        import onnx_ir as ir

        constant = self._constants.get(value)
        if isinstance(constant, Constant):
            return Operand(value.name or "", constant.dtype, constant.shape, constant, value)
        kind = self._types.get(value)
        dtype, shape = None, None
        if kind is not None and kind.HasField("tensor_type"):
            dtype = ir.DataType(kind.tensor_type.elem_type)
            shape = _shape_of_type(kind)
        return Operand(value.name or "", dtype, shape, constant, value)

    def _walk(self, graph: ir.Graph, prefix: str) -> None:
        for value in graph.inputs:
            self._define(value)
        for value in graph.initializers.values():
            self._define(value)
            if value.const_value is not None:
                self._constants[value] = constants.stored(value.name or "", value.const_value)
        for index, node in enumerate(graph):
            name = prefix + (one_line(node.name) if node.name else f"{node.op_type}_{index}")
            for value in node.inputs:
                if value is not None and value not in self._known:
                    raise OnnxnullError(Code.INVALID_MODEL, f"node {name!r} reads {value.name!r}, which nothing produces")
            self._visit(node, name)
            for attribute, body in subgraphs(node):
                self._walk(body, f"{name}.{attribute}/")
            self._adopt_branch_types(node)

    def _define(self, value: ir.Value) -> None:
        self._known.add(value)
        declared = _declared_type(value)
        if declared is not None:
            self._types[value] = declared

    def _visit(self, node: ir.Node, name: str) -> None:
        inputs = tuple(None if value is None else self.operand(value) for value in node.inputs)
        for value in node.outputs:
            self._define(value)
        version = self.model.opsets.get(node.domain, 1)
        if node.domain == "" and node.op_type == "Constant":
            self._constant_node(node)
        elif node.domain == "" and node.op_type in ("Shape", "Size") and inputs and inputs[0] is not None:
            self._shape_node(node, inputs[0])
        elif not any(True for _ in subgraphs(node)):
            self._infer(node, inputs, version)
        outputs = tuple(None if not value.name else self.operand(value) for value in node.outputs)
        self.nodes.append(NodeView(name, node.op_type, node.domain, version, inputs, outputs, node))

    def _constant_node(self, node: ir.Node) -> None:
        """`Constant`: exactly one attribute holds the value (opset 1 to 24; the typed ones since 12, sparse since 11)."""
        output = node.outputs[0]
        label = output.name or ""
        attribute = next(iter(node.attributes.values()), None)
        if attribute is None or attribute.name == "sparse_value":
            self._constants[output] = Blocked(label, "a sparse or missing Constant value")
        elif attribute.name == "value":
            self._constants[output] = constants.stored(label, attribute.as_tensor())
        else:
            dtype = {"f": np.float32, "i": np.int64, "s": np.str_}[attribute.name.removeprefix("value_")[0]]
            self._constants[output] = constants.known(np.asarray(attribute.value, dtype=dtype), "constant")

    def _shape_node(self, node: ir.Node, operand: Operand) -> None:
        """`Shape` (start and end since opset 15) and `Size` read no values: of a known shape they are constants."""
        if operand.shape is None:
            return
        if node.op_type == "Size":
            result: tuple[int | None, ...] = operand.shape
        else:
            start = node.attributes["start"].as_int() if "start" in node.attributes else 0
            end = node.attributes["end"].as_int() if "end" in node.attributes else None
            result = operand.shape[slice(start, end)]
        if None not in result:
            array = np.array(result, dtype=np.int64)
            if node.op_type == "Size":
                array = np.array(np.prod(array), dtype=np.int64)
            self._constants[node.outputs[0]] = constants.known(array, "shape")
        elif node.op_type == "Shape":
            self._types[node.outputs[0]] = _tensor_type(7, (len(result),))

    def _infer(self, node: ir.Node, inputs: tuple[Operand | None, ...], version: int) -> None:
        """Infer the outputs' types; where all inputs are constants, the outputs become constants."""
        import onnx
        import onnx_ir as ir

        try:
            schema = onnx.defs.get_schema(node.op_type, version, node.domain)
        except onnx.defs.SchemaError:
            schema = None
        proto = ir.serde.serialize_node(node)
        constant_inputs = [operand.constant for operand in inputs if operand is not None]
        foldable = bool(constant_inputs) and all(c is not None for c in constant_inputs) and node.op_type not in _RANDOM
        if schema is None:
            if foldable:
                self._block(node, f"op {node.domain or 'ai.onnx'}.{node.op_type} is unknown to the evaluator")
            return
        try:
            inferred = self._inferred_types(proto, schema, inputs)
        except Exception as error:  # noqa: BLE001 - onnx raises several classes; the shape stays unknown, which is no loss
            inferred = {}
            if foldable:
                self._block(node, f"op {node.op_type}: {one_line(error)}")
                foldable = False
        for value in node.outputs:
            if value.name in inferred:
                self._types[value] = _merge(inferred[value.name], self._types.get(value))
        if foldable:
            self._fold(node, proto, inputs)

    def _inferred_types(
        self, proto: onnx.NodeProto, schema: onnx.defs.OpSchema, inputs: tuple[Operand | None, ...]
    ) -> Mapping[str, onnx.TypeProto]:
        from onnx import helper, numpy_helper, shape_inference

        types, data = {}, {}
        for operand in inputs:
            if operand is None:
                continue
            constant = operand.constant
            if isinstance(constant, Constant):
                types[operand.name] = _tensor_type(int(constant.dtype), constant.shape)
                if constant.size <= SMALL and constant.dtype.is_integer():
                    data[operand.name] = numpy_helper.from_array(np.asarray(constant.array()), operand.name)
            elif operand.value in self._types:
                types[operand.name] = self._types[operand.value]
            else:
                return {}
        opsets = [helper.make_opsetid(domain, version) for domain, version in self.model.opsets.items()]
        inferred: Mapping[str, onnx.TypeProto] = shape_inference.infer_node_outputs(
            schema, proto, types, data, opset_imports=opsets
        )
        return inferred

    def _fold(self, node: ir.Node, proto: onnx.NodeProto, inputs: tuple[Operand | None, ...]) -> None:
        """Make the outputs constants, if every input is one that can be evaluated and the outputs' sizes are known."""
        for operand in inputs:
            if operand is not None and isinstance(operand.constant, Blocked):
                self._block(node, operand.constant.reason)
                return
        operands = tuple(o.constant if o is not None and isinstance(o.constant, Constant) else None for o in inputs)
        for index, value in enumerate(node.outputs):
            if not value.name:
                continue
            result = self._folded(node, proto, operands, index, value)
            if isinstance(result, Constant) and result.nbytes > self.model.limits.constant_bytes:
                limit = self.model.limits.constant_bytes
                result = Blocked(value.name, f"op {node.op_type} gives {result.nbytes} bytes; the limit is {limit}")
            self._constants[value] = result

    def _folded(
        self, node: ir.Node, proto: onnx.NodeProto, operands: tuple[Constant | None, ...], index: int, value: ir.Value
    ) -> Constant | Blocked:
        import onnx_ir as ir

        kind = self._types.get(value)
        shape = None if kind is None else _shape_of_type(kind)
        make = functools.partial(constants.computed, proto, self.model.opsets, operands, index)
        try:
            if kind is None or shape is None or None in shape:
                if node.op_type not in _BOUNDED_BY_INPUT or sum(c.size for c in operands if c) > SMALL or kind is None:
                    return Blocked(value.name or "", f"op {node.op_type}: the size of its output is not known beforehand")
                step = constants.Step(proto, self.model.opsets, operands, index)
                return constants.known(constants.run(step), "bounded")
            return make(ir.DataType(kind.tensor_type.elem_type), tuple(int(dim) for dim in shape if dim is not None))
        except EvaluationError as error:
            return Blocked(value.name or "", str(error))

    def _block(self, node: ir.Node, reason: str) -> None:
        for value in node.outputs:
            self._constants[value] = Blocked(value.name or "", reason)

    def _adopt_branch_types(self, node: ir.Node) -> None:
        """The outputs of an If have what both branches agree on, where the file does not declare it."""
        bodies = [body for _, body in subgraphs(node)]
        if node.op_type != "If" or len(bodies) != 2:
            return
        for value, first, second in zip(node.outputs, bodies[0].outputs, bodies[1].outputs, strict=False):
            a, b = self.operand(first), self.operand(second)
            if a.dtype is not None and a.dtype == b.dtype and a.shape is not None and b.shape is not None:
                if len(a.shape) == len(b.shape):
                    common = tuple(x if x == y else None for x, y in zip(a.shape, b.shape, strict=True))
                    self._types[value] = _merge(_tensor_type(int(a.dtype), common), self._types.get(value))


def _declared_type(value: ir.Value) -> onnx.TypeProto | None:
    import onnx_ir as ir

    if value.type is None:
        return None
    proto = ir.serde.serialize_value(value).type
    return proto if proto.HasField("tensor_type") else None


def _tensor_type(elem_type: int, shape: Shape | None) -> onnx.TypeProto:
    from onnx import helper

    return helper.make_tensor_type_proto(elem_type, shape)


def _shape_of_type(kind: onnx.TypeProto) -> Shape | None:
    if not kind.tensor_type.HasField("shape"):
        return None
    return tuple(
        dim.dim_value if dim.HasField("dim_value") and dim.dim_value >= 0 else None for dim in kind.tensor_type.shape.dim
    )


def _merge(inferred: onnx.TypeProto, declared: onnx.TypeProto | None) -> onnx.TypeProto:
    """The inferred type; what it leaves open is taken from the declared one where the ranks agree."""
    if not inferred.HasField("tensor_type") or declared is None:
        return inferred
    mine, theirs = _shape_of_type(inferred), _shape_of_type(declared)
    if theirs is None or (mine is not None and len(mine) != len(theirs)):
        return inferred
    if mine is not None:
        theirs = tuple(b if a is None else a for a, b in zip(mine, theirs, strict=True))
    elem_type = inferred.tensor_type.elem_type or declared.tensor_type.elem_type
    return _tensor_type(elem_type, theirs)
