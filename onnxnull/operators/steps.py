"""Linear steps: operators through which a perturbation of the input passes linearly, on its way to the first weights.

A step is registered per operator, in the file of its family: given a node and the index of an operand, it returns a function
that makes the linear map from that operand to one of the node's outputs (the constant part, a shift say, does not matter to a
perturbation), or None where the node is not linear in that operand. The map needs shapes; whether the step is linear does not.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from onnxnull.errors import one_line
from onnxnull.graph.constants import Constant, EvaluationError, apply
from onnxnull.graph.evaluable import is_one_by_one
from onnxnull.graph.node import Node
from onnxnull.graph.operator_facts import OperatorFacts, operator_of
from onnxnull.kernel.maps.linear_map import LinearMap, size
from onnxnull.kernel.maps.selection import Selection

if TYPE_CHECKING:
    import onnx_ir as ir

MakeMap = Callable[[int], LinearMap]
"""Number of the output → the map from the operand to it. Raises `UnknownShapeError`."""
Step = Callable[[Node, int], MakeMap | None]

LARGEST = 1 << 24
"""Most entries of a tensor that a path is followed through: a selection holds sixteen bytes for each."""

FLOATS = {"FLOAT16": 11, "BFLOAT16": 8, "FLOAT": 24, "DOUBLE": 53}
"""Bits of the significand of the types whose entries a step may change."""

_LARGEST_LOOP = 1 << 20
"""The same for ops that the evaluator works off entry by entry."""

_STEPS: OperatorFacts[Step] = OperatorFacts("linear step")
linear_step = _STEPS.registers
"""Register the step of these operators."""

_SHIFTS: OperatorFacts[bool] = OperatorFacts("note on shifts")
shifts_always = partial(_SHIFTS.add, True)
"""Note that the steps of these operators add something that is no image of the input."""
shifts_by_operands = partial(_SHIFTS.add, False)
"""Note that the steps of these operators add what their other operands hold."""


class UnknownShapeError(Exception):
    """A map was asked for at an operand whose shape is not known, or is too large to write its map down."""


def step_of(node: Node, index: int) -> MakeMap | None:
    """The step from operand `index` of `node` to its outputs; None where there is none that we know to be linear."""
    function = _STEPS.of(node)
    return None if function is None else function(node, index)


def shifts(node: Node, read: Collection[ir.Value]) -> bool:
    """Whether the step of a node adds something other than zeros that is not among the values `read`."""
    always = _SHIFTS.get(operator_of(node))
    if always is None or always:
        return bool(always)
    return any(
        operand is not None and operand.value not in read and ((known := constant_value(node, index)) is None or known.any())
        for index, operand in enumerate(node.inputs)
    )


def holds(wide: str, narrow: str) -> bool:
    """Whether a float type (names of ONNX: FLOAT, FLOAT16, ...) has all numbers of another; False where one is none."""
    if wide not in FLOATS or narrow not in FLOATS or (narrow, wide) == ("BFLOAT16", "FLOAT16"):
        return False
    return FLOATS[wide] >= FLOATS[narrow]


def fixed_shape(node: Node, index: int) -> tuple[int, ...]:
    """The shape of an operand. Raises `UnknownShapeError` unless all of it is known."""
    operand = node.input(index)
    shape = None if operand is None else operand.shape
    if shape is None or any(dim is None for dim in shape):
        raise UnknownShapeError(f"the shape of {operand.name if operand else '?'!r} is not known")
    return tuple(dim for dim in shape if dim is not None)


def output_shape(node: Node, number: int = 0) -> tuple[int, ...]:
    """The shape of output `number`. Raises `UnknownShapeError` unless all of it is known."""
    output = node.outputs[number] if number < len(node.outputs) else None
    if output is None or output.shape is None or any(dim is None for dim in output.shape):
        raise UnknownShapeError(f"the shape of the output of {node.name!r} is not known")
    return tuple(dim for dim in output.shape if dim is not None)


def constant_value(node: Node, index: int) -> np.ndarray | None:
    """The array of a constant operand; None where it is no constant, could not be evaluated, or holds no real numbers."""
    operand = node.input(index)
    if operand is None or not isinstance(operand.constant, Constant):
        return None
    try:
        array = operand.constant.array()
    except EvaluationError:
        return None
    return array if array.dtype.kind in "biufV" else None


def only_operand(node: Node, index: int) -> bool:
    """Whether operand 0 is meant, and all others are constants."""
    return index == 0 and all(o is None or isinstance(o.constant, Constant) for o in node.inputs[1:])


def selection_of(
    node: Node, index: int, output: int, fed: Mapping[int, np.ndarray] | None = None, **attributes: float
) -> Selection:
    """What an op that only moves entries does, learnt from what it does to the entries' own numbers.

    Operand `index` is fed 1, 2, 3, ..., the operands in `fed` what is given there, other constants their values: what comes
    out are the indices of a selection, one too large, and 0 where no entry is read. `attributes` replace the node's own.

    Raises:
        UnknownShapeError: a shape is not known or above `LARGEST`, or the evaluator cannot say what the node does.
    """
    import onnx_ir as ir
    from onnx import helper

    shape, target = fixed_shape(node, index), output_shape(node, output)
    if is_one_by_one(node) and max(size(shape), size(target)) > _LARGEST_LOOP:
        raise UnknownShapeError(f"{node.name!r} ({node.op_type}) makes {size(target)} entries of {size(shape)}")
    if max(size(shape), size(target)) > LARGEST:
        raise UnknownShapeError(f"{node.name!r} makes {size(target)} entries of {size(shape)}")
    arrays: dict[int, np.ndarray | None] = dict.fromkeys(range(len(node.inputs))) | dict(fed or {})
    for i, operand in enumerate(node.inputs):
        if operand is not None and i != index and arrays[i] is None:
            arrays[i] = constant_value(node, i)
            if arrays[i] is None:
                raise UnknownShapeError(f"operand {operand.name!r} of {node.name!r} was not evaluated")
    arrays[index] = np.arange(1, size(shape) + 1, dtype=np.int64).reshape(shape)
    proto = ir.serde.serialize_node(node.node)
    for name, number in attributes.items():
        kept = [a for a in proto.attribute if a.name != name]
        del proto.attribute[:]
        proto.attribute.extend([*kept, helper.make_attribute(name, number)])
    version = node.version
    if node.op_type == "Scatter":  # its name before opset 11, unknown to the evaluator
        proto.op_type, version = "ScatterElements", 11
    inputs = [arrays.get(i) for i in range(max(arrays) + 1)]
    try:
        indices = np.asarray(apply(proto, {node.domain: version}, inputs, output), dtype=np.int64) - 1
    except Exception as error:  # noqa: BLE001 - the evaluator raises what it likes on a node that breaks the rules
        raise UnknownShapeError(f"{node.name!r} ({node.op_type}) was not evaluated: {one_line(error)}") from None
    if indices.shape != target:
        raise UnknownShapeError(f"{node.name!r} ({node.op_type}) gives the shape {indices.shape}, not {target}")
    return Selection(shape, indices, np.ones(()))
