"""Ranges of reductions and poolings (all opsets).

A sum hands NaN on from any of its terms. A maximum may lose a NaN among numbers in onnxruntime, so it must be NaN only where
all are. MaxPool and GlobalMaxPool may give the lowest finite number of a window of NaN or −Inf alone.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from onnxnull.graph.node import Node
from onnxnull.intervals import arithmetic
from onnxnull.intervals.domain import (
    INF,
    LARGEST,
    Range,
    anything,
    chosen,
    collapsed,
    made,
    mapped,
    number,
    reshaped,
    some,
    union,
)
from onnxnull.operators.range_rules import (
    Operands,
    axis_length,
    finite_of_finite,
    given,
    gives,
    output_type,
    part_along,
    rank_of,
)
from onnxnull.operators.steps import constant_value


def _axes(node: Node) -> tuple[int, ...] | None:
    """What is reduced, none where that is every axis or not known (attribute before opset 18, of ReduceSum before 13)."""
    rank = rank_of(node)
    if rank is None:
        return None
    if node.input(1) is not None:
        found = constant_value(node, 1)
        axes = None if found is None else [int(axis) for axis in found.reshape(-1)]
    else:
        axes = [int(axis) for axis in node.attribute("axes", [])]
        if not axes:
            axes = [] if node.attribute("noop_with_empty_axes", 0) else list(range(rank))
    if axes is None or not all(-rank <= axis < rank for axis in axes):
        return None
    return tuple(sorted({axis % rank for axis in axes}))


def _count(node: Node, axes: tuple[int, ...] | None) -> int | None:
    """How many entries go into one; None where that is not known."""
    if axes is None:
        return None
    sizes = [axis_length(node, axis) for axis in axes]
    return None if None in sizes else int(np.prod([size or 0 for size in sizes], dtype=np.float64))


def _dropped(node: Node, found: Range, axes: tuple[int, ...] | None) -> Range:
    """Without the axes that were reduced, if they are not kept."""
    rank = rank_of(node)
    if axes is None or rank is None:
        return collapsed(found)
    if node.attribute("keepdims", 1):
        return found
    own = {axis - rank + len(found.shape) for axis in axes}
    shape = tuple(size for axis, size in enumerate(found.shape) if axis not in own)
    return reshaped(found, shape)


def summed(node: Node, of: Operands, a: Range, axes: tuple[int, ...] | None, *, mean: bool) -> Range:
    """The sum, or the mean, over `axes`, kept with length 1."""
    rank, count = rank_of(node), _count(node, axes)
    own: tuple[int, ...] = ()
    if axes is None or rank is None:
        a = collapsed(a)
    else:
        own = tuple(part for axis in axes if (part := part_along(a, axis, rank)) is not None)

    empty, up, down = some(a.empty, own), some(a.pinf, own), some(a.ninf, own)
    least, most = np.min(a.lo, axis=own, keepdims=True), np.max(a.hi, axis=own, keepdims=True)
    if mean:
        lo, hi = least, most
    elif count is None:
        lo, hi = np.where(least >= 0, least, -INF), np.where(most <= 0, most, INF)
    else:
        lo, hi = np.where(least == 0, 0.0, count * least), np.where(most == 0, 0.0, count * most)
    found = made(
        np.where(empty, INF, lo),
        np.where(empty, -INF, hi),
        some(a.nan, own) | (up & down),
        up,
        down,
        np.all(a.fixed, axis=own, keepdims=True) & (axes is not None),
        a.sized,
    )
    return of.loosened(found, relative=2.0**-7, absolute=0.0, known=mean)


def extreme(node: Node, a: Range, axes: tuple[int, ...] | None, *, largest: bool) -> Range:
    """The largest or the smallest over `axes`, kept: one of the entries; infinite where one surely is and none is NaN."""
    rank = rank_of(node)
    if axes is None or rank is None:
        return collapsed(a)
    own = tuple(part for axis in axes if (part := part_along(a, axis, rank)) is not None)
    if not own:
        return a
    found, sign = collapsed(a, own), 1 if largest else -1
    end, other = (a.pinf, a.ninf) if largest else (a.ninf, a.pinf)
    surely = some(a.empty & end & ~other & ~a.nan, own) & ~some(a.nan, own)
    return chosen(surely, replace(number(sign * INF), sized=a.sized), found)


@gives(
    "ReduceSum",
    "ReduceMean",
    "ReduceMax",
    "ReduceMin",
    "ReduceL1",
    "ReduceL2",
    "ReduceSumSquare",
    "ReduceLogSum",
    "ReduceLogSumExp",
    "ReduceProd",
)
def reduced(node: Node, of: Operands) -> Range:
    """Over the axes that an attribute or an operand names, or all."""
    a, axes, kind = given(of, 0), _axes(node), node.op_type.removeprefix("Reduce")
    if axes == ():
        plain = kind in ("Sum", "Mean", "Max", "Min", "Prod")
        return a if plain else anything(output_type(node), finite=False, sized=a.sized)
    if kind in ("Max", "Min"):
        return _dropped(node, extreme(node, a, axes, largest=kind == "Max"), axes)
    if kind in ("Sum", "Mean"):
        return _dropped(node, summed(node, of, a, axes, mean=kind == "Mean"), axes)
    if kind == "L1":
        return _dropped(node, summed(node, of, arithmetic.magnitude(a), axes, mean=False), axes)
    if kind in ("L2", "SumSquare"):
        total = summed(node, of, arithmetic.squared(a), axes, mean=False)
        return _dropped(node, arithmetic.square_root(total) if kind == "L2" else total, axes)
    if kind == "LogSum":
        return _dropped(node, arithmetic.logarithm(summed(node, of, a, axes, mean=False)), axes)
    if kind == "Prod" and a.tame and axes is not None and bool(_whole(node, (a.lo == 0) & (a.hi == 0), axes)):
        return number(0.0)
    only_nan = bool(a.only_nan.all())
    return number(np.nan) if only_nan else anything(output_type(node), finite=a.tame, sized=a.sized)


def _whole(node: Node, flag: np.ndarray, axes: tuple[int, ...]) -> bool:
    """Whether the flag is met somewhere along `axes`, wherever one looks."""
    rank = rank_of(node)
    own = tuple(part for axis in axes if (part := axis - (rank or 0) + flag.ndim) >= 0)
    return bool(np.any(flag, axis=own).all())


@gives("AveragePool", "GlobalAveragePool", "LpPool", "GlobalLpPool")
def averaged(node: Node, of: Operands) -> Range:
    """Means of windows; padding counts as 0, or does not count. A window lies in the padding alone at no place that is kept."""
    a = _spatial(node, given(of, 0))
    if node.op_type.endswith("LpPool"):
        return anything(output_type(node), finite=a.tame, sized=a.sized)
    down, up = np.minimum(a.lo, 0.0), np.maximum(a.hi, 0.0)
    if node.op_type == "GlobalAveragePool" or not (any(node.attribute("pads", [0])) or _auto(node)):
        down, up = a.lo, a.hi
    found = made(
        np.where(a.empty, INF, down), np.where(a.empty, -INF, up), a.nan | (a.pinf & a.ninf), a.pinf, a.ninf, a.fixed, a.sized
    )
    if node.attribute("ceil_mode", 0):
        found = union(found, number(0.0), number(np.nan))  # a last window may begin behind the end
    found = of.loosened(found, relative=2.0**-7, absolute=0.0, known=True)
    return made(found.lo, found.hi, found.nan, found.pinf, found.ninf, sized=found.sized)


def _auto(node: Node) -> bool:
    return node.attribute("auto_pad", "NOTSET") not in ("NOTSET", "VALID", b"NOTSET", b"VALID")


@gives("MaxPool", "GlobalMaxPool")
def highest(node: Node, of: Operands) -> list[Range]:
    """Maxima of windows, in which padding does not count; the indices of the second output may be any."""
    a = _spatial(node, given(of, 0))
    lost = a.ninf | a.nan
    found = union(a, made(np.where(lost, -3.5e38, INF), np.where(lost, -3.4e38, -INF)))
    skips = any(step > 1 for step in node.attribute("dilations", [1])) or node.attribute("ceil_mode", 0)
    if skips:  # a window may lie in the padding alone
        found = union(found, made(-3.5e38, -3.4e38))
    return [made(found.lo, found.hi, found.nan, found.pinf, found.ninf, sized=found.sized), anything(output_type(node, 1))]


def _spatial(node: Node, a: Range) -> Range:
    """One set for each channel."""
    rank = rank_of(node)
    if rank is None or rank < 3:
        return collapsed(a)
    own = tuple(part for axis in range(2, rank) if (part := part_along(a, axis, rank)) is not None)
    return collapsed(a, own) if own else a


@gives("LpNormalization")
def unit(node: Node, of: Operands) -> Range:
    """x / ‖x‖: from −1 to 1; 0 stays 0; the sign of an entry that is alone."""
    a = collapsed(given(of, 0))
    wild = not a.tame
    if axis_length(node, int(node.attribute("axis", -1))) == 1 and not wild and bool(((a.lo > 0) | (a.hi < 0)).all()):
        return arithmetic.monotone(a, np.sign)
    return made(np.where(a.lo >= 0, 0.0, -1.01), np.where(a.hi <= 0, 0.0, 1.01), wild, wild, wild, sized=a.sized)


def _running_sums(node: Node, of: Operands) -> Range | None:
    """Sums of the entries up to each one along an axis; None where they are not told apart."""
    a, axes, rank = given(of, 0), constant_value(node, 1), rank_of(node)
    if axes is None or axes.size != 1 or rank is None or not -rank <= axes.item() < rank or node.attribute("exclusive", 0):
        return None
    length, axis = axis_length(node, int(axes.item())), int(axes.item()) % rank - rank
    if length is None or length * a.lo.size > LARGEST:
        return None
    shape = np.broadcast_shapes(a.shape, (length, *(1,) * (-axis - 1)))
    parts = [np.broadcast_to(part, shape) for part in a.parts]
    lo, hi, nan, up, down, fixed = (np.flip(part, axis) for part in parts) if node.attribute("reverse", 0) else parts
    none = lo > hi
    size = of.slack * np.cumsum(np.where(none, 0.0, np.maximum(np.abs(lo), np.abs(hi))), axis=axis)
    least, most = (np.cumsum(np.where(none, 0.0, part), axis=axis) for part in (lo, hi))
    empty, nan, up, down = (np.logical_or.accumulate(part, axis=axis) for part in (none, nan, up, down))
    fixed = np.logical_and.accumulate(fixed, axis=axis)
    found = made(
        np.where(empty, INF, least - size), np.where(empty, -INF, most + size), nan | (up & down), up, down, fixed, a.sized
    )
    return mapped(found, lambda part: np.flip(part, axis)) if node.attribute("reverse", 0) else found


@gives("CumSum", "CumProd")
def running(node: Node, of: Operands) -> Range:
    """Sums of the first entries, of which an exclusive one has none."""
    if node.op_type == "CumSum" and (found := _running_sums(node, of)) is not None:
        return found
    a = collapsed(given(of, 0))
    zero = a.tame and bool((a.lo == 0).all() and (a.hi == 0).all()) and node.op_type == "CumSum"
    return number(0.0) if zero else anything(output_type(node), finite=a.tame, sized=a.sized)


finite_of_finite("Det", "NegativeLogLikelihoodLoss")
finite_of_finite("CDist", "NhwcMaxPool", domain="com.microsoft")
