"""Constants that a run resizes: interpolated or repeated entries are no longer followed.

Source: operator specifications of ai.onnx (Resize since opset 10, Upsample).
"""

from __future__ import annotations

from onnxnull.graph.constants import Constant
from onnxnull.graph.origins.operands import At, is_row
from onnxnull.graph.origins.rules import gives_origin
from onnxnull.graph.origins.values import Origin, Unresolved, is_fill


@gives_origin("Resize", "Upsample")
def resized(at: At) -> Origin | None:
    """Operand 0 by scales or sizes."""
    data = at.at(0)
    if data is None or (isinstance(data, Constant) and is_fill(data)):
        return None
    return Unresolved(f"op {at.op} interpolates it by numbers that a run computes", is_row(data))
