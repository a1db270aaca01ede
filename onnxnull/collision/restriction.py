"""The linear maps of layers, cut to the entries that may change: to their bounding box, then to those entries."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from onnxnull.frontier.joining import canonical
from onnxnull.kernel.maps.batched import Batched
from onnxnull.kernel.maps.convolution import Convolution
from onnxnull.kernel.maps.linear_map import Composition, LinearMap
from onnxnull.kernel.maps.selection import Selection, compose


def bounding_box(free: NDArray[np.bool_]) -> tuple[slice, ...] | None:
    """The smallest box of all samples and channels that holds every free entry; None where there is none."""
    if not free.any():
        return None
    box = [slice(0, length) for length in free.shape]
    for axis in range(2, free.ndim):
        used = np.flatnonzero(free.any(axis=tuple(a for a in range(free.ndim) if a != axis)))
        box[axis] = slice(int(used[0]), int(used[-1]) + 1)
    return tuple(box)


def window(linear_map: LinearMap, ranges: list[tuple[int, int]]) -> LinearMap:
    """The map on a box; a convolution straight on the tensor stays one."""
    if all((start, stop) == (0, length) for (start, stop), length in zip(ranges, linear_map.input_shape, strict=True)):
        return linear_map
    core, selection = canonical(linear_map)
    if isinstance(core, Batched) and isinstance(core.sample, Convolution) and (selection is None or _is_identity(selection)):
        return Batched(core.sample.window(ranges[1:]), core.count)
    return linear_map.window(ranges)


def _is_identity(selection: Selection) -> bool:
    """Whether it multiplies by one number at most."""
    factors = np.broadcast_to(selection.factors, selection.indices.shape)
    return (
        selection.shape == selection.indices.shape
        and np.array_equal(selection.indices.ravel(), np.arange(selection.inputs))
        and bool(np.all(factors == factors.flat[:1]))
    )


def behind(linear_map: LinearMap, selection: Selection) -> LinearMap:
    """`linear_map @ selection`, selections collapsed."""
    if isinstance(linear_map, Composition) and isinstance(linear_map.first, Selection):
        return Composition(linear_map.second, linear_map.first.after(selection))
    return compose(linear_map, selection)
