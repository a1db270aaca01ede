"""Derivatives of activations and of other functions of one operand.

At kinks the derivative is that of one side, as frameworks have it: 0 at 0 for Relu, 1 at the bounds of Clip.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from onnxnull.operators.gradients import Pull, derivative, differentiates, expands, through_lowering
from onnxnull.operators.lowering import Emitter, Site

through_lowering("Mish", "Swish", "Celu", "Sinh", "Cosh", "Tan", "Asinh", "Acosh", "Atanh")
through_lowering("QuickGelu", domain="com.microsoft")


@differentiates("Relu")
def relu(pull: Pull) -> Mapping[int, str]:
    """Where the result is above 0."""
    emit = pull.emit
    positive = emit.op("Greater", pull.site.inputs[0], emit.constant(0.0))
    return {0: emit.op("Where", positive, pull.cotangent, emit.constant(0.0))}


@derivative("LeakyRelu")
def leaky_relu(pull: Pull) -> str:
    """α where x < 0."""
    emit = pull.emit
    return emit.where_negative(pull.site.inputs[0], emit.constant(pull.site.attribute("alpha", 0.01)), emit.constant(1.0))


@differentiates("PRelu")
def prelu(pull: Pull) -> Mapping[int, str]:
    """The slope where x < 0; for the slope x itself there."""
    emit, (x, slope) = pull.emit, pull.site.inputs[:2]
    found = {}
    if 0 in pull.wanted:
        found[0] = emit.where_negative(x, emit.mul(pull.cotangent, slope), pull.cotangent)
    if 1 in pull.wanted:
        found[1] = pull.summed(emit.where_negative(x, emit.mul(pull.cotangent, x), emit.constant(0.0)), 1)
    return found


@derivative("ThresholdedRelu")
def thresholded_relu(pull: Pull) -> str:
    """1 where x > α."""
    emit = pull.emit
    return _number(pull, emit.op("Greater", pull.site.inputs[0], emit.constant(float(pull.site.attribute("alpha", 1.0)))))


@differentiates("Clip")
def clip(pull: Pull) -> Mapping[int, str]:
    """1 inside the bounds and on them; a bound's own cotangent is what was cut off at it."""
    emit, x, site = pull.emit, pull.site.inputs[0], pull.site
    found, inside = {}, pull.cotangent
    zero = emit.constant(0.0)
    for index, outside in ((1, "Less"), (2, "Greater")):
        bound = site.input(index)
        if bound is None:
            continue
        beyond = emit.op(outside, x, bound)
        inside = emit.op("Where", beyond, zero, inside)
        if index in pull.wanted:
            found[index] = pull.summed(emit.op("Where", beyond, pull.cotangent, zero), index)
    return {0: inside, **found} if 0 in pull.wanted else found


@derivative("Sigmoid")
def sigmoid(pull: Pull) -> str:
    """y(1 − y)."""
    y = pull.site.outputs[0]
    return pull.emit.mul(y, pull.emit.sub(1.0, y))


@derivative("HardSigmoid")
def hard_sigmoid(pull: Pull) -> str:
    """α where 0 < αx + β < 1."""
    emit, alpha = pull.emit, pull.site.attribute("alpha", float(np.float32(0.2)))
    y = emit.add(emit.mul(pull.site.inputs[0], alpha), pull.site.attribute("beta", 0.5))
    return emit.mul(_number(pull, _between(pull, y, 0.0, 1.0)), alpha)


@derivative("HardSwish")
def hard_swish(pull: Pull) -> str:
    """(2x + 3)/6 between −3 and 3; 0 before, 1 beyond."""
    emit, x = pull.emit, pull.site.inputs[0]
    middle = emit.add(emit.div(x, 3.0), 0.5)
    ends = _number(pull, emit.op("Greater", x, emit.constant(0.0)))
    return emit.op("Where", _between(pull, x, -3.0, 3.0), middle, ends)


@derivative("Tanh")
def tanh(pull: Pull) -> str:
    """1 − y²."""
    y = pull.site.outputs[0]
    return pull.emit.sub(1.0, pull.emit.mul(y, y))


@derivative("Erf")
def erf(pull: Pull) -> str:
    """2/√π·exp(−x²)."""
    x = pull.site.inputs[0]
    return pull.emit.mul(_bell(pull, x, 1.0), 2 / math.sqrt(math.pi))


@derivative("Gelu")
def gelu(pull: Pull) -> str:
    """Φ(x) + x·φ(x), or the derivative of the approximation by tanh."""
    return _gelu(pull, pull.site.inputs[0], pull.site.attribute("approximate", "none"))


@expands("Gelu", "BiasGelu", domain="com.microsoft")
def microsoft_gelu(site: Site, emit: Emitter) -> str:
    """x/2·(1 + erf(x/√2)) of x + bias."""
    x = _biased(site, emit)
    return emit.mul(emit.mul(x, 0.5), emit.add(emit.op("Erf", emit.mul(x, math.sqrt(0.5))), 1.0))


@expands("FastGelu", domain="com.microsoft")
def fast_gelu(site: Site, emit: Emitter) -> str:
    """x/2·(1 + tanh(√(2/π)·(x + 0.044715·x³))) of x + bias."""
    x = _biased(site, emit)
    inner = emit.mul(emit.add(x, emit.mul(emit.mul(emit.mul(x, x), x), 0.044715)), math.sqrt(2 / math.pi))
    return emit.mul(emit.mul(x, 0.5), emit.add(emit.op("Tanh", inner), 1.0))


