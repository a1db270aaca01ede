"""The scale of many numbers together: what "equal to within" is measured by, where some of them are huge and never move.

A masked logit of −1e30 is no measure of what the others are. So what counts are the numbers that move with the input, and of
their sizes the middle one.
"""

from __future__ import annotations

import numpy as np

from onnxnull.kernel.maps.linear_map import Array

_MOVES = 1e-6
"""Of its own size: a number that moves by less does not count."""


def scales(value: np.ndarray, elsewhere: np.ndarray) -> Array:
    """Of every entry, float64 of `value`'s shape: its own size, and no less than the typical one.

    That is the (lower) median of max(|entry|, |its move|) over the entries that move; 0 where none does.

    Args:
        value: finite.
        elsewhere: the same tensor for an input that is chosen freely. Entries that are NaN or Inf there do not count.
    """
    before = value.astype(np.float64)
    with np.errstate(invalid="ignore", over="ignore"):
        moved = np.abs(elsewhere.astype(np.float64) - before)
    sizes = np.abs(before)
    counted = np.isfinite(moved) & (moved > _MOVES * sizes)
    lively = np.sort(np.maximum(sizes, moved)[counted])
    typical = float(lively[(lively.size - 1) // 2]) if lively.size else 0.0
    scale: Array = np.maximum(sizes, typical)
    return scale
