"""Look-up tables side by side: a run picks few of their rows, so their numbers are compared."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from onnxnull.comparison.closeness import closeness
from onnxnull.comparison.results import TablePair
from onnxnull.graph.constants import Constant, EvaluationError
from onnxnull.graph.flow import Flow
from onnxnull.graph.types import dtype_name
from onnxnull.operators.lookup import table_uses


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """A table of real, finite numbers, (rows, columns)."""

    name: str
    dtype: str
    matrix: np.ndarray


def tables(flow: Flow) -> list[Table]:
    """The tables of a model, each once. Left out is what cannot be compared: other types, NaN or Inf, unknown numbers."""
    found: dict[tuple[object, ...], Table] = {}
    for node in flow.nodes:
        for use in table_uses(node):
            if not isinstance(use.constant, Constant) or use.arrange is None or use.shape is None:
                continue
            key = (use.constant.signature, use.shape, use.arrange.args)
            if key in found or use.constant.dtype.is_string():
                continue
            try:
                matrix = use.arrange(use.constant.array())
            except EvaluationError:
                continue
            if matrix.dtype.kind in "fiuV" and np.isfinite(matrix).all():
                name = use.constant.root.name if use.constant.root else use.name
                found[key] = Table(name, dtype_name(use.constant.dtype), matrix)
    return list(found.values())


def side_by_side(a: list[Table], b: list[Table]) -> Iterator[TablePair]:
    """Tables of one name and shape; and of the others those of a shape that only one of each model has."""
    left = list(b)
    alone = []
    for one in a:
        other = next((table for table in left if (table.name, table.matrix.shape) == (one.name, one.matrix.shape)), None)
        if other is None:
            alone.append(one)
            continue
        left.remove(other)
        yield _pair(one, other)
    for one in alone:
        ours, theirs = ([table for table in side if table.matrix.shape == one.matrix.shape] for side in (alone, left))
        if len(ours) == len(theirs) == 1:
            yield _pair(one, theirs[0])


def _pair(a: Table, b: Table) -> TablePair:
    one, other = (table.matrix.astype(np.float64) for table in (a, b))
    if not np.array_equal(one, other) and np.array_equal(_sorted(one), _sorted(other)):
        one = other  # columns in another order, as permuted channels leave them: for the outputs to settle
    found = closeness(one[None], other[None], (a.dtype, b.dtype))
    return TablePair(a.name, b.name, found.verdict, found.difference)


def _sorted(table: np.ndarray) -> np.ndarray:
    """The columns in the order of their entries."""
    ordered: np.ndarray = table[:, np.lexsort(table[:4][::-1])]
    return ordered
