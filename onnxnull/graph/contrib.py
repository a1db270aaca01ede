"""Output shapes of com.microsoft operators, which onnx has no schema for, by the ONNX operator whose shape rule they share.

Source: contrib operator schemas of onnxruntime 1.31. An operator for which no family registers a rule keeps an unknown shape.
`channels_last` moves the channels of the first operand and of the output to the end.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from onnxnull.graph.operator_facts import OperatorFacts
from onnxnull.graph.types import Shape, shape_of_type, tensor_type

if TYPE_CHECKING:
    import onnx
    import onnx_ir as ir

    from onnxnull.graph.node import Operand

DOMAIN = "com.microsoft"
_OPSET = 17
_FLOAT = 1


OutputType = Callable[["ir.Node", "tuple[Operand | None, ...]"], "onnx.TypeProto | None"]
_RULES: OperatorFacts[OutputType] = OperatorFacts("type of output 0")
gives_type = _RULES.registers
"""Register the type of output 0: node, operands → type; None where it is not known."""


def shaped_like(op: str, *op_types: str, operands: tuple[int, ...] | slice = (0,), typed: int | None = 0) -> None:
    """Register operators of com.microsoft whose output 0 has the shape of that of `op` on these operands.

    Args:
        operands: their places; a slice where an operator takes any number of them.
        typed: the operand whose type output 0 has; None for float32.
    """
    _RULES.add(partial(_like, op, operands, typed), *op_types, domain=DOMAIN)


def output_type(node: ir.Node, inputs: tuple[Operand | None, ...]) -> onnx.TypeProto | None:
    """The type of output 0; None where it is not known."""
    rule = _RULES.of(node)
    return None if rule is None else rule(node, inputs)


def _like(
    op: str, operands: tuple[int, ...] | slice, typed: int | None, node: ir.Node, inputs: tuple[Operand | None, ...]
) -> onnx.TypeProto | None:
    places = range(len(inputs))[operands] if isinstance(operands, slice) else operands
    shapes = [None if operand is None else operand.shape for operand in (_at(inputs, index) for index in places)]
    first = shapes[0] if shapes else None
    if first is None or any(shape is None for shape in shapes):
        return None
    last = "channels_last" in node.attributes and bool(node.attributes["channels_last"].as_int()) and len(first) > 2
    if last:
        shapes[0] = (first[0], first[-1], *first[1:-1])
    shape = _inferred(node, op, shapes)
    if last and shape is not None:
        shape = (shape[0], *shape[2:], shape[1])
    like = None if typed is None else _at(inputs, typed)
    if like is not None and like.dtype is None:
        return None
    return None if shape is None else tensor_type(_FLOAT if like is None else int(like.dtype or 0), shape)


def _at(inputs: tuple[Operand | None, ...], index: int) -> Operand | None:
    return inputs[index] if index < len(inputs) else None


def _inferred(node: ir.Node, op: str, shapes: list[Shape | None]) -> Shape | None:
    """The shape that ONNX infers for float tensors of these shapes, under the node's attributes."""
    import onnx
    import onnx_ir as ir

    schema = onnx.defs.get_schema(op, _OPSET, "")
    proto = ir.serde.serialize_node(node)
    kept = [attribute for attribute in proto.attribute if attribute.name in schema.attributes]
    named = onnx.helper.make_node(op, [f"i{i}" for i in range(len(shapes))], ["o"])
    named.attribute.extend(kept)
    types = {f"i{i}": tensor_type(_FLOAT, shape) for i, shape in enumerate(shapes)}
    try:
        inferred = onnx.shape_inference.infer_node_outputs(schema, named, types)
    except Exception:  # noqa: BLE001 - onnx raises several classes; the shape stays unknown, which is no loss
        return None
    return shape_of_type(inferred["o"]) if "o" in inferred else None
