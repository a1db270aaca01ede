"""One walk over a model in topological order: the type, the shape and the constant value of everything that flows.

Shapes come from ONNX's own inference, one node at a time (`onnx.shape_inference.infer_node_outputs`), which also works in
the bodies of If, Loop and Scan and goes on where one node cannot be inferred. What a file declares of shapes is believed of the
model's inputs alone: onnxruntime refuses others there, and takes whatever comes elsewhere. Constants are folded in the same
walk, since each feeds the other: a `Shape` of a known shape is a constant, and a constant decides what `Reshape` gives.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from onnxnull.errors import Code, OnnxnullError, one_line
from onnxnull.graph import constants, contrib, evaluable, functions, validity
from onnxnull.graph.bodies import body_of, captured, is_batched_scan, scanned, states, subgraphs, unchanged
from onnxnull.graph.constants import SMALL, Blocked, Constant, EvaluationError
from onnxnull.graph.evaluation import Evaluation
from onnxnull.graph.limits import bounded
from onnxnull.graph.node import Node, Operand
from onnxnull.graph.origins.tracing import trace
from onnxnull.graph.origins.values import Origin
from onnxnull.graph.quantization import Quantized, quantized_from
from onnxnull.graph.state_shapes import StateShapes
from onnxnull.graph.types import (
    common_shape,
    declared_type,
    merged,
    open_negative,
    shape_of_type,
    tensor_type,
    with_shape,
    without_shape,
)
from onnxnull.kernel.budget import Budget, OutOfBudget

if TYPE_CHECKING:
    import onnx
    import onnx_ir as ir

    from onnxnull.graph.model import Model

# The size of their output depends on values, and is at most (rank of the input) × (its size).
_VALUES = {"value", "value_float", "value_floats", "value_int", "value_ints", "value_string", "value_strings"}
_INT64 = 7
_TIMES = 128
"""How much work evaluating may take, in bytes moved, for each byte that it may make."""


class Flow:
    """What is known of every value of `model`, and its nodes in order, those of all bodies included.

    Attributes:
        nodes: every node, outer ones before the ones in their bodies.
        impossible: a node whose output has a negative size, in words: where that is run, the model fails.
        unfit: nodes that cannot take the shapes of what they read. onnxruntime may know less of them, and load the model.

    Raises:
        OnnxnullError: a node or an output reads a value that nothing produces, or a node breaks the rules of its operator.
    """

    def __init__(self, model: Model) -> None:
        self.model = model
        self.nodes: list[Node]
        self.impossible: str | None
        self.unfit: set[ir.Node]
        self._origins: Mapping[ir.Value, Origin] = {}
        self._states = StateShapes()
        self._start()
        while self._states.walk_again():
            self._start()
        self._origins = trace(self)
        self.nodes = [self._with_origins(node) for node in self.nodes]

    def _start(self) -> None:
        """Walk the model from the beginning."""
        self.nodes, self.impossible, self.unfit = [], None, set()
        self._constants: dict[ir.Value, Constant | Blocked] = {}
        self._types: dict[ir.Value, onnx.TypeProto] = {}
        self._known: set[ir.Value] = set()
        made = self.model.limits.made_bytes(self.model.stored_bytes)
        self._made, self.evaluation = Budget(made), Evaluation(_TIMES * made)
        self._walk(self.model.graph, "")

    def operand(self, value: ir.Value) -> Operand:
        """What is known of `value`."""
        import onnx_ir as ir

        constant = self._constants.get(value)
        if isinstance(constant, Constant):
            return Operand(value.name or "", constant.dtype, constant.shape, constant, value)
        origin = self._origins.get(value)
        kind = self._types.get(value)
        dtype, shape = None, None
        if kind is not None and kind.HasField("tensor_type"):
            dtype = ir.DataType(kind.tensor_type.elem_type)
            shape = shape_of_type(kind)
        return Operand(value.name or "", dtype, shape, constant, value, origin)

    def type_of(self, value: ir.Value) -> onnx.TypeProto | None:
        """The type of `value`; None where nothing is known."""
        constant = self._constants.get(value)
        return tensor_type(int(constant.dtype), constant.shape) if isinstance(constant, Constant) else self._types.get(value)

    def types_if(self, node: ir.Node, types: Mapping[ir.Value, onnx.TypeProto | None]) -> dict[ir.Value, onnx.TypeProto]:
        """The types of a node's outputs if these operands had these types (None: not known), and any values.

        Raises:
            Exception: onnx's, where the node cannot take such operands.
        """
        version = self.model.opsets.get(node.domain, 1)
        schema = _schema(node.op_type, version, node.domain)
        if schema is None or any(value in types and types[value] is None for value in node.inputs if value is not None):
            return {}
        inputs = tuple(
            None if v is None else Operand(v.name or "", None, None, None, v) if v in types else self.operand(v)
            for v in node.inputs
        )
        found = self._inferred_types(_positional(node, inputs), schema, inputs, types)
        for kind in found.values():
            open_negative(kind)
        return {value: found[f"o{index}"] for index, value in enumerate(node.outputs) if f"o{index}" in found}

    def _with_origins(self, view: Node) -> Node:
        """The node once the origins of what it reads are known."""
        if not any(operand is not None and operand.value in self._origins for operand in view.inputs):
            return view
        return replace(view, inputs=tuple(None if o is None else self.operand(o.value) for o in view.inputs))

    def _walk(self, graph: ir.Graph, prefix: str, around: ir.Node | None = None) -> None:
        for value in graph.inputs:
            self._define(value)
        if around is not None:
            self._enter(around)
        for value in graph.initializers.values():
            self._define(value)
            # in a body, an initializer that is also an input is only the default of what the node hands over
            if value.const_value is not None and not (prefix and value.is_graph_input()):
                self._constants[value] = self._stored(value.name or "", value.const_value)
        for index, node in enumerate(graph):
            name = bounded(prefix + (node.name if node.name else f"{node.op_type}_{index}"))
            for operand in node.inputs:
                if operand is not None and operand not in self._known:
                    raise OnnxnullError(Code.INVALID_MODEL, f"node {name!r} reads {operand.name!r}, which nothing produces")
            self._visit(node, name)
            if not any(True for _ in subgraphs(node)):
                continue
            place = len(self.nodes) - 1
            for attribute, body in subgraphs(node):
                self._walk(body, bounded(f"{name}.{attribute}/"), node)
            self._adopt_branch_types(node)
            self._leave(node)
            self.nodes[place] = replace(self.nodes[place], outputs=self._outputs(node))
        for value in graph.outputs:
            if value not in self._known:
                raise OnnxnullError(
                    Code.INVALID_MODEL, f"nothing produces the output {value.name!r} of {prefix or 'the graph'}"
                )

    def _define(self, value: ir.Value) -> None:
        self._known.add(value)
        declared = declared_type(value)
        if declared is not None:
            asked = value.is_graph_input() and value.graph is self.model.graph and declared.HasField("tensor_type")
            self._types[value] = declared if asked else without_shape(declared)

    def _visit(self, node: ir.Node, name: str) -> None:
        inputs = tuple(None if value is None else self.operand(value) for value in node.inputs)
        for value in node.outputs:
            self._define(value)
        version = self.model.opsets.get(node.domain, 1)
        schema = _schema(node.op_type, version, node.domain)
        validity.check_node(node, name, schema)
        if node.domain == "" and node.op_type == "Constant":
            self._constant_node(node)
        elif node.domain == "" and node.op_type in ("Shape", "Size") and inputs and inputs[0] is not None:
            self._shape_node(node, inputs[0])
        elif _dequantizes(node):
            self._dequantize_node(node, inputs)
        elif not any(True for _ in subgraphs(node)):
            self._infer(node, inputs, version, schema)
        outputs = self._outputs(node)
        self.nodes.append(Node(name, node.op_type, node.domain, version, inputs, outputs, node, self.model.one_sample))

    def _outputs(self, node: ir.Node) -> tuple[Operand | None, ...]:
        return tuple(None if not value.name else self.operand(value) for value in node.outputs)

    def _constant_node(self, node: ir.Node) -> None:
        """`Constant`: exactly one attribute holds the value (opset 1 to 24); sparse ones were refused."""
        output = node.outputs[0]
        label = output.name or ""
        found = [attribute for attribute in node.attributes.values() if attribute.name.startswith("value")]
        if len(found) != 1 or found[0].name not in _VALUES:
            raise OnnxnullError(Code.INVALID_MODEL, f"the Constant {label!r} has no value, or several")
        (attribute,) = found
        if attribute.name == "value":
            self._constants[output] = self._stored(label, attribute.value)
        else:
            dtype = {"f": np.float32, "i": np.int64, "s": np.object_}[attribute.name.removeprefix("value_")[0]]
            self._constants[output] = constants.known(np.asarray(attribute.value, dtype=dtype), "constant")

    def _stored(self, name: str, tensor: ir.TensorProtocol) -> Constant | Blocked:
        return constants.stored(name, tensor, self.model.limits.constant_bytes)

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
            entries = [dim for dim in result if dim is not None]
            count = math.prod(entries)
            if count >= 1 << 63:
                raise OnnxnullError(Code.INVALID_MODEL, f"value {operand.name!r} of shape {result}: no tensor is that large")
            array = np.array(count if node.op_type == "Size" else entries, dtype=np.int64)
            self._constants[node.outputs[0]] = constants.known(array, "shape")
        elif node.op_type == "Shape":
            self._types[node.outputs[0]] = tensor_type(_INT64, (len(result),))

    def _dequantize_node(self, node: ir.Node, inputs: tuple[Operand | None, ...]) -> None:
        """`DequantizeLinear` gives the shape of its codes in the type of its scales (or `output_dtype`, since opset 23)."""
        import onnx_ir as ir

        codes, scale, zero = (*inputs, None)[:3]
        if codes is None or scale is None:
            return
        chosen = node.attributes["output_dtype"].as_int() if "output_dtype" in node.attributes else 0
        dtype = ir.DataType(chosen) if chosen else scale.dtype
        output = node.outputs[0]
        if dtype is not None:
            self._types[output] = merged(tensor_type(int(dtype), codes.shape), self._types.get(output))
        operands = [operand.constant for operand in (codes, scale, zero) if operand is not None]
        if any(operand is None for operand in operands):
            return
        blocked = next((operand for operand in operands if isinstance(operand, Blocked)), None)
        if blocked is not None:
            self._block(node, blocked.reason)
            return
        weight, scales, *zeros = (operand for operand in operands if isinstance(operand, Constant))
        try:
            self._constants[output] = self._dequantized(node, weight, scales, zeros[0] if zeros else None)
        except EvaluationError as error:
            self._block(node, str(error))

    def _dequantized(self, node: ir.Node, codes: Constant, scales: Constant, zeros: Constant | None) -> Constant:
        """What `DequantizeLinear` makes of constants. Raises `EvaluationError`."""
        import onnx_ir as ir

        attributes = {
            name: node.attributes[name].as_int() for name in ("axis", "block_size", "output_dtype") if name in node.attributes
        }
        dtype = ir.DataType(attributes["output_dtype"]) if attributes.get("output_dtype") else scales.dtype
        if not dtype.is_floating_point() or codes.dtype.is_string():
            raise EvaluationError(f"op DequantizeLinear of {codes.dtype.name} to {scales.dtype.name}")
        made = Quantized(codes, scales, zeros, attributes.get("axis", 1), attributes.get("block_size", 0)).constant(dtype)
        self._pay("DequantizeLinear", made.nbytes)
        return made

    def _infer(
        self, node: ir.Node, inputs: tuple[Operand | None, ...], version: int, schema: onnx.defs.OpSchema | None
    ) -> None:
        """Infer the outputs' types; where all inputs are constants, the outputs become constants."""
        proto = _positional(node, inputs)
        constant_inputs = [operand.constant for operand in inputs if operand is not None]
        foldable = bool(constant_inputs) and all(c is not None for c in constant_inputs) and not evaluable.is_random(node)
        if schema is None:
            kind = contrib.output_type(node, inputs) if node.domain == contrib.DOMAIN and node.outputs else None
            if kind is not None:
                self._types[node.outputs[0]] = merged(kind, self._types.get(node.outputs[0]))
            if foldable:
                self._block(node, f"op {node.domain or 'ai.onnx'}.{node.op_type} is unknown to the evaluator")
            return
        try:
            inferred = self._inferred_types(proto, schema, inputs)
        except Exception as error:  # noqa: BLE001 - onnx raises several classes; the shape stays unknown, which is no loss
            inferred = {}
            if "ShapeInferenceError" in str(error) and all(operand is None or operand.shape is not None for operand in inputs):
                self.unfit.add(node)
            if foldable:
                self._block(node, f"op {node.op_type}: {one_line(error)}")
                foldable = False
        for kind in inferred.values():
            if open_negative(kind) and self.impossible is None:
                self.impossible = f"node {node.name or node.op_type!r} ({node.op_type}) gives a tensor of a negative size"
        if node.op_type == "Compress" and node.domain == "" and "axis" in node.attributes:
            self._count_kept(node, inputs)
        for index, value in enumerate(node.outputs):
            if f"o{index}" in inferred:
                self._types[value] = merged(inferred[f"o{index}"], self._types.get(value))
        if foldable:
            self._fold(node, proto, inputs, version)

    def _count_kept(self, node: ir.Node, inputs: tuple[Operand | None, ...]) -> None:
        """`Compress` (opset 9) along an axis keeps as many entries as a constant condition says, which onnx does not infer."""
        data, condition = inputs[:2]
        if data is None or data.dtype is None or data.shape is None or condition is None:
            return
        axis = node.attributes["axis"].as_int()
        if not isinstance(condition.constant, Constant) or not -len(data.shape) <= axis < len(data.shape):
            return
        length, axis = data.shape[axis], axis % len(data.shape)
        if condition.constant.size <= SMALL and length is not None:
            kept = int(np.count_nonzero(condition.constant.array().reshape(-1)[:length]))
            self._types[node.outputs[0]] = tensor_type(int(data.dtype), (*data.shape[:axis], kept, *data.shape[axis + 1 :]))

    def _inferred_types(
        self,
        proto: onnx.NodeProto,
        schema: onnx.defs.OpSchema,
        inputs: tuple[Operand | None, ...],
        given: Mapping[ir.Value, onnx.TypeProto | None] = MappingProxyType({}),
    ) -> Mapping[str, onnx.TypeProto]:
        """By onnx; operands have their own types, but for those that are `given`."""
        from onnx import helper, numpy_helper, shape_inference

        types, data = {}, {}
        for index, operand in enumerate(inputs):
            if operand is None:
                continue
            name, constant = f"i{index}", operand.constant
            if isinstance(constant, Constant):
                types[name] = tensor_type(int(constant.dtype), constant.shape)
                # floats too: the scales of a Resize, the bounds of a Range
                if constant.size <= SMALL and (constant.dtype.is_integer() or constant.dtype.name in ("FLOAT", "DOUBLE")):
                    data[name] = numpy_helper.from_array(np.asarray(constant.array()), name)
            elif (kind := given.get(operand.value) or self._types.get(operand.value)) is not None:
                types[name] = kind
            else:
                return {}
        opsets = [helper.make_opsetid(domain, version) for domain, version in self.model.opsets.items()]
        inferred: Mapping[str, onnx.TypeProto] = shape_inference.infer_node_outputs(
            schema, proto, types, data, opset_imports=opsets
        )
        return inferred

    def _fold(self, node: ir.Node, proto: onnx.NodeProto, inputs: tuple[Operand | None, ...], version: int) -> None:
        """Make the outputs constants, if every input is one that can be evaluated and the outputs' sizes are known."""
        for operand in inputs:
            if operand is not None and isinstance(operand.constant, Blocked):
                self._block(node, operand.constant.reason)
                return
        operands = tuple(o.constant if o is not None and isinstance(o.constant, Constant) else None for o in inputs)
        reason = evaluable.reason_against(node, version, operands)
        if reason is not None:
            self._block(node, reason)
            return
        for index, value in enumerate(node.outputs):
            if value.name:
                try:
                    self._constants[value] = self._folded(node, proto, operands, index, self._types.get(value))
                except EvaluationError as error:
                    self._constants[value] = Blocked(value.name, str(error))

    def _folded(
        self,
        node: ir.Node,
        proto: onnx.NodeProto,
        operands: tuple[Constant | None, ...],
        index: int,
        kind: onnx.TypeProto | None,
    ) -> Constant:
        """One output. Raises `EvaluationError` where it cannot be evaluated, or would take too much."""
        import onnx_ir as ir

        op = node.op_type
        shape = None if kind is None else shape_of_type(kind)
        if kind is None or shape is None or None in shape:
            most = sum(c.size * max(1, len(c.shape)) for c in operands if c)
            if not evaluable.is_bounded_by_input(node) or most > SMALL or kind is None:
                raise EvaluationError(f"op {op}: the size of its output is not known beforehand")
            cost = evaluable.work(node, operands, most, 8 * most)
            return constants.known(
                constants.run(constants.Step(proto, self.model.opsets, operands, index, cost, self.evaluation)), "bounded"
            )
        sizes, dtype = tuple(dim for dim in shape if dim is not None), ir.DataType(kind.tensor_type.elem_type)
        if dtype.is_string() or dtype.name == "UNDEFINED":
            raise EvaluationError(f"op {op}: its output has the type {dtype.name}")
        entries = math.prod(sizes)
        if evaluable.least_entries(node, operands) > entries:
            raise EvaluationError(f"op {op}: it gives more entries than inference says")
        nbytes = math.ceil(entries * dtype.bitwidth / 8)
        cost = evaluable.work(node, operands, entries, nbytes)
        result = constants.computed(
            constants.Step(proto, self.model.opsets, operands, index, cost, self.evaluation), dtype, sizes
        )
        if not isinstance(result.source, constants.Step) or result.source.node is not proto:
            return result
        self._pay(op, nbytes)
        # evaluated on sight, once: chains of small constants can be long
        small = all(c is None or c.size <= SMALL for c in operands)
        settle = result.size <= SMALL and (small or dtype.is_integer()) and quantized_from(result) is None
        return constants.settled(result) if settle else result

    def folded(self, view: Node, operands: tuple[Constant | None, ...], output: int = 0) -> Constant:
        """Output number `output` of a node if its inputs were these constants. Raises `EvaluationError`."""
        node = view.node
        if _dequantizes(node):
            codes, scale, zero = (*operands, None)[:3]
            if codes is None or scale is None:
                raise EvaluationError("op DequantizeLinear without a scale")
            return self._dequantized(node, codes, scale, zero)
        schema = _schema(node.op_type, view.version, node.domain)
        if schema is None:
            raise EvaluationError(f"op {node.domain or 'ai.onnx'}.{node.op_type} is unknown to the evaluator")
        reason = evaluable.reason_against(node, view.version, operands)
        if reason is not None or evaluable.is_random(node):
            raise EvaluationError(reason or f"op {node.op_type} is random")
        inputs = tuple(
            None if constant is None or operand is None else replace(operand, constant=constant)
            for operand, constant in zip(view.inputs, operands, strict=True)
        )
        proto = _positional(node, inputs)
        try:
            kinds = self._inferred_types(proto, schema, inputs)
        except Exception as error:
            raise EvaluationError(f"op {node.op_type}: {one_line(error)}") from error
        return self._folded(node, proto, operands, output, kinds.get(f"o{output}"))

    def _pay(self, op: str, nbytes: int) -> None:
        """Raise `EvaluationError` where an op may not make a constant of so many bytes."""
        if nbytes > (limit := self.model.limits.constant_bytes):
            raise EvaluationError(f"op {op} gives {nbytes} bytes; the limit is {limit} (--max-constant-bytes)")
        try:
            self._made.spend(nbytes)
        except OutOfBudget:
            why = f"{nbytes} bytes more than a model of this size may make (--max-amplification)"
            raise EvaluationError(f"op {op} gives {why}") from None

    def _block(self, node: ir.Node, reason: str) -> None:
        for value in node.outputs:
            self._constants[value] = Blocked(value.name or "", reason)

    def _enter(self, node: ir.Node) -> None:
        """What the body of a Loop or Scan reads: a constant that every round hands on is one; slices have a type."""
        if is_batched_scan(node, self.model.opsets.get(node.domain, 1)):
            return
        if node.op_type == "Loop" and (body := body_of(node)) is not None and body.inputs:
            declared = declared_type(body.inputs[0])  # onnxruntime makes the round's number of this rank, 0 or 1
            self._types[body.inputs[0]] = tensor_type(_INT64, (1,) if declared is not None and shape_of_type(declared) else ())
        for state in states(node):
            initial = node.inputs[state.operand]
            if initial is not None and initial in self._constants and unchanged(state):
                self._constants[state.inner] = self._constants[initial]
            kind = None if initial is None else self.type_of(initial)
            shape = self._states.before(state.inner, None if kind is None else shape_of_type(kind))
            if kind is not None:
                self._types[state.inner] = with_shape(kind, shape)
        for part in scanned(node):
            value = node.inputs[part.operand]
            operand = None if value is None else self.operand(value)
            if operand is None or operand.dtype is None or operand.shape is None:
                continue
            shape, rank = operand.shape, len(operand.shape)
            if -rank <= part.axis < rank:
                kind = tensor_type(int(operand.dtype), shape[: part.axis % rank] + shape[part.axis % rank + 1 :])
                self._types[part.inner] = merged(kind, self._types.get(part.inner))

    def _leave(self, node: ir.Node) -> None:
        """What control flow gives: what a constant condition picks, what a loop hands on, and `Blocked` for other constants."""
        bodies = [body for _, body in subgraphs(node)]
        if node.op_type == "If" and node.domain == "":
            branch = self._branch(node)
            for value, chosen in zip(node.outputs, () if branch is None else branch.outputs, strict=False):
                if chosen in self._constants:
                    self._constants[value] = self._constants[chosen]
        elif bodies:
            read = [v for v in node.inputs if v is not None] + [v for body in bodies for v in captured(body)]
            if read and all(v in self._constants for v in read):
                self._block(node, f"op {node.op_type} is not evaluated")
            for state in () if is_batched_scan(node, self.model.opsets.get(node.domain, 1)) else states(node):
                initial, output = node.inputs[state.operand], node.outputs[state.output]
                after = self.type_of(state.after)
                shape = self._states.after(state.inner, None if after is None else shape_of_type(after))
                if (kind := self.type_of(state.inner)) is not None:
                    self._types[output] = with_shape(kind, shape)
                if initial is not None and initial in self._constants and unchanged(state):
                    self._constants[output] = self._constants[initial]

    def _branch(self, node: ir.Node) -> ir.Graph | None:
        """The branch that an If with a constant condition takes; None where that is not known."""
        condition = self._constants.get(node.inputs[0]) if node.inputs and node.inputs[0] is not None else None
        if not isinstance(condition, Constant) or condition.size != 1:
            return None
        try:
            name = "then_branch" if bool(condition.array().reshape(())) else "else_branch"
        except EvaluationError:
            return None
        return next((body for attribute, body in subgraphs(node) if attribute == name), None)

    def _adopt_branch_types(self, node: ir.Node) -> None:
        """The outputs of an If have what both branches agree on."""
        bodies = [body for _, body in subgraphs(node)]
        if node.op_type != "If" or len(bodies) != 2:
            return
        for value, first, second in zip(node.outputs, bodies[0].outputs, bodies[1].outputs, strict=False):
            a, b = self.operand(first), self.operand(second)
            if a.dtype is not None and a.dtype == b.dtype:
                self._types[value] = tensor_type(int(a.dtype), common_shape(a.shape, b.shape))


def _dequantizes(node: ir.Node) -> bool:
    return node.op_type == "DequantizeLinear" and node.domain in ("", "com.microsoft")


def _positional(node: ir.Node, inputs: tuple[Operand | None, ...]) -> onnx.NodeProto:
    """The node with operands named after their positions: names of inlined values repeat."""
    import onnx_ir as ir

    try:
        proto = ir.serde.serialize_node(node)
    except Exception as error:  # its own error prints the node, which may fail again
        raise OnnxnullError(Code.INVALID_MODEL, functions.root_cause(error)) from error
    del proto.input[:], proto.output[:]
    proto.input.extend("" if operand is None else f"i{index}" for index, operand in enumerate(inputs))
    proto.output.extend(f"o{index}" if value.name else "" for index, value in enumerate(node.outputs))
    return proto


def _schema(op_type: str, version: int, domain: str) -> onnx.defs.OpSchema | None:
    """ONNX's definition of an operator; None where it has none."""
    import onnx

    try:
        return onnx.defs.get_schema(op_type, version, domain)
    except onnx.defs.SchemaError:
        return None
