"""Inputs that are read through a quantizer: on its grid, rounding is a linear step.

A quantizer makes a code k = saturate(round(x / scale) + zero point) of every entry; what follows sees scale·(k − zero point).
Between codes that are not saturated a change in whole steps is a change of the codes as it stands, and the layers behind see
it through an integer matrix. So a frontier behind a quantizer speaks of *whole steps without saturation*, and of nothing in
between: a continuous change has no kernel there. Sources: QuantizeLinear (opset 10 to 25, and com.microsoft's),
DynamicQuantizeLinear (11), whose scale and zero point follow from min(0, least) and max(0, largest entry): a change that leaves
these as they are leaves the grid as it is.

Codes are integers that wrap around, so until they are dequantized they may be moved and no more. What is added to the input
before it is rounded moves the grid, the ends of its range and a dynamic scale: such a quantizer is not analysed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from onnxnull.graph.node import Node, Operand
from onnxnull.kernel.maps.linear_map import LinearMap
from onnxnull.kernel.maps.selection import NOTHING, Selection
from onnxnull.operators.movement.steps import MOVEMENT
from onnxnull.operators.steps import constant_value, shifts

if TYPE_CHECKING:
    from collections.abc import Collection

    import onnx_ir as ir

_DOMAINS = ("", "ai.onnx", "com.microsoft")
RANGES = {
    "UINT8": (0, 255),
    "INT8": (-128, 127),
    "UINT16": (0, 65535),
    "INT16": (-32768, 32767),
    "UINT4": (0, 15),
    "INT4": (-8, 7),
}


@dataclass(frozen=True, slots=True, eq=False)
class Quantizer:
    """What rounds the input to codes.

    Attributes:
        node: its name.
        scale: the step; None where the quantizer computes it from the input.
        zero_point: the code of 0; None as `scale`.
        low, high: the least and the largest code.
        path: from the graph input to what it rounds, pure movement; None where a shape on the way is not known.
        codes: name of the tensor of codes.
    """

    node: str
    scale: float | None
    zero_point: int | None
    low: int
    high: int
    path: Selection | None
    codes: str

    @property
    def dynamic(self) -> bool:
        """Whether the scale follows from the input."""
        return self.scale is None

    def same_grid(self, other: Quantizer) -> bool:
        """Whether both make the same codes of the same entries."""
        if (self.scale, self.zero_point, self.low, self.high) != (other.scale, other.zero_point, other.low, other.high):
            return False
        if not self.dynamic:
            return True
        one, two = self.path, other.path
        return one is not None and two is not None and np.array_equal(one.indices, two.indices)


class QuantizerTrail:
    """The quantizer of one input, and the values behind it that move with its codes, step by step."""

    def __init__(self) -> None:
        self.quantizer: Quantizer | None = None
        self._values: set[ir.Value] = set()
        self._codes: set[ir.Value] = set()
        self._shifted: set[ir.Value] = set()

    def __contains__(self, value: ir.Value) -> bool:
        return value in self._values

    def step(self, node: Node, read: Collection[ir.Value], made: Collection[ir.Value]) -> None:
        """A linear step makes the values `made` of the values `read`, all of them images of the input."""
        if any(value in self._values for value in read):
            self._values.update(made)
        if node.op_type in MOVEMENT and any(value in self._codes for value in read):
            self._codes.update(made)
        if shifts(node, read) or any(value in self._shifted for value in read):
            self._shifted.update(made)

    def wraps(self, node: Node, read: Collection[ir.Value]) -> bool:
        """Whether the node computes with integer codes, which wrap around, instead of moving or dequantizing them."""
        kept = node.op_type in MOVEMENT or node.op_type == "DequantizeLinear"
        return not kept and any(value in self._codes for value in read)

    def enter(self, node: Node, path: LinearMap | None) -> str | None:
        """The quantizer `node` reads the input through `path`: why that is no linear step on its grid, None if it is."""
        operand, output = node.inputs[0], node.outputs[0]
        assert operand is not None, "a quantizer reads something"
        assert output is not None, "a quantizer has an output"
        if operand.value in self._shifted:
            return "it rounds the input after something was added to it, which is not analysed"
        found = _quantizer(node, path)
        if isinstance(found, str):
            return found
        if self.quantizer is not None and not self.quantizer.same_grid(found):
            return f"its grid is not that of {self.quantizer.node!r}, which reads the input too"
        self.quantizer = self.quantizer or found
        self._values.add(output.value)
        self._codes.add(output.value)
        return None

    def dequantizes(self, node: Node, index: int) -> bool:
        """Whether operand `index` of `node` is DequantizeLinear's codes, with one scale: the same steps, as floats."""
        if node.op_type != "DequantizeLinear" or node.domain not in _DOMAINS or index != 0:
            return False
        scale, zero = node.input(1), constant_value(node, 2)
        if zero is None and node.input(2) is not None and not self._computes(node.input(2)):
            return False
        known = constant_value(node, 1)
        if known is None:  # the scale that a DynamicQuantizeLinear computed
            return self._computes(scale)
        return known.size == 1 and bool(np.isfinite(known).all() and (known > 0).all())

    def _computes(self, operand: Operand | None) -> bool:
        """Whether a dynamic quantizer makes this value beside its codes."""
        producer = None if operand is None else operand.value.producer()
        return producer is not None and self.quantizer is not None and self.quantizer.codes == producer.outputs[0].name

    def leaves_at(self, node: Node, layer_path: LinearMap | None) -> str | None:
        """Why a layer behind the grid does not see its steps as they are; None if it does."""
        if layer_path is None or (isinstance(layer_path, Selection) and np.all(np.isin(layer_path.factors, (0.0, 1.0)))):
            return None
        return f"{node.name!r} reads the codes scaled or mixed: that is not analysed"


