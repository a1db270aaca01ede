"""Checks that a scale which a node computes serves its quantizer only, and once.

Where quantizers count as nothing, such a scale counts as 1 and the codes as the numbers that they stand for. That holds where

1. the codes, moved or not, are read by DequantizeLinear or MatMulIntegerToFloat with this scale, or by MatMulInteger or
   ConvInteger, whose results are cast to floats and multiplied by the scale, times constants;
2. nothing else reads the scale, or the zero point.

A network that forgets the scale, or uses it for something else, is another one, however it does on data whose scale is near 1.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from onnxnull.comparison.graphs import constants as c
from onnxnull.comparison.graphs.constants import Const
from onnxnull.comparison.numbering import draws
from onnxnull.graph.flow import Flow

if TYPE_CHECKING:
    import onnx_ir as ir

_MOVES = ("Flatten", "Gather", "Identity", "MaxPool", "Reshape", "Slice", "Squeeze", "Transpose", "Unsqueeze")
_SCALE = {"QuantizeLinear": 1, "DequantizeLinear": 1, "MatMulIntegerToFloat": 2}
"""Operator → which operand is the scale of its first one."""
_ZERO = {
    "QuantizeLinear": (2,),
    "DequantizeLinear": (2,),
    "MatMulInteger": (2,),
    "ConvInteger": (2,),
    "MatMulIntegerToFloat": (4,),
}


def computed_scales(flow: Flow) -> dict[ir.Value, Const]:
    """Scales and zero points that nodes compute for QuantizeLinear, and what they count as: 1 and 0."""
    found: dict[ir.Value, Const] = {}
    for view in flow.nodes:
        x, scale, zero = (view.input(i) for i in range(3))
        codes = view.outputs[0]
        if view.op_type != "QuantizeLinear" or x is None or x.constant is not None or codes is None:
            continue
        computed = [o.value if o is not None and o.constant is None and o.value.producer() else None for o in (scale, zero)]
        if scale is not None and computed != [None, None] and scales_once(codes.value, scale.value, computed[1]):
            numbers = (c.scalar(1.0), c.const(np.array(0, np.int64)))
            found |= {value: number for value, number in zip(computed, numbers, strict=True) if value is not None}
    return found


def scales_once(codes: ir.Value, scale: ir.Value, zero: ir.Value | None) -> bool:
    """Whether codes, scale and zero point of a quantizer are used as such (rules 1 and 2)."""
    scales = set(_times_constants(scale))
    products: set[ir.Node] = set()
    if not _is_scaled(codes, scales, products) or any(value.is_graph_output() for value in scales):
        return False
    for value in scales:
        for node, place in value.uses():
            if not (place == _SCALE.get(node.op_type) or node in products or node.outputs[0] in scales):
                return False
    if zero is None:
        return True
    return not zero.is_graph_output() and all(place in _ZERO.get(node.op_type, ()) for node, place in zero.uses())


def _times_constants(scale: ir.Value) -> Iterator[ir.Value]:
    """The scale, and its products by constants."""
    yield scale
    for node, place in scale.uses():
        other = node.inputs[1 - place] if node.op_type == "Mul" else None
        if other is not None and _is_constant(other):
            yield from _times_constants(node.outputs[0])


def _is_constant(value: ir.Value) -> bool:
    """Whether it is stored, or made of what is stored alone, as DynamicQuantizeLinear makes the scale of a weight."""
    seen, stack = {value}, [value]
    while stack:
        value = stack.pop()
        node = value.producer()
        if node is None and not value.is_initializer():
            return False
        if node is not None and draws(node):
            return False
        inner = {v for v in node.inputs if v is not None} - seen if node is not None else set()
        seen |= inner
        stack += inner
    return True


def _is_scaled(codes: ir.Value, scales: set[ir.Value], products: set[ir.Node]) -> bool:
    """Whether all that reads the codes takes the scale in; the nodes that multiply by it are added to `products`."""
    if codes.is_graph_output():
        return False
    for node, place in codes.uses():
        if node.op_type in _MOVES and place == 0:
            if not _is_scaled(node.outputs[0], scales, products):
                return False
        elif node.op_type in ("DequantizeLinear", "MatMulIntegerToFloat") and place == 0:
            if node.inputs[_SCALE[node.op_type]] not in scales:
                return False
        else:
            integers = node.op_type in ("MatMulInteger", "ConvInteger") and place == 0
            if not integers or not _is_multiplied(node.outputs[0], scales, products):
                return False
    return True


def _is_multiplied(value: ir.Value, scales: set[ir.Value], products: set[ir.Node]) -> bool:
    if value.is_graph_output():
        return False
    for node, place in value.uses():
        if node.op_type in ("Cast", *_MOVES) and place == 0:
            if not _is_multiplied(node.outputs[0], scales, products):
                return False
        elif node.op_type == "Mul" and node.inputs[1 - place] in scales:
            products.add(node)
        else:
            return False
    return True
