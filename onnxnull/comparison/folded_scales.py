"""Factors that nodes around a weight multiply it by: what an exporter may have folded into the other file's copy of it.

Behind the weight (on its outputs) and in front of it (on its inputs) the values are followed through

1. BatchNormalization at inference (opset 1 to 15): X → (X − mean)·scale/√(var + epsilon) + B along axis 1;
2. Mul and Div by a constant of one entry per channel, or of one entry in all;
3. Mul by such a constant times the scale that a DynamicQuantizeLinear computes, as dynamic quantization leaves it;
4. Add, Sub, Identity and Cast, which have no factor,

behind it only as long as nothing else reads them. Channels are axis 1 of a convolution's tensors, the last axis of a product's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from onnxnull.graph.flow import Flow
from onnxnull.graph.node import Node
from onnxnull.kernel.maps.linear_map import Array
from onnxnull.operators import LinearUse
from onnxnull.operators.steps import constant_value

if TYPE_CHECKING:
    import onnx_ir as ir

_WITHOUT_FACTOR = frozenset({"Add", "Sub", "Identity", "Cast", "Dropout"})


@dataclass(frozen=True, slots=True, eq=False)
class Fold:
    """Factors on one side of a weight.

    Attributes:
        nodes: whose constants they are.
        factors: (g, 1, p) on the outputs, or (g, q, 1) on the inputs.
    """

    nodes: tuple[str, ...]
    factors: Array


@dataclass(frozen=True, slots=True, eq=False)
class Folds:
    """All of them: products of the first one, the first two, ... nodes behind the weight and in front of it."""

    outputs: tuple[Fold, ...] = ()
    inputs: tuple[Fold, ...] = ()


class Surroundings:
    """What stands around the weights of one model."""

    def __init__(self, flow: Flow) -> None:
        self._views: Mapping[ir.Node, Node] = {view.node: view for view in flow.nodes}

    def folds(self, view: Node, use: LinearUse) -> Folds:
        """The factors around one use of a weight."""
        if use.activation is None or view.outputs[0] is None:
            return Folds()
        operand = view.inputs[use.activation]
        if operand is None:
            return Folds()
        axis = 1 if use.on_images else -1
        g, q, p = use.shape
        behind = self._chain(view.outputs[0].value, axis, forward=True)
        before = self._chain(operand.value, axis, forward=False)
        return Folds(
            tuple(Fold(names, found) for names, f in behind if (found := _spread(f, g, p, 2)) is not None),
            tuple(Fold(names, found) for names, f in before if (found := _spread(f, g, q, 1)) is not None),
        )

    def _chain(self, value: ir.Value, axis: int, *, forward: bool) -> list[tuple[tuple[str, ...], Array]]:
        found: list[tuple[tuple[str, ...], Array]] = []
        names: tuple[str, ...] = ()
        total = np.ones(1)
        while True:
            view, index = self._next(value, forward)
            if view is None:
                return found
            factors = _factors(view, index, axis)
            if factors is None:
                factors = self._of_dynamic_quantization(view, index, axis)
            if factors is None:
                return found
            if factors.size > 1 and total.size > 1 and factors.size != total.size:
                return found
            if not np.all(factors == 1.0):
                names, total = (*names, view.name), total * factors
                found.append((names, total))
            following = view.outputs[0] if forward else view.inputs[index]
            if following is None:
                return found
            value = following.value

    def _of_dynamic_quantization(self, view: Node, index: int, axis: int) -> Array | None:
        """s_w of y·(s_x·s_w), s_x the scale of the activation that DynamicQuantizeLinear computes; None for another node."""
        other = view.inputs[1 - index] if view.op_type == "Mul" else None
        made_by = None if other is None else other.value.producer()
        product = None if made_by is None else self._views.get(made_by)
        if product is None or product.op_type != "Mul":
            return None
        for i, operand in enumerate(product.inputs):
            scale = None if operand is None else operand.value.producer()
            if scale is not None and scale.op_type == "DynamicQuantizeLinear":
                return _constant_factors(product, i, axis, _rank(view, index))
        return None

    def _next(self, value: ir.Value, forward: bool) -> tuple[Node | None, int]:
        """The node that alone reads `value`, or that makes it, and the index of the operand that is followed."""
        if forward:
            uses = value.uses()
            if len(uses) != 1 or value.is_graph_output():
                return None, 0
            ((node, index),) = ((use[0], use[1]) for use in uses)
            return self._views.get(node), index
        made_by = value.producer()
        view = None if made_by is None else self._views.get(made_by)
        if view is None:
            return None, 0
        moving = [i for i, operand in enumerate(view.inputs) if operand is not None and operand.constant is None]
        return (view, moving[0]) if len(moving) == 1 else (None, 0)


def _factors(view: Node, index: int, axis: int) -> Array | None:
    """Per channel, (channels,) or (1,); None where the node is nothing that scales channels."""
    if view.domain not in ("", "ai.onnx"):
        return None
    if view.attribute("axis", None) is not None:  # operands aligned as before opset 7
        return None
    if view.op_type in _WITHOUT_FACTOR:
        moving = [operand for operand in view.inputs if operand is not None and operand.constant is None]
        return np.full(1, -1.0 if view.op_type == "Sub" and index == 1 else 1.0) if len(moving) == 1 else None
    if view.op_type == "BatchNormalization":
        return _normalization(view, axis) if index == 0 else None
    if view.op_type == "Mul":
        return _constant_factors(view, index, axis, _rank(view, index))
    if view.op_type == "Div" and index == 0:
        factors = _constant_factors(view, index, axis, _rank(view, index))
        return None if factors is None or not np.all(factors) else 1.0 / factors
    return None


def _constant_factors(view: Node, index: int, axis: int, rank: int) -> Array | None:
    """The constant operand beside `index`, one number per channel of a tensor of this rank or in all; None for another."""
    constant = constant_value(view, 1 - index)
    if constant is None or constant.dtype.kind not in "fV":
        return None
    numbers = constant.astype(np.float64)
    if numbers.size > 1:
        place = axis if axis < 0 else axis - rank
        if place >= 0 or numbers.ndim < -place or numbers.shape[place] != numbers.size:
            return None
    return numbers.ravel()


def _normalization(view: Node, axis: int) -> Array | None:
    scale, variance = constant_value(view, 1), constant_value(view, 4)
    if scale is None or variance is None or scale.ndim != 1 or scale.shape != variance.shape:
        return None
    if axis < 0 and _rank(view, 0) != 2:  # axis 1 is the last one of a matrix only
        return None
    below = variance.astype(np.float64) + view.attribute("epsilon", 1e-5)
    return scale.astype(np.float64) / np.sqrt(below) if np.all(below > 0.0) else None


def _rank(view: Node, index: int) -> int:
    """The rank of an operand; 0 where it is not known."""
    operand = view.inputs[index]
    return 0 if operand is None or operand.shape is None else len(operand.shape)


def _spread(factors: Array, g: int, entries: int, axis: int) -> Array | None:
    """Factors per channel as one per row (axis 1) or column (axis 2) of blocks with so many of them; None if they do not fit.

    Rows and columns run over channels first, then over the taps of a kernel.
    """
    channels = factors.size
    if channels == 1:
        factors = np.full(g, factors[0])
    elif (g * entries) % channels or channels % g:
        return None
    per_group = factors.reshape(g, -1)
    spread = np.repeat(per_group, entries // per_group.shape[1], axis=1)
    return spread[:, :, None] if axis == 1 else spread[:, None, :]
