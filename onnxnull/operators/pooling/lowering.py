"""Poolings to double: AveragePool, LpPool (opset 1 to 22) and those of whole channels."""

from __future__ import annotations

from onnxnull.operators.convolution.lowering import padded_image, windows
from onnxnull.operators.lowering import Emitter, Site, lowers


@lowers("GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool")
def lowered_global_pool(site: Site, emit: Emitter) -> str:
    """One number per channel, with as many axes as before."""
    x = site.inputs[0]
    flat = emit.reshape(x, (0, 0, -1))
    if site.op_type == "GlobalLpPool":
        pooled = _root(emit, emit.sum(_power(emit, flat, site.attribute("p", 2)), [2]), site.attribute("p", 2))
    else:
        pooled = emit.mean(flat, [2]) if site.op_type == "GlobalAveragePool" else emit.maximum(flat, [2])
    ones = emit.op("Div", emit.shape(x, 2), emit.shape(x, 2))
    return emit.reshape(pooled, emit.concat([emit.shape(x, 0, 2), ones]))


@lowers("AveragePool", "LpPool")
def lowered_pool(site: Site, emit: Emitter) -> str:
    """Sums over windows, axis by axis, over the number of entries that count: those inside the image, or its padding too.

    A window that ceil_mode adds counts no entry beyond the padding, and is dropped where it starts there.
    """
    x, p = site.inputs[0], site.attribute("p", 2)
    kernel = tuple(site.attribute("kernel_shape", ()))
    axes = len(kernel)
    strides = tuple(site.attribute("strides", None) or (1,) * axes)
    dilations = tuple(site.attribute("dilations", None) or (1,) * axes)
    ceil = bool(site.attribute("ceil_mode", 0)) and site.attribute("auto_pad", "NOTSET") == "NOTSET"
    values = x if site.op_type == "AveragePool" else _power(emit, x, p)

    def sums(image: str) -> str:
        if ceil:
            image = emit.pad(image, (0,) * (2 + axes) + (0, 0) + tuple(s - 1 for s in strides))
        for axis in reversed(range(axes)):
            parts = windows(emit, image, 2 + axis, kernel[axis], strides[axis], dilations[axis])
            image = parts[0] if len(parts) == 1 else emit.op("Sum", *parts)
        return image

    pads = tuple(site.attribute("pads", None) or (0,) * (2 * axes))
    stops = None
    if ceil:  # windows start before the end of the image
        ahead = [begin + stride - 1 for begin, stride in zip(pads[:axes], strides, strict=True)]
        stops = emit.op("Div", emit.op("Add", emit.shape(x, 2), emit.integers(*ahead)), emit.integers(*strides))

    def kept(pooled: str) -> str:
        if stops is None:
            return pooled
        return emit.op("Slice", pooled, emit.integers(*(0,) * axes), stops, emit.integers(*range(2, 2 + axes)))

    total = kept(sums(padded_image(site, emit, values, kernel, strides, dilations)))
    if site.op_type == "LpPool":
        return _root(emit, total, p)
    inside = emit.op("Expand", emit.constant(1.0), emit.concat([emit.integers(1, 1), emit.shape(x, 2)]))
    border = 1.0 if site.attribute("count_include_pad", 0) else 0.0
    return emit.div(total, kept(sums(padded_image(site, emit, inside, kernel, strides, dilations, border))))


def _power(emit: Emitter, x: str, p: int) -> str:
    return emit.mul(x, x) if p == 2 else emit.op("Pow", emit.op("Abs", x), emit.constant(float(p)))


def _root(emit: Emitter, x: str, p: int) -> str:
    return emit.op("Sqrt", x) if p == 2 else emit.op("Pow", x, emit.constant(1.0 / p))
