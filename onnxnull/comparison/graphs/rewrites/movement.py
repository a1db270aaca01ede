"""Movements of entries whose shapes are known, and what does nothing (ONNX opset 1 to 24).

1. Reshape, Flatten, Squeeze, Unsqueeze, and Transpose, Expand and Tile that only do as these do, are one Reshape; for sizes
   that are not known see `dimensions`.
2. Identity, Dropout (at inference) and a Cast between floats of 16 bits or more are nothing; narrower types are noted by the
   reader. Floats of 8 bits and less are what a quantizer makes of numbers.
3. A Cast between integers is nothing where the second type holds every number of the first, as every type holds booleans.
4. Split, Slice (step 1), Gather of one constant index or of neighbours in order are slices (then Reshape).
5. Concat is that of `movements`.
6. DepthToSpace and SpaceToDepth (opset 1 to 24) move blocks: Reshape, Transpose and Reshape.
"""

from __future__ import annotations

import numpy as np

from onnxnull.comparison.graphs import constants as c
from onnxnull.comparison.graphs.constants import ENOUGH
from onnxnull.comparison.graphs.rewrites import Const, ReadNode, Result, Term, Value, rule
from onnxnull.comparison.graphs.rewrites.dimensions import reshaping
from onnxnull.comparison.graphs.terms import known

_FLOATS = (1, 10, 11, 16)
"""TensorProto's float, float16, double and bfloat16."""


@rule("Identity", "Dropout")
def nothing(node: ReadNode) -> Result:
    """Rule 2."""
    if any(o is not None and (o.value.uses() or o.value.is_graph_output()) for o in node.view.outputs[1:]):
        return None  # the mask
    training = node.operand(2)
    if isinstance(training, Term) or (isinstance(training, Const) and training.value.any()):
        return None
    if node.op == "Dropout" and node.version < 7 and not node.attribute("is_test", 0):
        return None
    return node.operand(0)


@rule("Cast", "CastLike")
def casts(node: ReadNode) -> Result:
    """Rules 2 and 3."""
    x, out = node.operand(0), node.view.outputs[0]
    before = node.view.inputs[0]
    if x is None or out is None or before is None:
        return None
    if x.kind == "f" and node.op == "Cast" and node.attribute("to") in _FLOATS:
        return x  # also integers that stand for what a quantizer approximates
    if out.dtype is None:
        return None
    if x.kind == "f":
        if out.dtype.is_floating_point():
            return x if out.dtype in _FLOATS else None
        return node.terms.apply(
            "ToInteger", [x], [("to", out.dtype.name)], shape=node.shape(), kind="b" if out.dtype.name == "BOOL" else "i"
        )
    if out.dtype.is_floating_point():
        if isinstance(x, Const):  # sizes: what the file stores was folded before
            return c.const(x.value.astype(np.float64), dtype="float32") if x.size <= ENOUGH else None
        return node.terms.elementwise(x, lambda t: node.terms.make("ToFloat", [_flag(t)], shape=t.shape))
    if x.kind == "b" and out.dtype.is_integer():
        return node.terms.unary("FromBoolean", x, kind="i")
    if before.dtype is None:
        return None
    if before.dtype == out.dtype:
        return x
    if before.dtype.is_integer() and out.dtype.is_integer():
        small = before.dtype.bitwidth < out.dtype.bitwidth and (
            before.dtype.name.startswith("U") or out.dtype.name.startswith("INT")
        )
        return x if small or (isinstance(x, Term) and _is_flag(x)) else None
    return None


def _is_flag(x: Term) -> bool:
    """Whether these are booleans as integers, which every type holds, moved or not."""
    while x.op in ("Transpose", "Reshape"):
        x = x.variables[0]
    return x.op == "FromBoolean"


def _flag(x: Term) -> Term:
    return x.variables[0] if x.op == "FromBoolean" else x


@rule("Reshape", "Flatten", "Squeeze", "Unsqueeze")
def reshapes(node: ReadNode) -> Result:
    """Rule 1."""
    x, shape = node.operand(0), node.whole_shape()
    if x is not None and shape is not None and known(x.shape) is not None:
        return node.terms.reshape(x, shape)
    found = reshaping(node, x) if isinstance(x, Term) else None
    axes = node.integers(1, "axes")
    if found is None and node.op in ("Squeeze", "Unsqueeze") and isinstance(x, Term) and axes is not None:
        return node.terms.make(node.op, [x], attributes=[("axes", tuple(axes))], shape=node.shape(), kind=x.kind)
    return found


