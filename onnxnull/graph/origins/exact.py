"""What a node makes of constants and alternatives alone: it is evaluated for each of them.

Factors that a run multiplies them by go along where the node is linear in what they multiply.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from onnxnull.graph.constants import Blocked, Constant
from onnxnull.graph.entries import KEEPING, SELECTING
from onnxnull.graph.origins.operands import TABLE_RANK, At, is_row
from onnxnull.graph.origins.values import (
    Alternatives,
    Candidate,
    Origin,
    Unresolved,
    combinations,
    indexed,
    long_axes,
    spread,
    whole,
    with_axes,
)
from onnxnull.graph.types import Shape

_LINEAR_IN_FIRST = frozenset({"Neg", "Cast", "CastLike", "Div"})
"""A factor of operand 0 is one of what comes out; so it is of what moves entries, but for these."""
_MOVES_ONLY = frozenset({"Pad", "GatherElements", "Optional", "OptionalGetElement"})
_SAME_AXES = frozenset({"Identity", "Neg", "Abs", "Cast", "Dropout"})


def of_known(at: At) -> Origin | None:
    """The origin of the output where no operand is an activation. Raises `EvaluationError`."""
    held = [h for h in at.held if h is not None]
    row = at.is_row
    for h in held:
        if isinstance(h, Blocked | Unresolved):
            return Unresolved(h.reason, row) if at.keeps_entries else None
    if at.kind not in KEEPING and any(is_row(h) or (isinstance(h, Alternatives) and h.is_start) for h in held):
        return None
    given = [h for h in held if isinstance(h, Alternatives)]
    if any(h.copies for h in given):
        return _of_copies(at)
    if any(h.is_scaled for h in given) and not _keeps_factors(at):
        return Unresolved("a run scales parts of it", row) if at.keeps_entries else None
    if any(h.is_scaled for h in given) and at.op == "Mul" and at.value(0) is at.value(1):
        return Unresolved("a run scales it, and squares it")
    operands = [whole(h) if isinstance(h, Constant) else h for h in at.held if isinstance(h, Constant | Alternatives)]
    places = [i for i, h in enumerate(at.held) if h is not None]
    cases = []
    for when, combination in combinations(operands):
        arrays: list[Constant | None] = [None] * len(at.view.node.inputs)
        for place, case in zip(places, combination, strict=True):
            arrays[place] = case.constant
        result = at.fold(arrays)
        factors = tuple(_moved_factors(at, arrays, factor, result) for case in combination for factor in case.factors)
        cases.append(Candidate(result, _index(at, places, combination), when, factors))
    return made(at, cases, is_row=row, is_scaled=any(h.is_scaled for h in given))


def _index(at: At, places: Sequence[int], combination: Sequence[Candidate]) -> tuple[tuple[object, str], ...]:
    """The index of what comes out; Gather by an index says which slice it is, whatever that was computed from."""
    picks = (
        dict(zip(places, combination, strict=True)).get(1) if at.op == "Gather" and isinstance(at.at(1), Alternatives) else None
    )
    shape = at.shape(0)
    if picks is None or picks.constant.size != 1 or not shape:
        return indexed(combination)
    number, length = int(picks.constant.array().ravel()[0]), shape[int(at.view.attribute("axis", 0)) % len(shape)]
    number = number if length is None else number % length
    others = [case for place, case in zip(places, combination, strict=True) if place != 1]
    return (*(pair for pair in indexed(others) if pair not in picks.index), (picks.when[0][0], f"[{number}]"))


def _keeps_factors(at: At) -> bool:
    """Whether factors of the operands are factors of what comes out."""
    scaled = [i for i, h in enumerate(at.held) if isinstance(h, Alternatives) and h.is_scaled]
    sets = any(isinstance(h, Alternatives) and any(case.factors for case in h.cases) for h in at.held)
    if at.op == "Mul" or (at.op == "MatMul" and not sets):
        return True
    if scaled != [0]:
        return at.op == "Div"
    return at.op in _LINEAR_IN_FIRST or (at.kind in SELECTING and at.op not in _MOVES_ONLY)


def _moved_factors(at: At, arrays: Sequence[Constant | None], factor: Constant, result: Constant) -> Constant:
    """The numbers of factors, moved as the entries that they multiply are."""
    if at.kind in SELECTING:
        return at.fold([factor, *arrays[1:]])
    return spread(factor, result.shape)


def made(
    at: At, cases: Sequence[Candidate], *, is_row: bool, is_scaled: bool, copies: frozenset[int] = frozenset()
) -> Alternatives:
    """The alternatives that a node makes; a row that it shapes into a matrix was one that a table stores flat."""
    if is_row and at.op == "Reshape":
        is_row = all(long_axes(case.constant.shape) < TABLE_RANK for case in cases)
    return Alternatives(tuple(cases), copies, is_row, is_scaled)


def _of_copies(at: At) -> Origin | None:
    """A node of something repeated along axes: those that leave the copies apart act on each."""
    places = [i for i, h in enumerate(at.held) if isinstance(h, Alternatives)]
    first = at.at(places[0])
    assert isinstance(first, Alternatives)
    unresolved = Unresolved("copies of it are rearranged", first.is_row) if at.keeps_entries else None
    if len(places) > 1:
        return unresolved
    if at.op == "Reshape" and places == [0]:
        return reshaped_copies(at, first) or unresolved
    shape = first.shape
    if shape is None or not all(isinstance(h, Constant | Alternatives) for h in at.held if h is not None):
        return unresolved
    axes = _axes_of_copies(at, first, places[0], shape)
    if axes is None:
        return unresolved
    if first.is_scaled and (at.op in ("Add", "Sub", "Abs") or (at.op == "Div" and places[0] == 1)):
        return unresolved
    cases = []
    for case in first.cases:
        arrays = [case.constant if i == places[0] else h if isinstance(h, Constant) else None for i, h in enumerate(at.held)]
        result = at.fold(arrays)
        cases.append(
            Candidate(result, case.index, case.when, tuple(_moved_factors(at, arrays, f, result) for f in case.factors))
        )
    copies = frozenset(axes[axis] for axis in first.copies)
    return made(at, cases, is_row=first.is_row, is_scaled=first.is_scaled, copies=copies)


def _axes_of_copies(at: At, given: Alternatives, place: int, shape: Shape) -> dict[int, int] | None:
    """Where the axes of a repeated operand are in the output; None where the node does not leave the copies apart."""
    rank = len(shape)
    same = {axis: axis for axis in range(rank)}
    if at.op in _SAME_AXES:
        return same
    if at.op == "Transpose":
        return {old: new for new, old in enumerate(at.view.attribute("perm", None) or range(rank - 1, -1, -1))}
    if at.op in ("Mul", "Div", "Add", "Sub"):
        other = at.shape(1 - place) or ()
        reach = rank - len(other)
        apart = reach >= 0 and all(axis < reach or other[axis - reach] == 1 for axis in given.copies)
        return same if apart else None
    if at.op == "Split":
        axis = int(at.view.attribute("axis", 0)) % rank
        return None if axis in given.copies else same
    axes = _axes(at, {"Slice": 3}.get(at.op, 1)) if at.op in ("Slice", "Squeeze", "Unsqueeze") else None
    if axes is None:
        return None
    if at.op == "Unsqueeze":
        added = {axis % (rank + len(axes)) for axis in axes}
        return dict(enumerate(axis for axis in range(rank + len(added)) if axis not in added))
    taken = {axis % rank for axis in axes}
    if taken & given.copies:
        return None
    if at.op == "Slice":
        return same
    return {axis: new for new, axis in enumerate(axis for axis in range(rank) if axis not in taken)}


def reshaped_copies(at: At, given: Alternatives) -> Origin | None:
    """Copies along leading axes, reshaped so that each stays in one piece: the last axes of the output hold one of them."""
    shape, target = given.shape, at.target
    if shape is None or target is None or None in shape or given.copies != set(range(len(given.copies))):
        return None
    entries = math.prod(d for d in shape if d is not None)
    for cut in range(len(target) + 1):  # the longest last axes that hold as many entries
        rest = target[cut:]
        if None not in rest and math.prod(d for d in rest if d is not None) == entries:
            inner = (1,) * cut + tuple(d for d in rest if d is not None)
            cases = [
                Candidate(with_axes(c.constant, inner), c.index, c.when, tuple(with_axes(f, inner) for f in c.factors))
                for c in given.cases
            ]
            return made(at, cases, is_row=given.is_row, is_scaled=given.is_scaled, copies=frozenset(range(cut)))
    return None


def _axes(at: At, index: int) -> list[int] | None:
    """The axes of Squeeze, Unsqueeze or Slice (an attribute before opset 13 or 10); None where none are given."""
    attribute = at.view.attribute("axes", None)
    if attribute is not None:
        return [int(axis) for axis in attribute]
    held = at.at(index)
    return [int(axis) for axis in held.array().ravel()] if isinstance(held, Constant) else None
