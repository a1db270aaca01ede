"""The look-up tables of a model: which nodes pick rows of which constant, and the rank of those rows."""

from __future__ import annotations

import time
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


@dataclass(slots=True)
class _Found:
    name: str
    use: TableUse
    nodes: list[str]


def report_tables(flow: Flow, deadline: float | None = None, banks: Container[Stored] = frozenset()) -> tuple[LookupTable, ...]:
    """Every table of the model in graph order, each once, with all nodes that read it.

    Tables of one axis, of strings and of booleans are none. What has no rank (it could not be evaluated, holds NaN, or the time
    was up, `deadline` of `time.monotonic`) is listed with the reason. Stored constants in `banks` are none either: their slices
    are weights.
    """
    found: dict[tuple[object, ...], _Found] = {}
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
            found.setdefault(key, _Found(name, use, [])).nodes.append(node.name)
    return tuple(_report(table, deadline) for table in found.values())


def _report(table: _Found, deadline: float | None) -> LookupTable:
    use = table.use
    ranks, reason = None, use.obstacle
    if use.arrange is not None:
        try:
            ranks = _ranks(use, deadline)
        except _NoRankError as error:
            reason = str(error)
    rows, columns = use.shape or (None, None)
    dtype = dtype_name(use.constant.dtype) if isinstance(use.constant, Constant) else None
    return LookupTable(table.name, dtype, tuple(table.nodes), rows, columns, ranks, reason)


class _NoRankError(Exception):
    """Why a table has no rank."""


def _ranks(use: TableUse, deadline: float | None) -> RankProfile:
    assert isinstance(use.constant, Constant)
    assert use.arrange is not None, "only such a table has a rank"
    if deadline is not None and time.monotonic() > deadline:
        raise _NoRankError("it was not reached within the time limit")
    try:
        matrix = use.arrange(use.constant.array())
        if matrix.dtype.kind not in _NUMBERS:
            raise _NoRankError(f"it has type {matrix.dtype}")
        if not np.isfinite(matrix).all():
            raise _NoRankError("it holds NaN or Inf")
        return rank_profile(matrix[None], exact=ExactPolicy.CHEAP, deadline=deadline)
    except EvaluationError as error:
        raise _NoRankError(f"it was not evaluated: {error}") from None
    except TimeoutError:
        raise _NoRankError("it was not finished within the time limit") from None
