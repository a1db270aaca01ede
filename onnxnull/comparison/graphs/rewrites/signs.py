"""Bounds from below on all entries of a term, as far as they are known."""

from __future__ import annotations

import numpy as np

from onnxnull.comparison.graphs import constants as c
from onnxnull.comparison.graphs.terms import Term

_NOT_NEGATIVE = ("Softmax", "Sigmoid", "Exp", "Abs", "Saturate")
_KEEPS_SIGN = frozenset(
    [
        "MaxPool",
        "AveragePool",
        "Transpose",
        "Reshape",
        "Slice",
        "Resize",
        "ReduceSum",
        "ReduceMax",
        "Concat",
        "Product",
        "ai.onnx.Slice",
        "ai.onnx.Expand",
        "ai.onnx.Reshape",
        "ai.onnx.Flatten",
        "ai.onnx.Resize",
    ]
)


def is_not_negative(x: Term) -> bool:
    """Whether no entry can be below 0, but for rounding."""
    return _least(x) >= -1e-5


def _least(x: Term) -> float:
    """A bound from below on all entries."""
    if x.op in _NOT_NEGATIVE:
        return 0.0
    if x.op == "Grid" and x.attribute("lowest") == 0:
        return 0.0
    if x.op in ("Erf", "Tanh"):
        return -1.0
    if x.op == "Clip" and x.constants[0] is not None:
        return float(x.constants[0].value)
    if x.op == "Sum":
        constants = [k for k in x.constants if k is not None]
        if any(k.size > c.SMALL or not np.all(k.value >= 0.0) for k in constants[:-1]):
            return -np.inf
        with np.errstate(invalid="ignore"):
            parts = [float(np.max(k.value)) * min(_least(t), 0.0) for k, t in zip(constants[:-1], x.variables, strict=True)]
        return sum(parts) + float(np.min(constants[-1].value)) if constants[-1].size <= c.SMALL else -np.inf
    if x.op == "Pad" and not x.attribute("zeros"):
        return -np.inf
    return 0.0 if (x.op in _KEEPS_SIGN or x.op == "Pad") and x.variables and all(map(is_not_negative, x.variables)) else -np.inf