@rule("Expand", "Tile")
def repeats(node: ReadNode) -> Result:
    """Rule 1; of one number see `recurrent`."""
    x, shape = node.operand(0), node.whole_shape()
    whole = None if x is None else known(x.shape)
    sizes = node.operand(1)
    if node.op == "Expand" and isinstance(x, Const) and x.shape == () and isinstance(sizes, Term):
        return node.terms.apply("Filled", [sizes, x], shape=node.shape(), kind=x.kind)
    if x is None or shape is None or whole is None or np.prod(whole) != np.prod(shape):
        return None
    return node.terms.reshape(x, shape)


@rule("Transpose")
def transposes(node: ReadNode) -> Result:
    """Rule 1."""
    x = node.operand(0)
    perm = node.attribute("perm")
    if x is None or (x.shape is None and perm is None):
        return None
    return node.terms.transpose(x, list(range(len(x.shape or ())))[::-1] if perm is None else perm)


@rule("Split")
def splits(node: ReadNode) -> Result:
    """Rule 4."""
    x = node.operand(0)
    axis = node.attribute("axis", 0)
    sizes = [node.shape(i) for i in range(len(node.view.outputs))]
    if x is None or x.shape is None or any(shape is None for shape in sizes):
        return None
    axis %= len(x.shape)
    lengths = [shape[axis] for shape in sizes if shape is not None]
    whole = [length for length in lengths if length is not None]
    if len(whole) != len(lengths) or sum(whole) != x.shape[axis]:
        return None
    stops = np.cumsum(whole)
    return [node.terms.slice(x, axis, int(stop - length), int(stop)) for length, stop in zip(whole, stops, strict=True)]


@rule("Slice")
def slices(node: ReadNode) -> Result:
    """Rule 4."""
    x = node.operand(0)
    starts, ends = node.integers(1, "starts"), node.integers(2, "ends")
    given = [node.operand(3), node.operand(4)]
    if x is None or x.shape is None or starts is None or ends is None or any(isinstance(o, Term) for o in given):
        return None
    axes, steps = node.integers(3, "axes"), node.integers(4, "steps")
    axes = list(range(len(starts))) if axes is None else [axis % len(x.shape) for axis in axes]
    if any(step != 1 for step in steps or ()) or any(x.shape[axis] is None for axis in axes):
        return None
    found: Value = x
    for axis, start, end in zip(axes, starts, ends, strict=True):
        first, last, _ = slice(start, end).indices(x.shape[axis] or 0)
        if last <= first:
            return None
        found = node.terms.slice(found, axis, first, last)
    return found


@rule("Gather")
def gathers(node: ReadNode) -> Result:
    """Rule 4."""
    x, index = node.operand(0), node.operand(1)
    if not isinstance(x, Term) or x.shape is None or not isinstance(index, Const) or index.size == 0 or len(index.shape) > 1:
        return None
    axis = node.attribute("axis", 0) % len(x.shape)
    size, shape = x.shape[axis], known(x.shape)
    if size is None or shape is None:
        return None
    numbers = np.atleast_1d(index.value) % size
    if not np.array_equal(numbers, np.arange(numbers[0], numbers[0] + len(numbers))):
        return None
    found = node.terms.slice(x, axis, int(numbers[0]), int(numbers[-1]) + 1)
    return found if index.shape else node.terms.reshape(found, (*shape[:axis], *shape[axis + 1 :]))


@rule("Concat")
def concats(node: ReadNode) -> Result:
    """Rule 5."""
    operands = [o for o in node.operands if o is not None]
    shape = node.shape()
    if shape is None or "axis" not in node.view.node.attributes:
        return None
    return node.terms.concat(operands, node.attribute("axis", 0) % len(shape), shape)


@rule("DepthToSpace", "SpaceToDepth")
def blocks(node: ReadNode) -> Result:
    """Rule 6."""
    x, shape = node.operand(0), node.whole_shape()
    whole = None if x is None else known(x.shape)
    mode = node.attribute("mode", "DCR")
    if x is None or shape is None or whole is None or len(whole) != 4 or (node.op == "SpaceToDepth" and mode != "DCR"):
        return None
    terms, size = node.terms, int(node.attribute("blocksize"))
    if node.op == "SpaceToDepth":
        batch, channels, height, width = whole
        parts = terms.reshape(x, (batch, channels, height // size, size, width // size, size))
        return terms.reshape(terms.transpose(parts, [0, 3, 5, 1, 2, 4]), shape)
    batch, channels, height, width = shape[0], shape[1], *whole[2:]
    if mode == "CRD":
        parts = terms.reshape(x, (batch, channels, size, size, height, width))
        return terms.reshape(terms.transpose(parts, [0, 1, 4, 2, 5, 3]), shape)
    parts = terms.reshape(x, (batch, size, size, channels, height, width))
    return terms.reshape(terms.transpose(parts, [0, 3, 4, 1, 5, 2]), shape)
