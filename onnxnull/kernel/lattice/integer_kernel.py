"""Integer vectors in the kernel of an integer matrix: a reduced basis, the one near a wish, and the ones inside a box.

The matrix A is (q, p), rows inputs. Its kernel lattice is {φ ∈ ℤ^q : φᵀA = 0}, of rank q − rank(A). The basis is found exactly:
columns are taken a few at a time, and LLL of [λ·B·A | B] splits the lattice B so far into what they do not see and the rest.
The vectors stay short from the first column to the last, so that LLL's numbers stay small. Basis vectors are rows.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from onnxnull.kernel.lattice.reduction import LARGEST, Integers, lll, shorten, triangle
from onnxnull.kernel.maps.linear_map import Array

_COLUMNS = 16
"""Taken at a time: measured fastest for 240 to 340 inputs and 128 outputs."""
_TOURS = 25
_PROJECTIONS, _REPAIRS = 60, 12
"""Of points between a box and a span; passes over a basis that move a vector into a box."""


def kernel_lattice(matrix: Integers, enough: Callable[[Integers], bool] = lambda _: False, tours: int = _TOURS) -> Integers:
    """A reduced basis (q − rank, q) of the kernel lattice of `matrix` (q, p), shortest vectors first.

    Args:
        enough: of a basis: whether its vectors are short enough, asked before each of at most `tours` tours of block reduction.

    Raises:
        OverflowError: the vectors need numbers that are too large to be of use (above 2⁴⁰).
    """
    import flint

    matrix = np.asarray(matrix, dtype=np.int64)
    basis = np.eye(len(matrix), dtype=np.int64)
    largest = int(np.abs(matrix).max(initial=0))
    for start in range(0, matrix.shape[1], _COLUMNS):
        columns = matrix[:, start : start + _COLUMNS]
        if largest * int(np.abs(basis).sum(axis=1).max(initial=0)) > LARGEST:
            raise OverflowError("kernel vectors of more than 40 bits")
        seen = basis @ columns
        rank = int(flint.fmpz_mat(seen.tolist()).rank()) if seen.size else 0
        basis = _unseen(basis, seen, rank)
    return shorten(lll(basis) if len(basis) else basis, tours, enough)


def _unseen(basis: Integers, seen: Integers, rank: int) -> Integers:
    """Of a lattice the part that some columns map to 0: `seen` is what they make of the basis, of this rank."""
    factor = 1
    while rank:
        # above the length of every vector that is kept, or a short one that is seen would stand in its place
        factor = max(factor, 4 * int(np.ceil(np.linalg.norm(basis, axis=1).max())))
        if factor * int(np.abs(seen).max()) > LARGEST**1.5:
            raise OverflowError("kernel vectors of more than 40 bits")
        reduced = lll(np.concatenate([factor * seen, basis], axis=1), delta=0.9)
        unseen = ~np.any(reduced[:, : seen.shape[1]], axis=1)
        basis, seen = reduced[:, seen.shape[1] :], reduced[:, : seen.shape[1]] // factor
        if np.count_nonzero(unseen) == len(basis) - rank:
            return np.asarray(basis[unseen])
        factor *= 4
    return basis


def nearest(basis: Integers, wish: Array) -> Integers:
    """A lattice vector near `wish` (q,): Babai's nearest plane. It is the nearest one only where the basis is orthogonal."""
    if not len(basis):
        return np.zeros(basis.shape[1], dtype=np.int64)
    r = triangle(basis)
    rest = np.linalg.solve(r.T, basis.astype(np.float64) @ wish)  # the coordinates Qᵀ·wish
    found = np.zeros(basis.shape[1], dtype=np.int64)
    for j in range(len(basis) - 1, -1, -1):
        factor = np.rint(rest[j] / r[j, j])
        rest = rest - factor * r[:, j]
        found += int(factor) * basis[j]
    return found


