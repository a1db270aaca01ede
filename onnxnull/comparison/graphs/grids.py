"""Weights that are codes times scales, written without a DequantizeLinear: Mul of Cast of stored integers, or of that less a
zero point, as exporters of weight-only quantization write them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from onnxnull.graph.constants import Constant, apply, evaluate
from onnxnull.graph.entries import EntryKind, entry_kind
from onnxnull.graph.flow import Flow

if TYPE_CHECKING:
    import onnx_ir as ir

_MOST_BITS = 8
"""Of codes. Wider integers are positions and sizes, and what is made of these is no quantized weight."""


def steps_of(flow: Flow, value: ir.Value) -> np.ndarray | None:
    """The step of each entry's grid; None where a constant is no such weight, moved or not. Raises `EvaluationError`."""
    import onnx_ir as ir

    node, shape = value.producer(), flow.operand(value).shape
    if node is None or node.domain not in ("", "ai.onnx") or not node.inputs or node.inputs[0] is None:
        return None
    first = node.inputs[0]
    if node.op_type == "Mul":
        codes = next((v for v in node.inputs if v is not None and _counts(flow, v)), None)
        scale = next((_constant(flow, v) for v in node.inputs if v is not codes), None)
        if codes is None or scale is None or shape is None or None in shape:
            return None
        return np.broadcast_to(np.abs(scale), [size or 0 for size in shape])
    if entry_kind(node) is not EntryKind.COPIES:
        return None
    inner = steps_of(flow, first)
    if inner is None:
        return None
    others = [None if v is None else _constant(flow, v) for v in node.inputs[1:]]
    return apply(ir.serde.serialize_node(node), flow.model.opsets, [inner, *others])


def _counts(flow: Flow, value: ir.Value) -> bool:
    """Whether these are stored codes as floats, less a zero point or not, moved or not."""
    node = value.producer()
    if node is None or node.domain not in ("", "ai.onnx") or not node.inputs or node.inputs[0] is None:
        return False
    first = node.inputs[0]
    if node.op_type == "Cast" and first.is_initializer():
        return first.dtype is not None and first.dtype.is_integer() and first.dtype.bitwidth <= _MOST_BITS
    return (node.op_type == "Sub" or entry_kind(node) is EntryKind.COPIES) and _counts(flow, first)


def _constant(flow: Flow, value: ir.Value | None) -> np.ndarray | None:
    constant = None if value is None else flow.operand(value).constant
    return evaluate(constant) if isinstance(constant, Constant) else None
