"""Ranges of MatMul, Gemm and Einsum (all opsets)."""

from __future__ import annotations

import numpy as np

from onnxnull.graph.node import Node
from onnxnull.intervals import arithmetic
from onnxnull.intervals.domain import (
    INF,
    Range,
    anything,
    collapsed,
    made,
    number,
    reshaped,
    simplified,
    summary,
    union,
)
from onnxnull.operators.range_rules import Operands, finite_of_finite, given, gives, output_type, rank_of
from onnxnull.operators.range_sums import of_many_sets, of_one_set, of_unknown_count, weight_of


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


def product(a: Range, rank: int | None, b: Range, left: np.ndarray | None, right: np.ndarray | None, slack: float) -> Range:
    """The matrix product of two operands, of which one may be a constant array; `rank` is that of the left one."""
    if (rows := _rows(a, rank)) is not None and bool(rows.empty.any()) and not bool(rows.empty.all()):
        return of_unknown_count(rows, collapsed(b) if right is None else summary(right))
    if right is not None and right.ndim >= 1 and right.size:
        if right.ndim > 2:
            return collapsed(of_one_set(collapsed(a), right, (right.ndim - 2,), slack))
        columns = right.reshape(len(right), -1)
        entries = collapsed(a, tuple(range(len(a.shape) - 1))) if a.shape else a
        if entries.lo.size == len(columns) > 1 and simplified(entries).lo.size > 1:
            found = of_many_sets(reshaped(entries, (-1,)), columns, slack)
        else:
            found = of_one_set(collapsed(a), columns, (0,), slack)
        return found if right.ndim == 2 else reshaped(found, ())
    if left is not None and left.ndim == 2 and left.size:
        return reshaped(of_one_set(collapsed(b), left, (1,), slack), (-1, 1))
    return of_unknown_count(collapsed(a), collapsed(b))


@gives("MatMul")
def matmul(node: Node, of: Operands) -> Range:
    """As NumPy's matmul."""
    left, right = weight_of(node, of, 0), weight_of(node, of, 1)
    if (rank_of(node, 1) or 0) < 2:
        left = None
    return product(_value(of, 0, left), rank_of(node, 0), _value(of, 1, right), left, right, of.slack)


def _value(of: Operands, index: int, array: np.ndarray | None) -> Range:
    """The range of an operand; that of a constant weight is not needed."""
    return number(0.0) if array is not None and array.size > 1 else given(of, index)


@gives("Gemm")
def gemm(node: Node, of: Operands) -> Range:
    """α·A·B + β·C; without C, or with β = 0, C is not read. With α = 0 a library may skip the product: then it is 0."""
    alpha, beta = float(node.attribute("alpha", 1.0)), float(node.attribute("beta", 1.0))
    a, right = given(of, 0), weight_of(node, of, 1)
    if node.attribute("transA", 0):
        a = collapsed(a)
    if right is not None and node.attribute("transB", 0):
        right = right.T
    total = product(a, rank_of(node, 0), given(of, 1) if right is None else number(0.0), None, right, of.slack)
    dtype = output_type(node)
    scaled = of.rounded(arithmetic.multiplied(number(alpha), total), dtype) if alpha != 1 else total
    if alpha == 0:
        scaled = union(scaled, number(0.0))
    shift = of(2)
    if shift is None or beta == 0:
        return scaled
    return arithmetic.added(scaled, of.rounded(arithmetic.multiplied(number(beta), shift), dtype) if beta != 1 else shift)


@gives("Einsum")
def einsum(node: Node, of: Operands) -> Range:
    """Sums of products of one or two operands; of more, finite if all are."""
    operands = [given(of, index) for index in range(len(node.inputs))]
    if len(operands) != 2:
        return anything(output_type(node), finite=all(each.tame for each in operands))
    return of_unknown_count(collapsed(operands[0]), collapsed(operands[1]))


finite_of_finite("FusedGemm", "FusedMatMul", "TransposeMatMul", domain="com.microsoft")
