"""Movement of entries: what a constant fills in."""

from __future__ import annotations

from onnxnull.graph.moving import MOVING
from onnxnull.graph.node import Node
from onnxnull.operators.flatness import keeps_entries
from onnxnull.operators.linear_use import holds_no_weight
from onnxnull.operators.parameters import NAN, NO_NUMBER, accounts_for
from onnxnull.operators.range_rules import shaped_by_values

_MICROSOFT = "com.microsoft"

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
shaped_by_values("CenterCropPad", "Compress", "Expand", "Reshape", "Split", "Squeeze", "Tile", "Unsqueeze")
shaped_by_values("Pad", operands=(1, 3))
shaped_by_values("Slice", operands=(1, 2, 3, 4))
