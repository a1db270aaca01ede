"""What an operator makes of constants and something that a run computes: the rules of a kind, and those of single operators.

Source: operator specifications of ai.onnx (opset 1 to 25).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from onnxnull.graph.constants import Constant, known
from onnxnull.graph.entries import SELECTING, EntryKind
from onnxnull.graph.operator_facts import OperatorFacts
from onnxnull.graph.origins.exact import of_known
from onnxnull.graph.origins.operands import TABLE_RANK, At, is_row, selected, smaller
from onnxnull.graph.origins.values import (
    Alternatives,
    Candidate,
    Origin,
    Unresolved,
    extends,
    is_fill,
    long_axes,
    numbers,
    whole,
    with_axes,
)

Rule = Callable[[At], Origin | None]


def selection(at: At) -> Origin | None:
    """Entries of operand 0 that a run selects."""
    data, shape = at.at(0), at.shape(0)
    if data is None or (isinstance(data, Constant) and is_fill(data)):
        return None
    if at.op == "GatherND" and shape is not None and len(shape) <= TABLE_RANK:
        return None
    if at.op == "GatherElements" and shape is not None and long_axes(shape) < TABLE_RANK:
        return None
    return Unresolved(selected(at), is_row(data))


def _scaled(at: At) -> Origin | None:
    """Mul and Div (opset 7 to 14) of a constant and something smaller: a factor of each entry."""
    index = next((i for i in (0, 1) if at.at(i) is not None), None)
    if index is None or is_row(at.at(index)):
        return None
    data, factor, shape = at.at(index), at.factor_shape(1 - index), at.shape(index)
    if not smaller(at, index, 1 - index):
        masked = at.is_mask(1 - index) and shape is not None and long_axes(shape) >= TABLE_RANK and shape == at.target
        return (
            Unresolved("a run masks it, entry by entry")
            if masked and not (isinstance(data, Constant) and is_fill(data))
            else None
        )
    if isinstance(data, Unresolved):
        return data
    if factor is None or not isinstance(data, Constant | Alternatives):
        return Unresolved("a run scales it")
    given = whole(data) if isinstance(data, Constant) else data
    if at.op == "Div" and index == 1:  # f / W = f · (1 / W)
        dtype = given.cases[0].constant.dtype.numpy()
        one = known(np.ones((), dtype=dtype), "one")
        inverted = of_known(at.with_operand(0, one))
        if not isinstance(inverted, Alternatives):
            return inverted
        given = inverted
    if given.shape is None or None in given.shape:
        return Unresolved("a run scales it")
    own = tuple(d for d in given.shape if d is not None)
    wider = extends(own, factor)
    if wider and long_axes(own) < TABLE_RANK:
        return None  # an outer product: a vector times an activation
    rank = max(len(own), len(factor))
    inner = (1,) * (rank - len(own)) + own
    copies = frozenset(axis + rank - len(own) for axis in given.copies) | frozenset(wider)
    sets = numbers(
        inner, tuple(1 if axis in copies else d for axis, d in enumerate((1,) * (rank - len(factor)) + tuple(factor)))
    )
    cases = [
        Candidate(
            with_axes(case.constant, inner),
            case.index,
            case.when,
            (*(with_axes(f, inner) for f in case.factors), *(() if sets is None else (sets,))),
        )
        for case in given.cases
    ]
    return Alternatives(tuple(cases), copies, is_scaled=True)


def _shifted(at: At) -> Origin | None:
    """Arithmetic of a constant with something smaller that a run computes."""
    places = [i for i in at.all_operands() if at.at(i) is not None and not is_row(at.at(i))]
    others = [i for i in at.all_operands() if at.is_run_time(i)]
    largest = [i for i in places if all(smaller(at, i, other) for other in others)]
    if not largest or any(is_row(h) for h in at.held):
        return None
    return Unresolved(f"op {at.op} shifts or bounds its entries by numbers that a run computes")


def _placed(at: At) -> Origin | None:
    """ScatterND and its relatives: constants placed by indices that a run computes, or overwritten in part by what it does."""
    updates = at.at(2)
    data = at.at(0)
    stored = [h for h in (data, updates) if h is not None and not (isinstance(h, Constant) and is_fill(h))]
    if not stored or (at.is_run_time(2) and data not in stored) or at.is_run_time(0):
        return None
    return Unresolved("a run places entries in it")


def _sequence(at: At) -> Origin | None:
    """A sequence that holds constants beside what a run computes."""
    stored = any(h is not None and not (isinstance(h, Constant) and is_fill(h)) and not is_row(h) for h in at.held)
    return Unresolved("it is a member of a sequence that a run puts together") if stored else None


def _entries(at: At) -> Origin | None:
    """Entries changed one by one, by numbers that a run computes."""
    data = at.at(0)
    return None if data is None else Unresolved(f"op {at.op} changes its entries by numbers that a run computes", is_row(data))


_BY_KIND: Mapping[EntryKind, Rule] = {
    **dict.fromkeys(SELECTING, selection),
    EntryKind.PLACES: _placed,
    EntryKind.SCALES: _scaled,
    EntryKind.SHIFTS: _shifted,
    EntryKind.CHANGES: _entries,
    EntryKind.SEQUENCES: _sequence,
}
_OWN: OperatorFacts[Rule] = OperatorFacts("rule of origins")
gives_origin = _OWN.registers
"""Register an operator's own rule: node with what its operands hold → origin of the output."""


def rule_of(at: At) -> Rule | None:
    """The rule for a node: its operator's own, else that of its kind; None where what comes out is an activation."""
    own = _OWN.of(at.view)
    return own if own is not None or at.kind is None else _BY_KIND.get(at.kind)
