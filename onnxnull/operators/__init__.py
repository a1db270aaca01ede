"""What onnxnull knows about ONNX operators: a folder (or a short file) for each family, which registers all of it.

Importing this package registers all families.
"""

from onnxnull.operators import (
    activation,
    attention,
    contraction,
    convolution,
    elementwise,
    experts,
    fused,
    lookup,
    machine_learning,
    movement,
    normalization,
    not_yet,
    pooling,
    quantized,
    recurrent,
    reduction,
    resampling,
    reviewed,
    signal,
)
from onnxnull.operators.linear_use import LinearUse, Refusal, handled_operators, linear_uses

__all__ = [
    "LinearUse",
    "Refusal",
    "activation",
    "attention",
    "contraction",
    "convolution",
    "elementwise",
    "experts",
    "fused",
    "handled_operators",
    "linear_uses",
    "lookup",
    "machine_learning",
    "movement",
    "normalization",
    "not_yet",
    "pooling",
    "quantized",
    "recurrent",
    "reduction",
    "resampling",
    "reviewed",
    "signal",
]
