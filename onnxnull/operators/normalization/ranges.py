"""Ranges of normalizations: (x − mean) / √(variance + ε) · scale + bias (ONNX opsets 1 to 23, and onnxruntime's own).

A variance that is computed is 0 or more, so only ε = NaN, ε ≤ 0 in a group of one entry, or NaN among the entries make NaN for
certain. A group of one entry is its own mean: it becomes 0 for every input.
"""

from __future__ import annotations

import math

import numpy as np

from onnxnull.graph.node import Node
from onnxnull.intervals import arithmetic
from onnxnull.intervals.domain import INF, Range, anything, collapsed, made, number, union
from onnxnull.operators.range_rules import Operands, along_channels, axis_length, given, gives, output_type, part_along, rank_of

_MICROSOFT = "com.microsoft"


@gives("BatchNormalization")
def batch(node: Node, of: Operands) -> list[Range]:
    """(x − mean)·s + bias or x·s + (bias − mean·s), s = scale / √(variance + ε). In training, anything."""
    trains = node.attribute("training_mode", 0) or sum(output is not None for output in node.outputs) > 1
    if trains or (node.version < 7 and not node.attribute("is_test", 0)) or not node.attribute("spatial", 1):
        return [anything(output_type(node))]
    rank = rank_of(node)
    scale, bias, mean, variance = (along_channels(given(of, index), rank) for index in range(1, 5))
    a, dtype = given(of, 0), output_type(node)
    root = arithmetic.square_root(of.rounded(arithmetic.added(variance, number(float(node.attribute("epsilon", 1e-5)))), dtype))
    factor = of.rounded(arithmetic.divided(scale, root), dtype)
    moved = of.rounded(arithmetic.multiplied(arithmetic.subtracted(a, mean), factor), dtype)
    shift = of.rounded(arithmetic.subtracted(bias, of.rounded(arithmetic.multiplied(mean, factor), dtype)), dtype)
    return [union(arithmetic.added(moved, bias), arithmetic.added(arithmetic.multiplied(a, factor), shift))]


def normalized(a: Range, epsilon: float, *, alone: bool, centred: bool) -> Range:
    """x̂ of entries whose groups share the set `a`.

    Args:
        alone: whether a group is one entry.
        centred: whether the mean is taken off.
    """
    lost = np.asarray(math.isnan(epsilon)) | (a.empty if centred else a.only_nan)
    if alone and centred:
        lost |= epsilon <= 0
    zero = (alone and centred) or epsilon == INF
    wild = a.nan | a.infinite | (epsilon <= 0)
    infinite = np.asarray(epsilon <= 0)  # divided by 0
    lo, hi = (0.0, 0.0) if zero else (-INF, INF)
    return made(
        np.where(lost, INF, lo), np.where(lost, -INF, hi), wild | lost, infinite & ~lost, infinite & ~lost, sized=a.sized
    )


def _grouped(node: Node, a: Range, axes: tuple[int, ...] | None) -> tuple[Range, bool]:
    """One set for each group along `axes`, and whether a group is a single entry.

    An entry that must be lost loses its group: where there is one, the group's set is that of the worst.
    """
    rank = rank_of(node)
    if axes is None or rank is None:
        return collapsed(a), False
    own = tuple(part for axis in axes if (part := part_along(a, axis, rank)) is not None)
    alone = all(axis_length(node, axis) == 1 for axis in axes)
    if not own:
        return a, alone
    joined = collapsed(a, own)
    empty = np.any(a.empty, axis=own, keepdims=True)
    return made(
        np.where(empty, INF, joined.lo),
        np.where(empty, -INF, joined.hi),
        joined.nan | empty,
        joined.pinf,
        joined.ninf,
        joined.fixed,
        joined.sized,
    ), alone


def _scaled(x: Range, scale: Range | None, bias: Range | None) -> Range:
    result = x if scale is None else arithmetic.multiplied(x, scale)
    return result if bias is None else arithmetic.added(result, bias)


