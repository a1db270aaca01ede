"""Conv and ConvTranspose to double (opset 1 to 22). No shape but that of the filters need be known."""

from __future__ import annotations

import math
from collections.abc import Sequence

from onnxnull.operators.convolution.strided import interleaved
from onnxnull.operators.lowering import LAST, Emitter, NotLowerableError, Site, lowers

Shape = tuple[int, ...]


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
