"""Parts of a quantized tensor that share no entry, each with an integer matrix of its own, in which kernel vectors are sought.

A kernel vector of a part, 0 elsewhere, is one of the whole: the parts keep all outputs that they reach. They are the patches of
layers whose patches share no entry, windows of a convolution's image where they overlap, or the whole of a small tensor.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from onnxnull.errors import Code, OnnxnullError
from onnxnull.frontier import Frontier, Layer
from onnxnull.kernel.lattice.integer_kernel import kernel_lattice
from onnxnull.kernel.lattice.reduction import Integers
from onnxnull.kernel.maps.batched import Batched
from onnxnull.kernel.maps.convolution import Convolution
from onnxnull.kernel.maps.linear_map import Array, LinearMap, Shape, Stack, size
from onnxnull.kernel.maps.patches import patches_of
from onnxnull.kernel.maps.selection import NOTHING, Selection
from onnxnull.kernel.nullity import is_small

_MORE = 1.65
"""Inputs beyond the rank, relative to it: fewer make long vectors, more cost time. Measured at a rank of 128."""
_AT_LEAST = 64
_MOST_RANK = 128
"""Kernels of larger rank take minutes."""
_LATTICES = 4
"""Lattices for one kind of window, of other entries each."""
_ENOUGH = 3
"""Vectors that fit into the range make a lattice good enough, in a quarter of the places."""


@dataclass(frozen=True, slots=True, eq=False)
class Windows:
    """Parts of one tensor with one matrix.

    Attributes:
        places: (L, q), the flat index of every entry of every part; NOTHING where it is none.
        matrix: (q, p) integers: what layers make of it, every column divided by what its entries have in common.
    """

    places: Integers
    matrix: Integers

    def lattices(self, low: Integers, high: Integers) -> Iterator[tuple[Integers, Integers, Integers | None]]:
        """(which of the L places, which of the q entries, a basis of the kernel lattice on these), the most room first.

        None in the place of a basis where nothing reads the entries: every vector is in the kernel. First one lattice, or a few
        of other entries each, for all places; where no vector of these fits anywhere, one for each of a few places, of the
        entries with the most room there. Lattices too large to be reduced are left out.

        Args:
            low, high: (L, q), by how many steps the entries may change.
        """
        everywhere = np.arange(len(self.places))
        unread = ~np.any(self.matrix, axis=1)
        if unread.any():
            yield everywhere, np.flatnonzero(unread), None
        matrix = self.matrix[:, np.any(self.matrix, axis=0)]
        rank = _rank(matrix)
        if unread.all() or rank > _MOST_RANK:
            return
        count = rank + max(_AT_LEAST, math.ceil(_MORE * rank))
        room = np.where(unread, -1, np.minimum(-low, high))
        order = np.argsort(-room.mean(axis=0), kind="stable")
        order = order[np.any((low < 0) | (high > 0), axis=0)[order] & ~unread[order]]
        fits = False
        for number in range(_LATTICES if rank <= _AT_LEAST else 1):
            chosen = order[number * count : (number + 1) * count]
            basis = _lattice(matrix[chosen], low[:, chosen], high[:, chosen])
            if basis is None:
                break
            fits = fits or bool(_fitting(basis, low[:, chosen], high[:, chosen]).any())
            yield everywhere, chosen, basis
        if fits:
            return
        # the room that is left once as many entries as a lattice needs at least are taken
        needed = min(room.shape[1], rank + rank // 2 + 2)
        for place in np.argsort(-np.partition(room, -needed, axis=1)[:, -needed], kind="stable")[:_LATTICES]:
            own = np.argsort(-room[place], kind="stable")[:count]
            own = own[room[place][own] >= max(1, room[place].max() // 8)]
            row = np.array([place])
            basis = _lattice(matrix[own], low[row][:, own], high[row][:, own])
            if basis is not None:
                yield row, own, basis


def windows_of(frontier: Frontier, shape: Shape) -> Iterator[Windows]:
    """The parts of the tensor, and the entries that no layer reads.

    Raises:
        OnnxnullError: `not-found` where integers are too large, or nothing small enough is known of these layers.
    """
    maps = [integer_layer(layer) for layer in frontier.layers]
    paths = [layer.path for layer in frontier.layers]
    read = np.zeros(size(shape), dtype=bool)
    for path in paths:
        assert isinstance(path, Selection), "paths on a grid are selections"
        read |= path.read
    if not read.all():
        yield Windows(np.flatnonzero(~read)[None], np.zeros((np.count_nonzero(~read), 0), dtype=np.int64))
    if not maps:
        return
    patches = _patches(maps, paths)
    if patches is not None:
        yield from patches
        return
    whole = Stack(tuple(one @ path for one, path in zip(maps, paths, strict=True) if path is not None))
    if is_small(whole) and min(whole.inputs, whole.outputs) <= 2 * _MOST_RANK:
        yield Windows(np.arange(whole.inputs)[None], whole.dense().astype(np.int64))
        return
    yield from _tiles(whole, maps, shape)


def integers_of(blocks: Array) -> Integers:
    """Blocks (g, q, p) with every column divided by what its entries have in common: integers with the same kernel.

    Raises:
        OnnxnullError: `not-found` where one needs more than 53 bits.
    """
    fraction, exponent = np.frexp(blocks)
    odd, low = np.ldexp(fraction, 53).astype(np.int64), exponent.astype(np.int64) - 53
    trailing = np.rint(np.log2(np.where(odd == 0, 1, odd & -odd).astype(np.float64))).astype(np.int64)
    odd, low = odd >> trailing, low + trailing
    shift = np.where(odd == 0, 0, low - np.where(odd == 0, 1 << 40, low).min(axis=1, keepdims=True))
    if np.any(np.abs(odd) * np.exp2(np.minimum(shift, 1000).astype(np.float64)) >= 2.0**53):
        raise OnnxnullError(Code.NOT_FOUND, "the numbers of a weight are too far apart to be written as integers")
    whole = odd << shift
    return np.asarray(whole // np.maximum(np.gcd.reduce(whole, axis=1, keepdims=True), 1))


def integer_layer(layer: Layer) -> LinearMap:
    """The layer on its own activation in whole numbers. Raises OnnxnullError as `integers_of`."""
    assert layer.path is not None, "a site's shapes are known"
    return layer.use.linear_map(integers_of(layer.matrix()).astype(np.float64), layer.path.output_shape)


def _patches(maps: list[LinearMap], paths: list[LinearMap | None]) -> list[Windows] | None:
    """The patches of layers that read the same ones, no entry in two of them; None where that is not so."""
    found: Integers | None = None
    blocks: list[Array] = []
    for one, path in zip(maps, paths, strict=True):
        patches = patches_of(one)
        if patches is None or not patches.separate or not isinstance(path, Selection):
            return None
        index = np.where(np.broadcast_to(path.factors, path.indices.shape) == 0, NOTHING, path.indices)
        rows = patches.unfold.apply(index + 1.0)  # (..., g, L, q)
        groups, count, q = rows.shape[-3:]
        mine = np.moveaxis(rows, -3, 0).reshape(groups, size(rows.shape[:-3]) * count, q).astype(np.int64) - 1
        if found is not None and not np.array_equal(found, mine):
            return None
        found = mine
        blocks.append(patches.blocks)
    assert found is not None
    if np.bincount(found[found != NOTHING], minlength=1).max() > 1:
        return None
    matrices = [np.concatenate(parts, axis=1) for parts in zip(*blocks, strict=True)]
    return [Windows(places, matrix.astype(np.int64)) for places, matrix in zip(found, matrices, strict=True)]


def _tiles(whole: Stack, maps: list[LinearMap], shape: Shape) -> Iterator[Windows]:
    """Equal square windows of images (N, C, H, W), side by side, the smallest on which overlapping filters have a kernel."""
    samples = [one.sample for one in maps if isinstance(one, Batched)]
    convolutions = [sample for sample in samples if isinstance(sample, Convolution)]
    if len(shape) != 4 or len(convolutions) < len(maps):
        raise OnnxnullError(Code.NOT_FOUND, "integer kernels of such a layer on so large a tensor are not looked for")
    strides = [math.lcm(*(c.geometry.strides[axis] for c in convolutions)) for axis in (0, 1)]
    for side in (2, 3, 4, 6, 8, 12):
        tall, wide = (side * stride for stride in strides)
        if tall * 3 > shape[2] or wide * 3 > shape[3] or shape[1] * tall * wide > 8 * _MOST_RANK:
            break
        # the second tile from the top left, beyond the reach of padding
        ranges = [(0, 1), (0, shape[1]), (tall, 2 * tall), (wide, 2 * wide)]
        matrix = whole.window(ranges).dense().astype(np.int64)
        matrix = matrix[:, np.any(matrix, axis=0)]
        rank = _rank(matrix)
        if len(matrix) > rank + rank // 4 and rank <= _MOST_RANK:
            indices = np.arange(size(shape)).reshape(shape)
            corners = [
                indices[n, :, y : y + tall, x : x + wide].ravel()
                for n in range(shape[0])
                for y in range(tall, shape[2] - 2 * tall + 1, tall)
                for x in range(wide, shape[3] - 2 * wide + 1, wide)
            ]
            yield Windows(np.array(corners, dtype=np.int64), matrix)
            return
    raise OnnxnullError(Code.NOT_FOUND, "no window small enough for a lattice search has an integer kernel")


def _lattice(matrix: Integers, low: Integers, high: Integers) -> Integers | None:
    """A reduced basis of the kernel lattice; None where there is none, or its numbers are too large."""

    def enough(basis: Integers) -> bool:
        fitting = _fitting(basis, low, high).sum(axis=1)
        return bool(np.mean(fitting >= min(_ENOUGH, len(basis))) >= 0.25)

    try:
        basis = kernel_lattice(matrix, enough)
    except OverflowError:
        return None
    return basis if len(basis) else None


def _fitting(basis: Integers, low: Integers, high: Integers) -> NDArray[np.bool_]:
    """(L, d): which basis vectors, or their opposites, lie between the bounds of which places."""
    fits = np.zeros((len(low), len(basis)), dtype=bool)
    for number, vector in enumerate(basis):
        for signed in (vector, -vector):
            fits[:, number] |= np.all((signed >= low) & (signed <= high), axis=1)
    return fits


def _rank(matrix: Integers) -> int:
    """The rank over ℚ, or a lower bound of it: modulo a prime."""
    from onnxnull.kernel.rank.integers import primes
    from onnxnull.kernel.rank.modular import rank_modulo

    prime = next(primes(1))
    return rank_modulo(matrix % prime, prime) if matrix.size else 0
