"""Windows that move over images: Conv, ConvTranspose and pools (ONNX opset 1 to 24)."""

from __future__ import annotations

from collections.abc import Sequence

from onnxnull.comparison.graphs.rewrites import ReadNode, Value
from onnxnull.comparison.graphs.terms import Shape


def steps(node: ReadNode, window: Sequence[int]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Strides and dilations; of a window of one entry no dilation is read."""
    ones = (1,) * len(window)
    dilations = node.attribute("dilations") or ones
    holes = tuple(d if length != 1 else 1 for d, length in zip(dilations, window, strict=True))
    return tuple(node.attribute("strides") or ones), holes


def padded(
    node: ReadNode, x: Value, window: Sequence[int], strides: Sequence[int], dilations: Sequence[int]
) -> tuple[int, ...] | None:
    """The paddings of a window that moves over an image, begins then ends; None where shapes are needed and not known."""
    automatic = node.attribute("auto_pad", "NOTSET")
    spatial = len(window)
    if automatic == "NOTSET":
        return tuple(node.attribute("pads") or (0,) * (2 * spatial))
    if automatic == "VALID":
        return (0,) * (2 * spatial)
    sizes = x.shape[2:] if x.shape is not None else ()
    if len(sizes) != spatial or any(size is None for size in sizes):
        return None
    begins, ends = [], []
    for size, length, stride, dilation in zip(sizes, window, strides, dilations, strict=True):
        out = -((size or 0) // -stride)
        total = max(0, (out - 1) * stride + (length - 1) * dilation + 1 - (size or 0))
        small, large = total // 2, total - total // 2
        begins.append(small if automatic == "SAME_UPPER" else large)
        ends.append(large if automatic == "SAME_UPPER" else small)
    return (*begins, *ends)


def slid_shape(
    shape: Shape | None,
    channels: int | None,
    window: Sequence[int],
    strides: Sequence[int],
    dilations: Sequence[int],
    pads: Sequence[int],
    *,
    ceil: bool = False,
) -> Shape | None:
    """The shape of what a window makes of an image; None where the rank is not known or does not fit.

    Args:
        channels: of the result. pads: begins, then ends.
    """
    if shape is None or len(shape) != len(window) + 2:
        return None
    half = len(window)
    sizes: list[int | None] = []
    for axis, size in enumerate(shape[2:]):
        room = None if size is None else size + pads[axis] + pads[axis + half] - (window[axis] - 1) * dilations[axis] - 1
        if (
            room is None or room < 0 or (ceil and room % strides[axis])
        ):  # where a window begins in the padding: left to the file
            sizes.append(None)
        else:
            sizes.append(room // strides[axis] + 1)
    return (shape[0], channels, *sizes)
