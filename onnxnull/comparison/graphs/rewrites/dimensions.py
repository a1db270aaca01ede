"""Sizes that only a run decides: which dimension of which term each of them is.

1. `Dims` is a vector (or a scalar) of integers and of dimensions. Shape gives one; Gather, Slice, Concat, Squeeze, Unsqueeze,
   Reshape to one axis and Cast between integers take it apart and put it together.
2. A dimension is named by the term furthest towards the inputs that has it: what works entry by entry, Transpose, Concat along
   other axes, Conv and pools along the batch, leave it what it is.
3. A Reshape, Squeeze or Unsqueeze to sizes that are not all known is `ReshapeTo` such a vector (0 copies a dimension of its
   operand; −1 is what is left over); one of another is one; to the sizes that are there it is nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from onnxnull.comparison.graphs import constants as c
from onnxnull.comparison.graphs.algebra import Algebra
from onnxnull.comparison.graphs.movements import perm_of
from onnxnull.comparison.graphs.rewrites import Const, ReadNode, Result, Term, Value, rule
from onnxnull.comparison.graphs.terms import known

Entry = int | tuple[Term, int]
_LONGEST = 64
_ENTRYWISE = frozenset(
    [
        *("Clip", "Saturate", "Sigmoid", "Tanh", "Erf", "Exp", "Log", "Abs", "Softplus", "Softsign", "LeakyRelu", "Elu"),
        *("Grid", "Softmax", "LogSoftmax", "ToFloat", "ToInteger"),
    ]
)
_ON_IMAGES = {"Conv": 1, "ConvTranspose": 1, "AveragePool": 2, "MaxPool": 2}
"""Operator → how many axes in front it leaves what they are."""


def size_of(terms: Algebra, x: Term, axis: int) -> Entry:
    """The size of an axis: a number, or the dimension that it is (rule 2). Each is looked for once."""
    found = terms.sizes.get((x, axis))
    if found is None:
        found = terms.sizes[x, axis] = _size(terms, x, axis)
    return found


def _size(terms: Algebra, x: Term, axis: int) -> Entry:
    size = None if x.shape is None else x.shape[axis]
    if size is not None:
        return size
    if x.op == "ReshapeTo":
        entry = _entries(x)[axis]
        if entry == -1:
            return x, axis
        return entry if isinstance(entry, int) else size_of(terms, *entry)
    behind = _behind(terms, x, axis)
    return (x, axis) if behind is None else size_of(terms, *behind)


def _behind(terms: Algebra, x: Term, axis: int) -> tuple[Term, int] | None:
    """A dimension of a variable of x that is always as large as this one of x; None where none is known."""
    first = x.variables[0] if x.variables else None
    if first is None or first.shape is None or x.shape is None or len(first.shape) != len(x.shape):
        return None
    if x.op == "Transpose":
        return first, perm_of(x)[axis]
    if x.op in ("Sum", "Product"):
        found = {size_of(terms, v, axis) for v in x.variables if v.shape is not None and len(v.shape) == len(x.shape)}
        only = found.pop() if len(found) == 1 and all(v.shape is not None for v in x.variables) else None
        return only if isinstance(only, tuple) and all(len(v.shape or ()) == len(x.shape) for v in x.variables) else None
    along = x.attribute("axis")
    kept = (
        x.op in _ENTRYWISE
        or axis < _ON_IMAGES.get(x.op, 0)
        or (x.op in ("Slice", "Concat") and axis != along)
        or (x.op == "MatMul" and len(x.constants) == 1 and axis < len(x.shape) - 1)
        or (x.op.startswith("Reduce") and isinstance(axes := x.attribute("axes"), tuple) and axis not in axes)
    )
    return (first, axis) if kept else None


def dims(terms: Algebra, entries: Sequence[Entry], *, scalar: bool = False) -> Value:
    """The vector of these sizes, or the only one as a scalar."""
    numbers = [entry for entry in entries if isinstance(entry, int)]
    if len(numbers) == len(entries):
        return c.const(np.array(numbers[0] if scalar else numbers, np.int64))
    sources, attributes = _listed(entries)
    return terms.make("Dims", sources, attributes=attributes, shape=() if scalar else (len(entries),), kind="i")


def _listed(entries: Sequence[Entry]) -> tuple[list[Term], list[tuple[str, object]]]:
    """Variables and attributes that hold these entries."""
    sources = list(dict.fromkeys(entry[0] for entry in entries if not isinstance(entry, int)))
    listed = tuple(entry if isinstance(entry, int) else (sources.index(entry[0]), entry[1]) for entry in entries)
    return sources, [("entries", listed)]


def _entries(x: Term) -> list[Entry]:
    """What `_listed` was made of; for ReshapeTo the operand itself is the first variable."""
    listed, sources = x.attribute("entries"), x.variables[int(x.op == "ReshapeTo") :]
    assert isinstance(listed, tuple)
    return [entry if isinstance(entry, int) else (sources[entry[0]], entry[1]) for entry in listed]


def entries_of(value: Value | None) -> list[Entry] | None:
    """The entries of a vector or scalar of sizes; None where it is none."""
    if isinstance(value, Const) and value.kind == "i" and len(value.shape) < 2 and value.size <= _LONGEST:
        return [int(number) for number in value.value.ravel()]
    return _entries(value) if isinstance(value, Term) and value.op == "Dims" else None


@rule("Shape")
def shape(node: ReadNode) -> Result:
    """Rule 1 (start and end since opset 15)."""
    x = node.operand(0)
    if x is None or x.shape is None:
        return None
    first, last, _ = slice(node.attribute("start", 0), node.attribute("end")).indices(len(x.shape))
    sizes: list[Entry] = [
        size_of(node.terms, x, axis) if isinstance(x, Term) else x.shape[axis] or 0 for axis in range(first, last)
    ]
    return dims(node.terms, sizes)


def on_dimensions(node: ReadNode) -> Value | None:
    """What an operator makes of `Dims` (rule 1); None where it makes something else."""
    first = entries_of(node.operand(0))
    if not any(isinstance(o, Term) and o.op == "Dims" for o in node.operands) or first is None:
        return None
    x, terms = node.operand(0), node.terms
    assert x is not None
    if node.op == "Gather" and isinstance(index := node.operand(1), Const) and len(index.shape) < 2 and x.shape:
        return dims(terms, [first[int(i)] for i in index.value.ravel()], scalar=not index.shape)
    if node.op == "Slice" and x.shape:
        starts, ends, steps = (node.integers(i, name) for i, name in ((1, "starts"), (2, "ends"), (4, "steps")))
        if starts is not None and ends is not None and len(starts) == 1 and not isinstance(node.operand(4), Term):
            return dims(terms, first[slice(starts[0], ends[0], *(steps or [1]))])
    if node.op == "Concat" and all(o is None or o.shape != () for o in node.operands):
        parts = [entries_of(o) for o in node.operands]
        whole = [part for part in parts if part is not None]
        return dims(terms, [entry for part in whole for entry in part]) if len(whole) == len(parts) else None
    if node.op in ("Squeeze", "Unsqueeze", "Reshape") and len(first) == 1 and len(node.shape() or (0, 0)) < 2:
        return dims(terms, first, scalar=node.shape() == ())
    out = node.view.outputs[0]
    if node.op == "Cast" and out is not None and out.dtype is not None and out.dtype.name in ("INT64", "INT32"):
        return x
    return None


def _without_rest(own: Sequence[Entry], target: Sequence[Entry]) -> list[Entry]:
    """The target with −1 written out, where what is left over of the sizes that are there is one of them or a number."""
    left, given = list(own), [entry for entry in target if entry != -1]
    if len(given) == len(target):
        return list(target)
    for entry in given:
        if not isinstance(entry, int):
            if entry not in left:
                return list(target)
            left.remove(entry)
    open_sizes = [entry for entry in left if not isinstance(entry, int)]
    total = math.prod(entry for entry in left if isinstance(entry, int))
    asked = math.prod(entry for entry in given if isinstance(entry, int))
    if asked <= 0 or total % asked or len(open_sizes) > 1 or (open_sizes and total != asked):
        return list(target)
    rest: Entry = open_sizes[0] if open_sizes else total // asked
    return [rest if entry == -1 else entry for entry in target]


def reshaped_to(terms: Algebra, x: Term, entries: Sequence[Entry]) -> Value:
    """Entries in order, to these sizes (rule 3)."""
    numbers = tuple(entry for entry in entries if isinstance(entry, int) and entry >= 0)
    if len(numbers) == len(entries) and known(x.shape) is not None:
        return terms.reshape(x, numbers)
    if x.op == "ReshapeTo" and x not in [entry[0] for entry in entries if not isinstance(entry, int)]:
        return reshaped_to(terms, x.variables[0], entries)
    if x.shape is not None and [size_of(terms, x, axis) for axis in range(len(x.shape))] == list(entries):
        return x
    sources, attributes = _listed(entries)
    sizes = tuple(entry if isinstance(entry, int) and entry >= 0 else None for entry in entries)
    return terms.make("ReshapeTo", [x, *sources], attributes=attributes, shape=sizes, kind=x.kind)


def reshaping(node: ReadNode, x: Term) -> Value | None:
    """Reshape, Squeeze and Unsqueeze to sizes that are not all known (rule 3); None where the rank is not known."""
    own = None if x.shape is None else [size_of(node.terms, x, axis) for axis in range(len(x.shape))]
    if node.op == "Reshape":
        target = entries_of(node.operand(1))
        if target is None or (0 in target and own is None) or target.count(-1) > 1:
            return None
        if own is not None and not node.attribute("allowzero", 0):
            if any(entry == 0 and i >= len(own) for i, entry in enumerate(target)):
                return None
            target = [own[i] if entry == 0 else entry for i, entry in enumerate(target)]
        return reshaped_to(node.terms, x, target if own is None else _without_rest(own, target))
    axes = node.integers(1, "axes")
    if own is None or axes is None or node.op not in ("Squeeze", "Unsqueeze"):
        return None
    if node.op == "Squeeze":
        dropped = {axis % len(own) for axis in axes}
        return reshaped_to(node.terms, x, [size for axis, size in enumerate(own) if axis not in dropped])
    places = {axis % (len(own) + len(axes)) for axis in axes}
    left = iter(own)
    return reshaped_to(node.terms, x, [1 if i in places else next(left) for i in range(len(own) + len(axes))])


def without(terms: Algebra, x: Term, axes: Sequence[int]) -> Value | None:
    """x without axes of size 1; None where its rank is not known."""
    if x.shape is None:
        return None
    return reshaped_to(terms, x, [size_of(terms, x, axis) for axis in range(len(x.shape)) if axis not in axes])
