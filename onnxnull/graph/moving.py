"""Names of the operators that move, copy or drop entries of their first operand and do no arithmetic with them (all opsets)."""

from __future__ import annotations

COPIES = frozenset(
    {"Expand", "Flatten", "Gather", "Identity", "Reshape", "Slice", "Split", "Squeeze", "Tile", "Transpose", "Unsqueeze"}
)
"""Those that fill nothing in, and that the evaluator works off as a whole."""
MOVING = COPIES | {"Compress", "DepthToSpace", "GatherElements", "GatherND", "ReverseSequence", "SpaceToDepth", "Trilu"}
"""All of them; the other operands say which entries, and where to."""
