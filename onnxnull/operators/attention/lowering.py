"""Attention and MultiHeadAttention of com.microsoft to double, without a past."""

from __future__ import annotations

import numpy as np

from onnxnull.operators.lowering import Emitter, NotLowerableError, Site, lowers

_MICROSOFT = "com.microsoft"
_KEY, _VALUE = 1, 2


@lowers("Attention", domain=_MICROSOFT)
def lowered_attention(site: Site, emit: Emitter) -> str:
    """softmax(scale·Q·Kᵀ + masks)·V per head; masked scores get mask_filter_value added, later ones (unidirectional) vanish."""
    shape, heads = site.shape(1), int(site.attribute("num_heads", 0))
    if site.input(4) is not None or (len(site.outputs) > 1 and site.outputs[1]) or site.attribute("do_rotary", 0):
        raise NotLowerableError("Attention with a past, or with rotary embeddings")
    if shape is None or shape[1] is None or heads < 1:
        raise NotLowerableError("the shape of the projection is not known")
    sizes = site.attribute("qkv_hidden_sizes", None) or [shape[1] // 3] * 3
    product = emit.op("MatMul", *site.inputs[:2])
    bias = site.input(2)
    if bias is not None:
        product = emit.add(product, bias)
    starts = (0, sizes[0], sizes[0] + sizes[1])
    query, key, value = (emit.slice(product, 2, start, start + size) for start, size in zip(starts, sizes, strict=True))
    return _attended(site, emit, (query, key, value), heads, mask=3, addend=5)


@lowers("MultiHeadAttention", domain=_MICROSOFT)
def lowered_multi_head_attention(site: Site, emit: Emitter) -> str:
    """The same of a query, a key and a value of three axes, to which a bias may be added."""
    heads = int(site.attribute("num_heads", 0))
    if any(site.input(index) for index in range(6, len(site.inputs))) or any(site.outputs[1:]):
        raise NotLowerableError("MultiHeadAttention with a past")
    if site.input(_KEY) is None or site.input(_VALUE) is None or any(site.rank(index) != 3 for index in range(3)) or heads < 1:
        raise NotLowerableError("MultiHeadAttention of packed operands")
    parts = list(site.inputs[:3])
    if site.input(3) is not None:
        shapes = [site.shape(index) for index in range(3)]
        sizes = [None if shape is None else shape[2] for shape in shapes]
        start = 0
        for index, size in enumerate(sizes):
            if size is None:
                raise NotLowerableError("the sizes of query, key and value are not known")
            parts[index] = emit.add(parts[index], emit.slice(site.inputs[3], 0, start, start + size))
            start += size
    return _attended(site, emit, (parts[0], parts[1], parts[2]), heads, mask=4, addend=5)


def _attended(site: Site, emit: Emitter, parts: tuple[str, str, str], heads: int, *, mask: int, addend: int) -> str:
    """From query, key and value (N, length, heads·size); `mask` and `addend`: where the node has what the scores are added."""
    orders = ((0, 2, 1, 3), (0, 2, 3, 1), (0, 2, 1, 3))
    query, key, value = (
        emit.transpose(emit.reshape(part, (0, 0, heads, -1)), order) for part, order in zip(parts, orders, strict=True)
    )
    scale = site.attribute("scale", 0.0)
    scores = emit.op("MatMul", query, key)
    if scale:
        scores = emit.mul(scores, scale)
    else:
        scores = emit.div(scores, emit.op("Sqrt", emit.op("Cast", emit.shape(query, 3, 4), to=11)))
    if site.input(mask) is not None:
        scores = emit.add(scores, _masked(site, emit, mask))
    if site.input(addend) is not None:
        scores = emit.add(scores, site.inputs[addend])
    if site.attribute("unidirectional", 0):
        scores = emit.op("Where", _later(emit, scores), emit.constant(float(np.finfo(np.float64).min)), scores)
    mixed = emit.transpose(emit.op("MatMul", emit.op("Softmax", scores, axis=-1), value), (0, 2, 1, 3))
    return emit.reshape(mixed, emit.concat([emit.shape(mixed, 0, 2), emit.integers(-1)]))


def _masked(site: Site, emit: Emitter, index: int) -> str:
    """What a raw mask (N, keys) or (N, queries, keys), 1 for what counts, adds to the scores (N, heads, queries, keys)."""
    rank = site.rank(index)
    if rank not in (2, 3):
        raise NotLowerableError(f"a mask of {rank} axes")
    axes = emit.integers(1, 2) if rank == 2 else emit.integers(1)
    mask = emit.op("Cast", emit.op("Unsqueeze", site.inputs[index], axes), to=11)
    counts = emit.op("Greater", mask, emit.constant(0.0))
    filtered = emit.constant(float(site.attribute("mask_filter_value", -10000.0)))
    return emit.op("Where", counts, emit.constant(0.0), filtered)


def _later(emit: Emitter, scores: str) -> str:
    """Where the key comes after the query."""
    zero, one = emit.constant(np.array(0)), emit.constant(np.array(1))
    places = emit.op("Range", zero, emit.op("Squeeze", emit.shape(scores, 3, 4)), one)
    return emit.op("Greater", emit.op("Unsqueeze", places, emit.integers(0)), emit.op("Unsqueeze", places, emit.integers(1)))
