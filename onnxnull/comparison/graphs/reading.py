"""Reads a graph into terms: every value of the main graph as what it computes from the inputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from onnxnull.comparison.graphs import constants as c
from onnxnull.comparison.graphs.algebra import Algebra
from onnxnull.comparison.graphs.constants import Const
from onnxnull.comparison.graphs.dynamic_scales import computed_scales
from onnxnull.comparison.graphs.evaluated import read_constant
from onnxnull.comparison.graphs.inference import folded, with_shapes
from onnxnull.comparison.graphs.rewrites import ReadNode, Result, find_rule
from onnxnull.comparison.graphs.rewrites.dimensions import on_dimensions
from onnxnull.comparison.graphs.terms import Shape, Term, Value
from onnxnull.comparison.numbering import content as number_of
from onnxnull.comparison.numbering import defaults_of, draws, plain, tensor_content
from onnxnull.graph.bodies import subgraphs
from onnxnull.graph.constants import Constant
from onnxnull.graph.flow import Flow
from onnxnull.graph.node import Node, Operand
from onnxnull.graph.types import dtype_name
from onnxnull.operators.traits import commutes

if TYPE_CHECKING:
    import onnx_ir as ir

QUANTIZERS = frozenset({"QuantizeLinear", "DynamicQuantizeLinear", "QLinearConv", "QLinearMatMul", "DynamicQuantizeMatMul"})
_CODES = frozenset(
    [
        "DequantizeLinear",
        "MatMulNBits",
        "MatMulInteger",
        "ConvInteger",
        "DynamicQuantizeMatMul",
        "MatMulIntegerToFloat",
        "QGemm",
        "MatMulBnb4",
    ]
)
_CHANGED = {
    "DFT": 20,
    "GroupNormalization": 21,
    "Hardmax": 13,
    "LogSoftmax": 13,
    "Resize": 11,
    "RoiAlign": 16,
    "Scan": 9,
    "Softmax": 13,
}
"""Operators whose meaning changed while inputs and written attributes stayed, and since when (ONNX opset 1 to 24)."""
_WRAPPING = frozenset(
    [
        *("Add", "Sub", "Mul", "Div", "Neg", "Abs", "Pow", "Sum", "MatMul", "Gemm", "CumSum", "BitShift", "BitwiseNot"),
        *("ReduceSum", "ReduceSumSquare", "ReduceProd", "ReduceL1"),
    ]
)
"""Operators that leave the range of small integers: what comes out depends on the type."""


@dataclass(slots=True)
class Reading:
    """A graph as terms.

    Attributes:
        values: name of an input, or of what a node of the main graph makes → what it is.
        outputs: of the graph, in order.
        floats: the types of floats that are computed with.
        nodes: name of a tensor → the node that makes it.
        stored: name of a stored tensor → the constant. readers: and the nodes that read it.
        makers: term → the node that it is named by.
    """

    values: dict[str, Value] = field(default_factory=dict)
    outputs: dict[str, Value] = field(default_factory=dict)
    floats: set[str] = field(default_factory=set)
    nodes: dict[str, str] = field(default_factory=dict)
    stored: dict[str, Const] = field(default_factory=dict)
    readers: dict[str, list[Node]] = field(default_factory=dict)
    makers: dict[Term, Node] = field(default_factory=dict)


def quantizes(flow: Flow) -> bool:
    """Whether activations are quantized somewhere."""
    return any(view.op_type in QUANTIZERS and any(o is None or o.constant is None for o in view.outputs) for view in flow.nodes)


def has_codes(flow: Flow) -> bool:
    """Whether weights are stored as integers with scales somewhere."""
    return any(view.op_type in _CODES or view.op_type.startswith("QLinear") for view in flow.nodes)


def read(flow: Flow, terms: Algebra, inputs: Mapping[str, Term], *, place: int, quantizers: bool) -> Reading:
    """The terms of a graph.

    Args:
        inputs: name of each input → its term.
        place: of the graph among those that are read; values of which nothing is known are of one place.
        quantizers: as in `ReadNode`.
    """
    return _GraphReader(flow, terms, place, quantizers).read(inputs)


class _GraphReader:
    def __init__(self, flow: Flow, terms: Algebra, place: int, quantizers: bool) -> None:
        self._flow, self._terms, self._place, self._quantizers = flow, terms, place, quantizers
        self._views: dict[ir.Node, Node] = {view.node: view for view in flow.nodes}
        self._constants: dict[ir.Value, Const | None] = {}
        self._found: dict[ir.Value, Value] = {}
        self._bodies: dict[ir.Graph, list[Value]] = {}
        self._random = self._level = 0

    def read(self, inputs: Mapping[str, Term]) -> Reading:
        reading, graph = Reading(), self._flow.model.graph
        self._terms.makers = reading.makers
        for value in graph.inputs:
            if not value.is_initializer():
                self._found[value] = inputs[value.name or ""]
        scales = computed_scales(self._flow) if self._quantizers else {}
        for node in graph:
            view = self._views[node]
            for operand, found in zip(view.outputs, self._outputs(view), strict=True):
                if operand is not None:
                    self._found[operand.value] = found = scales.get(operand.value, found)
                    reading.nodes[operand.name] = view.name
                    if isinstance(found, Term) and operand.dtype is not None and operand.dtype.is_floating_point():
                        reading.floats.add(dtype_name(operand.dtype))
        for value, constant in self._constants.items():
            if constant is not None and constant.roots == (value.name,):
                reading.stored[value.name or ""] = constant
        for view in self._flow.nodes:
            for operand in view.inputs:
                if operand is not None and isinstance(operand.constant, Constant) and operand.constant.root is not None:
                    reading.readers.setdefault(operand.constant.root.name, []).append(view)
        self._terms.maker = None
        own = [*graph.inputs, *(value for node in graph for value in node.outputs)]
        reading.values = {value.name or "": self._found[value] for value in own if value in self._found}
        reading.outputs = {value.name or "": self._value(self._flow.operand(value)) for value in graph.outputs}
        return reading

    def _outputs(self, view: Node) -> list[Value]:
        """What each output is."""
        constants = [None if o is None else self._constant(o) for o in view.outputs]
        if all(o is None or k is not None for o, k in zip(view.outputs, constants, strict=True)):
            return [k for k in constants if k is not None] if None not in constants else [k or c.scalar(0.0) for k in constants]
        operands = tuple(None if o is None else self._value(o) for o in view.inputs)
        if view.op_type == "If" and view.domain == "":
            return self._choice(view, operands[0])
        found_early = folded(view, operands, self._flow.model.opsets)
        if found_early is not None:
            return [found_early]
        self._terms.maker = view
        node = ReadNode(with_shapes(view, operands), operands, self._terms, self._quantizers)
        applies = find_rule(view.domain, view.op_type)
        found: Result
        try:
            found = on_dimensions(node)
            if found is None and applies is not None:
                found = applies(node)
        except (IndexError, ValueError, ZeroDivisionError):  # its shapes do not fit: onnxruntime refuses it, or knows more
            found = None
        count = len(view.outputs)
        if found is None or isinstance(found, ReadNode):
            return [self._generic(found or node, i) for i in range(count)]
        listed: Sequence[Value | None] = [found] if isinstance(found, Term | Const) else found
        return [
            value if value is not None else self._generic(node, i)
            for i, value in enumerate([*listed, *(None,) * count][:count])
        ]

    def _choice(self, view: Node, condition: Value | None) -> list[Value]:
        """`If`: its bodies take no inputs, so that they are read like the rest of the graph."""
        assert condition is not None, "it is not optional"
        found = [self._body(view.node.attributes[name].as_graph()) for name in ("then_branch", "else_branch")]
        self._terms.maker = view
        if isinstance(condition, Const):
            return found[0] if condition.value.any() else found[1]
        return [
            one if one is other else self._terms.apply("If", [condition, one, other], shape=_either(one, other), kind=one.kind)
            for one, other in zip(*found, strict=True)
        ]

    def _value(self, operand: Operand) -> Value:
        if operand.value in self._found:
            return self._found[operand.value]
        found = self._constant(operand)
        if found is None:
            tensor = operand.value.const_value if operand.value.is_initializer() else None
            content = ("place", self._place, operand.name) if tensor is None else ("content", tensor_content(tensor))
            found_term = self._terms.make("Unknown", [], attributes=[("is", content)], shape=operand.shape, kind=_kind(operand))
            self._found[operand.value] = found_term
            return found_term
        self._found[operand.value] = found
        return found

    def _constant(self, operand: Operand) -> Const | None:
        """The constant that an operand is; None where it is none, or was not evaluated."""
        if operand.value not in self._constants:
            self._constants[operand.value] = read_constant(self._flow, operand.value)
        return self._constants[operand.value]

    def _generic(self, node: ReadNode, index: int) -> Term:
        """The node as it is."""
        view = node.view
        if index >= len(view.outputs) or view.outputs[index] is None:
            return self._terms.make("Nothing")
        version, defaults = defaults_of(view.domain, view.op_type, view.version)
        attributes: list[tuple[str, object]] = [("version", _epoch(view, version)), ("output", index)]
        written = {name: plain(a.type.name, a.value) for name, a in view.node.attributes.items() if not _is_special(a)}
        attributes += sorted((name, value) for name, value in written.items() if defaults.get(name) != value)
        operands = list(node.operands)
        for name, attribute in view.node.attributes.items():
            if attribute.type.name == "TENSOR":
                attributes.append((name, number_of(np.asarray(attribute.value.numpy()))))
        for name, body in subgraphs(view.node):
            made = self._body(body)
            attributes.append((name, (len(body.inputs), len(made))))
            operands += made
        self._terms.maker = view
        if draws(view.node):
            self._random += 1
            attributes.append(("random", (self._level, self._random)))
        out = view.outputs[index]
        assert out is not None
        if view.op_type in _WRAPPING and out.dtype is not None and out.dtype.is_integer() and out.dtype.bitwidth < 32:
            attributes.append(("type", out.dtype.name))
        shape: Shape | None = out.shape
        commutative = commutes(view)
        op = f"{view.domain or 'ai.onnx'}.{view.op_type}"  # no name of a normal form
        kind = _kind(out)
        return self._terms.apply(op, operands, attributes, shape=shape, kind=kind, commutative=commutative)

    def _body(self, body: ir.Graph) -> list[Value]:
        """The outputs of a body. What its node hands over is known by how deep the body lies and by its place alone, so that
        bodies that compute the same of it are the same terms, whatever their nodes are.
        """
        if body in self._bodies:
            return self._bodies[body]
        self._level += bool(body.inputs)
        for place, value in enumerate(body.inputs):
            given = self._flow.operand(value)
            where = [("level", self._level), ("place", place)]
            self._found[value] = self._terms.make("BodyInput", attributes=where, shape=given.shape, kind=_kind(given))
        for node in body:
            view = self._views[node]
            for operand, found in zip(view.outputs, self._outputs(view), strict=True):
                if operand is not None:
                    self._found[operand.value] = found
        self._bodies[body] = [self._value(self._flow.operand(value)) for value in body.outputs]
        self._level -= bool(body.inputs)
        return self._bodies[body]


def _either(a: Value, b: Value) -> Shape | None:
    if a.shape is None or b.shape is None or len(a.shape) != len(b.shape):
        return None
    return tuple(x if x == y else None for x, y in zip(a.shape, b.shape, strict=True))


def _epoch(view: Node, version: int) -> int:
    """What distinguishes versions of an operator that are different functions."""
    if view.domain != "":
        return version
    since = _CHANGED.get(view.op_type)
    return 0 if since is None else int(view.version >= since)


def _is_special(attribute: ir.Attr) -> bool:
    return attribute.type.name in ("GRAPH", "GRAPHS", "TENSOR", "TENSORS", "SPARSE_TENSOR")


def _kind(operand: Operand) -> str:
    if operand.dtype is None:
        return "?"
    if operand.dtype.is_floating_point():
        return "f"
    return "b" if operand.dtype.name == "BOOL" else "i" if operand.dtype.is_integer() else "O"
