"""Gemm (opset 1 to 13), MatMul (opset 1 to 13) and Einsum (opset 12) with one constant operand: fully connected layers.

An operand counts as a weight where the other one depends on the model's inputs.

Gemm: Y = alpha·A'·B' + beta·C with A' = Aᵀ where transA is set, B' likewise; all of rank 2.
MatMul: numpy.matmul: the last two axes are multiplied, the others broadcast; a vector counts as a row on the left and as a
column on the right.
Einsum: the equation in numpy's notation, `...` and an implicit output included; upper-case and lower-case labels differ.
An Einsum that multiplies by no matrix is a linear step.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from onnxnull.errors import Code
from onnxnull.graph.constants import Constant
from onnxnull.graph.node import Node
from onnxnull.graph.types import Shape
from onnxnull.kernel.maps.contraction import Contraction, ContractionMap, Labels, contraction_blocks, rearranged
from onnxnull.kernel.maps.linear_map import LinearMap, size
from onnxnull.kernel.maps.selection import Selection, compose
from onnxnull.operators.linear_use import LinearUse, Refusal, batches, constant_at, holds_weights, is_constant, shape_at
from onnxnull.operators.pooling.steps import AxesSum
from onnxnull.operators.steps import LARGEST, MakeMap, UnknownShapeError, constant_value, fixed_shape, linear_step, output_shape

_ROW, _COLUMN, _INNER = 0, 1, 2
"""Labels of Gemm and MatMul: rows of the product, its columns, and what is contracted. Broadcast axes follow from 3 on."""


@holds_weights("Gemm")
def gemm(node: Node) -> Iterator[LinearUse]:
    """A or B, whichever is constant."""
    if is_constant(node, 0) and is_constant(node, 1):
        return  # C is all that depends on the model's inputs: A'·B' is a bias
    for index in (0, 1):
        weight = constant_at(node, index)
        if weight is not None:
            yield gemm_use(node, weight, on_the_right=index == 1, activation=1 - index)


def gemm_use(node: Node, weight: Constant, *, on_the_right: bool, activation: int, integer: bool = False) -> LinearUse:
    """A constant A or B as a node with Gemm's attributes multiplies it with input `activation`. Raises `Refusal`."""
    if len(weight.shape) != 2:
        raise Refusal(Code.INVALID_MODEL, f"{node.op_type} needs matrices, got a constant of shape {weight.shape}")
    left = (_INNER, _ROW) if node.attribute("transA", 0) else (_ROW, _INNER)
    right = (_COLUMN, _INNER) if node.attribute("transB", 0) else (_INNER, _COLUMN)
    own, other = (right, left) if on_the_right else (left, right)
    scale = float(node.attribute("alpha", 1.0))
    return _use(Contraction(own, other, (_ROW, _COLUMN)), weight, activation=activation, scale=scale, integer=integer)


@holds_weights("MatMul")
def matmul(node: Node) -> Iterator[LinearUse]:
    """The left or the right operand, whichever is constant."""
    if is_constant(node, 0) and is_constant(node, 1):
        return  # a constant itself; where it could not be evaluated, the nodes that read it say so
    for index in (0, 1):
        weight = constant_at(node, index)
        if weight is not None:
            yield matmul_use(node, weight, on_the_right=index == 1, activation=1 - index)


def matmul_use(
    node: Node,
    weight: Constant,
    *,
    on_the_right: bool,
    activation: int,
    transposed: bool = False,
    integer: bool = False,
) -> LinearUse:
    """A constant that a node multiplies with input `activation` as MatMul does. Raises `Refusal`.

    `transposed`: the constant is a matrix stored as (columns, rows) of what is multiplied.
    """
    shape = weight.shape[::-1] if transposed else weight.shape
    other = shape_at(node, activation)
    if node.one_sample and any(size != 1 for size in shape[:-2]) and 1 in (other or ())[:-2]:
        # it may be the batch of one that we assumed: with another batch, the blocks would not share their input
        raise Refusal(Code.SHAPE, f"a constant of shape {shape} times an activation whose batch size is open")
    contraction = matmul_contraction(shape, other, constant_on_the_right=on_the_right)
    if transposed:
        contraction = replace(contraction, constant=contraction.constant[::-1])
    return _use(contraction, weight, activation=activation, integer=integer)


