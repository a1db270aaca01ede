"""Elementwise functions.

1. Relu, Clip, Min and Max with constants are Clip; Clip of Clip is one where the bounds are numbers; a common positive factor
   is taken out of Clip; HardSigmoid is Clip(α·x + β, 0, 1), HardSwish x·Clip(x/6 + 1/2, 0, 1) (ONNX opset 14).
2. Gelu is x/2·(1 + erf(x/√2)), with approximate="tanh" x/2·(1 + tanh(√(2/π)·(x + 0.044715·x³))), which is another function
   (opset 20; com.microsoft's Gelu, BiasGelu, and FastGelu, which is the second one); QuickGelu is x·sigmoid(α·x), Swish too
   (opset 24).
3. Sigmoid, Tanh, Erf, Exp and the like of one variable go in front of movements.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from onnxnull.comparison.graphs import constants as c
from onnxnull.comparison.graphs.algebra import Algebra
from onnxnull.comparison.graphs.rewrites import Const, ReadNode, Result, Term, Value, rule
from onnxnull.comparison.graphs.rewrites.arithmetic import ONE

MICROSOFT = "com.microsoft"
_PLAIN = (
    "Sigmoid",
    "Tanh",
    "Erf",
    "Exp",
    "Log",
    "Abs",
    "Softplus",
    "Softsign",
    "Sin",
    "Cos",
    "Floor",
    "Ceil",
    "Round",
    "Mish",
    "Sign",
)
_NUMBERS = {
    "LeakyRelu": {"alpha": 0.01},
    "Elu": {"alpha": 1.0},
    "Selu": {"alpha": 1.67326319217681884765625, "gamma": 1.05070102214813232421875},
    "Celu": {"alpha": 1.0},
    "ThresholdedRelu": {"alpha": 1.0},
}


def _half(numbers: float) -> Const:
    return c.const(np.array(numbers, np.float64), dtype="float32")


def clip(terms: Algebra, x: Value, low: float, high: float) -> Value:
    """max(low, min(x, high)) for low ≤ high (rule 1)."""
    if isinstance(x, Const):
        return terms.unary("Clip", x, low=low, high=high)
    if high == math.inf and (low == -math.inf or (low == 0.0 and x.op == "Saturate")):
        return x
    if x.op in ("Transpose", "Reshape", "ReshapeTo"):
        return terms.elementwise(x, lambda inner: clip(terms, inner, low, high))
    if x.op == "Clip" and not x.constants[2:]:
        bounds = [float(k.value) for k in x.constants if k is not None]
        if bounds[0] <= high and bounds[1] >= low:
            return clip(terms, x.variables[0], max(low, bounds[0]), min(high, bounds[1]))
    if x.op == "Sum" and x.constants[0] is not None and not x.constants[0].shape:
        k = x.constants[0]
        number = float(k.value)
        if number > 0.0 and number != 1.0:
            back = c.power(k, -1.0)
            inner = terms.sum([(back, x)])
            if isinstance(inner, Term):
                bounds_in = [
                    c.times(back, c.scalar(bound)) if math.isfinite(bound) else c.scalar(bound) for bound in (low, high)
                ]
                return terms.sum([(k, _clip(terms, inner, *bounds_in))])
    return _clip(terms, x, c.scalar(low), c.scalar(high))


def _clip(terms: Algebra, x: Term, low: Const, high: Const) -> Term:
    return terms.make("Clip", [x], constants=[low, high], shape=x.shape, kind=x.kind)


def sigmoid(terms: Algebra, x: Value) -> Value:
    """Of every entry."""
    return terms.unary("Sigmoid", x)


def gelu(terms: Algebra, x: Value) -> Value:
    """x/2·(1 + erf(x/√2))."""
    erf = terms.unary("Erf", terms.sum([(c.power(_half(2.0), -0.5), x)]))
    return terms.product([(x, 1.0), (terms.sum([(ONE, erf)], ONE), 1.0)], c.scalar(0.5))


def tanh_gelu(terms: Algebra, x: Value) -> Value:
    """x/2·(1 + tanh(√(2/π)·(x + 0.044715·x³)))."""
    cube = terms.product([(x, 3.0)])
    root = c.power(_half(2.0 / math.pi), 0.5)
    inside = terms.sum([(root, terms.sum([(ONE, x), (_half(float(np.float32(0.044715))), cube)]))])
    return terms.product([(x, 1.0), (terms.sum([(ONE, terms.unary("Tanh", inside))], ONE), 1.0)], c.scalar(0.5))


def activated(terms: Algebra, name: str, numbers: Sequence[float | None], x: Value) -> Value | None:
    """The activation that onnxruntime fuses into an operator, by its name and parameters; None where it is unknown."""
    given = [number for number in numbers if number is not None]
    if name == "":
        return x
    if name == "Relu":
        return clip(terms, x, 0.0, math.inf)
    if name == "Clip" and len(given) == 2:
        return clip(terms, x, given[0], given[1])
    if name in ("Sigmoid", "Tanh"):
        return terms.unary(name, x)
    if name == "LeakyRelu":
        return terms.unary(name, x, alpha=float(np.float32(given[0] if given else 0.01)))
    if name == "HardSigmoid" and len(given) == 2:
        return hard_sigmoid(terms, x, given[0], given[1])
    return None


def hard_sigmoid(terms: Algebra, x: Value, alpha: float, beta: float) -> Value:
    """Clip(α·x + β, 0, 1)."""
    return clip(terms, terms.sum([(_half(alpha), x)], c.scalar(beta)), 0.0, 1.0)


@rule(*_PLAIN)
def plain(node: ReadNode) -> Result:
    """Rule 3."""
    x = node.operand(0)
    return node.terms.unary(node.op, x) if x is not None and x.kind == "f" else None


@rule(*_NUMBERS)
def with_numbers(node: ReadNode) -> Result:
    """Rule 3."""
    x = node.operand(0)
    numbers = {name: float(np.float32(node.attribute(name, default))) for name, default in _NUMBERS[node.op].items()}
    return node.terms.unary(node.op, x, kind="f", **numbers) if x is not None and x.kind == "f" else None


@rule("Relu")
def relu(node: ReadNode) -> Result:
    """Rule 1."""
    x = node.operand(0)
    return clip(node.terms, x, 0.0, math.inf) if isinstance(x, Term) and x.kind == "f" else None


def _number(node: ReadNode, index: int, name: str, default: float) -> float | None:
    found = node.attribute(name)
    if found is not None:
        return float(found)
    operand = node.operand(index)
    if operand is None:
        return default
    return float(operand.value.ravel()[0]) if isinstance(operand, Const) and operand.size == 1 else None


@rule("Clip")
def clips(node: ReadNode) -> Result:
    """Rule 1; bounds that are the largest numbers of their type are none."""
    x = node.operand(0)
    low, high = _number(node, 1, "min", -math.inf), _number(node, 2, "max", math.inf)
    if not isinstance(x, Term) or x.kind != "f" or low is None or high is None or not low <= high:
        return None
    most = float(np.finfo(np.float32).max)
    return clip(node.terms, x, -math.inf if low <= -most else low, math.inf if high >= most else high)


@rule("Min", "Max")
def bounds(node: ReadNode) -> Result:
    """Rule 1, for one variable and constant scalars."""
    variables = [o for o in node.operands if isinstance(o, Term)]
    rest = [o for o in node.operands if isinstance(o, Const)]
    if (
        len(variables) != 1
        or not node.all_floats()
        or any(o.size != 1 or len(o.shape) > len(variables[0].shape or ()) for o in rest)
    ):
        return None
    numbers = [float(o.value.ravel()[0]) for o in rest]
    if not numbers or any(math.isnan(number) for number in numbers):
        return None
    low, high = (max(numbers), math.inf) if node.op == "Max" else (-math.inf, min(numbers))
    return clip(node.terms, variables[0], low, high)


@rule("HardSigmoid")
def hard_sigmoids(node: ReadNode) -> Result:
    """Rule 1."""
    x = node.operand(0)
    if not isinstance(x, Term):
        return None
    return hard_sigmoid(node.terms, x, float(node.attribute("alpha", 0.2)), float(node.attribute("beta", 0.5)))


@rule("HardSwish")
def hard_swish(node: ReadNode) -> Result:
    """Rule 1."""
    x = node.operand(0)
    if not isinstance(x, Term):
        return None
    return node.terms.product([(x, 1.0), (hard_sigmoid(node.terms, x, 1.0 / 6.0, 0.5), 1.0)])


@rule("Gelu")
def gelus(node: ReadNode) -> Result:
    """Rule 2."""
    x = node.operand(0)
    if not isinstance(x, Term):
        return None
    return tanh_gelu(node.terms, x) if node.attribute("approximate", "none") == "tanh" else gelu(node.terms, x)


@rule("Gelu", "BiasGelu", "FastGelu", "QuickGelu", domain=MICROSOFT)
def microsoft_gelus(node: ReadNode) -> Result:
    """Rule 2."""
    x, bias = node.operand(0), node.operand(1)
    if not isinstance(x, Term):
        return None
    whole = x if bias is None else node.terms.sum([(ONE, x), (ONE, bias)])
    if node.op == "QuickGelu":
        return swish(node.terms, whole, float(node.attribute("alpha", 1.702)))
    return tanh_gelu(node.terms, whole) if node.op == "FastGelu" else gelu(node.terms, whole)


def swish(terms: Algebra, x: Value, alpha: float) -> Value:
    """x·sigmoid(α·x)."""
    return terms.product([(x, 1.0), (terms.unary("Sigmoid", terms.sum([(_half(alpha) if alpha != 1.0 else ONE, x)])), 1.0)])


@rule("Swish")
def swishes(node: ReadNode) -> Result:
    """Rule 2."""
    x = node.operand(0)
    return swish(node.terms, x, float(node.attribute("alpha", 1.0))) if isinstance(x, Term) else None
