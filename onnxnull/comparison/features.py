"""What is remembered of a weight while its partner is looked for, so that no two matrices need be in memory at once."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from onnxnull.comparison.folded_scales import Fold, Folds
from onnxnull.kernel.maps.linear_map import Array

_ROWS, _COLUMNS = 1024, 16
_QUANTILES = 32


@dataclass(frozen=True, slots=True, eq=False)
class Features:
    """A weight's numbers in short.

    Attributes:
        shape: (g, q, p).
        digest: of all its entries.
        samples: some rows of some columns, of length 1 each, (rows, columns): of the weight as it is, and with the factors of
            each of `inputs`, which change the angles between columns.
        inputs: the folds on its inputs; None for the weight as it is.
        moments: quantiles that feel neither the order of rows and columns nor factors on columns.
    """

    shape: tuple[int, int, int]
    digest: bytes
    samples: tuple[Array, ...]
    inputs: tuple[Fold | None, ...]
    moments: Array


def features(matrix: Array, folds: Folds) -> Features:
    """The features of blocks (g, q, p)."""
    blocks = np.ascontiguousarray(matrix + 0.0)  # no −0
    inputs: tuple[Fold | None, ...] = (None, *folds.inputs)
    return Features(
        matrix.shape,
        hashlib.blake2b(blocks.data, digest_size=16).digest(),
        tuple(_sample(blocks if fold is None else blocks * fold.factors) for fold in inputs),
        inputs,
        _moments(blocks),
    )


def likenesses(ours: Sequence[Features], theirs: Sequence[Features]) -> Array:
    """(ours, theirs): the median |cosine| of the sampled columns, for the best of the folds on the inputs; all of one shape.

    Two zero columns are alike.
    """
    stacks = [np.stack([sample for each in side for sample in each.samples]) for side in (ours, theirs)]
    if 0 in stacks[0].shape[1:]:
        return np.ones((len(ours), len(theirs)))
    columns = [np.moveaxis(stack, 2, 0) for stack in stacks]  # (columns, samples, rows)
    cosines = np.abs(columns[0] @ columns[1].swapaxes(1, 2))
    empty = [np.asarray(~stack.any(axis=1)).T for stack in stacks]
    cosines[empty[0][:, :, None] & empty[1][:, None, :]] = 1.0
    median = np.median(cosines, axis=0)
    starts = [np.cumsum([0, *(len(each.samples) for each in side)])[:-1] for side in (ours, theirs)]
    best: Array = np.maximum.reduceat(np.maximum.reduceat(median, starts[0], axis=0), starts[1], axis=1)
    return best


def distances(ours: Sequence[Features], theirs: Sequence[Features]) -> Array:
    """(ours, theirs): how far apart the moments are, relative to their size: 0 to 1."""
    from scipy.spatial.distance import cdist

    stacks = [np.stack([each.moments for each in side]) for side in (ours, theirs)]
    apart: Array = cdist(stacks[0], stacks[1], "canberra") / stacks[0].shape[1]
    return apart


def _sample(blocks: Array) -> Array:
    """Columns of length above 0, spread over all, so that the same ones are taken of a matrix like this one."""
    g, q, p = blocks.shape
    rows = np.unique(np.linspace(0, q - 1, min(q, _ROWS)).astype(int))
    places = np.unique(np.linspace(0, g * p - 1, min(g * p, _COLUMNS)).astype(int)) if g * p else np.zeros(0, dtype=int)
    some = blocks[places // max(p, 1), :, places % max(p, 1)][:, rows].T if q else np.zeros((0, 0))
    lengths = np.linalg.norm(some, axis=0)
    unit: Array = np.divide(some, lengths, out=np.zeros_like(some), where=lengths > 0.0)
    return unit


def _moments(blocks: Array) -> Array:
    """Fourth moments of the columns of length 1; energies and fourth moments of the rows of these: sorted, some of each."""
    g, q, p = blocks.shape
    if 0 in (g, q, p):
        return np.zeros(3 * _QUANTILES)
    squares = blocks**2
    energy = squares.sum(axis=1, keepdims=True)
    squares = np.divide(squares, energy, out=squares, where=energy > 0.0)
    rows = squares.mean(axis=2).ravel() * q
    fourth = squares**2
    return np.concatenate(
        [_quantiles(fourth.sum(axis=1).ravel() * q), _quantiles(rows), _quantiles(fourth.mean(axis=2).ravel() * q * q)]
    )


def _quantiles(values: Array) -> Array:
    ordered = np.sort(values)
    at = np.linspace(0, ordered.size - 1, _QUANTILES)
    quantiles: Array = np.interp(at, np.arange(ordered.size), ordered)
    return quantiles
