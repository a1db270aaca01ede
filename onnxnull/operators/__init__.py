"""What onnxnull knows about ONNX operators: one file per family, behind the registry."""

from onnxnull.operators import convolution, fully_connected, not_yet, recurrent
from onnxnull.operators.registry import LinearUse, Refusal, handled_operators, linear_uses

__all__ = ["LinearUse", "Refusal", "convolution", "fully_connected", "handled_operators", "linear_uses", "not_yet", "recurrent"]
