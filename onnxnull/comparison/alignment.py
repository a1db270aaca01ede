"""In which order one matrix holds what another holds: a permutation of its inputs, of its outputs, or of both.

Matrices are blocks (g, q, p), rows inputs. Columns are compared by the cosine of their angle, so factors on outputs do not
matter. Tried in this order, until columns are alike:

1. as they are;
2. the outputs in another order: an assignment of columns by their cosines;
3. the inputs as after exchanging two axes, (C, S) → (S, C) with C·S = q: channels first or last;
4. both in any order: rows are matched by the sorted sizes of their entries, which do not feel the order of the columns, then
   columns by their cosines, then rows again, now by their cosines.

Equal rows or columns (duplicates, dead ones) may be exchanged at will. Several groups: the outputs of one stay together.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from onnxnull.comparison.verdicts import Order
from onnxnull.kernel.maps.linear_map import Array

_ALIKE, _ALIKE_SHORT, _SHORT = 0.9, 0.99, 32
"""Median cosine of columns that belong together: 8 bits leave 0.9999, 4 bits 0.98 to 0.998, and strangers have √(1/q). Short
columns, 3×3 filters of one channel say, have look-alikes among many strangers."""
_SAMPLE = 512
"""Rows that cosines are taken over, where there are more."""
_QUANTILES = 48
_SMALL = 50_000
"""Entries of a matrix for which everything is tried."""
_LOOKED_AT, _NEARER = 128, 0.7
"""Rows that tell strangers apart, and how much nearer the rows of partners are than those of one weight among themselves."""
_MOST_ROWS = 8192
"""Rows for which assignments of rows are tried."""


@dataclass(frozen=True, slots=True, eq=False)
class Alignment:
    """b[i, j] belongs to a[rows[i], columns[j]]; columns number the outputs of all groups; None: as they are.

    Attributes:
        inputs, outputs: what kind of order this is.
        likeness: median cosine of the columns so arranged.
    """

    rows: NDArray[np.intp] | None
    columns: NDArray[np.intp] | None
    inputs: Order
    outputs: Order
    likeness: float

    def apply(self, a: Array) -> Array:
        """a in the order of b, (g, q, p)."""
        g, q, p = a.shape
        if self.columns is not None:
            stacked = a.transpose(1, 0, 2).reshape(q, g * p)[:, self.columns]
            a = stacked.reshape(q, g, p).transpose(1, 0, 2)
        return a if self.rows is None else a[:, self.rows]


UNCHANGED = Alignment(None, None, Order.SAME, Order.SAME, 1.0)


def are_alike(likeness: float, q: int) -> bool:
    """Whether a median cosine of columns of q entries says that they belong together."""
    return likeness >= (_ALIKE if q > _SHORT else _ALIKE_SHORT)


def alignments(a: Array, b: Array) -> Iterator[Alignment]:
    """How b's order may follow from a's: each in which their columns are alike, the simplest first.

    Where they are alike as they are, and the matrices are large, orders of the inputs are not looked for.
    """
    g, q, p = a.shape
    if b.shape != a.shape or a.size == 0:
        return
    first, second = _unit_columns(a), _unit_columns(b)
    likeness = _likeness(first, second)
    alike = are_alike(likeness, q)
    if alike:
        yield replace(UNCHANGED, likeness=likeness)
    for rows, inputs in _row_orders(first, second, g):
        if alike and rows is not None and a.size > _SMALL:
            return
        moved = first if rows is None else first[rows]
        columns = np.arange(g * p)
        if inputs is not Order.LAYOUT:
            cosines = _cosines(second, moved)
            if rows is None and not are_alike(float(np.median(cosines.max(axis=1))), q):
                continue  # no assignment can do better
            columns = _assign(cosines)
        if rows is not None and inputs is Order.PERMUTED:
            signs = np.where(np.einsum("ij,ij->j", moved[:, columns], second) < 0.0, -1.0, 1.0)
            rows = _assign(_row_cosines(second, first[:, columns] * signs))
            moved = first[rows]
            columns = _assign(_cosines(second, moved))
        likeness = _likeness(moved[:, columns], second)
        if are_alike(likeness, q) and _keeps_groups(columns, g, p):
            found = _named(rows, columns, inputs, likeness)
            if found.rows is not None or found.columns is not None:
                yield found


def _row_orders(first: Array, second: Array, g: int) -> Iterator[tuple[NDArray[np.intp] | None, Order]]:
    """Orders of the rows worth trying: as they are, after an exchange of axes, and what sorted rows suggest."""
    q, columns = first.shape
    yield None, Order.SAME
    some = np.linspace(0, columns - 1, min(columns, 16)).astype(int)
    for rows in exchanges(q):
        if are_alike(_likeness(first[np.ix_(rows, some)], second[:, some]), q):
            yield rows, Order.LAYOUT
    if g == 1 and 1 < q <= _MOST_ROWS and columns > 1:
        profiles = _profiles(second), _profiles(first)
        if not _are_strangers(*profiles):
            yield _assign(-_distances(*profiles)), Order.PERMUTED


def exchanges(q: int) -> Iterator[NDArray[np.intp]]:
    """For every C·S = q with 1 < C < q the order of the rows after (C, S) → (S, C)."""
    for channels in range(2, q // 2 + 1):
        if q % channels == 0:
            yield np.arange(q).reshape(channels, -1).T.ravel()


def _named(rows: NDArray[np.intp] | None, columns: NDArray[np.intp], inputs: Order, likeness: float) -> Alignment:
    """The alignment, orders that are no change left out."""
    if rows is not None and np.array_equal(rows, np.arange(rows.size)):
        rows, inputs = None, Order.SAME
    if rows is not None and inputs is Order.PERMUTED and any(np.array_equal(rows, other) for other in exchanges(rows.size)):
        inputs = Order.LAYOUT
    if np.array_equal(columns, np.arange(columns.size)):
        return Alignment(rows, None, inputs, Order.SAME, likeness)
    return Alignment(rows, columns, inputs, Order.PERMUTED, likeness)


def _unit_columns(blocks: Array) -> Array:
    """The columns of all groups side by side, (q, g·p), each of length 1; zero ones stay zero."""
    g, q, p = blocks.shape
    stacked = blocks.transpose(1, 0, 2).reshape(q, g * p)
    lengths = np.linalg.norm(stacked, axis=0)
    unit: Array = np.divide(stacked, lengths, out=np.zeros_like(stacked), where=lengths > 0.0)
    return unit


def _likeness(first: Array, second: Array) -> float:
    """The median |cosine| of columns side by side; two zero columns are alike."""
    cosines = np.abs(np.einsum("ij,ij->j", first, second))
    both_zero = ~first.any(axis=0) & ~second.any(axis=0)
    return float(np.median(np.where(both_zero, 1.0, cosines)))


def _cosines(first: Array, second: Array) -> Array:
    """|cosine| of every column of `first` with every column of `second`, over some of the rows."""
    one, other = (rows / np.maximum(np.linalg.norm(rows, axis=0), 1e-300) for rows in (_sampled(first), _sampled(second)))
    cosines: Array = np.abs(one.T @ other)
    return cosines


def _sampled(columns: Array) -> Array:
    """Some of the rows, for cosines that only need to tell columns apart."""
    some: Array = columns[np.linspace(0, len(columns) - 1, min(len(columns), _SAMPLE)).astype(int)]
    return some


def _row_cosines(first: Array, second: Array) -> Array:
    """Cosine of every row of `first` with every row of `second`."""
    one, other = (_sampled(rows.T).T for rows in (first, second))
    lengths = [np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-300) for rows in (one, other)]
    cosines: Array = (one / lengths[0]) @ (other / lengths[1]).T
    return cosines


def _profiles(columns: Array) -> Array:
    """What is left of every row without the order of the columns: quantiles of the sizes of its entries."""
    ordered: Array = np.sort(np.abs(columns), axis=1)
    if ordered.shape[1] <= _QUANTILES:
        return ordered
    some: Array = ordered[:, np.linspace(0, ordered.shape[1] - 1, _QUANTILES).astype(int)]
    return some


def _are_strangers(first: Array, second: Array) -> bool:
    """Whether rows of the first have no nearer neighbour in the second than rows of the second have among themselves.

    Seen on some rows, and in the median: equal rows are neighbours at distance 0.
    """
    some = np.linspace(0, len(first) - 1, min(len(first), _LOOKED_AT)).astype(int)
    across = _distances(first[some], second).min(axis=1)
    within = np.sort(_distances(second[some], second), axis=1)[:, 1]
    return bool(np.median(across) > _NEARER * np.median(within))


def _distances(first: Array, second: Array) -> Array:
    from scipy.spatial.distance import cdist

    distances: Array = cdist(first, second)
    return distances


def _assign(likeness: Array) -> NDArray[np.intp]:
    """For every row of `likeness` the column that belongs to it, each once, so that their sum is largest.

    Where the best columns of all rows are different ones, they are the answer.
    """
    best: NDArray[np.intp] = np.argmax(likeness, axis=1)
    if np.unique(best).size == best.size:
        return best
    from scipy.optimize import linear_sum_assignment

    return np.asarray(linear_sum_assignment(likeness, maximize=True)[1])


def _keeps_groups(columns: NDArray[np.intp], g: int, p: int) -> bool:
    """Whether the outputs of every group of b come from one group of a."""
    groups = (columns // p).reshape(g, p)
    return bool(np.all(groups == groups[:, :1]))
