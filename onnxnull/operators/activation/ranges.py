"""Ranges of functions of one number, and of Softmax and its kin, as onnxruntime's CPU provider computes them (all opsets).

Monotone functions take bounds to bounds. What a runtime approximates is given wider bounds. LeakyRelu and PRelu are in
`elementwise.ranges`.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from onnxnull.graph.node import Node
from onnxnull.intervals import arithmetic
from onnxnull.intervals.domain import Floats, Range, collapsed, made, number, some
from onnxnull.operators.range_rules import Operands, axis_length, finite_of_finite, given, gives, part_along, rank_of

_MICROSOFT = "com.microsoft"


def _sigmoid(x: Floats) -> Floats:
    small = np.exp(-np.abs(x))
    return np.where(x >= 0, 1.0 / (1.0 + small), small / (1.0 + small))


def _erf(x: Floats) -> Floats:
    return np.asarray(np.vectorize(math.erf, otypes=[np.float64])(x), np.float64)


_EXACT: dict[str, Callable[[Floats], Floats]] = {
    "Relu": lambda x: np.maximum(x, 0.0),
    "Floor": np.floor,
    "Ceil": np.ceil,
    "Round": np.round,
    "Sign": np.sign,
}
_APPROXIMATE: dict[str, Callable[[Floats], Floats]] = {
    "Sigmoid": _sigmoid,
    "Tanh": np.tanh,
    "Erf": _erf,
    "Softplus": lambda x: np.logaddexp(0.0, x),
    "Atan": np.arctan,
    "Asinh": np.arcsinh,
    "Sinh": np.sinh,
}


@gives(*_EXACT)
def exact(node: Node, of: Operands) -> Range:
    """Monotone, without rounding."""
    return arithmetic.monotone(given(of, 0), _EXACT[node.op_type])


_LEAST = {"Sigmoid": 0.0, "Softplus": 0.0}
"""What an approximation does not fall below either."""
_DOMAINS = {"Acos": (-1.0, 1.0), "Asin": (-1.0, 1.0), "Acosh": (1.0, math.inf), "Atanh": (-1.0, 1.0)}
_IMAGES = {"Acos": (0.0, 3.15), "Asin": (-1.58, 1.58), "Acosh": (0.0, math.inf), "Atanh": (-math.inf, math.inf)}


@gives(*_APPROXIMATE)
def approximate(node: Node, of: Operands) -> Range:
    """Monotone, approximated."""
    function = _APPROXIMATE[node.op_type]
    found = of.loosened(arithmetic.monotone(given(of, 0), function))
    least, most = _LEAST.get(node.op_type, -math.inf), math.inf
    if of.sharp:
        least, most = (float(function(np.asarray(end))) for end in (-math.inf, math.inf))
    lo, hi = np.maximum(found.lo, least), np.minimum(found.hi, most)
    return made(lo, hi, found.nan, found.pinf, found.ninf, found.fixed, found.sized)


@gives(*_DOMAINS)
def partly_defined(node: Node, of: Operands) -> Range:
    """NaN outside the domain; Atanh is infinite at its ends, Acosh at +Inf."""
    a, (least, most), (lo, hi) = given(of, 0), _DOMAINS[node.op_type], _IMAGES[node.op_type]
    poles = node.op_type == "Atanh"
    gone = a.empty | ((a.hi <= least) | (a.lo >= most) if poles else (a.hi < least) | (a.lo > most))
    outside = ~a.empty & ((a.lo < least) | (a.hi > most))
    return made(
        np.where(gone, np.inf, lo),
        np.where(gone, -np.inf, hi),
        a.nan | outside | a.ninf | (a.pinf & (node.op_type != "Acosh")),
        a.contains(most) if poles else a.pinf & (node.op_type == "Acosh"),
        a.contains(least) & poles,
        a.fixed,
        a.sized,
    )


@gives("Exp")
def exponential(node: Node, of: Operands) -> Range:
    """Never below 0."""
    found = of.loosened(arithmetic.monotone(given(of, 0), np.exp), absolute=0.0)
    return made(np.maximum(found.lo, 0.0), found.hi, found.nan, found.pinf, found.ninf, found.fixed, found.sized)


@gives("Elu", "Celu", "Selu")
def exponential_unit(node: Node, of: Operands) -> Range:
    """γ·x above 0, γ·α·(exp(x/…) − 1) below: monotone where α and γ are positive, else unbounded."""
    a = given(of, 0)
    alpha = float(node.attribute("alpha", 1.67326319217681884765625 if node.op_type == "Selu" else 1.0))
    gamma = float(node.attribute("gamma", 1.05070102214813232421875)) if node.op_type == "Selu" else 1.0
    if alpha == 0 and 0 < gamma < math.inf and node.op_type != "Celu":
        return of.loosened(arithmetic.monotone(a, lambda x: gamma * np.maximum(x, 0.0)), absolute=0.0)
    if not (0 < alpha < math.inf and 0 < gamma < math.inf):
        wild = np.ones(a.shape, np.bool_)
        if math.isnan(gamma) or (node.op_type == "Celu" and not math.isfinite(alpha)):
            return number(math.nan)
        if gamma == 0 and 0 < alpha < math.inf:
            return arithmetic.multiplied(a, arithmetic.ZERO)
        return made(-np.inf, np.inf, wild, wild, wild, a.fixed, a.sized)
    width = alpha if node.op_type == "Celu" else 1.0
    return of.loosened(
        arithmetic.monotone(a, lambda x: gamma * np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0.0) / width)))
    )


@gives("HardSigmoid")
def hard_sigmoid(node: Node, of: Operands) -> Range:
    """min(max(α·x + β, 0), 1); a line that is NaN stays so."""
    alpha, beta = float(node.attribute("alpha", 0.2)), float(node.attribute("beta", 0.5))
    line = arithmetic.added(arithmetic.multiplied(given(of, 0), number(alpha)), number(beta))
    return arithmetic.clipped(of.loosened(line, absolute=1e-6), number(0.0), number(1.0))


@gives("Abs")
def absolute(node: Node, of: Operands) -> Range:
    """Not negative."""
    return arithmetic.magnitude(given(of, 0))


@gives("Neg")
def negative(node: Node, of: Operands) -> Range:
    """The other sign."""
    return arithmetic.negated(given(of, 0))


@gives("Reciprocal")
def inverse(node: Node, of: Operands) -> Range:
    """An infinity at 0."""
    return arithmetic.reciprocal(given(of, 0))


@gives("Sqrt")
def root(node: Node, of: Operands) -> Range:
    """NaN below 0."""
    return arithmetic.square_root(given(of, 0))


@gives("Log")
def log(node: Node, of: Operands) -> Range:
    """−Inf at 0, NaN below."""
    return arithmetic.logarithm(given(of, 0))


@gives("Sin", "Cos")
def wave(node: Node, of: Operands) -> Range:
    """From −1 to 1; NaN of an infinity."""
    a = given(of, 0)
    lo, hi = np.where(a.empty, np.inf, -1.0), np.where(a.empty, -np.inf, 1.0)
    return of.loosened(made(lo, hi, a.nan | a.infinite, fixed=a.fixed, sized=a.sized), known=True)


@gives("Softsign")
def softsign(node: Node, of: Operands) -> Range:
    """x / (1 + |x|): NaN of an infinity."""
    a = given(of, 0)
    lo, hi = np.where(a.empty, np.inf, -1.0), np.where(a.empty, -np.inf, 1.0)
    return of.loosened(made(lo, hi, a.nan | a.infinite, fixed=a.fixed, sized=a.sized), known=True)


@gives("Gelu", "HardSwish", "Mish", "Swish")
@gives("Gelu", "QuickGelu", "FastGelu", domain=_MICROSOFT)
def gated(node: Node, of: Operands) -> Range:
    """x times something from 0 to 1: between a small negative number and x. At −Inf, 0 or NaN."""
    a = given(of, 0)
    if node.op_type in ("FastGelu",) and len(node.inputs) > 1 and of(1) is not None:
        a = arithmetic.added(a, given(of, 1))
    positive_gate = float(node.attribute("alpha", 1.0)) > 0 if node.op_type in ("Swish", "QuickGelu") else True
    least = -0.5 if positive_gate and node.op_type not in ("Swish", "QuickGelu") else -np.inf
    lo, hi = np.where(a.lo >= 0, 0.0, least), np.maximum(a.hi * 1.001 + 1e-5, 0.5)
    if not positive_gate:
        lo, hi = np.full(a.shape, -np.inf), np.full(a.shape, np.inf)
    if node.op_type == "HardSwish":  # its gate is closed below −3
        closed = ~a.empty & (a.hi < -3.01)
        lo, hi = np.where(closed, 0.0, lo), np.where(closed, 0.0, hi)
    gone = a.empty & ~a.ninf
    wild = a.infinite if not positive_gate else np.zeros(a.shape, np.bool_)
    result = made(
        np.where(gone, np.inf, np.minimum(lo, 0.0)),
        np.where(gone, -np.inf, hi),
        a.nan | a.ninf | wild,
        a.pinf | wild,
        wild,
        a.fixed,
        a.sized,
    )
    return result


@gives("ThresholdedRelu", "Shrink", "Hardmax")
def swallowing(node: Node, of: Operands) -> Range:
    """What makes 0 of NaN, or may: nothing is excluded but what a finite operand cannot give."""
    a = given(of, 0)
    if node.op_type != "Hardmax":  # NaN lies beyond no threshold, and nothing beyond one that is NaN or Inf
        shrinks = node.op_type == "Shrink"
        threshold = float(node.attribute("lambd", 0.5) if shrinks else node.attribute("alpha", 1.0))
        above = (a.hi > threshold) | (a.pinf & (threshold < math.inf))
        below = shrinks & ((a.lo < -threshold) | (a.ninf & (threshold < math.inf)))
        if not threshold < math.inf or not np.any(above | below):
            return number(0.0)
    wild = np.asarray(not a.tame)
    fixed = a.fixed.all()
    return made(-np.inf, np.inf, wild, wild, wild, fixed, a.sized)


@gives("Softmax", "LogSoftmax")
def softmax(node: Node, of: Operands) -> Range:
    """Along one axis (default −1; before opset 13 the axes from 1 on, as one).

    NaN wherever the axis holds a NaN or +Inf, or no finite number. Along an axis of length 1 it gives 1.
    """
    a, rank = given(of, 0), rank_of(node)
    logs = node.op_type == "LogSoftmax"
    axis = int(node.attribute("axis", -1 if node.version >= 13 else 1))
    if rank is None or not -rank <= axis < max(rank, 1):
        axes: tuple[int, ...] | None = None
    elif node.version >= 13:
        axes = (axis % rank,) if rank else ()
    else:
        axes = tuple(range(axis % rank, rank))
    own: tuple[int, ...] = ()
    alone = False
    if axes is None:
        a = collapsed(a)
    else:
        own = tuple(part for each in axes if (part := part_along(a, each, rank)) is not None)
        alone = all(axis_length(node, each) == 1 for each in axes)

    hopeless = some(a.empty & ~a.ninf, own) | ~some(~a.empty, own)
    nan = some(a.nan | a.pinf, own) | ~some(~a.ninf, own)
    value, loss = (0.0, 0.0) if logs else (1.0, 1.0), 0.0 if of.sharp else 1e-3
    bounds = value if alone else (-np.inf, loss) if logs else (0.0, 1.0 + loss)
    lo, hi = (np.broadcast_to(np.asarray(bound), nan.shape) for bound in bounds)
    if not logs and axes is not None and len(own) == len(axes):
        hidden = np.broadcast_to(a.empty & a.ninf & ~a.nan & ~a.pinf, a.shape)  # 0, and the only one that is left is 1
        only = np.sum(~hidden, axis=own, keepdims=True) == 1
        lo = np.where(hidden, 0.0, np.where(only, 1.0, lo))
        hi = np.where(hidden, 0.0, np.where(only, 1.0, hi))
        nan, hopeless = (np.broadcast_to(each, lo.shape) for each in (nan, hopeless))
    fixed = np.broadcast_to(~some(~a.fixed, own), lo.shape)
    ninf = some(a.ninf, own) & ~hopeless if logs else False
    return made(np.where(hopeless, np.inf, lo), np.where(hopeless, -np.inf, hi), nan, False, ninf, fixed, a.sized)


finite_of_finite("Cosh")
finite_of_finite("BiasGelu", "BiasSplitGelu", domain="com.microsoft")
