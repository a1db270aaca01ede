"""What onnxnull knows about ONNX operators: one file per family, behind the registry."""

from onnxnull.operators import (
    activations,
    activations_gradient,
    contraction_gradient,
    convolution,
    convolution_gradient,
    elementwise,
    elementwise_gradient,
    fully_connected,
    movement,
    movement_gradient,
    normalization,
    normalization_gradient,
    not_yet,
    pooling,
    pooling_gradient,
    recurrent,
    reduction_gradient,
    resampling,
    resize,
)
from onnxnull.operators.registry import LinearUse, Refusal, handled_operators, linear_uses

__all__ = ["LinearUse", "Refusal", "handled_operators", "linear_uses"]

# Importing a family registers it.
_FAMILIES = (
    activations,
    activations_gradient,
    contraction_gradient,
    convolution,
    convolution_gradient,
    elementwise,
    elementwise_gradient,
    fully_connected,
    movement,
    movement_gradient,
    normalization,
    normalization_gradient,
    not_yet,
    pooling,
    pooling_gradient,
    recurrent,
    reduction_gradient,
    resampling,
    resize,
)
