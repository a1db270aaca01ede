"""What onnxnull knows about ONNX operators: one file per family, behind the registry."""

from onnxnull.operators import (
    activations,
    attention,
    convolution,
    elementwise,
    few_bits,
    fully_connected,
    fused,
    machine_learning,
    mixtures,
    movement,
    normalization,
    not_yet,
    pooling,
    quantized,
    recurrent,
    resampling,
    resize,
    special_convolutions,
)
from onnxnull.operators.registry import LinearUse, Refusal, handled_operators, linear_uses

__all__ = ["LinearUse", "Refusal", "handled_operators", "linear_uses"]

# Importing a family registers it.
_FAMILIES = (
    activations,
    special_convolutions,
    mixtures,
    machine_learning,
    fused,
    attention,
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