@derivative("Exp")
def exp(pull: Pull) -> str:
    """Itself."""
    return pull.site.outputs[0]


@derivative("Log")
def log(pull: Pull) -> str:
    """1/x."""
    return pull.emit.div(1.0, pull.site.inputs[0])


@derivative("Sqrt")
def sqrt(pull: Pull) -> str:
    """1/(2√x)."""
    return pull.emit.div(0.5, pull.site.outputs[0])


@derivative("Reciprocal")
def reciprocal(pull: Pull) -> str:
    """−1/x²."""
    y = pull.site.outputs[0]
    return pull.emit.op("Neg", pull.emit.mul(y, y))


@derivative("Abs")
def absolute(pull: Pull) -> str:
    """The sign."""
    return pull.emit.op("Sign", pull.site.inputs[0])


@derivative("Softplus")
def softplus(pull: Pull) -> str:
    """The sigmoid."""
    return pull.emit.op("Sigmoid", pull.site.inputs[0])


@derivative("Softsign")
def softsign(pull: Pull) -> str:
    """1/(1 + |x|)²."""
    emit = pull.emit
    size = emit.add(emit.op("Abs", pull.site.inputs[0]), 1.0)
    return emit.div(1.0, emit.mul(size, size))


@derivative("Elu")
def elu(pull: Pull) -> str:
    """α·exp(x) where x < 0."""
    return _exponential(pull, pull.site.attribute("alpha", 1.0), 1.0)


@derivative("Selu")
def selu(pull: Pull) -> str:
    """γ·α·exp(x) where x < 0, γ elsewhere."""
    alpha = pull.site.attribute("alpha", float(np.float32(1.67326319217681884765625)))
    gamma = pull.site.attribute("gamma", float(np.float32(1.05070102214813232421875)))
    return _exponential(pull, alpha * gamma, gamma)


@derivative("Sin")
def sine(pull: Pull) -> str:
    """The cosine."""
    return pull.emit.op("Cos", pull.site.inputs[0])


@derivative("Cos")
def cosine(pull: Pull) -> str:
    """The negative sine."""
    return pull.emit.op("Neg", pull.emit.op("Sin", pull.site.inputs[0]))


@derivative("Atan")
def atan(pull: Pull) -> str:
    """1/(1 + x²)."""
    x = pull.site.inputs[0]
    return pull.emit.div(1.0, pull.emit.add(pull.emit.mul(x, x), 1.0))


@derivative("Asin", "Acos")
def asin(pull: Pull) -> str:
    """±1/√(1 − x²)."""
    emit, x = pull.emit, pull.site.inputs[0]
    sign = 1.0 if pull.site.op_type == "Asin" else -1.0
    return emit.div(sign, emit.op("Sqrt", emit.mul(emit.sub(1.0, x), emit.add(x, 1.0))))


@differentiates("Floor", "Ceil", "Round", "Sign", "Hardmax", "OneHot")
def steps(pull: Pull) -> Mapping[int, str]:
    """Constant between their jumps: no gradient reaches the operand."""
    return {}


def _biased(site: Site, emit: Emitter) -> str:
    bias = site.input(1)
    return site.inputs[0] if bias is None else emit.add(site.inputs[0], bias)


def _gelu(pull: Pull, x: str, approximate: str) -> str:
    emit = pull.emit
    if approximate != "tanh":
        share = emit.mul(emit.add(emit.op("Erf", emit.mul(x, math.sqrt(0.5))), 1.0), 0.5)
        return emit.add(share, emit.mul(emit.mul(x, _bell(pull, x, 0.5)), 1 / math.sqrt(2 * math.pi)))
    square = emit.mul(x, x)
    inner = emit.mul(emit.mul(x, emit.add(emit.mul(square, 0.044715), 1.0)), math.sqrt(2 / math.pi))
    slope = emit.mul(emit.add(emit.mul(square, 3 * 0.044715), 1.0), math.sqrt(2 / math.pi))
    value = emit.op("Tanh", inner)
    bent = emit.mul(emit.mul(emit.mul(x, slope), emit.sub(1.0, emit.mul(value, value))), 0.5)
    return emit.add(emit.mul(emit.add(value, 1.0), 0.5), bent)


def _bell(pull: Pull, x: str, factor: float) -> str:
    """exp(−factor·x²)."""
    emit = pull.emit
    return emit.op("Exp", emit.mul(emit.mul(x, x), -factor))


def _exponential(pull: Pull, below: float, above: float) -> str:
    emit, x = pull.emit, pull.site.inputs[0]
    inside = emit.op("Exp", emit.op("Min", x, emit.constant(0.0)))
    return emit.where_negative(x, emit.mul(inside, below), emit.constant(above))


def _between(pull: Pull, x: str, low: float, high: float) -> str:
    emit = pull.emit
    return emit.op("And", emit.op("Greater", x, emit.constant(low)), emit.op("Less", x, emit.constant(high)))


def _number(pull: Pull, condition: str) -> str:
    """1 where the condition holds, else 0."""
    return pull.emit.op("Where", condition, pull.emit.constant(1.0), pull.emit.constant(0.0))
