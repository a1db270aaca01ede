"""Codes that are read with another scale or zero point than they were made with.

Where quantizers of activations count as nothing, DequantizeLinear has to undo what QuantizeLinear did: with the same scale and
zero point, whatever moves the codes in between. Where DynamicQuantizeLinear computes them, a product of its codes has to read
its zero point, and be multiplied by its scale. Scales that other nodes compute are not looked at.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from onnxnull.comparison.graphs.matching import Difference
from onnxnull.graph.constants import Constant
from onnxnull.graph.entries import MOVING, EntryKind, entry_kind
from onnxnull.graph.flow import Flow
from onnxnull.graph.node import Node, Operand

_UNARY = ("QLinearSigmoid", "QLinearLeakyRelu", "QLinearGlobalAveragePool", "QLinearAveragePool", "QLinearSoftmax")
_OF_TWO = ("QLinearMatMul", "QLinearAdd", "QLinearMul", "QGemm")
_MAKES = {
    "QuantizeLinear": 1,
    "QLinearConv": 6,
    "QLinearMatMul": 6,
    "QLinearAdd": 6,
    "QLinearMul": 6,
    "QLinearConcat": 0,
    "QGemm": 7,
    **dict.fromkeys(_UNARY, 3),
}
"""Operator → the operand that is the scale of its codes; the zero point follows."""
_ROUNDED = 1e-3
"""Relative error of a scale that was stored in 16 bits."""


class _Grid(NamedTuple):
    """A scale and a zero point, and the node that has them."""

    scale: Operand
    zero: Operand | None
    node: Node


def misread(flow: Flow) -> Iterator[Difference]:
    """Scales and zero points with which codes are made, and others with which they are read. Raises `EvaluationError`."""
    yield from _dynamic(flow)
    made: dict[object, _Grid] = {}
    for view in flow.nodes:
        for codes, grid in _read(view):
            own = made.get(codes.value)
            if own is not None:
                yield from _differences(own, grid)
        out = view.outputs[0] if view.outputs else None
        if out is None:
            continue
        if view.op_type in _MAKES:
            grids = [_grid(view, _MAKES[view.op_type])]
        else:
            moves = entry_kind(view.node) in MOVING or view.op_type in ("MaxPool", "Resize", "Identity")
            joins = entry_kind(view.node) is EntryKind.JOINS
            given = view.inputs if joins else view.inputs[:1] if moves else ()
            grids = [None if operand is None else made.get(operand.value) for operand in given]
        first = grids[0] if grids else None
        if first is not None and all(each is not None and not any(_differences(first, each)) for each in grids):
            made[out.value] = first


def _dynamic(flow: Flow) -> Iterator[Difference]:
    """Products of codes that are multiplied by the scale of other codes, or read another zero point."""
    made: dict[object, Node] = {}  # codes → the node that made them
    owed: dict[object, Node] = {}  # a product that is still to be multiplied by the scale of this node's codes
    held: dict[object, frozenset[object]] = {}  # a factor → the scales in it
    for view in flow.nodes:
        given, out = [None if o is None else o.value for o in view.inputs], [o.value for o in view.outputs if o is not None]
        if view.op_type == "DynamicQuantizeLinear" and len(out) == 3:
            made[out[0]], held[out[1]] = view, frozenset([out[1]])
        elif view.op_type in ("MatMulInteger", "ConvInteger") and given[0] in made:
            maker = owed[out[0]] = made[given[0]]
            zero = view.inputs[2] if len(view.inputs) > 2 else None
            source = None if zero is None else zero.value.producer()
            computed = source is not None and source.op_type == "DynamicQuantizeLinear"
            if zero is not None and source is not maker.node and (computed or zero.constant is not None):
                yield _unlike(maker, 2, zero, view)
        elif view.op_type == "Mul":
            for one, other in ((0, 1), (1, 0)):
                scale, scales = owed.get(given[one]), held.get(given[other], frozenset())
                operand = view.inputs[other]
                if scale is None or operand is None:
                    continue
                own = scale.outputs[1]
                if own is None or not scales:
                    owed[out[0]] = scale
                elif own.value not in scales:
                    yield _unlike(scale, 1, operand, view)
            held[out[0]] = held.get(given[0], frozenset()) | held.get(given[1], frozenset())
        elif view.op_type == "Cast" or entry_kind(view.node) in MOVING:
            for nodes in (made, owed):
                if given[0] in nodes:
                    nodes[out[0]] = nodes[given[0]]
            if given[0] in held:
                held[out[0]] = held[given[0]]


def _unlike(maker: Node, output: int, read: Operand, reader: Node) -> Difference:
    own = maker.outputs[output]
    name = "" if own is None else own.name
    return Difference("constant", _at(name, maker), _at(read.name, reader), float("nan"), False)


def _read(view: Node) -> Iterator[tuple[Operand, _Grid]]:
    """The codes that a node reads, with scale and zero point."""
    places: range | tuple[int, ...] = ()
    if view.op_type in ("DequantizeLinear", "QLinearConv", *_UNARY):
        places = (0,)
    elif view.op_type in _OF_TWO:
        places = (0, 3)
    elif view.op_type == "QLinearConcat":
        places = range(2, len(view.inputs), 3)
    for place in places:
        codes, grid = view.inputs[place], _grid(view, place + 1)
        if codes is not None and grid is not None:
            yield codes, grid


def _grid(view: Node, place: int) -> _Grid | None:
    scale, zero = (view.inputs[i] if i < len(view.inputs) else None for i in (place, place + 1))
    return None if scale is None else _Grid(scale, zero, view)


def _differences(made: _Grid, read: _Grid) -> Iterator[Difference]:
    for one, other, error in ((made.scale, read.scale, _ROUNDED), (made.zero, read.zero, 0.0)):
        first, second = _numbers(one), _numbers(other)
        if first is None or second is None or (first.shape == second.shape and np.all(np.abs(first - second) <= error * first)):
            continue
        names = [
            _at("the zero point" if operand is None else operand.name, grid.node)
            for operand, grid in ((one, made), (other, read))
        ]
        yield Difference("constant", names[0], names[1], float("nan"), False)


def _numbers(operand: Operand | None) -> np.ndarray | None:
    """A scale or zero point; 0 where it is left out, None where it is computed."""
    if operand is None:
        return np.zeros(1)
    constant = operand.constant
    return np.ravel(constant.array()).astype(np.float64) if isinstance(constant, Constant) else None


def _at(name: str, view: Node) -> str:
    return f"{name} at {view.op_type} {view.name!r}"
