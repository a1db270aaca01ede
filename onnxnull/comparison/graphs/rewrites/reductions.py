"""Reductions and pools.

1. Reduce* over axes that are an attribute or (since opset 13 and 18) an operand; without keepdims a Reshape follows.
   ReduceMean is ReduceSum over the number of entries; scalars leave sums. ReduceSumSquare is ReduceSum of a square, ReduceL2
   its root.
2. GlobalAveragePool is ReduceMean over the image, and so is an AveragePool of the image's own size without padding;
   GlobalMaxPool is ReduceMax.
3. Softmax, LogSoftmax and Hardmax before opset 13 flatten what is behind `axis`: they are those of opset 13 where only axes
   of size 1 are.
4. ArgMax of Softmax, of LogSoftmax, of Sigmoid along its axis, is ArgMax of what enters; so is one of a positive scalar times
   it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from onnxnull.comparison.graphs import constants as c
from onnxnull.comparison.graphs.algebra import Algebra
from onnxnull.comparison.graphs.movements import carried_axes, perm_of
from onnxnull.comparison.graphs.rewrites import Const, ReadNode, Result, Term, Value, rule
from onnxnull.comparison.graphs.rewrites.dimensions import without
from onnxnull.comparison.graphs.rewrites.windows import padded, slid_shape, steps
from onnxnull.comparison.graphs.terms import known


def reduced(terms: Algebra, op: str, x: Value, axes: Sequence[int]) -> Value:
    """A reduction over axes, which keep size 1."""
    axes = tuple(sorted(axes))
    assert x.shape is not None
    if isinstance(x, Term) and x.op == "Transpose":
        return terms.transposed_as(x, reduced(terms, op, x.variables[0], [perm_of(x)[axis] for axis in axes]))
    if isinstance(x, Term) and (found := carried_axes(x, axes)) is not None:
        whole = known(x.shape)
        if whole is not None:
            made = reduced(terms, op, *found)
            return terms.reshaped_as(x, made, tuple(1 if i in axes else size for i, size in enumerate(whole)))
    if isinstance(x, Term) and op == "ReduceSum" and x.op == "Sum" and len(x.variables) == 1:
        k, shift, inner = x.constants[0], x.constants[-1], x.variables[0]
        if (
            k is not None
            and not k.shape
            and shift is not None
            and shift.is_all(0.0)
            and inner.shape == x.shape
            and not k.is_all(1.0)
        ):
            return terms.sum([(k, reduced(terms, op, inner, axes))])
    shape = tuple(1 if i in axes else size for i, size in enumerate(x.shape))
    if all(x.shape[axis] == 1 for axis in axes) and op in ("ReduceSum", "ReduceMax", "ReduceMin", "ReduceMean", "ReduceProd"):
        return x
    if isinstance(x, Const):
        return terms.make(op, [], attributes=[("axes", axes)], constants=[x], shape=shape, kind=x.kind)
    return terms.make(op, [x], attributes=[("axes", axes)], shape=shape, kind=x.kind)


def mean(terms: Algebra, x: Value, axes: Sequence[int]) -> Value:
    """ReduceMean; of known sizes the sum over the number of entries."""
    assert x.shape is not None
    sizes = [x.shape[axis] for axis in axes]
    whole = [size for size in sizes if size is not None]
    if len(whole) != len(sizes):
        return reduced(terms, "ReduceMean", x, axes)
    return terms.sum([(c.scalar(1.0 / math.prod(whole)), reduced(terms, "ReduceSum", x, axes))])


@rule("ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceSumSquare", "ReduceL2")
def reductions(node: ReadNode) -> Result:
    """Rule 1."""
    x = node.operand(0)
    if not isinstance(x, Term) or x.kind != "f" or isinstance(node.operand(1), Term):
        return None
    axes = node.integers(1, "axes")
    keeps = int(node.attribute("keepdims", 1))
    if x.shape is None:
        if not axes:
            return None
        return node.terms.make(node.op, [x], attributes=[("axes", tuple(axes)), ("keepdims", keeps)], shape=node.shape())
    if not axes:
        if node.attribute("noop_with_empty_axes", 0):
            return None if node.op in ("ReduceSumSquare", "ReduceL2") else x
        axes = list(range(len(x.shape)))
    axes = [axis % len(x.shape) for axis in axes]
    if node.op == "ReduceMean":
        found = mean(node.terms, x, axes)
    elif node.op in ("ReduceSumSquare", "ReduceL2"):
        found = reduced(node.terms, "ReduceSum", node.terms.product([(x, 2.0)]), axes)
        found = node.terms.product([(found, 0.5)]) if node.op == "ReduceL2" else found
    else:
        found = reduced(node.terms, node.op, x, axes)
    if keeps:
        return found
    shape = node.whole_shape()
    if shape is not None and known(found.shape) is not None:
        return node.terms.reshape(found, shape)
    return without(node.terms, found, axes) if isinstance(found, Term) else None


@rule("GlobalAveragePool", "GlobalMaxPool")
def global_pools(node: ReadNode) -> Result:
    """Rule 2."""
    x = node.operand(0)
    if not isinstance(x, Term) or x.shape is None or x.kind != "f":
        return None
    axes = list(range(2, len(x.shape)))
    return mean(node.terms, x, axes) if node.op == "GlobalAveragePool" else reduced(node.terms, "ReduceMax", x, axes)


@rule("AveragePool", "MaxPool")
def pools(node: ReadNode) -> Result:
    """Rule 2, and windows with their defaults written out."""
    x = node.operand(0)
    return pool(node, node.op, x) if isinstance(x, Term) else None


def pool(node: ReadNode, op: str, x: Term) -> Value | None:
    """AveragePool or MaxPool under the node's attributes."""
    window = node.attribute("kernel_shape")
    if x.shape is None or window is None or len([o for o in node.view.outputs if o is not None]) > 1:
        return None
    spatial = len(window)
    strides, dilations = steps(node, window)
    pads = padded(node, x, window, strides, dilations)
    if pads is None:
        return None
    average = op == "AveragePool"
    ceil = bool(node.attribute("ceil_mode", 0))
    image = list(range(2, len(x.shape)))
    if average and not any(pads) and tuple(x.shape[2:]) == tuple(window) and x.kind == "f" and all(d == 1 for d in dilations):
        return mean(node.terms, x, image)
    whole = known(x.shape)
    if ceil and whole is not None:
        moves = [
            (whole[2 + i] + pads[i] + pads[i + spatial] - (window[i] - 1) * dilations[i] - 1) % strides[i]
            for i in range(spatial)
        ]
        ceil = any(moves)  # where windows fit, rounding up is rounding down
    include = bool(node.attribute("count_include_pad", 0)) and any(pads)
    attributes: list[tuple[str, object]] = [
        ("window", tuple(window)),
        ("strides", strides),
        ("dilations", dilations),
        ("pads", pads),
        ("ceil", ceil),
        ("include", include),
    ]
    if not average and node.attribute("storage_order", 0):
        return None
    shape = node.shape()
    if known(shape) is None:
        shape = slid_shape(x.shape, x.shape[1], window, strides, dilations, pads, ceil=ceil) or shape
    return node.terms.make(op, [x], attributes=attributes, shape=shape, kind=x.kind)


