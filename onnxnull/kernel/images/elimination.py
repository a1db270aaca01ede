"""Which channels of a "same" depthwise convolution are injective: banded elimination modulo a prime, all channels at once.

A depthwise filter with stride 1 that keeps the image's size is a square banded matrix per channel, and nothing short of its
determinant decides. Elimination without pivoting over ℤ/p: if every pivot is nonzero the determinant is nonzero modulo p,
hence over ℚ, which proves injectivity. A zero pivot proves nothing; such channels are left to the general bounds.
"""

from __future__ import annotations

from itertools import product

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from onnxnull.kernel.maps.im2col import ConvGeometry
from onnxnull.kernel.maps.linear_map import Array
from onnxnull.kernel.numerics.arithmetic import PRIME, residues

# One modular multiply-add in NumPy costs as much as this many in a matrix product.
_ELEMENT_WORK = 40.0


def injective_channels(geometry: ConvGeometry, blocks: Array, *, work: float) -> NDArray[np.bool_]:
    """True for the groups whose operator is proved injective over ℚ; blocks (g, ∏k, 1). All False where it does not apply.

    It applies to one channel and one filter per group, stride and dilation 1, outputs of the input's size.
    """
    groups = len(blocks)
    nothing = np.zeros(groups, dtype=bool)
    same = geometry.output_spatial == geometry.spatial and geometry.channels == groups and blocks.shape[2] == 1
    if not same or set(geometry.strides) | set(geometry.dilations) != {1} or groups == 0:
        return nothing
    inputs = int(np.prod(geometry.spatial))
    pitch = [int(np.prod(geometry.spatial[axis + 1 :])) for axis in range(len(geometry.spatial))]
    # a tap moves output o to input o + shift in flat indices
    shifts = {
        tap: sum((t - begin) * step for t, begin, step in zip(tap, geometry.pads_begin, pitch, strict=True))
        for tap in product(*(range(k) for k in geometry.kernel))
    }
    below, above = max(0, -min(shifts.values())), max(0, *shifts.values())
    if groups * inputs * max(1, below) * max(1, above) * _ELEMENT_WORK > work or min(inputs, below + above) < 1:
        return nothing
    band = np.zeros((groups, inputs + below, below + 1 + above), dtype=np.int64)
    taps = residues(blocks).reshape(groups, -1)
    for index, (tap, shift) in enumerate(shifts.items()):
        inside = np.zeros(geometry.spatial, dtype=bool)
        ranges = (
            slice(max(0, begin - t), max(0, n - max(0, t - begin)))
            for t, begin, n in zip(tap, geometry.pads_begin, geometry.spatial, strict=True)
        )
        inside[tuple(ranges)] = True
        band[:, :inputs, below + shift] += inside.ravel() * taps[:, index, None]
    return _pivots_nonzero(band % PRIME, inputs, below, above)


def _pivots_nonzero(band: NDArray[np.int64], size: int, below: int, above: int) -> NDArray[np.bool_]:
    """Eliminate bands (g, size + below, below + 1 + above) in place; row i holds columns i − below … i + above."""
    alive = np.ones(len(band), dtype=bool)
    group_step, row_step, entry_step = band.strides
    for row in range(size):
        pivot = band[:, row, below]
        alive &= pivot != 0
        inverse = _inverse(np.where(pivot == 0, 1, pivot))
        # in the rows below, column `row` and what follows lies one entry further left per row
        later = as_strided(
            band[:, row + 1 :, below - 1 :] if below else band[:, :0],
            (len(band), below, above + 1),
            (group_step, row_step - entry_step, entry_step),
        )
        factors = later[:, :, 0] * inverse[:, None] % PRIME
        later -= factors[:, :, None] * band[:, row, None, below:] % PRIME
        later %= PRIME
    return alive


def _inverse(values: NDArray[np.int64]) -> NDArray[np.int64]:
    """value^(p − 2) modulo p."""
    result = np.ones_like(values)
    power = values.copy()
    exponent = PRIME - 2
    while exponent:
        if exponent & 1:
            result = result * power % PRIME
        power = power * power % PRIME
        exponent >>= 1
    return result
