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
from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np

from onnxnull.errors import Code
from onnxnull.graph.constants import Constant
from onnxnull.graph.view import NodeView
from onnxnull.kernel.maps.batched import Batched
from onnxnull.kernel.maps.convolution import Convolution, TransposedConvolution, transposed
from onnxnull.kernel.maps.im2col import ConvGeometry
from onnxnull.kernel.maps.linear_map import LinearMap
from onnxnull.operators.convolution_strided import interleaved
from onnxnull.operators.lowering import LAST, Emitter, NotLowerableError, Site, lowers
from onnxnull.operators.registry import LinearUse, Refusal, constant_at, holds_weights, is_constant

Shape = tuple[int, ...]


@holds_weights("Conv")
def conv(node: NodeView) -> Iterator[LinearUse]:
    """The filters, input 1."""
    weight = constant_filters(node)
    if weight is not None:
        yield conv_use(node, weight)


@holds_weights("ConvTranspose")
def conv_transpose(node: NodeView) -> Iterator[LinearUse]:
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


def conv_use(node: NodeView, weight: Constant, *, integer: bool = False) -> LinearUse:
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


def convolution_on(node: NodeView, kernel: Shape, blocks: np.ndarray, image: Shape) -> Convolution:
    """A Conv node on one sample of shape `image` = (C, *spatial). Raises `ValueError` if it does not fit, or is too large."""
    spatial = image[1:]
    strides, dilations = _per_axis(node, "strides", spatial), _per_axis(node, "dilations", spatial)
    begins, ends = _pads(node, spatial, kernel, strides, dilations)
    return Convolution(ConvGeometry(spatial, kernel, strides, dilations, begins, ends, image[0], len(blocks)), blocks)


