"""What one node makes of the origins of its operands."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from onnxnull.graph import evaluable
from onnxnull.graph.constants import Constant, EvaluationError
from onnxnull.graph.entries import SELECTING, EntryKind
from onnxnull.graph.origins.exact import of_known
from onnxnull.graph.origins.operands import TABLE_RANK, At, Held, is_row, selected
from onnxnull.graph.origins.rules import rule_of
from onnxnull.graph.origins.slicing import one_of_members
from onnxnull.graph.origins.values import Alternatives, Origin, Unresolved, broadcast_over

if TYPE_CHECKING:
    from onnxnull.graph.flow import Flow
    from onnxnull.graph.node import Node


def origin(flow: Flow, view: Node, held: Sequence[Held], output: int, members: tuple[Constant, ...] | None) -> Origin | None:
    """The origin of one output; None where it is an activation."""
    at = _with_deciders(At(flow, view, held, output))
    if view.op_type == "SequenceAt" and members is not None and at.is_run_time(1):
        return one_of_members(members, at.value(1))
    if view.domain not in ("", "ai.onnx") and at.kind is not EntryKind.CHANGES:
        return of_contrib(at)
    if evaluable.is_random(view):
        drawn = not any(at.is_run_time(i) for i in at.all_operands()) or view.op_type.endswith("Like")
        return Unresolved(f"op {view.op_type} draws it anew in every run") if drawn else None
    at = _rows_apart(at)
    if all(h is None for h in at.held):
        return None
    try:
        if not any(at.is_run_time(index) for index in at.all_operands()):
            return of_known(at)
        rule = rule_of(at)
        return None if rule is None else rule(at)
    except EvaluationError as error:
        return Unresolved(str(error), at.is_row) if at.keeps_entries else None


def _with_deciders(at: At) -> At:
    """What says which entries are moved, and where to, is an activation where it is not followed."""
    if at.kind in SELECTING or at.op == "SequenceAt":
        decides = range(1, len(at.held))
    else:
        decides = range(1) if at.op == "Where" else range(0)
    held = [None if i in decides and isinstance(h, Unresolved) else h for i, h in enumerate(at.held)]
    return At(at.flow, at.view, held, at.output)


def _rows_apart(at: At) -> At:
    """Rows of tables are activations for what they are broadcast over, unless the same index picks that as well."""
    if at.kind not in (EntryKind.SCALES, EntryKind.SHIFTS) and at.op != "Where":
        return at
    held = list(at.held)
    for index, row in enumerate(at.held):
        if not is_row(row):
            continue
        for other, larger in enumerate(at.held):
            if larger is None or is_row(larger) or not broadcast_over(at.shape(other) or (), at.shape(index)):
                continue
            if not (isinstance(larger, Alternatives) and isinstance(row, Alternatives) and _decided_with(row, larger)):
                held[index] = None
    return At(at.flow, at.view, held, at.output)


def _decided_with(row: Alternatives, larger: Alternatives) -> bool:
    """Whether all that decides about the first decides about the second too."""
    deciders = {decider for case in larger.cases for decider, _ in case.when}
    return all(decider in deciders for case in row.cases for decider, _ in case.when)


def of_contrib(at: At) -> Origin | None:
    """Operators of other domains that only move entries."""
    if at.kind not in SELECTING:
        return None
    data, shape = at.at(0), at.shape(0)
    if data is None or shape is None or len(shape) <= TABLE_RANK:
        return None
    return Unresolved(selected(at), is_row(data))
