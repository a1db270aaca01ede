"""Movement of entries: what a constant fills in."""

from __future__ import annotations

from onnxnull.operators.linear_use import holds_no_weight
from onnxnull.operators.parameters import NAN, accounts_for

_MICROSOFT = "com.microsoft"

accounts_for("Pad", places=lambda node: [(2, NAN)])

# Entries are moved, copied or dropped; a table that is gathered from is a look-up, not a weight.
holds_no_weight(
    """
    CenterCropPad Col2Im Compress Concat Crop DepthToSpace DynamicSlice Expand Flatten Gather GatherElements GatherND
    Pad Reshape ReverseSequence Scatter ScatterElements ScatterND Slice SpaceToDepth Split Squeeze TensorScatter Tile
    Transpose Trilu Unsqueeze
    """
)
holds_no_weight("ExpandDims GatherND Pad RemovePadding RestorePadding Trilu UnfoldTensor", domain=_MICROSOFT)
