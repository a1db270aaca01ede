"""Operators whose outputs are made of nothing but attributes, shapes and numbers: ranges, fills, random numbers.

Source: operator specifications of ai.onnx (opset 1 to 25).
"""

from __future__ import annotations

import math

from onnxnull.graph.constants import Constant, EvaluationError
from onnxnull.graph.evaluable import EvaluationRule, Operands, draws_at_random, evaluated
from onnxnull.operators.linear_use import holds_no_weight
from onnxnull.operators.range_rules import shaped_by_values
from onnxnull.operators.traits import TypeAttribute, names_type


def _least_of_range(operands: Operands) -> int:
    """How many numbers a Range gives."""
    if len(operands) < 3:
        return 0
    start, limit, delta = (_number(c) for c in operands[:3])
    if delta == 0:
        raise EvaluationError("op Range: steps of 0")
    return max(0, math.ceil((limit - start) / delta))


def _number(constant: Constant | None) -> float | int:
    """The number in a constant of one entry."""
    if constant is None or constant.size != 1:
        raise EvaluationError("op Range: not a number")
    entry = constant.array().reshape(())
    value = int(entry) if constant.dtype.is_integer() else float(entry)
    if not math.isfinite(value):
        raise EvaluationError("op Range: a number that is not finite")
    return value


_RANDOM = ("Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike")
draws_at_random(*_RANDOM)
evaluated("ConstantOfShape EyeLike Shape Size")
evaluated("Range", EvaluationRule(least=_least_of_range))
holds_no_weight(" ".join(_RANDOM))
holds_no_weight("Constant ConstantOfShape EyeLike Range Shape Size")
names_type(TypeAttribute("dtype"), "Bernoulli", "EyeLike", "RandomNormalLike", "RandomUniformLike")
names_type(TypeAttribute("dtype", is_float=True), "RandomNormal", "RandomUniform")
shaped_by_values("ConstantOfShape", operands=(0,))
shaped_by_values("Range", operands=(0, 1, 2))
