"""Which ops over constants are evaluated, and what that costs.

An op is on this list where its work and its memory are known to be in proportion to what goes in and comes out, or follow from
a formula here. Everything else is not evaluated: its attributes may ask for any amount of work, as those of a pooling or of a
TfIdfVectorizer do.

Costs are in bytes moved (`work`); the evaluator's ops written as Python loops cost thousands of times as much per entry.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from onnxnull.graph.constants import Constant, EvaluationError

if TYPE_CHECKING:
    import onnx_ir as ir

RANDOM = frozenset({"Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"})

_NAMES = """
Abs Acos Acosh Add And ArgMax ArgMin Asin Asinh Atan Atanh BatchNormalization BitCast BitShift BitwiseAnd BitwiseNot
BitwiseOr BitwiseXor Cast CastLike Ceil Celu Clip Compress Concat ConstantOfShape Cos Cosh CumProd CumSum DepthToSpace
DequantizeLinear Div Dropout DynamicQuantizeLinear Elu Equal Erf Exp Expand EyeLike Flatten Floor Gather Gelu Greater
GreaterOrEqual HardSigmoid HardSwish Hardmax Identity InstanceNormalization IsInf IsNaN LayerNormalization LeakyRelu Less
LessOrEqual Log LogSoftmax LpNormalization Max Mean MeanVarianceNormalization Min Mish Mod Mul Neg NonZero Not OneHot Or
PRelu Pad Pow QuantizeLinear RMSNormalization Range Reciprocal ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax
ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare Relu Reshape Round Selu Shape Shrink Sigmoid Sign Sin Sinh Size
Slice Softmax Softplus Softsign SpaceToDepth Split Sqrt Squeeze Sub Sum Swish Tan Tanh ThresholdedRelu Tile TopK Transpose
Trilu Unique Unsqueeze Where Xor
"""
_IN_PROPORTION = frozenset(_NAMES.split())
_PRODUCTS = frozenset({"Einsum", "Gemm", "MatMul"})
ENTRY_BY_ENTRY = frozenset(
    ["GatherElements", "GatherND", "Resize", "ReverseSequence", "ScatterElements", "ScatterND", "Scatter", "Upsample"]
)
_LOOP = 4096
"""Cost of an entry that a Python loop handles."""
_STEP = 1 << 17
"""Cost of an op, however small."""


def reason_against(node: ir.Node, version: int, operands: Sequence[Constant | None]) -> str | None:
    """Why this op on these constants is not evaluated; None where it may be. Random generators are the caller's."""
    if any(c is not None and c.dtype.is_string() for c in operands):
        return f"op {node.op_type}: strings are not evaluated"
    known = node.op_type in _IN_PROPORTION or node.op_type in ENTRY_BY_ENTRY or node.op_type in _PRODUCTS
    if node.domain not in ("", "ai.onnx") or not known:
        return f"op {node.op_type} is not among those that are evaluated over constants"
    if node.op_type == "Dropout" and _trains(node, version, operands):
        return "op Dropout: it is random in training mode"
    return None


def work(node: ir.Node, operands: Sequence[Constant | None], entries: int, nbytes: int) -> float:
    """What it costs to evaluate an op that nothing speaks against, whose outputs have so many entries and bytes."""
    moved = float(nbytes + sum(c.nbytes for c in operands if c is not None))
    if node.op_type in ENTRY_BY_ENTRY:
        moved *= _LOOP
    elif node.op_type in _PRODUCTS:
        moved += _products(node, operands, entries)
    return _STEP + moved


def least_entries(node: ir.Node, operands: Sequence[Constant | None]) -> int:
    """How many entries come out at least, where that follows from the numbers of a Range: inference overflows there.

    Raises:
        EvaluationError: the numbers are not to be had, or are none.
    """
    if node.op_type == "Range" and len(operands) >= 3:
        start, limit, delta = (_number(c) for c in operands[:3])
        if delta == 0:
            raise EvaluationError("op Range: steps of 0")
        return max(0, math.ceil((limit - start) / delta))
    return 0


def _number(constant: Constant | None) -> float | int:
    """The number in a constant of one entry."""
    if constant is None or constant.size != 1:
        raise EvaluationError("op Range: not a number")
    entry = constant.array().reshape(())
    value = int(entry) if constant.dtype.is_integer() else float(entry)
    if not math.isfinite(value):
        raise EvaluationError("op Range: a number that is not finite")
    return value


def _trains(node: ir.Node, version: int, operands: Sequence[Constant | None]) -> bool:
    """Dropout: attribute is_test up to opset 6, always inference up to opset 11, input training_mode (2) since."""
    if version < 7:
        return "is_test" not in node.attributes or node.attributes["is_test"].as_int() == 0
    mode = operands[2] if len(operands) > 2 else None
    return mode is not None and bool(mode.array().any())


def _products(node: ir.Node, operands: Sequence[Constant | None], entries: int) -> float:
    """Products that a MatMul, a Gemm or an Einsum takes, in the time of a byte moved: of floats, eight are as fast."""
    first = operands[0]
    if node.op_type == "Einsum":
        return _einsum_products(node, operands)
    if first is None or not first.shape:
        return 0.0
    transposed = node.op_type == "Gemm" and "transA" in node.attributes and node.attributes["transA"].as_int() != 0
    return float(entries) * first.shape[0 if transposed else -1] * (1.0 if first.dtype.is_integer() else 0.125)


def _einsum_products(node: ir.Node, operands: Sequence[Constant | None]) -> float:
    """A plain loop over all labels; the axes behind `...` count once per operand."""
    sizes: dict[object, int] = {}
    terms = node.attributes["equation"].as_string().replace(" ", "").partition("->")[0].split(",")
    for term, constant in zip(terms, operands, strict=False):
        shape = constant.shape if constant is not None else ()
        before, _, after = term.partition("...")
        labels: list[object] = list(before)
        labels += [("...", position) for position in range(len(shape) - len(before) - len(after), 0, -1)]
        for label, size in zip([*labels, *after], shape, strict=False):
            sizes[label] = max(size, sizes.get(label, 1))
    return float(min(math.prod(sizes.values()), 1 << 200))
