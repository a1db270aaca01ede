"""What operators do to the entries of constants that they read: the families in `onnxnull.operators` register it.

It decides how far the origin of a constant's entries is followed (`onnxnull.graph.origins`).
"""

from __future__ import annotations

import enum

from onnxnull.graph.operator_facts import Named, OperatorFacts


class EntryKind(enum.Enum):
    """What becomes of the entries of an operand; the other operands may say which of them, and where to."""

    COPIES = "moves, copies or drops those of operand 0, fills nothing in, and is evaluated as a whole"
    MOVES = "the same, evaluated otherwise"
    FILLS = "moves those of operand 0 and may fill in others"
    PLACES = "places those of the updates among those of operand 0"
    SCALES = "multiplies or divides each"
    SHIFTS = "adds to each, or bounds it"
    CHANGES = "rounds, casts or maps each by itself"
    JOINS = "takes them from several operands"
    SEQUENCES = "puts tensors into a sequence or takes them out"


MOVING = frozenset({EntryKind.COPIES, EntryKind.MOVES})
SELECTING = MOVING | {EntryKind.FILLS}
ONE_BY_ONE = frozenset({EntryKind.SCALES, EntryKind.SHIFTS, EntryKind.CHANGES})
KEEPING = frozenset(EntryKind) - {EntryKind.SEQUENCES}
"""What is left of a constant's entries behind these is still the constant's, moved, scaled, shifted or rounded."""

_KINDS: OperatorFacts[EntryKind] = OperatorFacts("account of what becomes of entries")
treats_entries = _KINDS.add
"""Register what these operators do to the entries of their operands."""


def entry_kind(node: Named) -> EntryKind | None:
    """What a node does to the entries of its operands; None where it makes others of them."""
    return _KINDS.of(node)