@gives("LayerNormalization", "RMSNormalization", "SimplifiedLayerNormalization")
def layer(node: Node, of: Operands) -> list[Range]:
    """Over the axes from `axis` (default −1) on; scale and bias lie along the last axes. RMS takes no mean off."""
    rank, axis = rank_of(node), int(node.attribute("axis", -1))
    axes = None if rank is None or not -rank <= axis < rank else tuple(range(axis % rank, rank))
    centred = node.op_type == "LayerNormalization"
    a, alone = _grouped(node, given(of, 0), axes)
    if not centred and not a.only_nan.all():
        a = collapsed(given(of, 0))
    x = normalized(a, float(node.attribute("epsilon", 1e-5)), alone=alone, centred=centred)
    return [_scaled(x, given(of, 1), of(2) if centred else None)]


@gives("InstanceNormalization", "GroupNormalization", "MeanVarianceNormalization")
def instance(node: Node, of: Operands) -> Range:
    """Over the spatial axes, or those and a group of channels. Scales are one a channel (one a group before opset 21)."""
    rank, epsilon = rank_of(node), float(node.attribute("epsilon", 1e-5))
    if node.op_type == "MeanVarianceNormalization":
        return normalized(collapsed(given(of, 0)), 1e-9, alone=False, centred=True)
    spatial = None if rank is None else tuple(range(2, rank))
    a, alone = _grouped(node, given(of, 0), spatial)
    if node.op_type == "GroupNormalization":
        channels = axis_length(node, 1)
        alone = alone and channels is not None and channels == int(node.attribute("num_groups", 1))
        whole = collapsed(given(of, 0))
        a = whole if not a.empty.all() else a
    scale, bias = given(of, 1), given(of, 2)
    if node.op_type == "GroupNormalization" and node.version < 21:
        scale, bias = collapsed(scale), collapsed(bias)
    return _scaled(normalized(a, epsilon, alone=alone, centred=True), along_channels(scale, rank), along_channels(bias, rank))


@gives("SkipLayerNormalization", "SkipSimplifiedLayerNormalization", domain=_MICROSOFT)
def skip(node: Node, of: Operands) -> list[Range]:
    """The sum of two tensors and a bias, normalized over the last axis; the sum itself is the fourth output."""
    centred = node.op_type == "SkipLayerNormalization"
    total = arithmetic.added(given(of, 0), given(of, 1))
    bias = of(4 if centred else 3)
    if bias is not None:
        total = arithmetic.added(total, bias)
    x = normalized(collapsed(total), float(node.attribute("epsilon", 1e-12)), alone=False, centred=centred)
    anything_else = anything(None)
    return [_scaled(x, given(of, 2), of(3) if centred else None), anything_else, anything_else, total]


@gives("EmbedLayerNormalization", domain=_MICROSOFT)
def embedding(node: Node, of: Operands) -> list[Range]:
    """The sum of the rows of two or three tables, normalized over the last axis; a mask index; the sum."""
    total = number(0.0)
    for index in (2, 3, 4):
        table = of(index)
        if table is not None:
            total = arithmetic.added(total, collapsed(table).varies())
    x = normalized(total, float(node.attribute("epsilon", 1e-12)), alone=False, centred=True)
    return [_scaled(x, given(of, 5), given(of, 6)), anything(output_type(node, 1)), total]


@gives("LRN")
def local_response(node: Node, of: Operands) -> Range:
    """x / (bias + α/size · Σ x²)^β: finite of finite where bias is positive and α is not negative."""
    a = collapsed(given(of, 0))
    bias, alpha, beta = (float(node.attribute(name, value)) for name, value in (("bias", 1.0), ("alpha", 1e-4), ("beta", 0.75)))
    if math.isnan(bias) or math.isnan(alpha) or math.isnan(beta) or a.only_nan.all():
        return number(math.nan)
    return anything(output_type(node), finite=a.tame and bias > 0 and 0 <= alpha < INF and abs(beta) < INF, sized=a.sized)
