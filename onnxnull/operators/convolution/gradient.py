"""Gradients of Conv and ConvTranspose for the image; filters that depend on the input have none.

The adjoint of a convolution of stride 1 is a convolution with the filters turned over and the channels exchanged, padded by
what the filter reaches less the padding; of a larger stride it is a ConvTranspose with the same filters, strides and padding.
The adjoint of a ConvTranspose is the Conv with its filters.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from onnxnull.operators.gradients import NotDifferentiableError, Pull, differentiates, fixed
from onnxnull.operators.lowering import LAST, Emitter

Shape = tuple[int, ...]


@differentiates("Conv")
def conv(pull: Pull) -> Mapping[int, str]:
    """For the image, and for a bias that depends on the input."""
    kernel, strides, dilations, group = _geometry(pull)
    found = {}
    if 2 in pull.wanted:
        found[2] = pull.emit.sum(pull.cotangent, [0, *range(2, 2 + len(kernel))], keepdims=False)
    if 0 in pull.wanted:
        begins, ends = _pads(pull, kernel, strides, dilations)
        reach = [(k - 1) * d for k, d in zip(kernel, dilations, strict=True)]
        turned = all(s == 1 for s in strides) and all(p <= r for p, r in zip([*begins, *ends], [*reach, *reach], strict=True))
        if turned:
            pads = [r - p for p, r in zip([*begins, *ends], [*reach, *reach], strict=True)]
            filters = _exchanged(pull.emit, pull.site.inputs[1], _filters(pull), group)
            attributes = {"pads": pads, "dilations": dilations, "group": group, "kernel_shape": kernel}
            found[0] = pull.emit.op("Conv", pull.cotangent, filters, **attributes)
        else:
            found[0] = _spread_out(pull, kernel, strides, dilations, group, begins, ends)
    return found


@differentiates("ConvTranspose")
def conv_transpose(pull: Pull) -> Mapping[int, str]:
    """The same for ConvTranspose."""
    kernel, strides, dilations, group = _geometry(pull)
    found = {}
    if 2 in pull.wanted:
        found[2] = pull.emit.sum(pull.cotangent, [0, *range(2, 2 + len(kernel))], keepdims=False)
    if 0 in pull.wanted:
        begins, ends = _transposed_pads(pull, kernel, strides, dilations)
        attributes = {"strides": strides, "dilations": dilations, "group": group, "kernel_shape": kernel}
        cotangent = pull.cotangent
        if min(*begins, *ends) < 0:  # what no filter reached is cut off first
            cut = [min(0, p) for p in (*begins, *ends)]
            cotangent = pull.emit.pad(cotangent, (0, 0, *cut[: len(kernel)], 0, 0, *cut[len(kernel) :]))
        pads = [max(0, p) for p in (*begins, *ends)]
        found[0] = pull.emit.op("Conv", cotangent, pull.site.inputs[1], pads=pads, **attributes)
    return found


def _geometry(pull: Pull) -> tuple[Shape, Shape, Shape, int]:
    """(kernel, strides, dilations, groups)."""
    if 1 in pull.wanted:
        raise NotDifferentiableError("its filters depend on the input")
    kernel = _filters(pull)[2:]
    strides = tuple(pull.site.attribute("strides", None) or (1,) * len(kernel))
    dilations = tuple(pull.site.attribute("dilations", None) or (1,) * len(kernel))
    return kernel, strides, dilations, int(pull.site.attribute("group", 1))


def _filters(pull: Pull) -> Shape:
    shape = pull.known(1)
    if shape is None:
        raise NotDifferentiableError("the shape of its filters is not known")
    return shape


def _spatial(pull: Pull, shape: Shape | None, what: str) -> Shape:
    if shape is None:
        raise NotDifferentiableError(f"the size of its {what} is not known")
    return shape[2:]


def _explicit(pull: Pull, axes: int) -> tuple[Shape, Shape]:
    pads = tuple(pull.site.attribute("pads", None) or (0,) * (2 * axes))
    return pads[:axes], pads[axes:]


def _pads(pull: Pull, kernel: Shape, strides: Shape, dilations: Shape) -> tuple[Shape, Shape]:
    """Padding at the beginning and the end of every axis. SAME_*: the output has ⌈input / stride⌉ positions."""
    auto_pad, axes = pull.site.attribute("auto_pad", "NOTSET"), len(kernel)
    if auto_pad in ("NOTSET", "VALID"):
        return _explicit(pull, axes) if auto_pad == "NOTSET" else ((0,) * axes, (0,) * axes)
    spatial = _spatial(pull, pull.known(0), "image")
    geometry = zip(spatial, kernel, strides, dilations, strict=True)
    totals = [max(0, (-(-n // s) - 1) * s + (k - 1) * d + 1 - n) for n, k, s, d in geometry]
    return _halves(totals, upper=auto_pad == "SAME_UPPER")


def _transposed_pads(pull: Pull, kernel: Shape, strides: Shape, dilations: Shape) -> tuple[Shape, Shape]:
    """What is taken off the full output at the beginning and the end of every axis; negative where it is longer."""
    auto_pad, axes = pull.site.attribute("auto_pad", "NOTSET"), len(kernel)
    target = pull.site.attribute("output_shape", None)
    extra = tuple(pull.site.attribute("output_padding", None) or (0,) * axes)
    if target is None and auto_pad in ("NOTSET", "VALID"):
        begins, ends = _explicit(pull, axes) if auto_pad == "NOTSET" else ((0,) * axes, (0,) * axes)
        return begins, tuple(end - e for end, e in zip(ends, extra, strict=True))
    before = _spatial(pull, pull.known(0), "image")
    after = _spatial(pull, fixed(pull.outputs[0]), "output")
    geometry = zip(before, after, kernel, strides, dilations, extra, strict=True)
    totals = [s * (n - 1) + (k - 1) * d + 1 + e - t for n, t, k, s, d, e in geometry]
    begins, ends = _halves([max(0, t) for t in totals], upper=auto_pad == "SAME_UPPER")
    return begins, tuple(t - begin - e for t, begin, e in zip(totals, begins, extra, strict=True))


def _halves(totals: Sequence[int], *, upper: bool) -> tuple[Shape, Shape]:
    small, large = tuple(t // 2 for t in totals), tuple(t - t // 2 for t in totals)
    return (small, large) if upper else (large, small)


def _exchanged(emit: Emitter, weight: str, shape: Shape, group: int) -> str:
    """Filters (M, C/g, *k) as (C, M/g, *k), turned over."""
    filters, channels, *kernel = shape
    split = emit.reshape(weight, (group, filters // group, channels, *kernel))
    for axis, k in enumerate(kernel):
        if k > 1:
            split = emit.slice(split, 3 + axis, -1, -LAST, -1)
    turned = emit.transpose(split, [0, 2, 1, *range(3, 3 + len(kernel))])
    return emit.reshape(turned, (group * channels, filters // group, *kernel))


def _spread_out(
    pull: Pull, kernel: Shape, strides: Shape, dilations: Shape, group: int, begins: Sequence[int], ends: Sequence[int]
) -> str:
    """ConvTranspose of the cotangent. The end of the image that no window reaches gets zeros."""
    emit, axes = pull.emit, len(kernel)
    attributes = {"strides": strides, "dilations": dilations, "group": group, "kernel_shape": kernel}
    before, after = pull.known(0), fixed(pull.outputs[0])
    if before is not None and after is not None:
        geometry = zip(before[2:], after[2:], kernel, strides, dilations, begins, ends, strict=True)
        left = [n - (s * (m - 1) + (k - 1) * d + 1 - b - e) for n, m, k, s, d, b, e in geometry]
        if all(0 <= r < s for r, s in zip(left, strides, strict=True)):
            padding = {"output_padding": left} if any(left) else {}
            return emit.op("ConvTranspose", pull.cotangent, pull.site.inputs[1], pads=[*begins, *ends], **attributes, **padding)
    full = emit.op("ConvTranspose", pull.cotangent, pull.site.inputs[1], **attributes)
    size = emit.op("Add", emit.shape(pull.site.inputs[0], 2), emit.integers(*begins))
    missing = emit.op("Sub", size, emit.shape(full, 2))
    none = emit.integers(0, 0)
    assert len(begins) == axes
    return emit.pad(full, emit.concat([none, emit.integers(*(-b for b in begins)), none, missing]))
