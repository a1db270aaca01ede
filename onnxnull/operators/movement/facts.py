"""Movement of entries: what a constant fills in."""

from __future__ import annotations

from onnxnull.graph.entries import EntryKind, treats_entries
from onnxnull.graph.evaluable import EvaluationRule, evaluated
from onnxnull.graph.node import Node
from onnxnull.operators.flatness import keeps_entries
from onnxnull.operators.linear_use import holds_no_weight
from onnxnull.operators.parameters import NAN, NO_NUMBER, accounts_for
from onnxnull.operators.range_rules import shaped_by_values
from onnxnull.operators.traits import TypeAttribute, names_type

_MICROSOFT = "com.microsoft"

_COPIES = ("Expand", "Flatten", "Gather", "Identity", "Reshape", "Slice", "Split", "Squeeze", "Tile", "Transpose", "Unsqueeze")
_MOVES = ("Compress", "DepthToSpace", "GatherElements", "GatherND", "ReverseSequence", "SpaceToDepth", "Trilu")
MOVING = frozenset(_COPIES + _MOVES)
"""Operators that move, copy or drop entries of their first operand and do no arithmetic with them."""
treats_entries(EntryKind.COPIES, *_COPIES)
treats_entries(EntryKind.MOVES, *_MOVES)
treats_entries(EntryKind.FILLS, "CenterCropPad", "Optional", "OptionalGetElement", "Pad")
treats_entries(EntryKind.MOVES, "ExpandDims", "GatherBlockQuantized", "GatherND", "Pad", "Trilu", domain=_MICROSOFT)
treats_entries(EntryKind.PLACES, "Scatter", "ScatterElements", "ScatterND", "TensorScatter")
treats_entries(EntryKind.JOINS, "Concat")
treats_entries(
    EntryKind.SEQUENCES,
    *("ConcatFromSequence", "SequenceAt", "SequenceConstruct", "SequenceErase", "SequenceInsert", "SplitToSequence"),
)
evaluated(
    "Concat DepthToSpace Expand Flatten Gather Pad Reshape Slice SpaceToDepth Split Squeeze Tile Transpose Trilu Unsqueeze"
)
evaluated("Compress", EvaluationRule(is_bounded=True))
evaluated("GatherElements GatherND ReverseSequence Scatter ScatterElements ScatterND", EvaluationRule(one_by_one=True))

_SUMS = frozenset({"AveragePool", "Conv", "ConvTranspose", "GlobalAveragePool", "LayerNormalization", "MatMul", "ReduceMean"})
"""What spoils a whole sum with one infinity; −Inf is how what MaxPool and Softmax read is padded."""


def _value(node: Node) -> list[tuple[int, str]]:
    output = node.outputs[0]
    summed = output is not None and any(use.node.op_type in _SUMS for use in output.value.uses())
    return [(2, NO_NUMBER if summed else NAN)]


accounts_for("Pad", places=_value)

# Entries are moved, copied or dropped; a table that is gathered from is a look-up, not a weight.
holds_no_weight(
    """
    CenterCropPad Col2Im Compress Concat Crop DepthToSpace DynamicSlice Expand Flatten Gather GatherElements GatherND
    Pad Reshape ReverseSequence Scatter ScatterElements ScatterND Slice SpaceToDepth Split Squeeze TensorScatter Tile
    Transpose Trilu Unsqueeze
    """
)
holds_no_weight("ExpandDims GatherND Pad RemovePadding RestorePadding Trilu UnfoldTensor", domain=_MICROSOFT)

keeps_entries(*MOVING, "Concat", "Pad", "ScatterElements", "ScatterND")
names_type(TypeAttribute("dtype", is_float=True), "SequenceEmpty")
shaped_by_values("CenterCropPad", "Compress", "Expand", "Reshape", "Split", "Squeeze", "Tile", "Unsqueeze")
shaped_by_values("Pad", operands=(1, 3))
shaped_by_values("Slice", operands=(1, 2, 3, 4))
