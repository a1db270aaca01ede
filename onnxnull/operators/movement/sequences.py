"""Ranges of sequences and optionals (opset 11 to 25): tensor by tensor, where it is known which ones there are.

A sequence has the set of all entries of all its tensors; one that is built by an unknown number of rounds has no more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from onnxnull.graph.node import Node
from onnxnull.intervals.domain import LARGEST, Member, Range, anything, assembled, between, collapsed, mapped, number, union
from onnxnull.operators.range_rules import Operands, axis_length, given, gives, part_along, rank_of
from onnxnull.operators.steps import constant_value

_MOST = 1024
"""Tensors that are told apart."""


def sequence_of(members: Sequence[Member]) -> Range:
    """What is known of a sequence of these tensors."""
    if not members:
        return replace(number(0.0), members=())
    joined = union(*(collapsed(member.range) for member in members))
    fixed = all(bool(member.range.fixed.all()) for member in members)
    known = tuple(members) if len(members) <= _MOST else None
    return replace(joined, fixed=joined.fixed | fixed, members=known)


def _some(found: Range) -> Range:
    """Some of the entries."""
    return replace(collapsed(found).varies(), sized=False)


def _member(node: Node, of: Operands, index: int) -> Member:
    operand = node.input(index)
    return Member(given(of, index), None if operand is None else operand.shape)


def _place(node: Node, index: int, default: int, length: int) -> int | None:
    """Where among `length` tensors an operand points; None where that is not known, or outside."""
    if node.input(index) is None:
        return default
    found = constant_value(node, index)
    if found is None or found.size != 1 or not -length <= found.item() < length:
        return None
    return int(found.item()) % length


@gives("SequenceConstruct")
def constructed(node: Node, of: Operands) -> Range:
    """The operands in their order."""
    return sequence_of([_member(node, of, index) for index in range(len(node.inputs))])


@gives("SequenceEmpty")
def empty(node: Node, of: Operands) -> Range:
    """No tensor."""
    return sequence_of([])


@gives("SequenceInsert")
def inserted(node: Node, of: Operands) -> Range:
    """One tensor more, by default behind the last."""
    sequence, more = given(of, 0), _member(node, of, 1)
    if sequence.members is None:
        return _some(union(collapsed(sequence), collapsed(more.range)))
    place = _place(node, 2, len(sequence.members), len(sequence.members) + 1)
    if place is None:
        return _some(sequence_of([*sequence.members, more]))
    return sequence_of([*sequence.members[:place], more, *sequence.members[place:]])


@gives("SequenceLength")
def length(node: Node, of: Operands) -> Range:
    """How many there are."""
    members = given(of, 0).members
    return between(0.0, 2.0**62) if members is None else number(len(members))


@gives("SequenceErase")
def erased(node: Node, of: Operands) -> Range:
    """One tensor fewer, by default the last."""
    sequence = given(of, 0)
    count = len(sequence.members or ())
    place = None if not count else _place(node, 1, count - 1, count)
    if sequence.members is None or place is None:
        return _some(sequence)
    return sequence_of([*sequence.members[:place], *sequence.members[place + 1 :]])


@gives("SequenceAt")
def at(node: Node, of: Operands) -> Range:
    """One of them."""
    sequence = given(of, 0)
    count = len(sequence.members or ())
    place = None if not count else _place(node, 1, 0, count)
    if sequence.members is None or place is None:
        return _some(sequence)
    return sequence.members[place].range


@gives("SplitToSequence")
def split(node: Node, of: Operands) -> Range:
    """Slices along an axis: of length 1, which `keepdims` = 0 drops, of one length (but for the last) or of given ones."""
    source, rank, axis = given(of, 0), rank_of(node), int(node.attribute("axis", 0))
    length, sizes = axis_length(node, axis), constant_value(node, 1)
    operand = node.input(0)
    if (
        rank is None
        or length is None
        or operand is None
        or operand.shape is None
        or (node.input(1) is not None and sizes is None)
    ):
        return _some(source)
    if sizes is None or (not sizes.ndim and sizes.item() > 0):
        size = 1 if sizes is None else int(sizes.item())
        if length > _MOST * size:
            return _some(source)
        lengths = [min(size, length - start) for start in range(0, length, size)]
    else:
        lengths = [int(each) for each in sizes.reshape(-1)[: _MOST + 1]]
    dropped = node.input(1) is None and not node.attribute("keepdims", 1)
    own, place, members = part_along(source, axis, rank), axis % rank, []
    for start, size in zip(np.cumsum([0, *lengths]), lengths, strict=False):
        shape = (*operand.shape[:place], *([] if dropped else [size]), *operand.shape[place + 1 :])
        part = source if own is None else mapped(source, partial(_slice, axis=own, start=int(start), size=size))
        members.append(Member(collapsed(part) if dropped else part, shape))
    return sequence_of(members)


def _slice(array: np.ndarray, axis: int, start: int, size: int) -> np.ndarray:
    return array.take(range(start, min(start + size, array.shape[axis])), axis=axis)


@gives("ConcatFromSequence")
def joined(node: Node, of: Operands) -> Range:
    """All of them side by side, or with `new_axis` stacked."""
    sequence, axis = given(of, 0), int(node.attribute("axis", 0))
    members = sequence.members or ()
    stacks = bool(node.attribute("new_axis", 0))
    whole = collapsed(sequence)
    if not members:
        return _some(whole)
    plain = replace(whole, members=None)
    shapes = [tuple(size or 0 for size in m.shape) for m in members if m.shape is not None and None not in m.shape]
    entries = sum(int(np.prod(shape, dtype=object)) for shape in shapes)
    if len(shapes) < len(members) or entries > LARGEST or not of.affords(entries):
        return plain
    join = np.stack if stacks else np.concatenate
    try:
        parts = [
            join([np.broadcast_to(part, shape) for part, shape in zip(column, shapes, strict=True)], axis=axis)
            for column in zip(*(member.range.parts for member in members), strict=True)
        ]
    except (ValueError, np.exceptions.AxisError):  # shapes that do not fit: the node fails
        return plain
    return assembled(parts, all(member.range.sized for member in members))


@gives("Optional", "OptionalGetElement")
def wrapped(node: Node, of: Operands) -> Range:
    """What is in it; an empty one may be anything."""
    return given(of, 0) if node.input(0) is not None else anything(None)
