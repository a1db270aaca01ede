"""Constants that are dequantized by scales that a run computes.

Source: operator specifications of ai.onnx (opset 1 to 25).
"""

from __future__ import annotations

import numpy as np

from onnxnull.graph.constants import Blocked, Constant, known
from onnxnull.graph.origins.operands import At, is_row
from onnxnull.graph.origins.rules import gives_origin
from onnxnull.graph.origins.values import (
    Alternatives,
    Candidate,
    Origin,
    Unresolved,
    numbers,
)
from onnxnull.graph.types import Shape


@gives_origin("DequantizeLinear")
@gives_origin("DequantizeLinear", domain="com.microsoft")
def dequantized(at: At) -> Origin | None:
    """DequantizeLinear (opset 10 to 25) of a constant by a scale that a run computes: integers times factors."""
    data, zero = at.at(0), at.at(2)
    if data is None:
        return None
    shape, factor = at.shape(0), at.shape(1)
    if not isinstance(data, Constant) or at.is_run_time(2) or isinstance(zero, Blocked | Unresolved | Alternatives):
        return Unresolved("a run computes how it is dequantized", is_row(data))
    if factor is None or shape is None or len(factor) > 1 or at.view.attribute("block_size", 0):
        return Unresolved("a run computes how it is dequantized", is_row(data))
    scale_operand = at.flow.operand(at.view.node.inputs[1]) if at.view.node.inputs[1] is not None else None
    dtype = None if scale_operand is None else scale_operand.dtype
    if dtype is None:
        return Unresolved("a run computes how it is dequantized", is_row(data))
    one = known(np.ones((), dtype=dtype.numpy()), "one")
    zeros = zero if isinstance(zero, Constant) else None
    integers = at.fold([data, one, *([zeros] if len(at.view.node.inputs) > 2 else [])])
    axis = int(at.view.attribute("axis", 1))
    aligned: Shape = ()
    if len(factor) == 1 and factor != (1,):
        if not -len(shape) <= axis < len(shape):
            return None
        aligned = tuple(factor[0] if a == axis % len(shape) else 1 for a in range(len(shape)))
    sets = numbers(integers.shape, aligned)
    return Alternatives((Candidate(integers, factors=() if sets is None else (sets,)),), is_scaled=True)
