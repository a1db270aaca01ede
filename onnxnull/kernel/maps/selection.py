"""Selections: every output entry is one input entry times a number, or zero.

Transposes, reshapes, slices, gathers, pads, concatenations of such, scalings and normalisations with stored statistics are all
of this kind, and so is every composition of them. A path from a network's input to its first weights collapses into one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from onnxnull.kernel.maps.linear_map import Array, LinearMap, Shape, size

NOTHING = -1
"""Index of an output entry that reads no input entry."""


@dataclass(frozen=True, eq=False)
class Selection(LinearMap):
    """y[i] = factors[i] · x.flat[indices[i]], and 0 where indices[i] is NOTHING.

    Attributes:
        shape: of the input.
        indices: integers in the output's shape.
        factors: float64, broadcastable to the output's shape.
    """

    shape: Shape
    indices: NDArray[np.int64]
    factors: Array

    @property
    def input_shape(self) -> Shape:
        """`shape`."""
        return self.shape

    @property
    def output_shape(self) -> Shape:
        """Shape of `indices`."""
        return self.indices.shape

    def _apply(self, x: Array) -> Array:
        flat = x.reshape(len(x), -1)
        taken = flat[:, np.maximum(self.indices, 0)] if flat.shape[1] else np.zeros((len(x), *self.indices.shape))
        result: Array = taken * np.where(self.indices == NOTHING, 0.0, self.factors)
        return result

    def _adjoint(self, y: Array) -> Array:
        read = self.indices != NOTHING
        weighted = (y * self.factors)[:, read]
        where = self.indices[read]
        flat = np.zeros((len(y), size(self.shape)))
        for row, values in zip(flat, weighted, strict=True):
            row += np.bincount(where, values, minlength=row.size)
        return flat.reshape(len(y), *self.shape)

    @property
    def read(self) -> NDArray[np.bool_]:
        """For each input entry (flat), whether any output entry reads it with a factor other than zero."""
        mask = np.zeros(size(self.shape), dtype=bool)
        mask[self.indices[(self.indices != NOTHING) & (np.broadcast_to(self.factors, self.indices.shape) != 0)]] = True
        return mask

    @property
    def rank(self) -> int:
        """How many input entries are read: exact, since no output entry mixes two of them."""
        return int(np.count_nonzero(self.read))

    def after(self, first: Selection) -> Selection:
        """The selection `self @ first`. Raises FloatingPointError where a factor is too small or too large for a double."""
        inner = np.append(first.indices.ravel(), NOTHING)  # index NOTHING = -1 finds the last entry
        indices = inner[self.indices]
        del inner  # paths may be large
        if first.factors.size == 1:
            return Selection(first.shape, indices, _product(self.factors, first.factors.reshape(())))
        factors = np.append(np.broadcast_to(first.factors, first.indices.shape).ravel(), 0.0)
        return Selection(first.shape, indices, _product(self.factors, factors[self.indices]))

    def plus(self, other: Selection) -> Selection | None:
        """The sum, where no output entry reads two input entries; else None. Raises FloatingPointError on overflow."""
        mine, theirs = self.indices != NOTHING, other.indices != NOTHING
        if np.any(mine & theirs & (self.indices != other.indices)):
            return None
        with np.errstate(over="raise"):
            factors = np.where(mine, self.factors, 0.0) + np.where(theirs, other.factors, 0.0)
        return Selection(self.shape, np.where(mine, self.indices, other.indices), factors)

    def equals(self, other: Selection) -> bool:
        """Whether both select the same entries with the same factors."""
        return self is other or (
            self.shape == other.shape
            and np.array_equal(self.indices, other.indices)
            and bool(np.all(np.broadcast_to(self.factors, self.indices.shape) == other.factors))
        )

    def padding(self) -> tuple[tuple[int, int], ...] | None:
        """(before, after) per axis, where this is zero padding (and scaling by factors other than zero); else None."""
        if len(self.shape) != self.indices.ndim or size(self.shape) == 0:
            return None
        place = np.argwhere(self.indices == 0)
        if len(place) != 1:
            return None
        pads = tuple(
            (int(start), whole - int(start) - part)
            for start, whole, part in zip(place[0], self.indices.shape, self.shape, strict=True)
        )
        if any(after < 0 for _, after in pads):
            return None
        padded = np.pad(np.arange(size(self.shape)).reshape(self.shape), pads, constant_values=NOTHING)
        scaled = np.broadcast_to(self.factors, self.indices.shape)[self.indices != NOTHING]
        return pads if np.array_equal(padded, self.indices) and bool(np.all(scaled != 0)) else None


def _product(first: Array, second: Array) -> Array:
    """The product; one that underflows would say that an entry is not read. Raises FloatingPointError."""
    with np.errstate(over="raise", under="raise"):
        return np.asarray(first * second)


def identity(shape: Shape) -> Selection:
    """x → x."""
    return Selection(shape, np.arange(size(shape)).reshape(shape), np.ones(()))


def compose(second: LinearMap, first: LinearMap) -> LinearMap:
    """`second @ first`, collapsed where both are selections."""
    if isinstance(second, Selection) and isinstance(first, Selection):
        return second.after(first)
    return second @ first


def add(first: LinearMap, second: LinearMap) -> LinearMap:
    """`first + second`, collapsed where both are selections and the sum is one."""
    if isinstance(first, Selection) and isinstance(second, Selection):
        joined = first.plus(second)
        if joined is not None:
            return joined
    return first + second
