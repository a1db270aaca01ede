"""Operators that move, copy or drop entries (all opsets): as linear steps they are selections.

What each does is not written down again: the reference evaluator applies it to the entries' own numbers.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from onnxnull.graph.node import Node
from onnxnull.kernel.maps.linear_map import LinearMap, size
from onnxnull.kernel.maps.selection import NOTHING, Selection
from onnxnull.operators.movement.facts import MOVING
from onnxnull.operators.steps import (
    LARGEST,
    MakeMap,
    UnknownShapeError,
    constant_value,
    fixed_shape,
    linear_step,
    only_operand,
    output_shape,
    selection_of,
)

MOVEMENT = MOVING | {"Concat", "Pad"}
"""Whatever the type of the entries is, these steps do no arithmetic with them."""


@linear_step(*MOVING)
def moved(node: Node, index: int) -> MakeMap | None:
    """Entries of operand 0; the other operands are shapes, axes, sizes and indices, and have to be constants."""
    return partial(selection_of, node, index) if only_operand(node, index) else None


@linear_step("Concat")
def concat(node: Node, index: int) -> MakeMap | None:
    """Entries of any operand, side by side with those of the others."""

    def make(output: int) -> LinearMap:
        nothing = {i: np.zeros(fixed_shape(node, i), dtype=np.int64) for i in range(len(node.inputs)) if i != index}
        return selection_of(node, index, output, nothing)

    return make


@linear_step("Pad")
def pad(node: Node, index: int) -> MakeMap | None:
    """All modes. What is padded with a constant reads nothing; the value was an attribute before opset 11."""
    if not only_operand(node, index):
        return None
    if node.version < 11:
        return lambda output: selection_of(node, index, output, value=0.0)
    return lambda output: selection_of(node, index, output, {2: np.array(0, dtype=np.int64)})


@linear_step("ScatterND", "ScatterElements", "Scatter")
def scattered(node: Node, index: int) -> MakeMap | None:
    """Entries of operand 0 that are not written over, or of operand 2 where they are written; indices are constants.

    Reductions (opset 16): none, or add, of updates at different places.
    """
    places = constant_value(node, 1)
    if index == 1 or places is None or node.attribute("reduction", "none") not in ("none", "add"):
        return None

    def make(output: int) -> LinearMap:
        found = selection_of(node, index, output, {2 - index: np.zeros(fixed_shape(node, 2 - index), dtype=np.int64)})
        if index == 2 and np.count_nonzero(found.indices != NOTHING) != found.inputs:
            raise UnknownShapeError(f"{node.name!r} ({node.op_type}) writes two updates to one place")
        return found

    return make


@linear_step("Where")
def chosen(node: Node, index: int) -> MakeMap | None:
    """Entries of operand 1 where a constant condition holds, of operand 2 where it does not."""
    condition = constant_value(node, 0)
    if index == 0 or condition is None:
        return None

    def make(output: int) -> LinearMap:
        shape, target = fixed_shape(node, index), output_shape(node)
        if max(size(shape), size(target)) > LARGEST:
            raise UnknownShapeError(f"{node.name!r} makes {size(target)} entries of {size(shape)}")
        indices = np.broadcast_to(np.arange(size(shape)).reshape(shape), target)
        taken = np.broadcast_to(condition.astype(bool) == (index == 1), target)
        return Selection(shape, np.where(taken, indices, NOTHING), np.ones(()))

    return make