@batches("MatMul", "MatMulInteger", "QLinearMatMul")
@batches("DynamicQuantizeMatMul", "MatMulIntegerToFloat", "MatMulInteger16", "GemmFastGelu", domain="com.microsoft")
def leading_axes(node: Node, index: int, rank: int) -> range:
    """All but the last two."""
    return range(rank - 2)


@batches("Einsum")
def output_axes(node: Node, index: int, rank: int) -> Iterator[int]:
    """Those that the output has too."""
    shapes: list[Shape | None] = [shape_at(node, i) for i in range(len(node.inputs))]
    terms, output = parse_equation(node.attribute("equation", ""), shapes)
    yield from (axis for axis, label in enumerate(terms[index]) if label in output)


@holds_weights("Einsum")
def einsum(node: Node) -> Iterator[LinearUse]:
    """The constant operand of an equation with one other operand."""
    if all(is_constant(node, i) for i in range(len(node.inputs))):
        return
    constants = [constant_at(node, i) for i in range(len(node.inputs))]
    found = [(i, c) for i, c in enumerate(constants) if c is not None and c.shape]
    if not found:
        return
    equation = node.attribute("equation", "")
    if len(node.inputs) != 2:
        raise Refusal(Code.OPERATOR, f"Einsum {equation!r} of {len(node.inputs)} operands, one of them constant")
    index, weight = found[0]
    other = shape_at(node, 1 - index)
    terms, output = parse_equation(equation, [shape_at(node, 0), shape_at(node, 1)])
    alone = [label for label in dict.fromkeys(terms[1 - index]) if label not in terms[index] and label not in output]
    sizes = dict(zip(terms[1 - index], other or (), strict=False))
    summed = tuple(sizes.get(label) for label in alone)
    if any(size is None for size in summed):
        raise Refusal(Code.SHAPE, f"Einsum {equation!r} sums over an axis of unknown size")
    contraction = Contraction(terms[index], terms[1 - index], output, tuple(s for s in summed if s is not None))
    if not (contraction.contracted or contraction.free or contraction.alone):
        return  # entry by entry, as Mul does: a scale
    yield _use(contraction, weight, activation=1 - index)


def matmul_contraction(weight: tuple[int, ...], activation: Shape | None, *, constant_on_the_right: bool) -> Contraction:
    """MatMul's axes as labels. `activation` may be None where the constant is a matrix or a vector.

    Raises:
        Refusal: the constant has batch axes, and the activation's shape is needed to know whether it shares them.
    """
    own_core: Labels = (_INNER, _COLUMN) if constant_on_the_right else (_ROW, _INNER)
    other_core: Labels = (_ROW, _INNER) if constant_on_the_right else (_INNER, _COLUMN)
    if not weight:
        raise Refusal(Code.INVALID_MODEL, "MatMul of a scalar")
    if len(weight) == 1:
        own_core = (_INNER,)
    batch = weight[:-2]
    if activation is None:
        if any(size != 1 for size in batch):
            raise Refusal(Code.SHAPE, f"a constant of shape {weight} times an activation of unknown shape")
        activation = (*batch, 1, 1)  # the rank is not known: patches stay the activation's last two axes
    if len(activation) == 1:
        other_core = (_INNER,)
    other_batch = activation[:-2]
    depth = max(len(batch), len(other_batch))
    labels = tuple(range(3, 3 + depth))
    private = iter(range(3 + depth, 3 + 3 * depth))
    own_batch, broadcast = [], list(labels[depth - len(other_batch) :])
    for position, length in enumerate(batch, start=depth - len(batch)):
        slot = position - (depth - len(other_batch))
        theirs = other_batch[slot] if slot >= 0 else 1
        if length == 1 and slot >= 0:
            own_batch.append(next(private))  # the constant is broadcast: its axis of one is summed away
        elif theirs == 1 or slot < 0:
            own_batch.append(labels[position])
            if slot >= 0 and length != 1:
                broadcast[slot] = next(private)  # the activation is broadcast: every block sees the same input
        elif theirs is None:
            raise Refusal(Code.SHAPE, f"a constant of shape {weight} times an activation of shape {activation}")
        else:
            own_batch.append(labels[position])
    rows = (_ROW,) if _ROW in (*own_core, *other_core) else ()
    columns = (_COLUMN,) if _COLUMN in (*own_core, *other_core) else ()
    ones = tuple(1 for label in broadcast if label >= 3 + depth)
    return Contraction((*own_batch, *own_core), (*broadcast, *other_core), (*labels, *rows, *columns), ones)


