"""Gradients of pooling: to the largest entry of every window, or evenly to all of it."""

from __future__ import annotations

import math
from collections.abc import Mapping

from onnxnull.operators.gradients import NotDifferentiableError, Pull, differentiates, through_lowering

through_lowering("AveragePool", "LpPool", "GlobalMaxPool", "GlobalLpPool")


@differentiates("MaxPool")
def max_pool(pull: Pull) -> Mapping[int, str]:
    """Added up at the entries that MaxPool names (MaxUnpool would keep one window's cotangent where windows overlap).

    Its second output numbers them over the whole tensor, in row-major order unless `storage_order` is set.
    """
    emit, site = pull.emit, pull.site
    if site.attribute("storage_order", 0):
        raise NotDifferentiableError("storage_order 1")
    attributes = {name: value for name, value in site.attributes.items() if name != "storage_order"}
    _, places = emit.ops("MaxPool", site.inputs[0], outputs=2, **attributes)
    flat, shape = emit.integers(-1), pull.known(0)
    size = emit.integers(math.prod(shape)) if shape is not None else emit.reshape(emit.op("Size", site.inputs[0]), (1,))
    empty = emit.op("Expand", emit.constant(0.0), size)
    cotangent, places = emit.op("Reshape", pull.cotangent, flat), emit.op("Reshape", places, flat)
    return {0: pull.reshaped(emit.op("ScatterElements", empty, places, cotangent, axis=0, reduction="add"))}


@differentiates("GlobalAveragePool")
def global_average_pool(pull: Pull) -> Mapping[int, str]:
    """The cotangent over the number of positions, everywhere."""
    emit, x = pull.emit, pull.site.inputs[0]
    shape = pull.known(0)
    if shape is not None:
        share = emit.mul(pull.cotangent, 1.0 / math.prod(shape[2:]))
    else:
        count = emit.op("ReduceProd", emit.shape(x, 2), keepdims=0)
        share = emit.div(pull.cotangent, emit.op("Cast", count, to=11))
    return {0: emit.op("Expand", share, pull.shape_of(0))}
