"""Shifts and scalings by constants (all opsets) as linear steps: Add, Sub, Sum, Mean, Mul, Div, Neg, Cast, Clip, Dropout.

Broadcasting is numpy's since opset 7; before that, the `axis` and `broadcast` attributes said how the second operand was
aligned, and such nodes are no steps here.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from onnxnull.graph.node import Node
from onnxnull.kernel.maps.linear_map import Array, LinearMap, size
from onnxnull.kernel.maps.selection import Selection
from onnxnull.operators.steps import (
    FLOATS,
    LARGEST,
    MakeMap,
    UnknownShapeError,
    constant_value,
    fixed_shape,
    linear_step,
    only_operand,
    output_shape,
    shifts_always,
    shifts_by_operands,
)

_LARGEST_NUMBER = {
    "FLOAT16": 65504.0,
    "BFLOAT16": (2 - 2.0**-7) * 2.0**127,
    "FLOAT": (2 - 2.0**-23) * 2.0**127,
    "DOUBLE": (2 - 2.0**-52) * 2.0**1023,
}


@linear_step("Add", "Sum", "Sub")
def shifted(node: Node, index: int) -> MakeMap | None:
    """Whatever is added, from a constant to another path of the same input; the second operand of Sub changes sign."""
    if node.attribute("axis", None) is not None:
        return None
    return _scaled(node, index, lambda: np.array(-1.0 if node.op_type == "Sub" and index == 1 else 1.0))


shifts_by_operands("Add", "Sum", "Sub", "Mean")
shifts_always("BatchNormalization")


@linear_step("Mul", "Div")
def scaled(node: Node, index: int) -> MakeMap | None:
    """Times a constant, or divided by one. The factor is taken in float64."""
    if node.attribute("axis", None) is not None or (node.op_type == "Div" and index == 1):
        return None
    factor = constant_value(node, 1 - index)
    if factor is None or factor.dtype.kind not in "fV":
        return None
    factors = factor.astype(np.float64)
    if node.op_type == "Div":
        with np.errstate(divide="ignore", over="ignore"):
            factors = 1.0 / factors
    return _scaled(node, index, lambda: factors) if np.all(np.isfinite(factors)) else None


@linear_step("Neg")
def negated(node: Node, index: int) -> MakeMap | None:
    """Times −1."""
    return _scaled(node, index, lambda: np.array(-1.0))


@linear_step("Mean")
def averaged(node: Node, index: int) -> MakeMap | None:
    """The mean of operands, each a constant or another path of the same input."""
    return _scaled(node, index, lambda: np.array(1.0 / len(node.inputs)))


@linear_step("Cast", "CastLike")
def cast(node: Node, index: int) -> MakeMap | None:
    """From one float type to another. Whether the result still holds the network's input is the walk's to say."""
    operand, result = node.input(0), node.outputs[0]
    if index != 0 or operand is None or result is None or operand.dtype is None or result.dtype is None:
        return None
    if operand.dtype.name not in FLOATS or result.dtype.name not in FLOATS:
        return None
    return _scaled(node, index, lambda: np.array(1.0))


@linear_step("Clip")
def unclipped(node: Node, index: int) -> MakeMap | None:
    """The identity, where no finite number of the type lies beyond a bound.

    Bounds are attributes before opset 11, by default those of float32, and operands since, by default those of the type.
    """
    operand = node.input(0)
    if index != 0 or operand is None or operand.dtype is None or operand.dtype.name not in FLOATS:
        return None
    largest = _LARGEST_NUMBER[operand.dtype.name]
    for number, (name, sign) in enumerate((("min", -1.0), ("max", 1.0)), start=1):
        if node.version < 11:
            bound = float(node.attribute(name, sign * _LARGEST_NUMBER["FLOAT"]))
        elif node.input(number) is None:
            continue
        else:
            constant = constant_value(node, number)
            if constant is None or constant.size != 1:
                return None
            bound = float(constant.astype(np.float64).ravel()[0])
        if not sign * bound >= largest:
            return None
    return _scaled(node, index, lambda: np.array(1.0))


@linear_step("Dropout")
def dropout(node: Node, index: int) -> MakeMap | None:
    """The identity at inference: is_test set before opset 7, training_mode absent or false since opset 12."""
    training = constant_value(node, 2)
    if not only_operand(node, index) or (node.version < 7 and not node.attribute("is_test", 0)):
        return None
    if node.input(2) is not None and (training is None or bool(training.any())):
        return None
    data, mask = _scaled(node, index, lambda: np.array(1.0)), _scaled(node, index, lambda: np.array(0.0))
    return lambda output: mask(output) if output else data(output)


@linear_step("BatchNormalization")
def batch_normalization(node: Node, index: int) -> MakeMap | None:
    """At inference (X − mean)·scale/√(var + epsilon) + B along axis 1, stored statistics.

    Training is is_test = 0 before opset 7, more than one output before opset 14, training_mode = 1 since. Statistics per
    entry (spatial = 0, before opset 9) are no step here.
    """
    scale, variance = constant_value(node, 1), constant_value(node, 4)
    if index != 0 or scale is None or variance is None or scale.ndim != 1 or scale.shape != variance.shape:
        return None
    trains = node.attribute("training_mode", 0) or sum(o is not None for o in node.outputs) > 1
    if trains or (node.version < 7 and not node.attribute("is_test", 0)) or not node.attribute("spatial", 1):
        return None
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        factors = scale.astype(np.float64) / np.sqrt(variance.astype(np.float64) + node.attribute("epsilon", 1e-5))
    if not np.all(np.isfinite(factors)):
        return None
    rank = len(node.inputs[0].shape or ()) if node.inputs[0] is not None else 0
    return _scaled(node, index, lambda: factors.reshape(-1, *(1,) * max(rank - 2, 0)))


def _scaled(node: Node, index: int, factors: Callable[[], Array]) -> MakeMap:
    """Operand `index`, broadcast to the output, times `factors`, broadcast too."""

    def make(output: int) -> LinearMap:
        shape = fixed_shape(node, index)
        target = shape if output_of_same_shape(node) else output_shape(node)
        if max(size(shape), size(target)) > LARGEST:
            raise UnknownShapeError(f"{node.name!r} makes {size(target)} entries of {size(shape)}")
        try:
            indices = np.broadcast_to(np.arange(size(shape)).reshape(shape), target)
            return Selection(shape, indices, np.broadcast_to(factors(), target))
        except ValueError as error:  # the shapes do not fit each other
            raise UnknownShapeError(f"{node.name!r} ({node.op_type}): {error}") from None

    return make


def output_of_same_shape(node: Node) -> bool:
    """Whether the op has one operand of activations, whose shape its output has."""
    return node.op_type in ("Neg", "Cast", "CastLike", "Clip", "Dropout", "BatchNormalization")
