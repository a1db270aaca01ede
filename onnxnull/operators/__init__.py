"""What onnxnull knows about ONNX operators: a folder (or a short file) for each family, which registers all of it.

Importing this package registers all families; a second registration of one fact for one operator raises. What is registered:

- `linear_use`: the weights that a node holds, or that it holds none; `refusals`: weights that are not analysed;
  `lookup`: tables whose rows are picked; `parameters`: constants beside the weights, and what they must not hold;
- `steps`: the linear map from an operand to the outputs; `lowering`: the same function in double;
  `gradients`: its derivative; `range_rules`: intervals, and what decides the shapes;
- `products`: how the product with the weight comes out, and arithmetic on codes; `flatness`: where differences end;
- `graph.contrib`: the output's shape, for operators that ONNX does not know; `graph.evaluable`: what it costs to evaluate over
  constants, or that it is random; `graph.entries`, `graph.origins.rules`: what becomes of the entries of constants.

`tests/operators/test_new_operator.py` adds an operator from nothing.
"""

from onnxnull.operators import (
    activation,
    attention,
    contraction,
    convolution,
    elementwise,
    experts,
    fused,
    generators,
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
    "generators",
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