@linear_step("Einsum")
def einsum_step(node: Node, index: int) -> MakeMap | None:
    """An equation of one operand: axes in another order, diagonals, sums. With a constant besides, entries times factors."""
    others = [constant_value(node, i) for i in range(len(node.inputs)) if i != index]
    if len(others) > 1 or any(other is None or other.dtype.kind not in "fV" for other in others):
        return None
    equation = str(node.attribute("equation", ""))
    try:
        terms, output = parse_equation(equation, [shape_at(node, i) for i in range(len(node.inputs))])
    except Refusal:
        return None
    own = terms[index]
    summed = tuple(label for label in dict.fromkeys(own) if label not in output)
    if others and (summed or any(label not in output for label in terms[1 - index])):
        return None

    def make(number: int) -> LinearMap:
        shape, target = fixed_shape(node, index), output_shape(node)
        if max(size(shape), size(target)) > LARGEST:
            raise UnknownShapeError(f"{node.name!r} makes {size(target)} entries of {size(shape)}")
        entries = np.arange(size(shape)).reshape(shape)
        for other in others:
            assert other is not None
            factors = other.astype(np.float64)
            given = (entries, np.ones(factors.shape, dtype=np.int64)), (np.ones(shape), factors)
            indices, products = (np.einsum(equation, *(pair if index == 0 else pair[::-1])) for pair in given)
            return Selection(shape, np.asarray(indices), np.asarray(products))
        moved = Selection(shape, rearranged(entries, own, (*output, *summed)), np.ones(()))
        axes = tuple(range(len(output), len(output) + len(summed)))
        return compose(AxesSum(moved.output_shape, axes, 1.0, target), moved) if summed else moved

    return make


def parse_equation(equation: str, shapes: Sequence[Shape | None]) -> tuple[list[Labels], Labels]:
    """The labels of an Einsum's two operands and of its output; the axes behind `...` get labels of their own.

    Raises:
        Refusal: an ellipsis whose operand has an unknown rank.
    """
    left, arrow, right = equation.replace(" ", "").partition("->")
    terms = left.split(",")
    if len(terms) != len(shapes):
        raise Refusal(Code.INVALID_MODEL, f"Einsum {equation!r} names {len(terms)} operands of {len(shapes)}")
    letters = {letter: i for i, letter in enumerate(sorted(set(left) - set(".,")))}
    dots = [0] * len(terms)
    for i, (term, shape) in enumerate(zip(terms, shapes, strict=True)):
        if "..." in term:
            if shape is None:
                raise Refusal(Code.SHAPE, f"Einsum {equation!r}: an operand of unknown rank")
            dots[i] = len(shape) - len(term.replace("...", ""))
        elif shape is not None and len(shape) != len(term):
            raise Refusal(Code.INVALID_MODEL, f"Einsum {equation!r}: an operand of {len(shape)} axes")
    depth = max(dots, default=0)
    ellipsis = tuple(range(len(letters), len(letters) + depth))
    if not arrow:  # implicit output: the ellipsis, then every label that occurs once, in alphabetical order
        right = "..." * ("..." in left) + "".join(sorted(c for c in letters if left.count(c) == 1))
    if set(right.replace("...", "")) - letters.keys():
        raise Refusal(Code.INVALID_MODEL, f"Einsum {equation!r}: an output label that no operand has")

    def labels(term: str, count: int) -> Labels:
        before, dotted, after = term.partition("...")
        middle = ellipsis[depth - count :] if dotted else ()
        return (*(letters[c] for c in before), *middle, *(letters[c] for c in after))

    return [labels(term, count) for term, count in zip(terms, dots, strict=True)], labels(right, depth)


def _use(
    contraction: Contraction, weight: Constant, *, activation: int, scale: float = 1.0, integer: bool = False
) -> LinearUse:
    return LinearUse(
        constant=weight,
        activation=activation,
        shape=contraction.shape(weight.shape),
        arrange=partial(contraction_blocks, contraction),
        linear_map=partial(_contraction_map, contraction, weight.shape),
        paper=True,
        scale=scale,
        integer=integer,
    )


def _contraction_map(
    contraction: Contraction, constant: tuple[int, ...], blocks: np.ndarray, activation: tuple[int, ...]
) -> LinearMap:
    return ContractionMap(contraction, constant, blocks, activation)