@rule("Softmax", "LogSoftmax", "Hardmax")
def softmax(node: ReadNode) -> Result:
    """Rule 3."""
    x = node.operand(0)
    return softmax_of(node, node.op, x, node.version) if isinstance(x, Term) else None


def softmax_of(node: ReadNode, op: str, x: Term, version: int) -> Value | None:
    """Softmax and the like as a version of the opset has them (rule 3)."""
    if x.shape is None:
        return None
    axis = node.attribute("axis", -1 if version >= 13 else 1) % len(x.shape)
    if version < 13:
        large = [i for i in range(axis, len(x.shape)) if x.shape[i] != 1]
        if len(large) > 1 or None in x.shape[axis:-1]:
            return None
        axis = large[0] if large else axis
    return along(node.terms, op, x, axis)


def along(terms: Algebra, op: str, x: Value, axis: int) -> Value:
    """An operator that works along one axis and leaves shapes alone, in front of a Transpose."""
    if isinstance(x, Const):
        return terms.make(op, [], attributes=[("axis", axis)], constants=[x], shape=x.shape)
    if x.op == "Transpose":
        return terms.transposed_as(x, along(terms, op, x.variables[0], perm_of(x)[axis]))
    if (found := carried_axes(x, [axis])) is not None and (whole := known(x.shape)) is not None:
        return terms.reshaped_as(x, along(terms, op, found[0], found[1][0]), whole)
    return terms.make(op, [x], attributes=[("axis", axis)], shape=x.shape)


@rule("ArgMax", "ArgMin")
def arg(node: ReadNode) -> Result:
    """Rule 4."""
    x = node.operand(0)
    if not isinstance(x, Term) or x.shape is None:
        return None
    axis = node.attribute("axis", 0) % len(x.shape)
    while True:
        if x.op in ("Softmax", "LogSoftmax") and x.attribute("axis") == axis:
            x = x.variables[0]
        elif x.op == "Sum" and len(x.variables) == 1 and x.constants[0] is not None and not x.constants[0].shape:
            if (
                not float(x.constants[0].value) > 0.0
                or x.constants[-1] is None
                or x.constants[-1].shape
                or x.variables[0].shape != x.shape
            ):
                break
            x = x.variables[0]
        else:
            break
    attributes: list[tuple[str, object]] = [
        ("axis", axis),
        ("keepdims", node.attribute("keepdims", 1)),
        ("last", node.attribute("select_last_index", 0)),
    ]
    return node.terms.make(node.op, [x], attributes=attributes, shape=node.shape(), kind="i")
