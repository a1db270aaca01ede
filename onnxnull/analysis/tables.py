"""The look-up tables of a model: which nodes pick rows of which constant, and the rank of those rows."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass

import numpy as np

from onnxnull.analysis.results import LookupTable
from onnxnull.graph.constants import Constant, EvaluationError, Stored
from onnxnull.graph.flow import Flow
from onnxnull.graph.types import dtype_name
from onnxnull.kernel.rank import ExactPolicy, RankProfile, rank_profile
from onnxnull.operators.lookup import TableUse, table_uses

_NUMBERS = "fiuV"
"""NumPy's kinds of real numbers; V: the floats of ml_dtypes."""

_TIME = {False: "it was not reached within the time limit", True: "it was not finished within the time limit"}


@dataclass(slots=True)
class Table:
    """A table and the nodes that read it."""

    name: str
    use: TableUse
    nodes: list[str]


def find_tables(flow: Flow, banks: Container[Stored] = frozenset()) -> list[Table]:
    """Every table of the model in graph order, each once, with all nodes that read it.

    Tables of one axis, of strings and of booleans are none. Stored constants in `banks` are none either: their slices are
    weights.
    """
    found: dict[tuple[object, ...], Table] = {}
    for node in flow.nodes:
        for use in table_uses(node):
            constant = use.constant
            if isinstance(constant, Constant) and (constant.dtype.is_string() or constant.dtype.name == "BOOL"):
                continue
            if isinstance(constant, Constant) and constant.root is not None and constant.root in banks:
                continue
            key: tuple[object, ...] = (use.name,)
            name = use.name
            if isinstance(constant, Constant):
                key = (constant.signature, use.shape, None if use.arrange is None else use.arrange.args)
                name = constant.root.name if constant.root else use.name
            found.setdefault(key, Table(name, use, [])).nodes.append(node.name)
    return list(found.values())


def report_table(table: Table, deadline: float | None) -> LookupTable:
    """A table with its rank. What has none (it could not be evaluated, holds NaN) says why. Raises `TimeoutError`."""
    ranks, reason = None, table.use.obstacle
    if table.use.arrange is not None:
        try:
            ranks = _ranks(table.use, deadline)
        except _NoRankError as error:
            reason = str(error)
    return _described(table, ranks, reason)


def unranked_table(table: Table, *, begun: bool) -> LookupTable:
    """A table for which the time was up."""
    return _described(table, None, table.use.obstacle or _TIME[begun])


def _described(table: Table, ranks: RankProfile | None, reason: str | None) -> LookupTable:
    use = table.use
    rows, columns = use.shape or (None, None)
    dtype = dtype_name(use.constant.dtype) if isinstance(use.constant, Constant) else None
    return LookupTable(table.name, dtype, tuple(table.nodes), rows, columns, ranks, reason)


class _NoRankError(Exception):
    """Why a table has no rank."""


def _ranks(use: TableUse, deadline: float | None) -> RankProfile:
    assert isinstance(use.constant, Constant)
    assert use.arrange is not None, "only such a table has a rank"
    try:
        matrix = use.arrange(use.constant.array())
        if matrix.dtype.kind not in _NUMBERS:
            raise _NoRankError(f"it has type {matrix.dtype}")
        if not np.isfinite(matrix).all():
            raise _NoRankError("it holds NaN or Inf")
        return rank_profile(matrix[None], exact=ExactPolicy.CHEAP, deadline=deadline)
    except EvaluationError as error:
        raise _NoRankError(f"it was not evaluated: {error}") from None