def transposed_convolution_on(
    node: NodeView, kernel: Shape, blocks: np.ndarray, image: Shape, *, pads: Shape | None = None
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


def _conv_map(node: NodeView, weight: Shape, blocks: np.ndarray, activation: Shape) -> LinearMap:
    _check_rank(weight, activation)
    return Batched(convolution_on(node, weight[2:], blocks, activation[1:]), activation[0])


def _conv_transpose_map(node: NodeView, weight: Shape, blocks: np.ndarray, activation: Shape) -> LinearMap:
    _check_rank(weight, activation)
    return Batched(transposed_convolution_on(node, weight[2:], blocks, activation[1:]), activation[0])


def _check_rank(weight: Shape, activation: Shape) -> None:
    if len(weight) != len(activation):
        raise ValueError(f"filters of shape {weight} on an image of shape {activation}")


def constant_filters(node: NodeView, index: int = 1) -> Constant | None:
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


def _per_axis(node: NodeView, name: str, spatial: Shape) -> Shape:
    return tuple(node.attribute(name, None) or (1,) * len(spatial))


def _explicit_pads(node: NodeView, axes: int, pads: Shape | None = None) -> tuple[Shape, Shape]:
    pads = pads or tuple(node.attribute("pads", None) or (0,) * (2 * axes))
    return pads[:axes], pads[axes:]


def _pads(node: NodeView, spatial: Shape, kernel: Shape, strides: Shape, dilations: Shape) -> tuple[Shape, Shape]:
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


# To double. No shape but the filters' need be known: slices end relative to the end of an axis.


@lowers("Conv")
def lowered_conv(site: Site, emit: Emitter) -> str:
    """Patches (Pad, Slice, Concat) times the filters (MatMul); 1×1 filters need no patches."""
    x, weight, bias = site.inputs[0], site.inputs[1], site.input(2)
    filters, channels, *kernel = _filters_shape(site)
    groups, axes = int(site.attribute("group", 1)), len(kernel)
    strides = _ones(site.attribute("strides", None), axes)
    dilations = _ones(site.attribute("dilations", None), axes)
    padded = padded_image(site, emit, x, tuple(kernel), strides, dilations)
    order = [0, *range(2, 2 + axes), 1]
    return _product(emit, padded, emit.transpose(weight, order), (filters, channels, *kernel), groups, strides, dilations, bias)


@lowers("ConvTranspose")
def lowered_conv_transpose(site: Site, emit: Emitter) -> str:
    """The convolution, with filters turned over and channels exchanged, of the image with stride − 1 zeros put between.

    Without dilation, a stride is better served by `interleaved`.
    """
    x, weight, bias = site.inputs[0], site.inputs[1], site.input(2)
    channels, outputs, *kernel = _filters_shape(site)
    groups, axes = int(site.attribute("group", 1)), len(kernel)
    strides = _ones(site.attribute("strides", None), axes)
    dilations = _ones(site.attribute("dilations", None), axes)
    pads = _transposed_pads(site, emit, x, tuple(kernel), strides, dilations)
    if any(s > 1 for s in strides):
        if all(d == 1 for d in dilations):
            reach = [k - 1 for k in kernel]
            less = (0, 0, *reach, 0, 0, *reach)
            if isinstance(pads, str):
                own: tuple[int, ...] | str = emit.op("Sub", pads, emit.integers(*less))
            else:
                own = tuple(p - r for p, r in zip(pads, less, strict=True))
            return interleaved(emit, x, weight, (channels, outputs, *kernel), groups, strides, own, bias)
        x = _spread(emit, x, strides)
    x = emit.pad(x, pads)
    split = emit.reshape(weight, (groups, channels // groups, outputs, *kernel))
    for axis in range(axes):
        if kernel[axis] > 1:
            split = emit.slice(split, 3 + axis, -1, -LAST, -1)
    order = [0, 2, *range(3, 3 + axes), 1]
    shape = (groups * outputs, channels // groups, *kernel)
    return _product(emit, x, emit.transpose(split, order), shape, groups, (1,) * axes, dilations, bias)


def padded_image(site: Site, emit: Emitter, x: str, kernel: Shape, strides: Shape, dilations: Shape, value: float = 0.0) -> str:
    """x (N, C, *spatial) with the padding that `pads` or `auto_pad` asks for."""
    axes = len(kernel)
    auto_pad = site.attribute("auto_pad", "NOTSET")
    if auto_pad == "VALID":
        return x
    if auto_pad == "NOTSET":
        pads = _ones(site.attribute("pads", None), 2 * axes, 0)
        return emit.pad(x, (0, 0, *pads[:axes], 0, 0, *pads[axes:]), value)
    # SAME_*: ⌈n / s⌉ outputs, so (⌈n / s⌉ − 1)·s + extent − n entries of padding, if positive
    size = emit.shape(x, 2)
    step = emit.integers(*strides)
    extent = emit.integers(*((k - 1) * d + 1 - s for k, d, s in zip(kernel, dilations, strides, strict=True)))
    outputs = emit.op("Div", emit.op("Add", size, emit.integers(*(s - 1 for s in strides))), step)
    total = emit.op("Sub", emit.op("Add", emit.op("Mul", outputs, step), extent), size)
    total = emit.op("Max", total, emit.integers(*(0,) * axes))
    small = emit.op("Div", total, emit.integers(*(2,) * axes))
    large = emit.op("Sub", total, small)
    begins, ends = (small, large) if auto_pad == "SAME_UPPER" else (large, small)
    none = emit.integers(0, 0)
    return emit.pad(x, emit.concat([none, begins, none, ends]), value)


def windows(emit: Emitter, x: str, axis: int, kernel: int, stride: int, dilation: int) -> list[str]:
    """For each position inside the window, what lies there in every window along `axis`. Nothing is copied for 1, 1."""
    if kernel == 1 and stride == 1:
        return [x]
    reach = (kernel - 1) * dilation
    starts = [i * dilation for i in range(kernel)]
    return [emit.slice(x, axis, i, i - reach if i < reach else LAST, stride) for i in starts]


def _product(
    emit: Emitter,
    x: str,
    weight: str,
    shape: Shape,
    groups: int,
    strides: Shape,
    dilations: Shape,
    bias: str | None,
) -> str:
    """The valid convolution of x with filters of `shape` (M, C/g, *k), given as a tensor whose last axis is C/g.

    Patches are gathered axis by axis from the last to the first, so that most of what is copied is contiguous.
    """
    filters, channels, *kernel = shape
    lead = 2
    front: Shape = (0,)
    if groups > 1:
        lead, front = 3, (0, groups)
        x = emit.reshape(x, emit.concat([emit.integers(0, groups, channels), emit.shape(x, 2)]))
    rows = filters // groups
    first, rest = kernel[0], math.prod(kernel[1:]) * channels
    # Summing over the first axis after the product, not within it, copies less; with a stride it multiplies more.
    late = first > 1 and rows <= rest and (strides[0] == 1 or rows <= 4)
    for axis in reversed(range(late, len(kernel))):
        x = emit.concat(windows(emit, x, lead + axis, kernel[axis], strides[axis], dilations[axis]), lead - 1)
    spatial = emit.shape(x, lead)
    blocks = emit.reshape(weight, (*front[1:], rows, first * rest) if groups > 1 else (filters, first * rest))
    if late:  # (first·rows, rest)
        order = (0, 2, 1, 3) if groups > 1 else (1, 0, 2)
        blocks = emit.transpose(emit.reshape(blocks, (*front[1:], rows, first, rest)), order)
        blocks = emit.reshape(blocks, (*front[1:], first * rows, rest))
    columns = emit.reshape(x, (*front, rest if late else first * rest, -1))
    product = emit.op("MatMul", blocks, columns)
    column = None if bias is None else emit.reshape(bias, (filters, 1))
    if not late:
        if column is not None:
            product = emit.op("Add", emit.reshape(product, (0, filters, -1)), column)
        return emit.reshape(product, emit.concat([emit.integers(0, filters), spatial]))
    product = emit.reshape(product, emit.concat([emit.integers(*front, first * rows), spatial]))
    reach = (first - 1) * dilations[0]
    terms = []
    for i in range(first):
        at = i * dilations[0]
        starts, stops = emit.integers(i * rows, at), emit.integers((i + 1) * rows, at - reach if at < reach else LAST)
        terms.append(emit.op("Slice", product, starts, stops, emit.integers(lead - 1, lead), emit.integers(1, strides[0])))
    if column is not None:
        ones = (1,) * len(kernel)
        terms.append(emit.reshape(bias or "", (groups, rows, *ones) if groups > 1 else (filters, *ones)))
    total = emit.op("Sum", *terms)
    if groups == 1:
        return total
    return emit.reshape(total, emit.concat([emit.integers(0, filters), emit.shape(total, 3)]))


def _spread(emit: Emitter, x: str, strides: Shape) -> str:
    """x (N, C, *spatial) with stride − 1 zeros between any two entries along each axis."""
    axes = len(strides)
    size = emit.shape(x, 2)
    step, one = emit.integers(*strides), emit.integers(*(1,) * axes)
    apart = emit.op("Unsqueeze", x, emit.integers(*range(3, 3 + 2 * axes, 2)))
    ends = [0, 0] + [n for s in strides for n in (0, s - 1)]
    apart = emit.pad(apart, (0,) * len(ends) + tuple(ends))
    wide = emit.reshape(apart, emit.concat([emit.integers(0, 0), emit.op("Mul", size, step)]))
    stops = emit.op("Add", emit.op("Mul", emit.op("Sub", size, one), step), one)
    return emit.op("Slice", wide, emit.integers(*(0,) * axes), stops, emit.integers(*range(2, 2 + axes)))


def _transposed_pads(site: Site, emit: Emitter, x: str, kernel: Shape, strides: Shape, dilations: Shape) -> Shape | str:
    """What the spread image is padded with: the filters' reach less the padding that the node takes off its output."""
    axes = len(kernel)
    reach = tuple((k - 1) * d for k, d in zip(kernel, dilations, strict=True))
    extra = _ones(site.attribute("output_padding", None), axes, 0)
    auto_pad = site.attribute("auto_pad", "NOTSET")
    target = site.attribute("output_shape", None)
    if target is None and auto_pad in ("NOTSET", "VALID"):
        pads = _ones(site.attribute("pads", None), 2 * axes, 0) if auto_pad == "NOTSET" else (0,) * (2 * axes)
        begins = (r - p for r, p in zip(reach, pads[:axes], strict=True))
        ends = (r - p + e for r, p, e in zip(reach, pads[axes:], extra, strict=True))
        return (0, 0, *begins, 0, 0, *ends)
    # total padding = s·(n − 1) + output_padding + extent − target
    size, step = emit.shape(x, 2), emit.integers(*strides)
    full = emit.op(
        "Add",
        emit.op("Mul", size, step),
        emit.integers(*(e + r + 1 - s for e, r, s in zip(extra, reach, strides, strict=True))),
    )
    wanted = emit.op("Mul", size, step) if target is None else emit.integers(*target[-axes:])
    total = emit.op("Sub", full, wanted)
    positive = emit.op("Max", total, emit.integers(*(0,) * axes))
    small = emit.op("Div", positive, emit.integers(*(2,) * axes))
    begins_name = small if auto_pad == "SAME_UPPER" else emit.op("Sub", positive, small)
    ends_name = emit.op("Sub", total if target is not None else positive, begins_name)
    none, reached = emit.integers(0, 0), emit.integers(*reach)
    begin = emit.op("Sub", reached, begins_name)
    end = emit.op("Sub", emit.op("Add", reached, emit.integers(*extra)), ends_name)
    return emit.concat([none, begin, none, end])


def _filters_shape(site: Site) -> Shape:
    """The shape of the filters, all of it."""
    shape = site.shape(1)
    if shape is None or any(dim is None for dim in shape):
        raise NotLowerableError(f"the shape of the filters {site.inputs[1]!r} is not known")
    return tuple(dim for dim in shape if dim is not None)


def _ones(values: Sequence[int] | None, count: int, default: int = 1) -> Shape:
    return tuple(values) if values else (default,) * count
