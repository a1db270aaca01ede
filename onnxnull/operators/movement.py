"""Operators that move, copy or drop entries (all opsets): as linear steps they are selections.

What each does is not written down again: the reference evaluator applies it to the entries' own numbers.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from onnxnull.graph.view import NodeView
from onnxnull.kernel.linear_map import LinearMap
from onnxnull.kernel.selection import NOTHING
from onnxnull.operators.steps import MakeMap, fixed_shape, linear_step, only_operand, selection_of

_OF_ONE = (
    *("Identity", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose", "Slice", "Split", "Gather", "GatherND"),
    *("GatherElements", "DepthToSpace", "SpaceToDepth", "Expand", "Tile", "ReverseSequence"),
)
MOVEMENT = frozenset({*_OF_ONE, "Concat", "Pad"})
"""Whatever the type of the entries is, these steps do no arithmetic with them."""


@linear_step(*_OF_ONE)
def moved(node: NodeView, index: int) -> MakeMap | None:
    """Entries of operand 0; the other operands are shapes, axes, sizes and indices, and have to be constants."""
    return partial(selection_of, node, index) if only_operand(node, index) else None


@linear_step("Concat")
def concat(node: NodeView, index: int) -> MakeMap | None:
    """Entries of any operand, side by side with those of the others."""

    def make(output: int) -> LinearMap:
        nothing = {i: np.full(fixed_shape(node, i), NOTHING, dtype=np.int64) for i in range(len(node.inputs)) if i != index}
        return selection_of(node, index, output, nothing)

    return make


@linear_step("Pad")
def pad(node: NodeView, index: int) -> MakeMap | None:
    """All modes. What is padded with a constant reads nothing; the value was an attribute before opset 11."""
    if not only_operand(node, index):
        return None
    if node.version < 11:
        return lambda output: selection_of(node, index, output, value=float(NOTHING))
    return lambda output: selection_of(node, index, output, {2: np.array(NOTHING, dtype=np.int64)})
