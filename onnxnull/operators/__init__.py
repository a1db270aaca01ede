"""What onnxnull knows about ONNX operators: one file per family, behind the registry."""

from onnxnull.operators import convolution, elementwise, fully_connected, movement, not_yet, pooling, recurrent, resampling
from onnxnull.operators.registry import LinearUse, Refusal, handled_operators, linear_uses

__all__ = ["LinearUse", "Refusal", "handled_operators", "linear_uses"]

# Importing a family registers it.
_FAMILIES = (convolution, elementwise, fully_connected, movement, not_yet, pooling, recurrent, resampling)
