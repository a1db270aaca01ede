"""Weights inside attention operators.

Projections (com.microsoft, opset 1; its schemas in onnxruntime). Attention, PackedAttention, DecoderMaskedSelfAttention:
[Q, K, V] = input·W + b, W (input, q + k + v) at input 1: one matrix, as the fused projection of a vision transformer is, which
the paper counts as one fully connected layer. LongformerAttention: W and, for global attention, a second one, both on the
input. DecoderAttention: q_weight on the query; kv_weight on the key if static_kv, else on the query.
GatedRelativePositionBias: W (head, D) on every head of the query.

Learned queries: softmax(scale·Q·Kᵀ + ...)·V of Attention (ai.onnx, opset 23 and 24), FlexAttention (ai.onnx.preview, opset 1)
and MultiHeadAttention (com.microsoft) is linear in nothing but the product Q·Kᵀ: a constant Q is a weight on K, a constant K
one on Q, a constant V one on the probabilities, which stay inside the node. One block per sample and head; with fewer heads of
K than of Q, those that share a head of K are one block. Q, K and V are (N, heads, length, size) or (N, length, heads·size).
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np

from onnxnull.errors import Code
from onnxnull.graph.constants import Constant, EvaluationError
from onnxnull.graph.node import Node
from onnxnull.kernel.maps.linear_map import LinearMap
from onnxnull.kernel.maps.primitives import BlockMatrix, Matrix, Permute, Reshape
from onnxnull.operators.linear_use import (
    LinearUse,
    Refusal,
    batches,
    constant_at,
    holds_weights,
    is_constant,
    shape_at,
    shows_only_first_output,
)

Shape = tuple[int, ...]
_MICROSOFT = "com.microsoft"
_QUERY, _KEY, _VALUE = 0, 1, 2


@holds_weights("Attention", "PackedAttention", "DecoderMaskedSelfAttention", domain=_MICROSOFT)
def fused_projection(node: Node) -> Iterator[LinearUse]:
    """The weights of Q, K and V side by side, input 1."""
    yield from _projections(node, {1: 0})


@holds_weights("LongformerAttention", domain=_MICROSOFT)
def longformer(node: Node) -> Iterator[LinearUse]:
    """The weights of local and of global attention, inputs 1 and 4."""
    yield from _projections(node, {1: 0, 4: 0})


@holds_weights("DecoderAttention", domain=_MICROSOFT)
def decoder(node: Node) -> Iterator[LinearUse]:
    """The weights of the query and of key and value, inputs 2 and 3; which tensor meets the second is known at run time only,
    unless static_kv (input 8) is constant.
    """
    static = constant_at(node, 8)
    if static is None:
        yield from _projections(node, {2: None, 3: None})
        return
    try:
        crossed = bool(np.asarray(static.array()).any())
    except EvaluationError as error:
        raise Refusal(Code.CONSTANT, f"static_kv was not evaluated: {error}") from None
    yield from _projections(node, {2: 0, 3: 1 if crossed else 0})


def _projections(node: Node, weights: dict[int, int | None]) -> Iterator[LinearUse]:
    """Index of each weight → index of the activation whose last axis it multiplies."""
    for index, activation in weights.items():
        weight = constant_at(node, index)
        if weight is None or (activation is not None and is_constant(node, activation)):
            continue
        if len(weight.shape) != 2:
            raise Refusal(Code.INVALID_MODEL, f"{node.op_type} with a weight of shape {weight.shape}")
        yield LinearUse(
            constant=weight,
            activation=activation,
            shape=(1, *weight.shape),
            arrange=partial(one_block),
            linear_map=last_axis_map,
            paper=True,
        )


@holds_weights("GatedRelativePositionBias", domain=_MICROSOFT)
def gated_bias(node: Node) -> Iterator[LinearUse]:
    """The weight of the gates, input 3, on every head of the query."""
    weight = constant_at(node, 3)
    if weight is None or is_constant(node, 0):
        return
    if len(weight.shape) != 2:
        raise Refusal(Code.INVALID_MODEL, f"{node.op_type} with a weight of shape {weight.shape}")
    yield LinearUse(
        constant=weight,
        activation=0,
        shape=(1, *weight.shape),
        arrange=partial(one_block),
        linear_map=_each_head_map,
        paper=True,
    )


def one_block(weight: np.ndarray) -> np.ndarray:
    """A matrix (inputs, outputs) as one block."""
    return weight[None]


def last_axis_map(blocks: np.ndarray, activation: Shape) -> LinearMap:
    """One block on the last axis of the activation."""
    return Matrix(blocks[0], activation[:-1])


def _each_head_map(blocks: np.ndarray, activation: Shape) -> LinearMap:
    size = blocks.shape[1]
    heads = (*activation[:-1], activation[-1] // size, size)
    return Matrix(blocks[0], heads[:-1]) @ Reshape(activation, heads)


@batches("Attention")
@batches("FlexAttention", domain="ai.onnx.preview")
@batches("MultiHeadAttention", domain=_MICROSOFT)
def samples(node: Node, index: int, rank: int) -> tuple[int, ...]:
    """The first axis of queries, keys and values."""
    return (0,) if index in (_QUERY, _KEY, _VALUE) else ()


@holds_weights("Attention")
@holds_weights("FlexAttention", domain="ai.onnx.preview")
def attention(node: Node) -> Iterator[LinearUse]:
    """A constant query, key or value."""
    yield from _operands(node, int(node.attribute("q_num_heads", 0)), int(node.attribute("kv_num_heads", 0)))


@holds_weights("MultiHeadAttention", domain=_MICROSOFT)
def multi_head_attention(node: Node) -> Iterator[LinearUse]:
    """A constant query, key or value; its bias (input 3) would be added to the constant before the product."""
    heads = int(node.attribute("num_heads", 0))
    if any(is_constant(node, i) for i in range(3)):
        if node.input(_KEY) is None or node.input(_VALUE) is None:
            raise Refusal(
                Code.OPERATOR, "packed queries, keys and values are a constant: which part meets which is not analysed"
            )
        if node.input(3) is not None:
            raise Refusal(Code.OPERATOR, "a constant query, key or value to which the operator adds a bias is not analysed")
    yield from _operands(node, heads, heads)


def _operands(node: Node, query_heads: int, heads: int) -> Iterator[LinearUse]:
    constants = [is_constant(node, i) for i in range(3)]
    if not any(constants):
        return
    if constants[_QUERY] and constants[_KEY]:
        if not constants[_VALUE]:  # the probabilities are constants, and mix the rows of V
            raise Refusal(Code.OPERATOR, "a constant query and a constant key make constant weights of V: not analysed")
        return
    visible = shows_only_first_output(node)
    for index in (_QUERY, _KEY, _VALUE):
        constant = constant_at(node, index)
        if constant is not None:
            other = {_QUERY: _KEY, _KEY: _QUERY, _VALUE: None}[index]
            yield _operand(node, constant, index, other if visible else None, query_heads, heads)


def _operand(node: Node, constant: Constant, index: int, activation: int | None, query_heads: int, heads: int) -> LinearUse:
    own = query_heads if index == _QUERY else heads
    try:
        shape = split_shape(constant.shape, own)
    except ValueError as error:
        raise Refusal(Code.INVALID_MODEL, f"{node.op_type}: {error}") from None
    heads = heads or (shape[1] if index != _QUERY else _heads_of_key(node))
    if 0 in shape or heads < 1 or shape[1] % heads:
        raise Refusal(Code.INVALID_MODEL, f"{node.op_type}: {shape[1]} heads of a query on {heads} of a key")
    batch, own, length, size = shape
    blocks, together = batch * heads, own // heads
    return LinearUse(
        constant=constant,
        activation=activation,
        shape=(blocks, length, size) if index == _VALUE else (blocks, size, together * length),
        arrange=partial(head_blocks, shape, heads, index == _VALUE),
        linear_map=partial(_heads_map, heads, query_heads if index == _KEY else heads),
        paper=False,
        part=("query", "key", "value")[index],
    )


def _heads_of_key(node: Node) -> int:
    shape = shape_at(node, _KEY)
    heads = None if shape is None or len(shape) != 4 else shape[1]
    if heads is None:
        raise Refusal(Code.SHAPE, f"a constant query of {node.op_type}: how many heads the key has is not known")
    return heads


def split_shape(shape: Shape, heads: int) -> Shape:
    """(N, heads, length, size) of a query, key or value. ValueError for another rank, or heads that do not divide it."""
    if len(shape) == 4:
        return shape
    if len(shape) == 3 and heads > 0 and shape[2] % heads == 0:
        return (shape[0], heads, shape[1], shape[2] // heads)
    raise ValueError(f"a query, key or value of shape {shape} with {heads} heads")


def head_blocks(shape: Shape, heads: int, value: bool, constant: np.ndarray) -> np.ndarray:
    """One block per sample and head of K: Q or K as (size, rows), V as it is, (length, size)."""
    if constant.ndim == 3:
        constant = constant.reshape(shape[0], shape[2], shape[1], shape[3]).swapaxes(1, 2)
    stacked = constant.reshape(shape[0] * heads, -1, shape[3])
    return stacked if value else stacked.swapaxes(1, 2)


def _heads_map(heads: int, own: int, blocks: np.ndarray, activation: Shape) -> LinearMap:
    """What meets the blocks: (N, own heads, length, size), those that share a head of K one after the other.

    Its outputs, unlike the node's scores, are ordered (rows of the heads that share one, N·heads, columns).
    """
    batch, own, length, size = split_shape(activation, own or heads)
    together = (batch * heads, own // heads * length, size)
    layer = BlockMatrix(blocks, (together[1],)) @ Permute(together, (1, 0, 2))
    if len(activation) == 4:
        return layer @ Reshape(activation, together)
    apart = (batch, length, own, size)
    return layer @ Reshape((batch, own, length, size), together) @ Permute(apart, (0, 2, 1, 3)) @ Reshape(activation, apart)
