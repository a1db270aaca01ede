"""Approximate inverses of AAᵀ for a convolution A with orthonormal filters: on a torus, and by a sparse factorisation."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from onnxnull.kernel.maps.convolution import Convolution
from onnxnull.kernel.maps.im2col import ConvGeometry, Im2col
from onnxnull.kernel.maps.linear_map import Array

if TYPE_CHECKING:
    from scipy.sparse import csr_array

# (*output_shape) → (*output_shape)
Solve = Callable[[Array], Array]

# The circulant preconditioner holds (filters)² complex numbers per frequency: at most this many in all (256 MiB).
_SYMBOL_ENTRIES = 16 << 20
# Frequencies that the filters hardly see are not amplified by more than the inverse of this.
_SYMBOL_FLOOR = 1e-6
# AAᵀ in sparse form may have this many entries; its factors have about ten times as many (3 GB).
_SPARSE_ENTRIES = 25_000_000
# The shift that keeps the factorisation harmless where AAᵀ is nearly singular: what lies below is left to the iteration.
# Measured with 11 random filters on 12 inputs a cell at 112×112: 36 iterations; with 1e-13 rounding spoils the factors.
_SHIFT = 1e-10


def circulant(convolution: Convolution) -> Solve | None:
    """The inverse of the circulant matrix with the stencil of AAᵀ; None where it would be too large, or is the identity.

    AAᵀ couples output positions o and o + δ by a (filters × filters) matrix G_δ that depends on δ only, away from the
    borders. On a torus of the output's size the Fourier transform of G makes it block-diagonal (Strang's circulant
    preconditioner of a Toeplitz system).
    """
    geometry = convolution.geometry
    groups, _, filters = convolution.blocks.shape
    grid = geometry.output_spatial
    reach = tuple((extent - 1) // stride for extent, stride in zip(geometry.extent, geometry.strides, strict=True))
    if groups * filters**2 * geometry.positions > _SYMBOL_ENTRIES or geometry.positions == 0 or not any(reach):
        return None
    stencil = _stencil(convolution, reach)
    torus = np.zeros((groups, filters, filters, *grid))
    for index in np.ndindex(*(2 * r + 1 for r in reach)):
        place: tuple[Any, ...] = tuple((i - r) % n for i, r, n in zip(index, reach, grid, strict=True))
        torus[(slice(None), slice(None), slice(None), *place)] += stencil[(slice(None), slice(None), slice(None), *index)]
    axes = tuple(range(-len(grid), 0))
    symbol = np.moveaxis(np.fft.rfftn(torus, axes=axes), (1, 2), (-2, -1))
    values, vectors = np.linalg.eigh(symbol)
    floored = np.maximum(values, _SYMBOL_FLOOR * values.max())
    inverse = (vectors / floored[..., None, :]) @ vectors.conj().swapaxes(-1, -2)

    def solve(y: Array) -> Array:
        waves = np.fft.rfftn(y.reshape(groups, filters, *grid), axes=axes)
        answer = inverse @ np.moveaxis(waves, 1, -1)[..., None]
        return np.fft.irfftn(np.moveaxis(answer[..., 0], -1, 1), s=grid, axes=axes).reshape(y.shape)

    return solve


def _stencil(convolution: Convolution, reach: tuple[int, ...]) -> Array:
    """G, (g, filters, filters, *(2·reach + 1)): AAᵀ's answer to one output position, seen from the middle of a small image."""
    geometry = convolution.geometry
    groups, _, filters = convolution.blocks.shape
    size = tuple(2 * r * s + e for r, s, e in zip(reach, geometry.strides, geometry.extent, strict=True))
    small = ConvGeometry.of(
        size,
        geometry.kernel,
        channels=geometry.channels // groups,
        strides=geometry.strides,
        dilations=geometry.dilations,
    )
    result = np.empty((groups, filters, filters, *(2 * r + 1 for r in reach)))
    for group, block in enumerate(convolution.blocks):
        alone = Convolution(small, block[None])
        impulses = np.zeros((filters, filters, *small.output_spatial))
        middle = small.positions // 2
        impulses.reshape(filters, filters, -1)[np.arange(filters), np.arange(filters), middle] = 1.0
        # the answers are (impulse, filter, position); the symbol maps impulses to filters
        result[group] = alone.apply(alone.adjoint(impulses)).swapaxes(0, 1)
    return result


def factorised(convolution: Convolution) -> Solve | None:
    """(AAᵀ + shift)⁻¹ by SuperLU with a minimum-degree ordering; None where the matrix would be too large.

    The ill-conditioned case: filters that nearly fill the stride's cell leave modes at the border that decay slowly, and
    no circulant sees borders.
    """
    from scipy.sparse import identity
    from scipy.sparse.linalg import splu

    geometry = convolution.geometry
    groups, _, filters = convolution.blocks.shape
    neighbours = 1
    for extent, stride, count in zip(geometry.extent, geometry.strides, geometry.output_spatial, strict=True):
        neighbours *= min(2 * ((extent - 1) // stride) + 1, count)
    if geometry.positions * groups * filters**2 * neighbours > _SPARSE_ENTRIES:
        return None
    matrix = sparse_matrix(convolution)
    normal = (matrix @ matrix.T + _SHIFT * identity(matrix.shape[0])).tocsc()
    factors = splu(normal, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True})

    def solve(y: Array) -> Array:
        solution: Array = factors.solve(np.ascontiguousarray(y).ravel()).reshape(y.shape)
        return solution

    return solve


def sparse_matrix(convolution: Convolution) -> csr_array:
    """A as a SciPy CSR matrix of shape (outputs, inputs), as SciPy means it; rows and columns in C order of the tensors."""
    from scipy.sparse import csr_array

    geometry = convolution.geometry
    filters = convolution.blocks.shape[2]
    # im2col of the inputs' numbers says which input each entry of a patch is; 0 is padding. Exact below 2⁵³.
    numbers = np.arange(1.0, convolution.inputs + 1).reshape(geometry.input_shape)
    patches = Im2col(geometry).apply(numbers).astype(np.int64) - 1
    group, position, entry = np.nonzero(patches >= 0)
    inputs = patches[group, position, entry]
    rows = ((group[:, None] * filters + np.arange(filters)) * geometry.positions + position[:, None]).ravel()
    columns = np.repeat(inputs, filters)
    values = convolution.blocks[group, entry].ravel()
    return csr_array((values, (rows, columns)), shape=(convolution.outputs, convolution.inputs))
