"""A node and its operands as the rest of the package sees them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from onnxnull.errors import Code, OnnxnullError
from onnxnull.graph.constants import Blocked, Constant
from onnxnull.graph.origins.values import Origin
from onnxnull.graph.types import Shape

if TYPE_CHECKING:
    import onnx_ir as ir


_KINDS: dict[type, tuple[str, ...]] = {
    int: ("INT",),
    float: ("FLOAT",),
    str: ("STRING",),
    list: ("INTS", "FLOATS", "STRINGS"),
    tuple: ("INTS", "FLOATS", "STRINGS"),
}


@dataclass(frozen=True, slots=True)
class Operand:
    """What is known of a value at a node.

    Attributes:
        dtype, shape: None where unknown.
        constant: the value itself where it is a constant (`Blocked` where it could not be evaluated), else None.
        value: the onnx-ir value.
        origin: the constants whose entries it consists of, where only a run decides which and how; None for activations.
    """

    name: str
    dtype: ir.DataType | None
    shape: Shape | None
    constant: Constant | Blocked | None
    value: ir.Value
    origin: Origin | None = None


@dataclass(frozen=True, slots=True)
class Node:
    """A node as the operators see it: names, opset version, attributes and what is known of its inputs and outputs.

    Attributes:
        name: the node's name, prefixed by the control-flow bodies that it lies in ("If_3.then_branch/Conv_7").
        version: of the opset of its domain that the model imports.
        one_sample: whether the batch size of an input is open, and shapes are those of a batch of one.
    """

    name: str
    op_type: str
    domain: str
    version: int
    inputs: tuple[Operand | None, ...]
    outputs: tuple[Operand | None, ...]
    node: ir.Node
    one_sample: bool

    def attribute(self, name: str, default: Any) -> Any:
        """The attribute's value as Python type (int, float, str, list); `default`, as stored, where the node leaves it out.

        Raises:
            OnnxnullError: it is of another kind than `default`: ONNX's own operators have been checked, others have not.
        """
        attribute = self.node.attributes.get(name)
        if attribute is None or attribute.value is None:
            return as_stored(default)
        kinds = _KINDS.get(type(default))
        if kinds is not None and attribute.type.name not in kinds:
            seen = f"node {self.name!r}: attribute {name!r} is {attribute.type.name} where {kinds[0]} is needed"
            raise OnnxnullError(Code.INVALID_MODEL, seen)
        return attribute.value

    def input(self, index: int) -> Operand | None:
        """The operand at `index`; None where it is left out."""
        return self.inputs[index] if index < len(self.inputs) else None


def as_stored(default: Any) -> Any:
    """A default as an attribute would hold it: floats of attributes are float32, so 1e-5 means 9.99999974737875e-06."""
    return float(np.float32(default)) if isinstance(default, float) else default
