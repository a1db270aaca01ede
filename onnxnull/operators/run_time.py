"""The weights of a node among operands that only a run decides: slices that it chooses, constants that it scales or repeats.

An operand that may be one of several constants is put in as each of them, together with whatever is decided with it; the
operator's own reader then finds the weights, as it does where they are stored. What is not followed is put in as a constant
that was not evaluated: where the node would read it as a weight, that is a refusal with the reason.

A factor that is the same for a whole row or a whole column of a block leaves the rank alone if it is not 0. That is checked
entry by entry: the numbers of the factors are arranged as the matrix is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from onnxnull.errors import Code
from onnxnull.graph.constants import Blocked, EvaluationError, steps_in_order
from onnxnull.graph.node import Node, Operand
from onnxnull.graph.origins.values import Alternatives, Candidate, Unresolved, combinations, indexed
from onnxnull.kernel.maps.linear_map import LinearMap
from onnxnull.operators.linear_use import LinearUse, Refusal, batch_axes, is_of_positions, stored_uses

_SUMS = frozenset({"ReduceSum", "ReduceMean"})
ADVICE = "store it as a constant, or as slices that the node itself chooses among"


def run_time_uses(node: Node, stored: Sequence[LinearUse | Refusal]) -> Iterator[LinearUse | Refusal]:
    """What `stored_uses` found in a node, and the weights of operands that only a run decides.

    A stored weight stays one, whatever it multiplies. A refusal stays, unless it is settled by knowing the other operands.
    """
    operands = {i: o for i, o in enumerate(node.inputs) if o is not None and o.origin is not None and not o.origin.is_row}
    if not operands or is_of_positions(node):
        yield from stored
        return
    seen = {use.signature for use in stored if isinstance(use, LinearUse)}
    yield from (use for use in stored if isinstance(use, LinearUse))
    found: list[LinearUse | Refusal] = []
    reasons = set()
    try:
        for given in _given(operands):
            uses = stored_uses(_with(node, given))
            if node.op_type in _SUMS and node.domain in ("", "ai.onnx"):
                found.extend(use for use in _sums(node, given) if use.signature not in seen)
                seen.update(use.signature for use in found if isinstance(use, LinearUse))
                continue
            for use in uses:
                if isinstance(use, LinearUse):
                    if use.signature in seen:
                        continue
                    seen.add(use.signature)
                    use = _conditional(node, use, given)
                if isinstance(use, LinearUse):
                    found.append(use)
                elif use.reason not in reasons:
                    reasons.add(use.reason)
                    found.append(use)
    except EvaluationError as error:
        found.append(Refusal(Code.CONSTANT, f"{error}; {ADVICE}"))
    except Refusal as refusal:
        found.append(refusal)
    yield from found or (use for use in stored if isinstance(use, Refusal))


_Given = Mapping[int, "tuple[Alternatives, Candidate] | Blocked"]


def _given(operands: Mapping[int, Operand]) -> Iterator[_Given]:
    """Every constant that the operands may be, together."""
    blocked = {
        i: Blocked(o.name, f"{o.origin.reason}; {ADVICE}") for i, o in operands.items() if isinstance(o.origin, Unresolved)
    }
    known = {i: o.origin for i, o in operands.items() if isinstance(o.origin, Alternatives)}
    for _, cases in combinations(list(known.values())):
        yield {**blocked, **{i: (known[i], case) for i, case in zip(known, cases, strict=True)}}


def _with(node: Node, given: _Given) -> Node:
    """The node with these constants as operands."""

    def operand(index: int, known: Operand | None) -> Operand | None:
        chosen = given.get(index)
        if known is None or chosen is None:
            return known
        if isinstance(chosen, Blocked):
            return replace(known, constant=chosen, origin=None)
        constant = chosen[1].constant
        return replace(known, constant=constant, dtype=constant.dtype, shape=constant.shape, origin=None)

    return replace(node, inputs=tuple(operand(i, known) for i, known in enumerate(node.inputs)))


def _conditional(node: Node, use: LinearUse, given: _Given) -> LinearUse | Refusal:
    """The weight with what is open about it; a refusal where its rank is not that of the constant."""
    parts = {constant.signature for constant in steps_in_order(use.constant)}
    taken, conditions = [], []
    for index, chosen in given.items():
        if isinstance(chosen, Blocked) or chosen[1].constant.signature not in parts:
            continue
        alternatives, case = chosen
        if not alternatives.copies <= batch_axes(node, index, len(case.constant.shape)):
            return Refusal(Code.OPERATOR, f"a run puts any number of copies or slices of {_named(use)} together; {ADVICE}")
        for factors in case.factors:
            if factors.shape != use.constant.shape or not _leaves_ranks(use, factors.array()):
                return Refusal(Code.OPERATOR, f"a run scales single entries of {_named(use)}: its rank is not known; {ADVICE}")
        taken.append(case)
        conditions.append(alternatives.condition)
        if case.factors:
            use = replace(use, on_images=False)  # what scales a patch need not scale an image
    return replace(use, index=_text(taken), condition="; ".join(dict.fromkeys(conditions)))


def _text(cases: Sequence[Candidate]) -> str:
    return "".join(text for _, text in indexed(cases))


def _named(use: LinearUse) -> str:
    return repr(use.constant.root.name) if use.constant.root else "a constant"


def _leaves_ranks(use: LinearUse, factors: np.ndarray) -> bool:
    """Whether in every block all entries of a row share a factor, or all entries of a column.

    `factors`: their numbers, of the constant's shape. The arrangement may move and repeat entries, not add them up.
    """
    if not (use.arrange(np.ones(factors.shape)) == 1.0).all():
        return False
    blocks = use.arrange(factors)
    by_row, by_column = (blocks == blocks[:, :, :1]).all(axis=(1, 2)), (blocks == blocks[:, :1]).all(axis=(1, 2))
    return bool((by_row | by_column).all())


# A product written as Mul and a sum: what is scaled along the axes that are summed.


def _sums(node: Node, given: _Given) -> Iterator[LinearUse]:
    """ReduceSum and ReduceMean (opset 1 to 18) of a constant times a factor that varies along the axes summed over.

    Σ_q x_q·W_qp, where x is broadcast along the axes that are left: a fully connected layer in other words.
    """
    chosen = given.get(0)
    if chosen is None or isinstance(chosen, Blocked):
        return
    alternatives, case = chosen
    shape = case.constant.shape
    axes = _summed_axes(node, len(shape))
    if axes is None or not case.factors or alternatives.copies & axes:
        return
    kept = [axis for axis in range(len(shape)) if axis not in axes]
    for factors in case.factors:
        numbers = factors.array()
        if _varies(numbers, axes) and any(shape[axis] > 1 and not _varies(numbers, {axis}) for axis in kept):
            break
    else:
        return
    yield LinearUse(
        constant=case.constant,
        activation=None,
        shape=(1, int(np.prod([shape[a] for a in sorted(axes)])), int(np.prod([shape[a] for a in kept]))),
        arrange=partial(summed_blocks, tuple(sorted(axes))),
        linear_map=_no_map,
        paper=True,
        index=_text([case]),
        condition="chosen at run time" if case.when else "",
    )


def summed_blocks(axes: tuple[int, ...], constant: np.ndarray) -> np.ndarray:
    """The entries as one block (1, summed, kept)."""
    kept = [axis for axis in range(constant.ndim) if axis not in axes]
    rows = int(np.prod([constant.shape[axis] for axis in axes]))
    return constant.transpose((*axes, *kept)).reshape(1, rows, -1)


def _varies(numbers: np.ndarray, axes: set[int]) -> bool:
    first = numbers[tuple(slice(0, 1) if axis in axes else slice(None) for axis in range(numbers.ndim))]
    return bool((numbers != first).any())


def _summed_axes(node: Node, rank: int) -> set[int] | None:
    """The axes: an attribute before opset 13 (ReduceMean: 18), all where there are none; None where a run computes them."""
    operand = node.input(1)
    given = node.attribute("axes", None)
    if operand is not None:
        if operand.constant is None or isinstance(operand.constant, Blocked):
            return None
        given = [int(axis) for axis in operand.constant.array().ravel()]
    if not given:
        return set() if node.attribute("noop_with_empty_axes", 0) else set(range(rank))
    return {int(axis) % rank for axis in given if -rank <= axis < rank}


def _no_map(blocks: np.ndarray, activation: tuple[int, ...]) -> LinearMap:
    raise ValueError("a product written as Mul and a sum has no operand that the matrix acts on")
