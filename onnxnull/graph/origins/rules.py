"""What an operator makes of constants and something that a run computes: one rule per operator.

Source: operator specifications of ai.onnx (opset 1 to 25).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from onnxnull.graph.constants import Blocked, Constant, EvaluationError, known
from onnxnull.graph.origins.exact import made, of_known, reshaped_copies
from onnxnull.graph.origins.operands import (
    ENTRIES,
    FACTORS,
    MOVES,
    PLACES,
    SEQUENCES,
    SHIFTS,
    TABLE_RANK,
    At,
    is_row,
    selected,
    smaller,
)
from onnxnull.graph.origins.slicing import one_of_values
from onnxnull.graph.origins.values import (
    Alternatives,
    Case,
    Origin,
    Unresolved,
    extends,
    is_fill,
    is_single,
    long_axes,
    numbers,
    one_of,
    whole,
    with_axes,
)
from onnxnull.graph.types import Shape

Rule = Callable[[At], Origin | None]


def _gather(at: At) -> Origin | None:
    """Gather (opset 1 to 13): rows of a table of rank 2 are activations, unless one row is picked and shaped into a matrix."""
    data, index = at.at(0), at.shape(1)
    shape = at.shape(0)
    if data is None:
        return None
    row = is_row(data) or (shape is not None and len(shape) == TABLE_RANK)
    if not is_single(index) and (row or (shape is not None and len(shape) < TABLE_RANK)):
        return None
    if not isinstance(data, Constant | Alternatives):
        return Unresolved(data.reason, row)
    if isinstance(data, Constant) and is_fill(data):
        return None
    if index is None or shape is None or (isinstance(data, Alternatives) and (data.copies or data.is_scaled)):
        return Unresolved(selected(at), row)
    axis = int(at.view.attribute("axis", 0))
    if not -len(shape) <= axis < len(shape):
        return None
    axis %= len(shape)
    count = shape[axis]
    if count is None:
        return Unresolved(selected(at), row)
    found = of_known(at.with_operand(1, one_of(count, at.value(1), (1,) * len(index))))
    if not isinstance(found, Alternatives):
        return found
    copies = frozenset(axis + i for i, dim in enumerate(index) if dim != 1)
    return Alternatives(found.cases, copies, row, found.is_scaled)


def _gather_nd(at: At) -> Origin | None:
    """GatherND (opset 11 to 13) by indices of one entry each: slices of the axes that they index."""
    data, index, shape = at.at(0), at.shape(1), at.shape(0)
    if data is None or (shape is not None and len(shape) <= TABLE_RANK):
        return None
    if not isinstance(data, Constant) or is_fill(data) or shape is None:
        return _selection(at)
    if not index or index[-1] is None or at.view.attribute("batch_dims", 0) or not is_single(index[:-1]):
        return _selection(at)
    sizes = data.shape[: index[-1]]
    places = list(np.ndindex(*sizes)) if math.prod(sizes) <= 256 else []
    if not places:
        raise EvaluationError(f"a run chooses one of {math.prod(sizes)} slices")
    cases = []
    for number, place in enumerate(places):
        picked = known(np.array(place, dtype=np.int64).reshape((1,) * (len(index) - 1) + (len(place),)), "index")
        text = "".join(f"[{i}]" for i in place)
        cases.append(Case(at.fold([data, picked]), ((at.value(1), text),), ((at.value(1), number),)))
    return Alternatives(tuple(cases))


def _selection(at: At) -> Origin | None:
    """Entries of operand 0 that a run selects."""
    data, shape = at.at(0), at.shape(0)
    if data is None or (isinstance(data, Constant) and is_fill(data)):
        return None
    if at.op in ("GatherElements", "GatherND") and shape is not None and len(shape) <= TABLE_RANK:
        return None
    return Unresolved(selected(at), is_row(data))


def _reshape(at: At) -> Origin | None:
    """Reshape (opset 5 to 25) to a shape that a run computes: its size leaves one length open at most."""
    data, target = at.at(0), at.target
    if data is None or (isinstance(data, Constant) and is_fill(data)):
        return None
    if not isinstance(data, Constant | Alternatives) or target is None or target.count(None) > 1:
        return Unresolved(selected(at), is_row(data))
    if isinstance(data, Alternatives) and data.copies:
        return reshaped_copies(at, data) or Unresolved(selected(at), is_row(data))
    shape = np.array([-1 if dim is None else dim for dim in target], dtype=np.int64)
    return of_known(at.with_operand(1, known(shape, "shape")))


def _expand(at: At) -> Origin | None:
    """Expand (opset 8 to 13) to a shape that a run computes: copies along axes of length one, and along axes in front."""
    data, shape = at.at(0), at.shape(1)
    if data is None or (isinstance(data, Constant) and is_fill(data)):
        return None
    length = shape[0] if shape is not None and len(shape) == 1 else None
    length = length if length is not None else (None if at.target is None else len(at.target))
    if not isinstance(data, Constant | Alternatives) or length is None:
        return Unresolved(selected(at), is_row(data))
    given = whole(data) if isinstance(data, Constant) else data
    if given.shape is None or None in given.shape:
        return Unresolved(selected(at), is_row(data))
    own = tuple(d for d in given.shape if d is not None)
    rank = max(length, len(own))
    inner = (1,) * (rank - len(own)) + own
    target = at.target if at.target is not None and len(at.target) == rank else (None,) * rank
    copies = frozenset(axis for axis in range(rank) if inner[axis] == 1 and target[axis] != 1)
    cases = [
        Case(with_axes(c.constant, inner), c.index, c.when, tuple(with_axes(f, inner) for f in c.factors)) for c in given.cases
    ]
    return made(at, cases, is_row=given.is_row, is_scaled=given.is_scaled, copies=copies)


def _where(at: At) -> Origin | None:
    """Where (opset 9 to 16): one condition chooses; a condition for each entry masks."""
    data = [at.at(1), at.at(2)]
    known_ones = [h for h in data if h is not None and not (isinstance(h, Constant) and is_fill(h)) and not is_row(h)]
    if not known_ones:
        return None
    run_time = [i for i in (1, 2) if at.is_run_time(i)]
    single = isinstance(at.at(0), Constant) or is_single(at.shape(0))
    if run_time and not single and not smaller(at, 3 - run_time[0], run_time[0]):
        return None
    if isinstance(at.at(0), Constant):
        return (
            Unresolved("a run computes some of its entries") if run_time and smaller(at, 3 - run_time[0], run_time[0]) else None
        )
    if not single:
        return Unresolved("a condition that a run computes masks it, entry by entry")
    if run_time:
        kept = data[2 - run_time[0]] if run_time[0] == 1 else data[0]
        inner, outer = at.shape(3 - run_time[0]), at.target
        if inner is None or outer is None or inner != outer:
            return Unresolved("a run computes whether it is replaced") if smaller(at, 3 - run_time[0], run_time[0]) else None
        return one_of_values([kept], at.value(0))
    if isinstance(at.at(1), Constant) and isinstance(at.at(2), Constant) and at.shape(1) == at.shape(2):
        return one_of_values([at.at(2), at.at(1)], at.value(0))
    options = [known(np.array(flag).reshape((1,) * len(at.shape(0) or ())), "condition") for flag in (False, True)]
    cases = tuple(Case(option, when=((at.value(0), number),)) for number, option in enumerate(options))
    found = of_known(at.with_operand(0, Alternatives(cases)))
    if not isinstance(found, Alternatives):
        return found
    kept_cases = tuple(case for case in found.cases if not is_fill(case.constant)) or found.cases
    return Alternatives(kept_cases, found.copies, found.is_row, found.is_scaled)


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
        Case(
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


def _dequantized(at: At) -> Origin | None:
    """DequantizeLinear (opset 10 to 25) of a constant by a scale that a run computes: integers times factors."""
    data, zero = at.at(0), at.at(2)
    if data is None:
        return None
    shape, factor = at.shape(0), at.shape(1)
    if not isinstance(data, Constant) or at.is_run_time(2) or isinstance(zero, Blocked | Unresolved | Alternatives):
        return Unresolved("a run computes how it is dequantized", is_row(data))
    if factor is None or shape is None or len(factor) > 1 or at.view.attribute("block_size", 0):
        return Unresolved("a run computes how it is dequantized", is_row(data))
    scale_operand = at.flow.operand(at.view.node.inputs[1]) if at.view.node.inputs[1] is not None else None
    dtype = None if scale_operand is None else scale_operand.dtype
    if dtype is None:
        return Unresolved("a run computes how it is dequantized", is_row(data))
    one = known(np.ones((), dtype=dtype.numpy()), "one")
    zeros = zero if isinstance(zero, Constant) else None
    integers = at.fold([data, one, *([zeros] if len(at.view.node.inputs) > 2 else [])])
    axis = int(at.view.attribute("axis", 1))
    aligned: Shape = ()
    if len(factor) == 1 and factor != (1,):
        if not -len(shape) <= axis < len(shape):
            return None
        aligned = tuple(factor[0] if a == axis % len(shape) else 1 for a in range(len(shape)))
    sets = numbers(integers.shape, aligned)
    return Alternatives((Case(integers, factors=() if sets is None else (sets,)),), is_scaled=True)


def _placed(at: At) -> Origin | None:
    """ScatterND and its relatives: constants placed by indices that a run computes, or overwritten in part by what it does."""
    updates = at.at(2)
    data = at.at(0)
    stored = [h for h in (data, updates) if h is not None and not (isinstance(h, Constant) and is_fill(h))]
    if not stored or (at.is_run_time(2) and data not in stored) or at.is_run_time(0):
        return None
    return Unresolved("a run places entries in it")


def _concatenated(at: At) -> Origin | None:
    """Beside an activation, constants are an activation."""
    return None


def _sequence(at: At) -> Origin | None:
    """A sequence that holds constants beside what a run computes."""
    stored = any(h is not None and not (isinstance(h, Constant) and is_fill(h)) and not is_row(h) for h in at.held)
    return Unresolved("it is a member of a sequence that a run puts together") if stored else None


def _entries(at: At) -> Origin | None:
    """Entries changed one by one, by numbers that a run computes."""
    data = at.at(0)
    return None if data is None else Unresolved(f"op {at.op} changes its entries by numbers that a run computes", is_row(data))


RULES: dict[str, Rule] = {
    **dict.fromkeys(MOVES, _selection),
    **dict.fromkeys(PLACES, _placed),
    **dict.fromkeys(FACTORS, _scaled),
    **dict.fromkeys(SHIFTS, _shifted),
    **dict.fromkeys(ENTRIES, _entries),
    **dict.fromkeys(SEQUENCES, _sequence),
    "Gather": _gather,
    "GatherND": _gather_nd,
    "Reshape": _reshape,
    "Expand": _expand,
    "Where": _where,
    "DequantizeLinear": _dequantized,
    "Concat": _concatenated,
}
