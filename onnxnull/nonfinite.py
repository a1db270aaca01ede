"""What the constants beside the weights hold and do: NaN, Inf, scales that are not positive, and what follows for the outputs.

Three kinds of findings, in nodes on the way from an input to an output:
1. What no healthy network holds where it stands (`nonfinite`): NaN in a bias, a parameter of a normalization, a look-up table,
   an operand of arithmetic, a slope, a pad, an attribute; ε below 0; the scale of a quantized activation that is not positive.
2. What follows for outputs by intervals (`onnxnull.ranges`).
3. What is unusual and proves nothing (`unusual`): NaN elsewhere, Inf in a bias or a normalization, and operands that make some
   entries NaN or ±Inf for every input. −Inf in masks and Inf in bounds are neither.

Linear weights are looked at where they are analysed. Sources: operator specifications of ONNX (opset 1 to 25); contrib operator
schemas of onnxruntime 1.31.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from onnxnull.graph.constants import Constant, EvaluationError
from onnxnull.graph.flow import Flow
from onnxnull.graph.view import NodeView
from onnxnull.operators.linear_use import handled_operators, is_constant
from onnxnull.operators.lookup import table_uses
from onnxnull.ranges.claims import constants_of, live_nodes, observed_outputs, odd_nodes, output_claims
from onnxnull.ranges.propagation import Propagation
from onnxnull.results import OddConstant, OutputClaim

_MICROSOFT = "com.microsoft"
_PARAMETERS: dict[tuple[str, str], tuple[int, ...]] = {
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
    ("", "PRelu"): (1,),
    (_MICROSOFT, "FusedConv"): (2,),
    (_MICROSOFT, "FusedGemm"): (2,),
    (_MICROSOFT, "Attention"): (2,),
    (_MICROSOFT, "BiasGelu"): (1,),
    (_MICROSOFT, "FastGelu"): (1,),
    (_MICROSOFT, "MultiHeadAttention"): (3,),
    (_MICROSOFT, "SkipLayerNormalization"): (2, 3, 4),
    (_MICROSOFT, "SkipSimplifiedLayerNormalization"): (2, 3),
    (_MICROSOFT, "EmbedLayerNormalization"): (5, 6),
}
"""(domain, op) → inputs that hold biases, slopes or parameters of a normalization: no entry is NaN, and Inf is unusual."""
_ARITHMETIC = frozenset({"Add", "Sub", "Mul", "Div", "Sum", "Mean", "Max", "Min"})
"""Operators that hand on a NaN of any operand."""
_COMPARES = frozenset({"Equal", "Greater", "GreaterOrEqual", "IsInf", "IsNaN", "Less", "LessOrEqual"})
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

_NAN, _INF, _NO_NUMBER, _NO_SCALE = "NaN", "Inf", "NaN or Inf", "no positive scale"
_TESTS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    _NAN: np.isnan,
    _INF: np.isinf,
    _NO_NUMBER: lambda array: ~np.isfinite(array),
    _NO_SCALE: lambda array: ~(np.isfinite(array) & (array > 0)),
}
_UNUSUAL = frozenset({_INF})


@dataclass(frozen=True, slots=True)
class ConstantFindings:
    """What was found; `outputs` is the number of outputs that were looked at."""

    nonfinite: tuple[OddConstant, ...]
    unusual: tuple[OddConstant, ...]
    claims: tuple[OutputClaim, ...]
    outputs: int


def constant_findings(flow: Flow) -> ConstantFindings:
    """Everything that is said of constants beside the weights; those that could not be evaluated may be anything."""
    propagation = Propagation(flow)
    live = live_nodes(flow)
    claims = output_claims(propagation)
    nonfinite: list[OddConstant] = []
    unusual: list[OddConstant] = []
    counted: dict[tuple[bytes, str], int] = {}
    for node in flow.nodes:
        if node.node not in live or all(is_constant(node, i) or node.input(i) is None for i in range(len(node.inputs))):
            continue
        nonfinite.extend(_attributes(node))
        for name, constant, what in _places(node):
            key = (constant.signature, what)
            if key not in counted:
                counted[key] = _count(constant, _TESTS[what])
            if counted[key]:
                found = OddConstant(name, node.name, node.op_type, what, counted[key], constant.size)
                (unusual if what in _UNUSUAL else nonfinite).append(found)
        unusual.extend(_elsewhere(propagation, node))
    told = {claim.node for claim in claims} | {found.node for found in (*nonfinite, *unusual)}
    for node, count, entries in odd_nodes(propagation, live):
        if node.name not in told and (names := constants_of(node)):
            what = "entries that are NaN or ±Inf for every input"
            unusual.append(OddConstant(", ".join(names), node.name, node.op_type, what, count, entries))
    return ConstantFindings(tuple(nonfinite), tuple(unusual), claims, len(observed_outputs(flow)))


def _domain(node: NodeView) -> str:
    return "" if node.domain == "ai.onnx" else node.domain


def _attributes(node: NodeView) -> Iterator[OddConstant]:
    """Attributes that are NaN, and ε below 0 where the variance is computed."""
    if _domain(node) not in ("", _MICROSOFT):
        return
    for name, attribute in node.node.attributes.items():
        unread = name == "extrapolation_value" or (node.op_type == "Gemm" and name == "beta" and node.input(2) is None)
        if attribute.type.name != "FLOAT" or unread:
            continue
        value = float(attribute.value)
        if math.isnan(value):
            yield OddConstant(name, node.name, node.op_type, _NAN, 1, 1)
        elif name == "epsilon" and value < 0 and node.op_type != "BatchNormalization":
            yield OddConstant(name, node.name, node.op_type, "negative", 1, 1)


def _places(node: NodeView) -> Iterator[tuple[str, Constant, str]]:
    """(name, constant of floats, what it must not hold, or seldom does) of the operands of a node."""
    op = (_domain(node), node.op_type)
    places = [(index, what) for index in _PARAMETERS.get(op, ()) for what in (_NAN, _INF)]
    if op[0] == "" and op[1] in _ARITHMETIC:
        places = [(index, _NAN) for index in range(len(node.inputs))]
    elif op == ("", "Pow"):
        places = [(0, _NO_NUMBER), (1, _NO_NUMBER)]
    elif op == ("", "Pad"):
        places = [(2, _NAN)]
    for of, scale in _SCALES.get(op, ()):
        if of is None or not is_constant(node, of):
            places.append((scale, _NO_SCALE))
    for index, what in places:
        operand = node.input(index)
        if operand is not None and isinstance(operand.constant, Constant) and operand.constant.dtype.is_floating_point():
            yield operand.name, operand.constant, what
    for use in table_uses(node):
        if isinstance(use.constant, Constant) and use.constant.dtype.is_floating_point():
            yield use.name, use.constant, _NAN


def _elsewhere(propagation: Propagation, node: NodeView) -> Iterator[OddConstant]:
    """NaN among constants that are no weight and stand where NaN may be meant: Where, Concat, ScatterND, ..."""
    op = (_domain(node), node.op_type)
    if op[0] != "" or op[1] in _ARITHMETIC | _COMPARES | {"Pow"} or op in handled_operators() or op in _SCALES:
        return
    known = {name for name, _, what in _places(node) if what == _NAN}
    for operand in node.inputs:
        if operand is None or not isinstance(operand.constant, Constant) or operand.name in known:
            continue
        if operand.constant.dtype.is_floating_point():
            count = _count(operand.constant, np.isnan) if propagation.of(operand.value).nan.any() else 0
            if count:
                yield OddConstant(operand.name, node.name, node.op_type, _NAN, count, operand.constant.size)


def _count(constant: Constant, test: Callable[[np.ndarray], np.ndarray]) -> int:
    try:
        array = constant.array()
    except EvaluationError:
        return 0
    if array.dtype.kind != "f":  # the floats of ml_dtypes
        array = array.astype(np.float32)
    return int(np.count_nonzero(test(array)))