def toward(basis: Integers, wishes: Array, low: Integers, high: Integers) -> Integers:
    """For each of L wishes (L, q) a lattice vector φ near it, low ≤ φ ≤ high: the nearest plane's, where that is inside.

    It is then moved along every basis vector to where it is nearest, until nothing moves: a descent, so a local minimum.

    Args:
        low, high: (L, q), low ≤ 0 ≤ high.
    """
    found = np.array([nearest(basis, wish) for wish in wishes], dtype=np.int64).reshape(wishes.shape)
    outside = np.any((found < low) | (found > high), axis=1)
    found[outside] = 0
    return _descend(basis, found, low, high, lambda vector, now: (wishes - now) @ vector / float(vector @ vector))


def along(basis: Integers, directions: Array, low: Integers, high: Integers) -> Integers:
    """For each of L directions (L, q) a lattice vector φ far along it, low ≤ φ ≤ high: basis vectors, while they fit."""

    def as_far_as_it_goes(vector: Array, _: Integers) -> Array:
        return np.where(directions @ vector > 0, np.inf, -np.inf)

    return _descend(basis, np.zeros(directions.shape, dtype=np.int64), low, high, as_far_as_it_goes)


def inside(basis: Integers, low: Integers, high: Integers, rng: np.random.Generator, tries: int = 16) -> Integers:
    """For each of L boxes low ≤ φ ≤ high (L, q) a lattice vector in it, found around points in its middle; 0 where none was.

    For boxes that basis vectors do not fit into, with little room on one side of 0: random points are moved into the middle of
    the box and the lattice's span (alternating projections), rounded by the nearest plane, and moved along basis vectors while
    that lessens what is outside.
    """
    least, most = (np.repeat(part, tries, axis=0).astype(np.float64) for part in (low, high))
    span = np.linalg.qr(basis.T.astype(np.float64))[0]
    margin = rng.uniform(0.05, 0.4, (len(least), 1)) * (most - least)
    points = least + rng.uniform(0.0, 1.0, least.shape) * (most - least)
    for _ in range(_PROJECTIONS):
        points = np.clip(points @ span @ span.T, least + margin, most - margin)
    r = triangle(basis)
    rest = np.linalg.solve(r.T, basis.astype(np.float64) @ points.T)
    factors = np.zeros(rest.shape, dtype=np.int64)
    for j in range(len(basis) - 1, -1, -1):
        whole = np.rint(rest[j] / r[j, j])
        rest -= np.outer(r[:, j], whole)
        factors[j] = whole.astype(np.int64)
    found = factors.T @ basis
    for _ in range(_REPAIRS):
        before = found
        for vector in basis:
            for step in (vector, -vector):
                moved = found + step
                better = _outside(moved, least, most) < _outside(found, least, most)
                found = np.where(better[:, None], moved, found)
        if np.array_equal(before, found):
            break
    good = (_outside(found, least, most) == 0.0) & np.any(found, axis=1)
    best = np.argmax(good.reshape(-1, tries), axis=1) + tries * np.arange(len(low))
    return np.asarray(np.where(good[best][:, None], found[best], 0))


def _outside(points: Integers, low: Array, high: Array) -> Array:
    """How far outside of their boxes points are, squared."""
    return np.asarray(np.square(points - np.clip(points, low, high)).sum(axis=1))


def _descend(
    basis: Integers, start: Integers, low: Integers, high: Integers, step: Callable[[Array, Integers], Array], sweeps: int = 8
) -> Integers:
    found = start
    for _ in range(sweeps):
        before = found.copy()
        for vector in basis:
            read = np.flatnonzero(vector)
            if not read.size:
                continue
            part, now = vector[read], found[:, read]
            # floor division: how often the vector fits, upward and downward
            room = np.where(part > 0, high[:, read] - now, now - low[:, read]) // np.abs(part)
            back = np.where(part > 0, now - low[:, read], high[:, read] - now) // np.abs(part)
            wanted = np.clip(np.rint(step(vector.astype(np.float64), found)), -back.min(axis=1), room.min(axis=1))
            found = found + wanted.astype(np.int64)[:, None] * vector
        if np.array_equal(before, found):
            break
    return found
