"""Movement by numbers that a run computes: of which constants the entries are.

Source: operator specifications of ai.onnx (opset 1 to 25).
"""

from __future__ import annotations

import math

import numpy as np

from onnxnull.graph.constants import Constant, EvaluationError, known
from onnxnull.graph.origins.exact import made, of_known, reshaped_copies
from onnxnull.graph.origins.operands import TABLE_RANK, At, is_row, selected
from onnxnull.graph.origins.rules import gives_origin, selection
from onnxnull.graph.origins.values import (
    Alternatives,
    Candidate,
    Origin,
    Unresolved,
    is_fill,
    is_single,
    one_of,
    whole,
    with_axes,
)


@gives_origin("Gather")
def gather(at: At) -> Origin | None:
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


@gives_origin("GatherND")
def gather_nd(at: At) -> Origin | None:
    """GatherND (opset 11 to 13) by indices of one entry each: slices of the axes that they index."""
    data, index, shape = at.at(0), at.shape(1), at.shape(0)
    if data is None or (shape is not None and len(shape) <= TABLE_RANK):
        return None
    if not isinstance(data, Constant) or is_fill(data) or shape is None:
        return selection(at)
    if not index or index[-1] is None or at.view.attribute("batch_dims", 0) or not is_single(index[:-1]):
        return selection(at)
    sizes = data.shape[: index[-1]]
    places = list(np.ndindex(*sizes)) if math.prod(sizes) <= 256 else []
    if not places:
        raise EvaluationError(f"a run chooses one of {math.prod(sizes)} slices")
    cases = []
    for number, place in enumerate(places):
        picked = known(np.array(place, dtype=np.int64).reshape((1,) * (len(index) - 1) + (len(place),)), "index")
        text = "".join(f"[{i}]" for i in place)
        cases.append(Candidate(at.fold([data, picked]), ((at.value(1), text),), ((at.value(1), number),)))
    return Alternatives(tuple(cases))


@gives_origin("Reshape")
def reshape(at: At) -> Origin | None:
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


@gives_origin("Expand")
def expand(at: At) -> Origin | None:
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
        Candidate(with_axes(c.constant, inner), c.index, c.when, tuple(with_axes(f, inner) for f in c.factors))
        for c in given.cases
    ]
    return made(at, cases, is_row=given.is_row, is_scaled=given.is_scaled, copies=copies)
