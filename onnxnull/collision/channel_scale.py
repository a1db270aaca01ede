"""How far other inputs move each output channel of a layer: the unit in which a kernel claim's allowance is measured.

As for an output of the network, the scale is the lower median, over those entries of a channel that move, of an entry's spread
across x₀ and inputs that differ from x₀ by at most |x₀| in each entry. The layer is linear and its channels are the columns of
its weight, so it is evaluated here, in double arithmetic, without its bias. A channel that reads zeros only (those of a ReLU
that is off everywhere) is measured with the median size of the other entries in their place.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from onnxnull.collision.yardstick import SCALE_RUNS, Box, nearby
from onnxnull.operators.products import product_called

if TYPE_CHECKING:
    from onnxnull.collision.claims import Reader
    from onnxnull.kernel.maps.linear_map import Array, LinearMap


def channel_scale(reader: Reader, x0: Array, box: Box = None) -> Array:
    """The scale of every entry's channel, of the layer's output; 0 for a channel without weights, or where x₀ is 0.

    Args:
        x0: the perturbed tensor, float64.
        box: bounds that the other inputs keep.
    """
    layer = reader.make(reader.blocks)
    channels = _channels(reader, layer)
    scale = _median_by(channels, _spread(reader, layer, x0, box))
    some = np.abs(x0[x0 != 0])
    if not some.size or np.all(scale > 0):
        return scale
    typical = np.where(x0 == 0, np.median(some), x0)
    return np.where(scale > 0, scale, _median_by(channels, _spread(reader, layer, typical, box)))


def _spread(reader: Reader, layer: LinearMap, x: Array, box: Box) -> Array:
    """How far every entry of the output is spread over x and the inputs near it."""
    low, high = np.zeros(layer.output_shape), np.zeros(layer.output_shape)
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        for run in range(SCALE_RUNS):
            moved = layer.apply(reader.path.apply(nearby(x, run, box) - x))
            low, high = np.fmin(low, moved), np.fmax(high, moved)
        spread = high - low
    found: Array = np.where(np.isfinite(spread), spread, 0.0)
    return found


def _channels(reader: Reader, layer: LinearMap) -> NDArray[np.int64]:
    """The channel of every entry of the output; several columns of a transposed filter make one."""
    kind = product_called(reader.op)
    if kind is not None and kind.channels == 1 and len(layer.output_shape) > 2:
        count = layer.output_shape[1]
        shape = (count, *(1,) * (len(layer.output_shape) - 2))
        return np.broadcast_to(np.arange(count).reshape(shape), layer.output_shape)
    g, q, p = reader.blocks.shape
    columns = np.broadcast_to(np.arange(g * p, dtype=np.float64).reshape(g, 1, p), (g, q, p))
    one = np.ones(layer.input_shape)
    terms = reader.make(np.ones((g, q, p))).apply(one)
    return np.rint(reader.make(columns).apply(one) / np.maximum(terms, 1.0)).astype(np.int64)


def _median_by(labels: NDArray[np.int64], values: Array) -> Array:
    """For every entry the lower median of the values above 0 that share its label; 0 where there are none."""
    order = np.lexsort((values.ravel(), labels.ravel()))
    _, starts, counts = np.unique(labels.ravel()[order], return_index=True, return_counts=True)
    ordered = values.ravel()[order]
    positive = np.add.reduceat((ordered > 0).astype(np.int64), starts) if starts.size else starts
    place = starts + counts - positive + np.maximum(positive - 1, 0) // 2
    medians = np.where(positive > 0, ordered[np.minimum(place, max(0, ordered.size - 1))], 0.0)
    found = np.empty(values.size)
    found[order] = np.repeat(medians, counts)
    return found.reshape(values.shape)
