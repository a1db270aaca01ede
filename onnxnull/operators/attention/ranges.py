"""Ranges of attention operators, and of rotary embeddings."""

from __future__ import annotations

import numpy as np

from onnxnull.graph.node import Node
from onnxnull.intervals.domain import Range, anything, number
from onnxnull.operators.range_rules import Operands, finite_of_finite, given, gives, output_type


@gives("Attention")
def attention(node: Node, of: Operands) -> list[Range]:
    """Softmax(Q·Kᵀ·scale + mask)·V since opset 23: averages of V; onnxruntime gives 0 where a mask hides all of it.

    A mask (operand 3) is added, −Inf to hide, or boolean, false to hide.
    """
    mask, operand = of(3), node.input(3)
    values = given(of, 2)
    if mask is not None and operand is not None and operand.dtype is not None:
        hides = (mask.hi <= 0) if operand.dtype.name == "BOOL" else mask.empty & ~mask.nan & ~mask.pinf
        queries = given(of, 0).tame and given(of, 1).tame and values.tame
        if queries and bool(hides.all()) and len(node.outputs) == 1:
            return [number(0.0)]
        if queries and operand.dtype.name != "BOOL" and bool(mask.only_nan.all()):
            return [number(np.nan)]
    tame = all((each := of(index)) is None or each.tame for index in range(len(node.inputs)) if index != 3)
    tame = tame and (mask is None or not bool((mask.nan | mask.pinf).any()))
    nothing = tame and bool((values.lo == 0).all() and (values.hi == 0).all()) and of(5) is None
    first = number(0.0) if nothing else anything(output_type(node), finite=tame)
    rest = [anything(output_type(node, index), finite=tame) for index in range(1, len(node.outputs))]
    return [first, *rest]


finite_of_finite("RotaryEmbedding")
finite_of_finite(
    *("Attention", "DecoderMaskedMultiHeadAttention", "GroupQueryAttention", "MultiHeadAttention", "RotaryEmbedding"),
    domain="com.microsoft",
)
