"""Slices that loops read, members of sequences, and what branches give."""

from __future__ import annotations

from collections.abc import MutableMapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from onnxnull.graph.constants import Blocked, Constant, EvaluationError, Step, computed, derived
from onnxnull.graph.origins.operands import Held
from onnxnull.graph.origins.values import Alternatives, Candidate, Origin, Unresolved, is_fill, joined, one_of, whole

if TYPE_CHECKING:
    import onnx_ir as ir

    from onnxnull.graph.flow import Flow
    from onnxnull.graph.node import Node


def slices(flow: Flow, held: Held, axis: int, node: ir.Node) -> Held:
    """What one round of a Scan reads of a tensor that it cuts along `axis`."""
    if held is None or isinstance(held, Blocked | Unresolved):
        return held
    given = whole(held) if isinstance(held, Constant) else held
    if given.copies or any(case.factors for case in given.cases):
        return Unresolved("op Scan cuts it into slices")
    from onnx import helper

    found = []
    try:
        for case in given.cases:
            shape = case.constant.shape
            axis = axis % len(shape) if -len(shape) <= axis < len(shape) else 0
            if not shape:
                return Unresolved("op Scan cuts a scalar into slices")
            rest = shape[:axis] + shape[axis + 1 :]
            proto = helper.make_node("Gather", ["x", "i"], ["y"], axis=axis)
            for index in one_of(shape[axis], node, ()).cases:
                step = Step(proto, flow.model.opsets, (case.constant, index.constant), 0, 0.0, flow.evaluation)
                when = joined(case.when, index.when)
                if when is not None:
                    found.append(Candidate(computed(step, case.constant.dtype, rest), (*case.index, *index.index), when))
    except EvaluationError as error:
        return Unresolved(str(error))
    return Alternatives(tuple(found), is_scaled=given.is_scaled)


def one_of_values(given: Sequence[Held], decider: object) -> Origin | None:
    """What an If gives: an activation in one branch leaves what the other gives."""
    cases: list[Candidate] = []
    copies: set[frozenset[int]] = set()
    scaled = False
    for option, held in enumerate(given):
        match held:
            case Constant():
                cases.append(Candidate(held, when=((decider, option),)))
                copies.add(frozenset())
            case Alternatives(is_row=False):
                scaled |= held.is_scaled
                copies.add(held.copies)
                for case in held.cases:
                    when = joined(case.when, ((decider, option),))
                    if when is not None:
                        cases.append(Candidate(case.constant, case.index, when, case.factors))
            case Blocked(reason=reason) | Unresolved(reason=reason):
                return Unresolved(reason)
    if not cases:
        return None
    if len(copies) > 1:
        return Unresolved("a branch gives it once and another several times")
    kept = [case for case in cases if not is_fill(case.constant)] or cases
    return Alternatives(tuple(kept), next(iter(copies)), is_scaled=scaled)


def one_of_members(members: Sequence[Constant], decider: object) -> Alternatives:
    """A tensor of a sequence of constants."""
    return Alternatives(tuple(Candidate(each, ((decider, f"[{i}]"),), ((decider, i),)) for i, each in enumerate(members)))


def note_members(view: Node, held: Sequence[Held], members: MutableMapping[ir.Value, tuple[Constant, ...]]) -> None:
    """Note what a sequence of constants consists of."""
    if view.domain not in ("", "ai.onnx"):
        return
    if view.op_type == "SequenceConstruct":
        found = [h for h in held if isinstance(h, Constant)]
        if found and len(found) == len(held):
            members[view.node.outputs[0]] = tuple(found)
    elif view.op_type == "SplitToSequence":
        try:
            members[view.node.outputs[0]] = tuple(_pieces(view, held))
        except EvaluationError:
            return


def _pieces(view: Node, held: Sequence[Held]) -> list[Constant]:
    """SplitToSequence (opset 11 to 25) of a constant: slices, which `keepdims` = 0 squeezes, or parts of given sizes."""
    data, split = (*held, None)[:2]
    if not isinstance(data, Constant) or (len(view.node.inputs) > 1 and not isinstance(split, Constant)):
        raise EvaluationError("not a constant")
    axis = int(view.attribute("axis", 0))
    if not -len(data.shape) <= axis < len(data.shape):
        raise EvaluationError("no such axis")
    axis %= len(data.shape)
    length, keep = data.shape[axis], True
    if isinstance(split, Constant):
        array = split.array()
        if array.ndim == 0:
            size = int(array)
            if size < 1 or length > size * 4096:
                raise EvaluationError("too many pieces")
            sizes = [size] * (length // size) + ([length % size] if length % size else [])
        else:
            sizes = [int(n) for n in array]
    else:
        sizes, keep = [1] * length, bool(view.attribute("keepdims", 1))
    if any(n < 0 for n in sizes) or sum(sizes) != length or len(sizes) > 4096:
        raise EvaluationError("sizes that do not add up")
    pieces, start = [], 0
    for size in sizes:
        middle = (size,) if keep else ()
        shape = data.shape[:axis] + middle + data.shape[axis + 1 :]
        pieces.append(derived(partial(_piece, axis, start, size, keep), (data,), data.dtype, shape))
        start += size
    return pieces


def _piece(axis: int, start: int, size: int, keep: bool, array: np.ndarray) -> np.ndarray:
    piece = array[(slice(None),) * axis + (slice(start, start + size),)]
    return piece if keep else piece.squeeze(axis)
