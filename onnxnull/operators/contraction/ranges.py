"""Ranges of sums of products with a constant: MatMul, Gemm, Conv, ConvTranspose, Einsum (all opsets).

Where the entries of the activation share one set, a column of weights is as good as one number for each of its kinds: the sum
of the positive ones, that of the negative ones, and one each for 0, NaN, Inf and −Inf. Bounds of a sum of n terms grow by the
rounding of n additions. What is 0 or NaN or infinite in a sum is so whatever the order.
"""

from __future__ import annotations

import numpy as np

from onnxnull.graph.constants import Constant
from onnxnull.graph.view import NodeView
from onnxnull.operators.range_rules import (
    Operands,
    along_channels,
    finite_of_finite,
    given,
    gives,
    output_type,
    part_along,
    rank_of,
)
from onnxnull.operators.steps import constant_value
from onnxnull.ranges import arithmetic
from onnxnull.ranges.domain import (
    INF,
    Bools,
    Floats,
    Range,
    anything,
    assembled,
    collapsed,
    constant,
    made,
    mapped,
    number,
    reshaped,
    rounded,
    simplified,
    some,
    summary,
    union,
)

_LARGEST = 1 << 20
"""Products of sets at a time."""
_ULPS = 2.0**-7
"""Growth of a bound by rounding, however many terms there are: as coarse as bfloat16."""


