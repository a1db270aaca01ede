"""Initial states of recurrent operators, and fills whose size only a run decides.

1. ConstantOfShape and Expand of one number are `Filled`: sizes, and the number.
2. LSTM, GRU and RNN start from zeros where no initial state is given (ONNX opset 1 to 22): states of zeros are left out.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from onnxnull.comparison.graphs import constants as c
from onnxnull.comparison.graphs.rewrites import Const, ReadNode, Result, Term, Value, rule

_STATES = (5, 6)


@rule("ConstantOfShape")
def filled(node: ReadNode) -> Result:
    """Rule 1."""
    sizes, value = node.operand(0), node.attribute("value")
    number = np.zeros((1,), np.float32) if value is None else np.asarray(value.numpy())
    if not isinstance(sizes, Term) or number.dtype.kind not in "fiu":
        return None
    held = c.reshaped(c.const(number), ())
    return node.terms.apply("Filled", [sizes, held], shape=node.shape(), kind=held.kind)


@rule("LSTM", "GRU", "RNN")
def recurrent(node: ReadNode) -> Result:
    """Rule 2."""
    operands = [None if i in _STATES and _is_zero(o) else o for i, o in enumerate(node.operands)]
    return replace(node, operands=tuple(operands))


def _is_zero(value: Value | None) -> bool:
    if isinstance(value, Term) and value.op == "Filled":
        value = value.constants[0]
    return isinstance(value, Const) and value.is_all(0.0)
