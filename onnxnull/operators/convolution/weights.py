"""Conv (opset 1 to 22) and ConvTranspose (opset 1 to 22), any number of spatial dimensions.

Conv: X (N, C, D1..Dn), W (M, C/group, k1..kn); Y[m] = Σ over a patch of X × W[m], each group of channels on its own. As a
matrix by im2col: g blocks of (C/g·∏k, M/g), rows in the order of W's axes.

ConvTranspose: X (N, C, D1..Dn), W (C, M/group, k1..kn): each input position is multiplied into a patch of the output, where
patches add up. As a matrix: g blocks of (C/g, M/g·∏k).

Attributes: auto_pad NOTSET | VALID | SAME_UPPER | SAME_LOWER, dilations, group, kernel_shape, pads (begins, then ends),
strides; ConvTranspose also output_padding and output_shape.
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
from onnxnull.kernel.maps.convolution import Convolution, TransposedConvolution, transposed
from onnxnull.kernel.maps.im2col import ConvGeometry
from onnxnull.kernel.maps.linear_map import LinearMap
from onnxnull.operators.linear_use import LinearUse, Refusal, constant_at, holds_weights, is_constant

Shape = tuple[int, ...]


@holds_weights("Conv")
def conv(node: Node) -> Iterator[LinearUse]:
    """The filters, input 1."""
    weight = constant_filters(node)
    if weight is not None:
        yield conv_use(node, weight)


@holds_weights("ConvTranspose")
def conv_transpose(node: Node) -> Iterator[LinearUse]:
    """The filters, input 1."""
    weight, groups = constant_filters(node), int(node.attribute("group", 1))
    if weight is None:
        return
    channels, outputs = weight.shape[:2]
    if groups < 1 or channels % groups:
        raise Refusal(Code.INVALID_MODEL, f"{channels} input channels do not divide into {groups} groups")
    yield LinearUse(
        constant=weight,
        activation=0,
        shape=(groups, channels // groups, outputs * math.prod(weight.shape[2:])),
        arrange=partial(transposed_blocks, groups),
        linear_map=partial(_conv_transpose_map, node, weight.shape),
        paper=False,
        groups=groups,
        on_images=True,
    )


def conv_use(node: Node, weight: Constant, *, integer: bool = False) -> LinearUse:
    """Filters (M, C/group, *k) as a node with Conv's attributes applies them to its input 0. Raises `Refusal`."""
    groups = int(node.attribute("group", 1))
    outputs, channels = weight.shape[:2]
    if groups < 1 or outputs % groups:
        raise Refusal(Code.INVALID_MODEL, f"{outputs} filters do not divide into {groups} groups")
    return LinearUse(
        constant=weight,
        activation=0,
        shape=(groups, channels * math.prod(weight.shape[2:]), outputs // groups),
        arrange=partial(conv_blocks, groups),
        linear_map=partial(_conv_map, node, weight.shape),
        paper=True,
        groups=groups,
        on_images=True,
        integer=integer,
    )


def conv_blocks(groups: int, weight: np.ndarray) -> np.ndarray:
    """Conv's weight (M, C/g, *k) as blocks (g, C/g·∏k, M/g); a view where the layout allows."""
    return weight.reshape(groups, weight.shape[0] // groups, math.prod(weight.shape[1:])).swapaxes(1, 2)


def transposed_blocks(groups: int, weight: np.ndarray) -> np.ndarray:
    """ConvTranspose's weight (C, M/g, *k) as blocks (g, C/g, M/g·∏k)."""
    return weight.reshape(groups, weight.shape[0] // groups, math.prod(weight.shape[1:]))


def convolution_on(node: Node, kernel: Shape, blocks: np.ndarray, image: Shape) -> Convolution:
    """A Conv node on one sample of shape `image` = (C, *spatial). Raises `ValueError` if it does not fit, or is too large."""
    spatial = image[1:]
    strides, dilations = _per_axis(node, "strides", spatial), _per_axis(node, "dilations", spatial)
    begins, ends = _pads(node, spatial, kernel, strides, dilations)
    return Convolution(ConvGeometry(spatial, kernel, strides, dilations, begins, ends, image[0], len(blocks)), blocks)


def transposed_convolution_on(
    node: Node, kernel: Shape, blocks: np.ndarray, image: Shape, *, pads: Shape | None = None
) -> TransposedConvolution:
    """A ConvTranspose node on one sample of shape `image` = (C, *spatial).

    With `output_shape`, or with auto_pad SAME_* where the output is stride·input, the total padding of an axis is
    stride·(input − 1) + output_padding + extent − output; its larger half goes to the end for SAME_UPPER and otherwise
    to the beginning (operator specification of ConvTranspose). `pads`, begins and ends, stand for the node's attribute.
    """
    spatial = image[1:]
    strides, dilations = _per_axis(node, "strides", spatial), _per_axis(node, "dilations", spatial)
    extra = tuple(node.attribute("output_padding", None) or (0,) * len(spatial))
    auto_pad = node.attribute("auto_pad", "NOTSET")
    target = node.attribute("output_shape", None)
    if target is None and auto_pad in ("SAME_UPPER", "SAME_LOWER"):
        target = [stride * size for stride, size in zip(strides, spatial, strict=True)]
    if target is None:
        begins, ends = _explicit_pads(node, len(spatial), pads) if auto_pad == "NOTSET" else ((0,) * len(spatial),) * 2
    else:
        axes = zip(target[-len(spatial) :], spatial, strides, kernel, dilations, extra, strict=True)
        totals = [s * (n - 1) + e + (k - 1) * d + 1 - t for t, n, s, k, d, e in axes]
        small, large = tuple(max(0, t) // 2 for t in totals), tuple(max(0, t) - max(0, t) // 2 for t in totals)
        begins, ends = (small, large) if auto_pad == "SAME_UPPER" else (large, small)
        if node.attribute("output_shape", None) is not None:  # an output beyond every filter's reach is zero there
            ends = tuple(t - begin for t, begin in zip(totals, begins, strict=True))
    return transposed(
        spatial,
        kernel,
        blocks,
        strides=strides,
        dilations=dilations,
        pads_begin=begins,
        pads_end=ends,
        output_padding=extra,
    )


def _conv_map(node: Node, weight: Shape, blocks: np.ndarray, activation: Shape) -> LinearMap:
    _check_rank(weight, activation)
    return Batched(convolution_on(node, weight[2:], blocks, activation[1:]), activation[0])


def _conv_transpose_map(node: Node, weight: Shape, blocks: np.ndarray, activation: Shape) -> LinearMap:
    _check_rank(weight, activation)
    return Batched(transposed_convolution_on(node, weight[2:], blocks, activation[1:]), activation[0])


def _check_rank(weight: Shape, activation: Shape) -> None:
    if len(weight) != len(activation):
        raise ValueError(f"filters of shape {weight} on an image of shape {activation}")


def constant_filters(node: Node, index: int = 1) -> Constant | None:
    """The filters at input `index`; None where they depend on the model's inputs. Raises `Refusal`."""
    if is_constant(node, 0) and is_constant(node, index):
        return None  # at most the bias depends on the model's inputs
    weight = constant_at(node, index)
    if weight is None:
        if is_constant(node, 0):
            raise Refusal(Code.OPERATOR, "a constant image convolved with filters that the network computes")
        return None
    if len(weight.shape) < 3:
        raise Refusal(Code.INVALID_MODEL, f"filters of shape {weight.shape} have no spatial axis")
    return weight


def _per_axis(node: Node, name: str, spatial: Shape) -> Shape:
    return tuple(node.attribute(name, None) or (1,) * len(spatial))


def _explicit_pads(node: Node, axes: int, pads: Shape | None = None) -> tuple[Shape, Shape]:
    pads = pads or tuple(node.attribute("pads", None) or (0,) * (2 * axes))
    return pads[:axes], pads[axes:]


def _pads(node: Node, spatial: Shape, kernel: Shape, strides: Shape, dilations: Shape) -> tuple[Shape, Shape]:
    """Padding at the beginning and the end of every axis. SAME_*: the output has ⌈input / stride⌉ positions."""
    auto_pad = node.attribute("auto_pad", "NOTSET")
    if auto_pad == "NOTSET":
        return _explicit_pads(node, len(spatial))
    if auto_pad == "VALID":
        return (0,) * len(spatial), (0,) * len(spatial)
    axes = zip(spatial, kernel, strides, dilations, strict=True)
    totals = [max(0, (-(-n // s) - 1) * s + (k - 1) * d + 1 - n) for n, k, s, d in axes]
    small, large = tuple(t // 2 for t in totals), tuple(t - t // 2 for t in totals)
    return (small, large) if auto_pad == "SAME_UPPER" else (large, small)