def _kinds(weight: np.ndarray, axes: tuple[int, ...]) -> tuple[Floats, Bools]:
    """(6, ...): numbers that stand for the entries along `axes`, which are kept with length 1; and which of them there are."""
    step = max(1, _LARGEST * len(weight) // max(1, weight.size))
    pieces = [_kinds_of_piece(weight[start : start + step], axes) for start in range(0, len(weight), step)]
    if 0 not in axes:
        return np.concatenate([values for values, _ in pieces], axis=1), np.concatenate([there for _, there in pieces], axis=1)
    values = np.stack([values for values, _ in pieces])
    total: Floats = values[0].copy()
    total[:2] = values[:, :2].sum(axis=0)
    return total, some(np.stack([there for _, there in pieces]), (0,), keep=False)


def _kinds_of_piece(weight: np.ndarray, axes: tuple[int, ...]) -> tuple[Floats, Bools]:
    numbers = weight.astype(np.float32) if weight.dtype.kind == "V" else weight
    finite = np.isfinite(numbers)
    clean = numbers if finite.all() else np.where(finite, numbers, 0)

    positive, negative = clean > 0, clean < 0
    up = np.sum(clean, axis=axes, keepdims=True, dtype=np.float64, where=positive)
    down = np.sum(clean, axis=axes, keepdims=True, dtype=np.float64, where=negative)
    zero = some(finite & ~positive & ~negative, axes)
    odd = (
        [np.zeros_like(zero)] * 3
        if finite.all()
        else [some(test, axes) for test in (np.isnan(numbers), numbers == INF, numbers == -INF)]
    )
    there = np.stack([some(positive, axes), some(negative, axes), zero, *odd])
    return np.stack([up, down, *(np.full(zero.shape, value) for value in (0.0, np.nan, INF, -INF))]), there


def summed(terms: Range, there: Bools, axis: tuple[int, ...]) -> Range:
    """The sum of the terms that are there along `axis` (dropped), each added at least once; of none of them, 0."""

    empty = some(terms.empty & there, axis, keep=False)
    lo = np.sum(np.where(there & ~terms.empty, terms.lo, 0.0), axis=axis)
    hi = np.sum(np.where(there & ~terms.empty, terms.hi, 0.0), axis=axis)
    size = np.sum(np.where(there & ~terms.empty, np.maximum(np.abs(terms.lo), np.abs(terms.hi)), 0.0), axis=axis)
    lo, hi = lo - _ULPS * size, hi + _ULPS * size
    up, down = some(terms.pinf & there, axis, keep=False), some(terms.ninf & there, axis, keep=False)
    return made(
        np.where(empty, INF, lo),
        np.where(empty, -INF, hi),
        some(terms.nan & there, axis, keep=False) | (up & down),
        up,
        down,
        np.all(terms.fixed | ~there, axis=axis),
        terms.sized,
    )


def _maybe_absent(terms: Range, weights: Range) -> Range:
    """Terms some of which a padding of zeros replaces, multiplied or left out."""
    return union(terms, arithmetic.ZERO, arithmetic.multiplied(arithmetic.ZERO, weights))


def _of_one_set(activation: Range, weight: np.ndarray, axes: tuple[int, ...], *, absent: bool = False) -> Range:
    """Sums over `axes` of a weight times entries of one set; `axes` are dropped. With `absent`, a term may also be missing."""
    values, there = _kinds(weight, axes)
    numbers = constant(values)
    terms = arithmetic.multiplied(reshaped(activation, (1,) * values.ndim), numbers)
    if absent:
        terms = _maybe_absent(terms, numbers)
    found = summed(terms, there, (0,))
    return reshaped(found, tuple(size for axis, size in enumerate(found.shape) if axis not in axes))


def _of_many_sets(activation: Range, weight: np.ndarray) -> Range:
    """(K,) sets times a weight (K, N), column by column in pieces."""
    pieces = []
    step = max(1, _LARGEST // max(1, len(weight)))
    column = reshaped(activation, (-1, 1))
    for start in range(0, weight.shape[1], step):
        piece = constant(weight[:, start : start + step])
        terms = arithmetic.multiplied(column, piece)
        pieces.append(summed(terms, np.ones((1, 1), np.bool_), (0,)))
    parts = [np.concatenate(columns) for columns in zip(*(each.parts for each in pieces), strict=True)]
    return assembled(parts, activation.sized)


def _unknown(a: Range, b: Range) -> Range:
    """A sum of products of sets, of an unknown number of terms: at least one."""
    term = arithmetic.multiplied(a, b)
    zero = (term.lo == 0) & (term.hi == 0)
    lo = np.where(term.empty, INF, np.where(zero, 0.0, np.where(term.lo >= 0, term.lo, -INF)))
    hi = np.where(term.empty, -INF, np.where(zero, 0.0, np.where(term.hi <= 0, term.hi, INF)))
    return made(lo, hi, term.nan | (term.pinf & term.ninf), term.pinf, term.ninf, sized=a.sized and b.sized)


def _rows(a: Range, rank: int | None) -> Range | None:
    """One set for each row of a stack of matrices, an entry that is lost losing its row; None where all share one."""
    if rank is None or rank < 2 or len(a.shape) < 2 or a.lo.size == a.shape[-1]:
        return None
    joined, lost = collapsed(a, (-1,)), np.any(a.empty, axis=-1, keepdims=True)
    nan = np.any(a.only_nan, axis=-1, keepdims=True)
    return made(
        np.where(lost, INF, joined.lo),
        np.where(lost, -INF, joined.hi),
        joined.nan,
        joined.pinf & ~nan,
        joined.ninf & ~nan,
        joined.fixed,
        joined.sized,
    )


def product(a: Range, rank: int | None, b: Range, left: np.ndarray | None, right: np.ndarray | None) -> Range:
    """The matrix product of two operands, of which one may be a constant array; `rank` is that of the left one."""
    if (rows := _rows(a, rank)) is not None and bool(rows.empty.any()) and not bool(rows.empty.all()):
        return _unknown(rows, collapsed(b) if right is None else summary(right))
    if right is not None and right.ndim >= 1 and right.size:
        if right.ndim > 2:
            return collapsed(_of_one_set(collapsed(a), right, (right.ndim - 2,)))
        columns = right.reshape(len(right), -1)
        entries = collapsed(a, tuple(range(len(a.shape) - 1))) if a.shape else a
        if entries.lo.size == len(columns) > 1 and simplified(entries).lo.size > 1:
            found = _of_many_sets(reshaped(entries, (-1,)), columns)
        else:
            found = _of_one_set(collapsed(a), columns, (0,))
        return found if right.ndim == 2 else reshaped(found, ())
    if left is not None and left.ndim == 2 and left.size:
        return reshaped(_of_one_set(collapsed(b), left, (1,)), (-1, 1))
    return _unknown(collapsed(a), collapsed(b))


@gives("MatMul")
def matmul(node: NodeView, of: Operands) -> Range:
    """As NumPy's matmul."""
    left, right = weight_of(node, of, 0), weight_of(node, of, 1)
    if (rank_of(node, 1) or 0) < 2:
        left = None
    return product(_value(of, 0, left), rank_of(node, 0), _value(of, 1, right), left, right)


def weight_of(node: NodeView, of: Operands, index: int) -> np.ndarray | None:
    """The array of a constant operand; None also where all that may be looked at has been."""
    operand = node.input(index)
    if operand is None or not isinstance(operand.constant, Constant) or not of.affords(of.cost(operand.constant)):
        return None
    return constant_value(node, index)


def _value(of: Operands, index: int, array: np.ndarray | None) -> Range:
    """The range of an operand; that of a constant weight is not needed."""
    return number(0.0) if array is not None and array.size > 1 else given(of, index)


@gives("Gemm")
def gemm(node: NodeView, of: Operands) -> Range:
    """α·A·B + β·C; without C, or with β = 0, C is not read. With α = 0 a library may skip the product: then it is 0."""
    alpha, beta = float(node.attribute("alpha", 1.0)), float(node.attribute("beta", 1.0))
    a, right = given(of, 0), weight_of(node, of, 1)
    if node.attribute("transA", 0):
        a = collapsed(a)
    if right is not None and node.attribute("transB", 0):
        right = right.T
    total = product(a, rank_of(node, 0), given(of, 1) if right is None else number(0.0), None, right)
    dtype = output_type(node)
    scaled = rounded(arithmetic.multiplied(number(alpha), total), dtype, within=True) if alpha != 1 else total
    if alpha == 0:
        scaled = union(scaled, number(0.0))
    shift = of(2)
    if shift is None or beta == 0:
        return scaled
    return arithmetic.added(
        scaled, rounded(arithmetic.multiplied(number(beta), shift), dtype, within=True) if beta != 1 else shift
    )


@gives("Conv")
def convolution(node: NodeView, of: Operands) -> Range:
    """Groups, strides, dilations; padding is with zeros, which a library may multiply or leave out."""
    weight, shift = weight_of(node, of, 1), of(2)
    rank = rank_of(node)
    if weight is None or weight.ndim < 3 or not weight.size:
        total = _unknown(collapsed(given(of, 0)), collapsed(given(of, 1)))
        total = union(total, number(0.0)) if _pads(node) else total
        return arithmetic.added(total, along_channels(shift, rank)) if shift is not None else total
    a = given(of, 0)
    padded = _pads(node)
    axes = tuple(range(2, weight.ndim))
    channels = _channels(a, rank, len(axes))
    groups = max(1, int(node.attribute("group", 1)))
    fits = channels is not None and len(channels.lo) == groups * weight.shape[1] and weight.shape[0] % groups == 0
    if channels is None or not fits or 6 * weight.shape[0] * weight.shape[1] > _LARGEST:
        total = _of_one_set(collapsed(a), weight, (1, *axes), absent=padded)
        hopeless = collapsed(a).empty.all()
    else:
        values, there = _kinds(weight, axes)
        values, there = values.reshape(6, *weight.shape[:2]), there.reshape(6, *weight.shape[:2])
        inputs = channels.shape[0]
        index = (np.arange(weight.shape[0]) // (weight.shape[0] // groups))[:, None] * (inputs // groups)
        picked = _picked(channels, index + np.arange(weight.shape[1])[None])
        numbers = constant(values)
        terms = arithmetic.multiplied(picked, numbers)
        if padded:
            terms = _maybe_absent(terms, numbers)
        total = summed(terms, there, (0, 2))
        hopeless = np.any(picked.empty, axis=1)
    if padded and _covered(node, weight.shape[2:]):
        # every window meets at least one entry of every channel
        total = made(
            np.where(hopeless, INF, total.lo),
            np.where(hopeless, -INF, total.hi),
            total.nan | hopeless,
            total.pinf,
            total.ninf,
            total.fixed,
            total.sized,
        )
    total = along_channels(total, rank)
    return total if shift is None else arithmetic.added(total, along_channels(shift, rank))


def _pads(node: NodeView) -> bool:
    auto = node.attribute("auto_pad", "NOTSET")
    return auto not in ("NOTSET", "VALID", b"NOTSET", b"VALID") or any(node.attribute("pads", [0]))


def _covered(node: NodeView, kernel: tuple[int, ...]) -> bool:
    """Whether no window lies in the padding alone: pads are narrower than the kernel, and there are no dilations."""
    pads = list(node.attribute("pads", [0] * 2 * len(kernel)))
    narrow = all(pad < size for pad, size in zip(pads, kernel * 2, strict=False))
    return narrow and all(step == 1 for step in node.attribute("dilations", [1]))


def _channels(found: Range, rank: int | None, spatial: int) -> Range | None:
    """(C,) sets, those of each channel together; None where one set holds for all."""
    part = part_along(found, 1, rank) if rank == spatial + 2 else None
    if part is None:
        return None
    others = tuple(axis for axis in range(len(found.shape)) if axis != part)
    return reshaped(collapsed(found, others), (-1,))


def _picked(found: Range, index: np.ndarray) -> Range:
    return mapped(found, lambda part: part[index])


@gives("ConvTranspose")
def transposed(node: NodeView, of: Operands) -> Range:
    """Weight (C_in, C_out/g, ...): an output position may meet no entry of the kernel at all."""
    weight, shift, rank = weight_of(node, of, 1), of(2), rank_of(node)
    a = collapsed(given(of, 0))
    if weight is None or weight.ndim < 3 or not weight.size:
        total = union(_unknown(a, collapsed(given(of, 1))), number(0.0))
    else:
        groups = int(node.attribute("group", 1))
        split = weight.reshape(groups, weight.shape[0] // groups, *weight.shape[1:])
        found = _of_one_set(a, split, (1, *range(3, split.ndim)), absent=True)
        total = along_channels(reshaped(found, (-1,)), rank)
    return total if shift is None else arithmetic.added(total, along_channels(shift, rank))


@gives("Einsum")
def einsum(node: NodeView, of: Operands) -> Range:
    """Sums of products of one or two operands; of more, finite if all are."""
    operands = [given(of, index) for index in range(len(node.inputs))]
    if len(operands) != 2:
        return anything(output_type(node), finite=all(each.tame for each in operands))
    return _unknown(collapsed(operands[0]), collapsed(operands[1]))


finite_of_finite("DeformConv", "LSTM", "GRU", "RNN", "STFT", "DFT", "GridSample", "RoiAlign", "CumSum", "Det", "AffineGrid")
finite_of_finite("RotaryEmbedding", "BlackmanWindow", "HannWindow", "HammingWindow", "MaxRoiPool", "MaxUnpool", "Col2Im")
finite_of_finite("Cosh", "NegativeLogLikelihoodLoss", "CausalConvWithState")
finite_of_finite(
    "FusedConv",
    "FusedGemm",
    "FusedMatMul",
    "TransposeMatMul",
    "Attention",
    "MultiHeadAttention",
    "GroupQueryAttention",
    "BiasGelu",
    "BiasAdd",
    "BiasSplitGelu",
    "MatMulNBits",
    "MatMulBnb4",
    "MatMulFpQ4",
    "MatMulInteger16",
    "MatMulIntegerToFloat",
    "DynamicQuantizeMatMul",
    "DynamicQuantizeLSTM",
    "RotaryEmbedding",
    "NhwcMaxPool",
    "NhwcFusedConv",
    "GridSample",
    "MoE",
    "QMoE",
    "DecoderMaskedMultiHeadAttention",
    "EmbedLayerNormalization",
    "QAttention",
    "FusedConvTranspose",
    "CDist",
    "Rfft",
    "Irfft",
    domain="com.microsoft",
)
