"""What onnxnull knows about ONNX operators: one file per family, behind the registry."""

from onnxnull.operators import (
    activations,
    convolution,
    elementwise,
    few_bits,
    fully_connected,
    movement,
    normalization,
    not_yet,
    pooling,
    quantized,
    recurrent,
    resampling,
    resize,
)
from onnxnull.operators.registry import LinearUse, Refusal, handled_operators, linear_uses

__all__ = ["LinearUse", "Refusal", "handled_operators", "linear_uses"]

# Importing a family registers it.
_FAMILIES = (
    activations,
    convolution,
    elementwise,
    few_bits,
    fully_connected,
    movement,
    normalization,
    not_yet,
    pooling,
    quantized,
    recurrent,
    resampling,
    resize,
)
