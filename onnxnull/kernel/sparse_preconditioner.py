"""An approximate inverse of AAᵀ for a convolution that does not read its whole input: behind a selection of entries."""

from __future__ import annotations

import numpy as np

from onnxnull.kernel.maps.batched import Batched
from onnxnull.kernel.maps.convolution import Convolution
from onnxnull.kernel.maps.linear_map import Array, LinearMap
from onnxnull.kernel.maps.selection import NOTHING, Selection
from onnxnull.kernel.preconditioner import Solve, sparse_matrix

# Of A, and of AAᵀ, in sparse form; the factors have about ten times as many.
_ENTRIES = 25_000_000
# Relative to the largest diagonal entry of AAᵀ. Entries that are left out make rows dependent: rounding needs room.
_SHIFT = 1e-9


def factorised_behind(linear_map: LinearMap, selection: Selection) -> Solve | None:
    """`preconditioner.factorised` for `linear_map @ selection`, a convolution of one or of every sample.

    None where it is anything else, or the matrix would be too large.
    """
    from scipy.sparse import block_diag, csr_array, identity
    from scipy.sparse.linalg import splu

    count, sample = (linear_map.count, linear_map.sample) if isinstance(linear_map, Batched) else (1, linear_map)
    if not isinstance(sample, Convolution) or count == 0:
        return None
    geometry, filters = sample.geometry, sample.blocks.shape[2]
    if count * geometry.positions * geometry.groups * filters * geometry.patch_size > _ENTRIES:
        return None
    reads = np.flatnonzero(selection.indices != NOTHING)
    factors = np.broadcast_to(selection.factors, selection.indices.shape).ravel()[reads]
    places = (reads, selection.indices.ravel()[reads])
    moves = csr_array((factors, places), shape=(selection.outputs, selection.inputs))
    one = sparse_matrix(sample)
    matrix = csr_array(one if count == 1 else block_diag([one] * count, format="csr")) @ moves
    matrix.eliminate_zeros()
    normal = csr_array(matrix @ matrix.T)
    largest = float(normal.diagonal().max(initial=0.0))
    if normal.nnz > _ENTRIES or largest == 0.0:
        return None
    shifted = (normal + _SHIFT * largest * identity(normal.shape[0])).tocsc()
    factored = splu(shifted, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True})

    def solve(y: Array) -> Array:
        solution: Array = factored.solve(np.ascontiguousarray(y).ravel()).reshape(y.shape)
        return solution

    return solve
