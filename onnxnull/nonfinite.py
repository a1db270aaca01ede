"""NaN, Inf and scales that are not positive, among the constants beside the weights.

-Inf and Inf are how masks and bounds are written (Where, Add onto scores, Max, Clip), so they are looked for only where no
healthy network has them: biases, the parameters of normalizations, scales of quantized activations. NaN is looked for in
look-up tables and in the operands of arithmetic, too. Linear weights are looked at where they are analysed.

Sources: operator specifications of ONNX (opset 1 to 25); contrib operator schemas of onnxruntime 1.31.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from onnxnull.graph.constants import Constant, EvaluationError
from onnxnull.graph.flow import Flow
from onnxnull.graph.view import NodeView
from onnxnull.operators.lookup import table_uses
from onnxnull.operators.registry import is_constant
from onnxnull.results import BadConstant

_MICROSOFT = "com.microsoft"
_FINITE: dict[tuple[str, str], tuple[int, ...]] = {
    ("", "Conv"): (2,),
    ("", "ConvTranspose"): (2,),
    ("", "DeformConv"): (3,),
    ("", "Gemm"): (2,),
    ("", "BatchNormalization"): (1, 2, 3, 4),
    ("", "GroupNormalization"): (1, 2),
    ("", "InstanceNormalization"): (1, 2),
    ("", "LayerNormalization"): (1, 2),
    ("", "RMSNormalization"): (1,),
    ("", "SimplifiedLayerNormalization"): (1,),
    ("", "LSTM"): (3,),
    ("", "GRU"): (3,),
    ("", "RNN"): (3,),
    (_MICROSOFT, "FusedConv"): (2,),
    (_MICROSOFT, "FusedGemm"): (2,),
    (_MICROSOFT, "Attention"): (2,),
    (_MICROSOFT, "SkipLayerNormalization"): (2, 3, 4),
    (_MICROSOFT, "SkipSimplifiedLayerNormalization"): (2, 3),
    (_MICROSOFT, "EmbedLayerNormalization"): (5, 6),
}
"""(domain, op) → inputs that hold biases or parameters of a normalization: every entry is finite."""
_ARITHMETIC = frozenset({"Add", "Sub", "Mul", "Div"})
_SCALES: dict[tuple[str, str], tuple[tuple[int | None, int], ...]] = {
    ("", "QuantizeLinear"): ((0, 1),),
    ("", "DequantizeLinear"): ((0, 1),),
    ("", "QLinearConv"): ((0, 1), (None, 6)),
    ("", "QLinearMatMul"): ((0, 1), (3, 4), (None, 6)),
    (_MICROSOFT, "QuantizeLinear"): ((0, 1),),
    (_MICROSOFT, "DequantizeLinear"): ((0, 1),),
    (_MICROSOFT, "QLinearAdd"): ((0, 1), (3, 4), (None, 6)),
    (_MICROSOFT, "QLinearMul"): ((0, 1), (3, 4), (None, 6)),
}
"""(domain, op) → (input that is quantized, None for the output; its scale). Scales of constants are part of the weight."""


def bad_constants(flow: Flow) -> tuple[BadConstant, ...]:
    """What no healthy network holds, node by node; constants that could not be evaluated are not looked at."""
    counted: dict[tuple[bytes, str], int] = {}
    found = []
    for node in flow.nodes:
        if all(is_constant(node, i) or node.input(i) is None for i in range(len(node.inputs))):
            continue
        for name, constant, what in _places(node):
            key = (constant.signature, what)
            if key not in counted:
                counted[key] = _count(constant, _TESTS[what])
            if counted[key]:
                found.append(BadConstant(name, node.name, node.op_type, what, counted[key], constant.size))
    return tuple(found)


_TESTS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "NaN or Inf": lambda array: ~np.isfinite(array),
    "NaN": np.isnan,
    "no positive scale": lambda array: ~(np.isfinite(array) & (array > 0)),
}


def _places(node: NodeView) -> Iterator[tuple[str, Constant, str]]:
    """(name, constant of floats, what it must not hold) of the operands of a node."""
    op = ("" if node.domain == "ai.onnx" else node.domain, node.op_type)
    places = [(index, "NaN or Inf") for index in _FINITE.get(op, ())]
    if op[0] == "" and op[1] in _ARITHMETIC:
        places = [(0, "NaN"), (1, "NaN")]
    for of, scale in _SCALES.get(op, ()):
        if of is None or not is_constant(node, of):
            places.append((scale, "no positive scale"))
    for index, what in places:
        operand = node.input(index)
        if operand is not None and isinstance(operand.constant, Constant) and operand.constant.dtype.is_floating_point():
            yield operand.name, operand.constant, what
    for use in table_uses(node):
        if isinstance(use.constant, Constant) and use.constant.dtype.is_floating_point():
            yield use.name, use.constant, "NaN"


def _count(constant: Constant, test: Callable[[np.ndarray], np.ndarray]) -> int:
    try:
        array = constant.array()
    except EvaluationError:
        return 0
    if array.dtype.kind != "f":  # the floats of ml_dtypes
        array = array.astype(np.float32)
    return int(np.count_nonzero(test(array)))
