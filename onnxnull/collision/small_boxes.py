"""Multipliers of the nearest point of a kernel and a box, by active sets: for small tensors (`admm` for others).

min ½‖x − wish‖² with x in the kernel and low ≤ x ≤ high is a least distance programme in the coordinates of the kernel. Its
multipliers are a non-negative least squares solution (Lawson and Hanson, *Solving Least Squares Problems*, 1974, ch. 23), found
in finitely many steps, where `admm` takes up to tens of thousands of them for the same.
"""

from __future__ import annotations

import numpy as np

from onnxnull.collision.kernel import Kernel
from onnxnull.kernel.maps.linear_map import Array

MOST = 256
"""Entries of a tensor that is small: the programme is dense, and takes up to about 0.1 s."""

_STILL = 1e-12
"""An entry that unit vectors of the kernel move by less is one that they do not move."""


def multipliers(kernel: Kernel, wish: Array, low: Array, high: Array) -> Array | None:
    """y of every entry, positive where its upper bound holds the nearest point P(wish − y), negative where its lower one does.

    None where the steps did not end. Raises NotConvergedError where a projection on the kernel fails.

    Args:
        wish: a vector of the kernel, not 0.
        low, high: of its shape, low ≤ 0 ≤ high; ±inf for no bound.
    """
    from scipy.optimize import nnls

    length = float(np.linalg.norm(wish))
    rows = np.stack([kernel.project(unit.reshape(wish.shape)).ravel() for unit in np.eye(wish.size)])
    values, vectors = np.linalg.eigh(0.5 * (rows + rows.T))
    basis = vectors[:, values > 0.5]  # those of a projection are 0 or 1
    target = wish.ravel() / length
    least, most = low.ravel() / length - target, target - high.ravel() / length
    moves = np.linalg.norm(basis, axis=1) > _STILL
    below, above = moves & np.isfinite(least), moves & np.isfinite(most)
    sides = np.concatenate([basis[below], -basis[above]])
    system = np.vstack([sides.T, np.concatenate([least[below], most[above]])])
    goal = np.append(np.zeros(basis.shape[1]), 1.0)
    try:
        found, _ = nnls(system, goal)
    except RuntimeError:
        return None
    share = 1.0 - float(system[-1] @ found)
    if not share > 0.0:  # the point is farther than rounding can tell
        return None
    y = np.zeros((2, wish.size))
    y[0, below], y[1, above] = np.split(found, [np.count_nonzero(below)])
    result: Array = ((y[1] - y[0]) * (length / share)).reshape(wish.shape)
    return result
