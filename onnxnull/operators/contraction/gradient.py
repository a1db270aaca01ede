"""Gradients of products: MatMul, Gemm and Einsum."""

from __future__ import annotations

from collections.abc import Mapping

from onnxnull.operators.gradients import NotDifferentiableError, Pull, differentiates


@differentiates("MatMul")
def matmul(pull: Pull) -> Mapping[int, str]:
    """A of (..., m, k), B of (..., k, n): ȳ·Bᵀ and Aᵀ·ȳ, summed over broadcast axes; vectors are matrices too."""
    emit, site = pull.emit, pull.site
    ranks = site.rank(0), site.rank(1)
    a, b = site.inputs[:2]
    cotangent = pull.cotangent
    if ranks[1] == 1:
        b, cotangent = emit.op("Unsqueeze", b, emit.integers(1)), emit.op("Unsqueeze", cotangent, emit.integers(-1))
    if ranks[0] == 1:
        a, cotangent = emit.op("Unsqueeze", a, emit.integers(0)), emit.op("Unsqueeze", cotangent, emit.integers(-2))
    rank_a, rank_b = max(ranks[0], 2), max(ranks[1], 2)
    found = {}
    if 0 in pull.wanted:
        product = emit.op("MatMul", cotangent, emit.transpose(b, _swapped(rank_b)))
        found[0] = _unrepeated(pull, product, 0, max(rank_a, rank_b))
    if 1 in pull.wanted:
        product = emit.op("MatMul", emit.transpose(a, _swapped(rank_a)), cotangent)
        found[1] = _unrepeated(pull, product, 1, max(rank_a, rank_b))
    return found


@differentiates("Gemm")
def gemm(pull: Pull) -> Mapping[int, str]:
    """Y = α·A'·B' + β·C, where A' and B' may be transposed."""
    emit, site = pull.emit, pull.site
    a, b = site.inputs[:2]
    alpha = float(site.attribute("alpha", 1.0))
    trans_a, trans_b = int(site.attribute("transA", 0)), int(site.attribute("transB", 0))
    found = {}
    if 0 in pull.wanted:
        if trans_a:
            found[0] = emit.op("Gemm", b, pull.cotangent, transA=trans_b, transB=1, alpha=alpha)
        else:
            found[0] = emit.op("Gemm", pull.cotangent, b, transB=1 - trans_b, alpha=alpha)
    if 1 in pull.wanted:
        if trans_b:
            found[1] = emit.op("Gemm", pull.cotangent, a, transA=1, transB=trans_a, alpha=alpha)
        else:
            found[1] = emit.op("Gemm", a, pull.cotangent, transA=1 - trans_a, alpha=alpha)
    if 2 in pull.wanted:
        found[2] = emit.mul(pull.summed(pull.cotangent, 2), float(site.attribute("beta", 1.0)))
    return found


@differentiates("Einsum")
def einsum(pull: Pull) -> Mapping[int, str]:
    """The other operands with the cotangent; an axis that only this operand has was summed, so its cotangent is repeated."""
    emit, site = pull.emit, pull.site
    left, arrow, output = site.attribute("equation", "").replace(" ", "").partition("->")
    terms = left.split(",")
    if not arrow:
        output = "".join(sorted(c for c in set(left) - {","} if left.count(c) == 1))
    if "." in left or any(len(set(term)) < len(term) for term in terms):
        raise NotDifferentiableError(f"equation {site.attribute('equation', '')!r}: an ellipsis or a repeated axis")
    found = {}
    for index in pull.wanted:
        others = [(term, name) for i, (term, name) in enumerate(zip(terms, site.inputs, strict=True)) if i != index]
        there = set(output).union(*(term for term, _ in others))
        kept = "".join(c for c in terms[index] if c in there)
        equation = ",".join([output, *(term for term, _ in others)]) + "->" + kept
        result = emit.op("Einsum", pull.cotangent, *(name for _, name in others), equation=equation)
        if kept != terms[index]:
            axes = [axis for axis, c in enumerate(terms[index]) if c not in there]
            result = emit.op("Expand", emit.op("Unsqueeze", result, emit.integers(*axes)), pull.shape_of(index))
        found[index] = result
    return found


def _swapped(rank: int) -> list[int]:
    """The last two axes exchanged."""
    return [*range(rank - 2), rank - 1, rank - 2]


def _unrepeated(pull: Pull, product: str, index: int, rank: int) -> str:
    """The product in the operand's own shape: summed over batch axes along which the operand was repeated."""
    emit, own, other = pull.emit, pull.site.rank(index), pull.site.rank(1 - index)
    if own == 1:  # a vector: as a matrix it has an axis of one more, and every axis before it was repeated
        product = emit.op("Squeeze", product, emit.integers(-2 if index == 0 else -1))
        rank -= 1
    if own >= 2 and other <= 2 and own >= rank:
        return product
    shape = pull.site.shape(index)
    assert shape is not None, "its rank is known"
    whole = pull.outputs[0]
    batch = (None,) * (rank - min(own, 2)) if whole is None else tuple(whole[: rank - min(own, 2)])
    return pull.summed(product, index, (*batch, *shape[-min(own, 2) :]))
