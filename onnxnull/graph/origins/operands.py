"""A node with what its operands hold."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from onnxnull.graph.constants import Blocked, Constant
from onnxnull.graph.entries import KEEPING, ONE_BY_ONE, SELECTING, EntryKind, entry_kind
from onnxnull.graph.origins.values import Alternatives, Unresolved, broadcast_over, is_fill, long_axes
from onnxnull.graph.types import Shape

if TYPE_CHECKING:
    import onnx_ir as ir

    from onnxnull.graph.flow import Flow
    from onnxnull.graph.node import Node

Held = Constant | Blocked | Alternatives | Unresolved | None
"""What an operand is known to hold; None for an activation."""

_MOST_STEPS = 64
TABLE_RANK = 2
"""A constant of this rank that is gathered from is a look-up table."""


class At:
    """A node with what its operands hold."""

    def __init__(self, flow: Flow, view: Node, held: Sequence[Held], output: int) -> None:
        self.flow, self.view, self.output = flow, view, output
        self.held = tuple(held)
        self.kind = entry_kind(view)

    @property
    def op(self) -> str:
        """The operator."""
        return self.view.op_type

    def value(self, index: int) -> ir.Value | None:
        """An operand; None where it is left out."""
        inputs = self.view.node.inputs
        return inputs[index] if index < len(inputs) else None

    def at(self, index: int) -> Held:
        """What an operand holds."""
        return self.held[index] if index < len(self.held) else None

    def shape(self, index: int) -> Shape | None:
        """The shape of an operand, as far as it is known."""
        value, held = self.value(index), self.at(index)
        if isinstance(held, Alternatives):
            return None if held.shape is None else tuple(None if a in held.copies else d for a, d in enumerate(held.shape))
        return None if value is None else self.flow.operand(value).shape

    def factor_shape(self, index: int) -> Shape | None:
        """The shape of an operand before it was expanded, where it was: along the other axes its entries are the same."""
        value = self.value(index)
        for _ in range(_MOST_STEPS):
            node = None if value is None else value.producer()
            if node is None or not node.inputs or node.inputs[0] is None:
                break
            if node.op_type == "Expand":
                return self.flow.operand(node.inputs[0]).shape
            others = [self.flow.operand(v).constant for v in node.inputs[1:] if v is not None]
            if entry_kind(node) not in ONE_BY_ONE and node.op_type != "Identity":
                break
            if not all(isinstance(c, Constant) and c.size == 1 for c in others):
                break
            value = node.inputs[0]
        return self.shape(index)

    def is_mask(self, index: int) -> bool:
        """Whether an operand is made of booleans."""
        value = self.value(index)
        for _ in range(_MOST_STEPS):
            if value is None:
                return False
            dtype, node = self.flow.operand(value).dtype, value.producer()
            if dtype is not None and dtype.name == "BOOL":
                return True
            if node is None or not node.inputs:
                return False
            if entry_kind(node) not in SELECTING and node.op_type not in ("Cast", "CastLike"):
                return False
            value = node.inputs[0]
        return False

    @property
    def target(self) -> Shape | None:
        """The shape of the output, as far as it is known."""
        return self.flow.operand(self.view.node.outputs[self.output]).shape

    def is_run_time(self, index: int) -> bool:
        """Whether an operand is there and holds nothing that is known."""
        return self.value(index) is not None and self.at(index) is None

    @property
    def is_row(self) -> bool:
        """Whether all that a run decides here are rows that were looked up."""
        rows = [h.is_row for h in self.held if isinstance(h, Alternatives | Unresolved)]
        return bool(rows) and all(rows)

    @property
    def keeps_entries(self) -> bool:
        """Whether what comes out still consists of the entries of what goes in, moved, scaled, shifted or rounded."""
        alone = self.op == "Einsum" and len(self.view.node.inputs) == 1  # a transposition or a diagonal
        return self.kind in KEEPING or self.kind is EntryKind.SEQUENCES or alone

    def all_operands(self) -> list[int]:
        """The indices of the operands that are there."""
        return [index for index, value in enumerate(self.view.node.inputs) if value is not None]

    def fold(self, operands: Sequence[Constant | None]) -> Constant:
        """The output for these constants. Raises `EvaluationError`."""
        return self.flow.folded(self.view, tuple(operands), self.output)

    def with_operand(self, index: int, held: Held) -> At:
        """The same node, one operand holding something else."""
        return At(self.flow, self.view, [held if i == index else h for i, h in enumerate(self.held)], self.output)


def smaller(at: At, index: int, other: int) -> bool:
    """Whether an operand is broadcast over what operand `index` holds, along an axis at least, or may be: of any rank."""
    shape, held = at.shape(index), at.at(index)
    if isinstance(held, Constant) and is_fill(held):
        return False
    part = at.factor_shape(other)
    if shape is None or part is None:
        return part is None and shape is not None and long_axes(shape) >= TABLE_RANK
    return broadcast_over(shape, part)


def is_row(held: Held) -> bool:
    """Whether it is a row of a look-up table."""
    return isinstance(held, Alternatives | Unresolved) and held.is_row


def selected(at: At) -> str:
    """Why entries that a run selects are not followed."""
    return f"op {at.op} selects or places its entries by numbers that a run computes"
