"""Convolutions of another kind: on deformed patches, causal with a state, of words.

DeformConv (ai.onnx, opset 19 and 22): Conv's filters (M, C/g, *k), input 1, on patches whose entries are interpolated at
positions that the network computes: the im2col matrix acts on such a patch, and there is no operator on the image.
CausalConvWithState (ai.onnx, opset 27; com.microsoft, opset 1): a depthwise convolution along the last axis, filters
(C, 1, *k), that reads (k − 1)·dilation earlier positions, of the state or zeros. com.microsoft's has `dilation`,
`channels_last` (N, length, *channels) and `ndim`; how other axes are padded if ndim > 1 its schema leaves open. Its second
output is the new state, which shows entries of the input. VarlenCausalConvWithState (com.microsoft): over packed sequences.
WordConvEmbedding (com.microsoft): characters (words, characters) are looked up in a table (input 3), and windows of k of them
multiplied by filters (M, 1, k, size), input 1; then tanh and the maximum over the windows.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import partial

import numpy as np

from onnxnull.errors import Code
from onnxnull.graph.constants import Constant
from onnxnull.graph.node import Node
from onnxnull.kernel.maps.batched import Batched
from onnxnull.kernel.maps.convolution import Convolution
from onnxnull.kernel.maps.im2col import ConvGeometry
from onnxnull.kernel.maps.linear_map import LinearMap
from onnxnull.kernel.maps.primitives import BlockMatrix, Permute, Reshape
from onnxnull.operators.convolution.weights import conv_blocks
from onnxnull.operators.linear_use import LinearUse, Refusal, constant_at, holds_weights, is_constant, shows_only_first_output

Shape = tuple[int, ...]
_MICROSOFT = "com.microsoft"


@holds_weights("DeformConv")
def deform_conv(node: Node) -> Iterator[LinearUse]:
    """The filters, input 1."""
    weight = _filters(node, 3)
    if weight is not None:
        yield _on_patches(weight, int(node.attribute("group", 1)))


@holds_weights("VarlenCausalConvWithState", domain=_MICROSOFT)
def varlen_causal_conv(node: Node) -> Iterator[LinearUse]:
    """The filters, input 1, one a channel."""
    weight = _filters(node, 3)
    if weight is not None:
        yield _on_patches(weight, weight.shape[0])


@holds_weights("WordConvEmbedding", domain=_MICROSOFT)
def word_conv(node: Node) -> Iterator[LinearUse]:
    """The filters, input 1, on the characters that were looked up."""
    weight = _filters(node, 4)
    if weight is not None:
        yield _on_patches(weight, 1)


@holds_weights("CausalConvWithState")
@holds_weights("CausalConvWithState", domain=_MICROSOFT)
def causal_conv(node: Node) -> Iterator[LinearUse]:
    """The filters, input 1, one a channel; as an operator on the input where there is one axis and nobody reads the state."""
    weight = _filters(node, 3)
    if weight is None:
        return
    if weight.shape[1] != 1:
        raise Refusal(Code.INVALID_MODEL, f"{node.op_type} with filters of shape {weight.shape}")
    known = len(weight.shape) == 3 and shows_only_first_output(node)
    yield _on_patches(weight, weight.shape[0], node if known else None)


def _filters(node: Node, least_rank: int) -> Constant | None:
    """The constant filters; None where they depend on the model's inputs or nothing else does."""
    weight = None if is_constant(node, 0) else constant_at(node, 1)
    if weight is not None and len(weight.shape) < least_rank:
        raise Refusal(Code.INVALID_MODEL, f"filters of shape {weight.shape} have no spatial axis")
    return weight


def _on_patches(weight: Constant, groups: int, causal: Node | None = None) -> LinearUse:
    outputs, *rest = weight.shape
    if groups < 1 or outputs % groups:
        raise Refusal(Code.INVALID_MODEL, f"{outputs} filters do not divide into {groups} groups")
    return LinearUse(
        constant=weight,
        activation=None if causal is None else 0,
        shape=(groups, math.prod(rest), outputs // groups),
        arrange=partial(conv_blocks, groups),
        linear_map=_patch_map if causal is None else partial(_causal_map, causal),
        paper=True,
        groups=groups,
        on_images=causal is not None,
    )


def _patch_map(blocks: np.ndarray, activation: Shape) -> LinearMap:
    return BlockMatrix(blocks, activation[:-2])


def _causal_map(node: Node, blocks: np.ndarray, activation: Shape) -> LinearMap:
    last = bool(node.attribute("channels_last", 0)) and node.domain == _MICROSOFT
    batch, channels = activation[0], math.prod(activation[2:]) if last else activation[1]
    length = activation[1] if last else activation[2]
    dilation = int(node.attribute("dilation", 1)) if node.domain == _MICROSOFT else 1
    kernel = blocks.shape[1]
    before = ((kernel - 1) * dilation,)
    geometry = ConvGeometry((length,), (kernel,), (1,), (dilation,), before, (0,), channels, channels)
    convolution = Batched(Convolution(geometry, blocks), batch)
    if not last:
        return convolution
    flat = (batch, length, channels)
    there, back = Permute(flat, (0, 2, 1)), Permute((batch, channels, length), (0, 2, 1))
    return Reshape(flat, activation) @ back @ convolution @ there @ Reshape(activation, flat)
