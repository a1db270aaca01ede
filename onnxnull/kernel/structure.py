"""Structure of a weight that can be read off its entries: dead and nearly dead outputs, unread inputs, duplicate outputs.

A weight is a block-diagonal matrix given as blocks (g, q, p): rows are inputs, columns are outputs. Entries are compared
as numbers, exactly: −0 equals 0, and no tolerance is involved. Nothing here copies more than a few megabytes at a time.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

Blocks = npt.NDArray[np.generic]

_FEW_ROWS = 8
_SAMPLED_ROWS = 64
_PIECE = 1 << 22


def dead_outputs(blocks: Blocks) -> int:
    """Count of zero columns of the stack (g, q, p)."""
    return int(np.count_nonzero(~nonzero_columns(blocks)))


def unread_inputs(blocks: Blocks) -> int:
    """Count of zero rows of the stack (g, q, p)."""
    return int(np.count_nonzero(~nonzero_rows(blocks)))


def duplicate_outputs(blocks: Blocks) -> int:
    """Count of columns that equal an earlier column of the same block and are not dead."""
    alive = int(np.count_nonzero(nonzero_columns(blocks)))
    return alive - sum(len(distinct_columns(block)) for block in blocks)


def nearly_dead_outputs(blocks: Blocks, threshold: float) -> int:
    """Count of columns that are not zero and whose Euclidean norm is at most `threshold`."""
    largest = max((float(np.abs(piece.astype(np.float64)).max(initial=0.0)) for _, piece in pieces(blocks)), default=0.0)
    if largest == 0.0:
        return 0
    # Scaled by a power of two no square overflows; what underflows to 0 lies below any threshold of interest.
    exponent = int(np.frexp(largest)[1])
    squares = np.zeros((blocks.shape[0], blocks.shape[2]))
    for span, piece in pieces(blocks):
        squares[span] += np.square(np.ldexp(piece.astype(np.float64), -exponent)).sum(axis=1)
    small = np.sqrt(squares) <= np.ldexp(threshold, -exponent)
    return int(np.count_nonzero(small & nonzero_columns(blocks)))


def nonzero_columns(blocks: Blocks) -> npt.NDArray[np.bool_]:
    """Which columns have a non-zero entry: (g, p)."""
    groups, _, columns = blocks.shape
    found = np.zeros((groups, columns), dtype=bool)
    for span, piece in pieces(blocks):
        found[span] |= (piece != 0).any(axis=1)
    return found


def nonzero_rows(blocks: Blocks) -> npt.NDArray[np.bool_]:
    """Which rows have a non-zero entry: (g, q)."""
    return nonzero_columns(np.swapaxes(blocks, 1, 2))


def distinct_columns(matrix: npt.NDArray[np.generic]) -> npt.NDArray[np.intp]:
    """Indices, increasing, of the first of each set of equal non-zero columns of a matrix (q, p)."""
    rows, columns = matrix.shape
    if rows == 0 or columns == 0:
        return np.zeros(0, dtype=np.intp)
    if rows <= _FEW_ROWS:
        return _distinct_short_columns(matrix)
    # Columns that differ in a few sampled rows are different; only the others are read whole.
    sample = matrix[np.linspace(0, rows - 1, min(rows, _SAMPLED_ROWS)).astype(np.intp)]
    alike: dict[bytes, list[int]] = defaultdict(list)
    for j, key in enumerate(_keys(sample)):
        alike[key].append(j)
    zero = bytes(sample.shape[0] * sample.itemsize)
    first = []
    for key, members in alike.items():
        if len(members) == 1 and key != zero:
            first.append(members[0])
            continue
        seen = {bytes(rows * matrix.itemsize)}  # the dead column
        for start in range(0, len(members), max(1, _PIECE // rows)):
            some = members[start : start + max(1, _PIECE // rows)]
            for j, whole in zip(some, _keys(matrix[:, some]), strict=True):
                if whole not in seen:
                    seen.add(whole)
                    first.append(j)
    return np.array(sorted(first), dtype=np.intp)


def _distinct_short_columns(matrix: npt.NDArray[np.generic]) -> npt.NDArray[np.intp]:
    """The same by sorting, without an object for each of what may be millions of columns."""
    order = np.lexsort(matrix)  # stable: the first of equal columns comes first
    ordered = matrix[:, order]
    fresh = np.concatenate([[True], np.any(ordered[:, 1:] != ordered[:, :-1], axis=0)])
    first: npt.NDArray[np.intp] = np.sort(order[fresh & np.any(ordered != 0, axis=0)])
    return first


def pieces(blocks: Blocks) -> Iterator[tuple[slice, Blocks]]:
    """The stack in parts of about 4 million entries: (a range of blocks, those blocks or a range of rows of one)."""
    groups, rows, columns = blocks.shape
    entries = max(1, rows * columns)
    if entries <= _PIECE:
        step = max(1, _PIECE // entries)
        for g in range(0, groups, step):
            yield slice(g, g + step), blocks[g : g + step]
        return
    step = max(1, _PIECE // max(1, columns))
    for g in range(groups):
        for start in range(0, rows, step):
            yield slice(g, g + 1), blocks[g : g + 1, start : start + step]


def _keys(matrix: npt.NDArray[np.generic]) -> list[bytes]:
    """The columns of a matrix as bytes, equal if and only if the numbers are (adding 0 turns −0 into 0)."""
    transposed = np.ascontiguousarray(matrix.T)
    transposed = transposed + transposed.dtype.type(0)
    return [row.tobytes() for row in transposed]