def is_quantizer(node: Node) -> bool:
    """Whether the node rounds operand 0 to codes."""
    return node.op_type in ("QuantizeLinear", "DynamicQuantizeLinear") and node.domain in _DOMAINS


def rounds_by_itself(node: Node, index: int, integer: bool) -> bool:
    """Whether a layer rounds floats to codes before it multiplies, so that it is no linear layer of them.

    DynamicQuantizeMatMul does, and MatMulNBits at accuracy_level 4 (com.microsoft).
    """
    operand = node.input(index)
    is_float = operand is not None and operand.dtype is not None and operand.dtype.is_floating_point()
    return is_float and (integer or (node.op_type == "MatMulNBits" and int(node.attribute("accuracy_level", 0)) == 4))


def _quantizer(node: Node, path: LinearMap | None) -> Quantizer | str:
    if path is not None and not (isinstance(path, Selection) and np.all((path.factors == 1.0) | (path.indices == NOTHING))):
        return "it rounds the input after it was scaled or mixed, which is not analysed"
    output = node.outputs[0]
    if output is None:
        return "it has no output"
    name = "UINT8" if output.dtype is None else output.dtype.name
    zero_operand = node.input(2)
    if node.op_type == "QuantizeLinear" and zero_operand is not None and zero_operand.dtype is not None:
        name = zero_operand.dtype.name
    if name not in RANGES:
        return f"it rounds to {name.lower()}, whose codes are no even grid"
    low, high = RANGES[name]
    if node.op_type == "DynamicQuantizeLinear":
        if path is not None and np.any(path.indices == NOTHING):
            return "its scale may follow from padding"
        return Quantizer(node.name, None, None, low, high, path, output.name)
    scale, zero = constant_value(node, 1), constant_value(node, 2)
    if scale is None or scale.size != 1 or (zero is None and zero_operand is not None) or (zero is not None and zero.size != 1):
        return "its scale or zero point is not one constant number"
    step = float(scale.astype(np.float64).ravel()[0])
    if not (np.isfinite(step) and step > 0):
        return f"its scale is {step:g}"
    return Quantizer(node.name, step, 0 if zero is None else int(zero.ravel()[0]), low, high, path, output.name)
