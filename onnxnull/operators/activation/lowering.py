"""Activations, and what networks apply entry by entry: lowerings to double, by their formulas in ONNX's operator specification.

All are exact in real arithmetic but Erf, which onnxruntime has in float32 only: see `erf`.
"""

from __future__ import annotations

import functools
import math

import numpy as np

from onnxnull.operators.lowering import Emitter, Site, lowers

_LARGEST, _CELLS = 6, 1024
"""Erf: from `_LARGEST` on it is 1 in double (erfc is below 2.2e-17); below, `_CELLS` known values for each unit of x."""


@functools.cache
def erf_table() -> tuple[np.ndarray, np.ndarray]:
    """erf and its derivative 2/√π·exp(−x²) at x = −6, −6 + 1/1024, ..., 6."""
    grid = np.arange(-_LARGEST * _CELLS, _LARGEST * _CELLS + 1) / _CELLS
    return np.array([math.erf(x) for x in grid]), 2 / math.sqrt(math.pi) * np.exp(-(grid**2))


def erf(emit: Emitter, x: str) -> str:
    """Erf within 2e-16 (absolute): the Taylor polynomial of degree 4 around the nearest point c of the table.

    With d = x − c, |d| ≤ 2⁻¹¹: erf(x) = erf(c) + erf'(c)·d·(1 − c·d + (2c² − 1)/3·d² + c·(3 − 2c²)/6·d³); the next term is
    below 4e-18.
    """
    values, slopes = (emit.constant(table) for table in erf_table())
    inside = emit.op("Min", emit.op("Max", x, emit.constant(-float(_LARGEST))), emit.constant(float(_LARGEST)))
    steps = emit.op("Round", emit.mul(inside, float(_CELLS)))
    centre = emit.mul(steps, 1 / _CELLS)
    d = emit.sub(inside, centre)
    index = emit.op("Cast", emit.add(steps, float(_LARGEST * _CELLS)), to=7)
    # NaN has no place in the table, and must come out as NaN
    index = emit.op("Min", emit.op("Max", index, emit.integers(0)), emit.integers(2 * _LARGEST * _CELLS))
    square = emit.mul(emit.mul(centre, centre), 2.0)
    third = emit.mul(emit.sub(square, 1.0), 1 / 3)
    fourth = emit.mul(emit.mul(emit.sub(3.0, square), centre), 1 / 6)
    bracket = emit.sub(emit.mul(emit.add(emit.mul(fourth, d), third), d), centre)
    change = emit.mul(emit.add(emit.mul(bracket, d), 1.0), d)
    change = emit.mul(change, emit.op("Gather", slopes, index))
    return emit.add(emit.op("Gather", values, index), change)


def softplus(emit: Emitter, x: str) -> str:
    """log(1 + exp(x)), without overflow."""
    tail = emit.op("Log", emit.add(emit.op("Exp", emit.op("Neg", emit.op("Abs", x))), 1.0))
    return emit.add(emit.op("Relu", x), tail)


@lowers("Erf")
def lowered_erf(site: Site, emit: Emitter) -> str:
    """erf(x)."""
    return erf(emit, site.inputs[0])


@lowers("Gelu", always=True)
def lowered_gelu(site: Site, emit: Emitter) -> str:
    """x/2·(1 + erf(x/√2)), or its approximation by tanh."""
    return _gelu(emit, site.inputs[0], site.attribute("approximate", "none"))


@lowers("Gelu", domain="com.microsoft", always=True)
def lowered_microsoft_gelu(site: Site, emit: Emitter) -> str:
    """x/2·(1 + erf(x/√2))."""
    return _gelu(emit, site.inputs[0], "none")


@lowers("BiasGelu", domain="com.microsoft", always=True)
def lowered_bias_gelu(site: Site, emit: Emitter) -> str:
    """Gelu(x + bias)."""
    return _gelu(emit, emit.add(*site.inputs[:2]), "none")


@lowers("FastGelu", domain="com.microsoft", always=True)
def lowered_fast_gelu(site: Site, emit: Emitter) -> str:
    """Gelu(x + bias) by tanh."""
    bias = site.input(1)
    return _gelu(emit, site.inputs[0] if bias is None else emit.add(site.inputs[0], bias), "tanh")


@lowers("QuickGelu", domain="com.microsoft", always=True)
def lowered_quick_gelu(site: Site, emit: Emitter) -> str:
    """x·sigmoid(αx)."""
    x = site.inputs[0]
    return emit.mul(x, emit.op("Sigmoid", emit.mul(x, site.attribute("alpha", 1.702))))


@lowers("Swish", always=True)
def lowered_swish(site: Site, emit: Emitter) -> str:
    """x·sigmoid(αx)."""
    x = site.inputs[0]
    return emit.mul(x, emit.op("Sigmoid", emit.mul(x, site.attribute("alpha", 1.0))))


@lowers("LeakyRelu")
def lowered_leaky_relu(site: Site, emit: Emitter) -> str:
    """αx where x < 0."""
    x = site.inputs[0]
    return emit.where_negative(x, emit.mul(x, site.attribute("alpha", 0.01)), x)


@lowers("PRelu")
def lowered_prelu(site: Site, emit: Emitter) -> str:
    """slope·x where x < 0."""
    x = site.inputs[0]
    return emit.where_negative(x, emit.mul(x, site.inputs[1]), x)


@lowers("Elu")
def lowered_elu(site: Site, emit: Emitter) -> str:
    """α(exp(x) − 1) where x < 0."""
    x = site.inputs[0]
    return emit.where_negative(x, emit.mul(_exp_less_one(emit, x), site.attribute("alpha", 1.0)), x)


@lowers("Celu", always=True)
def lowered_celu(site: Site, emit: Emitter) -> str:
    """α(exp(x/α) − 1) where x < 0."""
    x, alpha = site.inputs[0], site.attribute("alpha", 1.0)
    return emit.where_negative(x, emit.mul(_exp_less_one(emit, emit.div(x, alpha)), alpha), x)


@lowers("Selu")
def lowered_selu(site: Site, emit: Emitter) -> str:
    """γ·Elu(x). The defaults are ONNX's float32 numbers."""
    x = site.inputs[0]
    alpha = site.attribute("alpha", float(np.float32(1.67326319217681884765625)))
    gamma = site.attribute("gamma", float(np.float32(1.05070102214813232421875)))
    return emit.mul(emit.where_negative(x, emit.mul(_exp_less_one(emit, x), alpha), x), gamma)


@lowers("HardSigmoid")
def lowered_hard_sigmoid(site: Site, emit: Emitter) -> str:
    """αx + β, kept in [0, 1]."""
    return _unit(
        emit,
        emit.add(emit.mul(site.inputs[0], site.attribute("alpha", float(np.float32(0.2)))), site.attribute("beta", 0.5)),
    )


@lowers("HardSwish", always=True)
def lowered_hard_swish(site: Site, emit: Emitter) -> str:
    """x·HardSigmoid(x) with α = 1/6, β = 1/2."""
    x = site.inputs[0]
    return emit.mul(x, _unit(emit, emit.add(emit.div(x, 6.0), 0.5)))


@lowers("Softplus")
def lowered_softplus(site: Site, emit: Emitter) -> str:
    """log(1 + exp(x))."""
    return softplus(emit, site.inputs[0])


@lowers("Mish", always=True)
def lowered_mish(site: Site, emit: Emitter) -> str:
    """x·tanh(softplus(x))."""
    x = site.inputs[0]
    return emit.mul(x, emit.op("Tanh", softplus(emit, x)))


@lowers("Softsign")
def lowered_softsign(site: Site, emit: Emitter) -> str:
    """x / (1 + |x|)."""
    x = site.inputs[0]
    return emit.div(x, emit.add(emit.op("Abs", x), 1.0))


@lowers("ThresholdedRelu")
def lowered_thresholded_relu(site: Site, emit: Emitter) -> str:
    """x where x > α, else 0."""
    x = site.inputs[0]
    alpha = emit.constant(float(site.attribute("alpha", 1.0)))
    return emit.op("Where", emit.op("Greater", x, alpha), x, emit.constant(0.0))


@lowers("Clip")
def lowered_clip(site: Site, emit: Emitter) -> str:
    """min(max(x, low), high)."""
    value = site.inputs[0]
    for index, op_type in ((1, "Max"), (2, "Min")):
        bound = site.input(index)
        value = value if bound is None else emit.op(op_type, value, bound)
    return value


@lowers("Sinh", "Cosh")
def lowered_hyperbolic(site: Site, emit: Emitter) -> str:
    """(exp(x) ∓ exp(−x)) / 2."""
    x = site.inputs[0]
    up, down = emit.op("Exp", x), emit.op("Exp", emit.op("Neg", x))
    return emit.mul(emit.sub(up, down) if site.op_type == "Sinh" else emit.add(up, down), 0.5)


@lowers("Tan")
def lowered_tan(site: Site, emit: Emitter) -> str:
    """sin / cos."""
    return emit.div(emit.op("Sin", site.inputs[0]), emit.op("Cos", site.inputs[0]))


@lowers("Asinh")
def lowered_asinh(site: Site, emit: Emitter) -> str:
    """sign(x)·log(|x| + √(x² + 1)): to double accuracy in absolute terms."""
    x = site.inputs[0]
    size = emit.op("Abs", x)
    root = emit.op("Sqrt", emit.add(emit.mul(x, x), 1.0))
    return emit.mul(emit.op("Sign", x), emit.op("Log", emit.add(size, root)))


@lowers("Acosh")
def lowered_acosh(site: Site, emit: Emitter) -> str:
    """log(x + √((x − 1)(x + 1)))."""
    x = site.inputs[0]
    root = emit.op("Sqrt", emit.mul(emit.sub(x, 1.0), emit.add(x, 1.0)))
    return emit.op("Log", emit.add(x, root))


@lowers("Atanh")
def lowered_atanh(site: Site, emit: Emitter) -> str:
    """log((1 + x) / (1 − x)) / 2."""
    x = site.inputs[0]
    return emit.mul(emit.op("Log", emit.div(emit.add(x, 1.0), emit.sub(1.0, x))), 0.5)


@lowers("Atan")
def lowered_atan(site: Site, emit: Emitter) -> str:
    """See `atan`."""
    return atan(emit, site.inputs[0])


@lowers("Asin", "Acos")
def lowered_asin(site: Site, emit: Emitter) -> str:
    """asin(x) = 2·atan(x / (1 + √(1 − x²))); acos(x) = π/2 − asin(x)."""
    x = site.inputs[0]
    root = emit.op("Sqrt", emit.mul(emit.sub(1.0, x), emit.add(x, 1.0)))
    angle = emit.mul(atan(emit, emit.div(x, emit.add(root, 1.0))), 2.0)
    return angle if site.op_type == "Asin" else emit.sub(math.pi / 2, angle)


def atan(emit: Emitter, x: str) -> str:
    """The angle y that float32 gives, and what is left: tan(atan(x) − y) = (x·cos y − sin y) / (cos y + x·sin y).

    That is some 1e-7 at most, so that it is its own arctangent in double.
    """
    y = emit.op("Cast", emit.op("Atan", emit.op("Cast", x, to=1)), to=11)
    sine, cosine = emit.op("Sin", y), emit.op("Cos", y)
    left = emit.div(emit.sub(emit.mul(x, cosine), sine), emit.add(cosine, emit.mul(x, sine)))
    return emit.add(y, left)


@lowers("NonZero")
def lowered_non_zero(site: Site, emit: Emitter) -> str:
    """Of whether x is not zero."""
    return emit.op("NonZero", emit.op("Not", emit.op("Equal", site.inputs[0], emit.constant(0.0))))


@lowers("OneHot")
def lowered_one_hot(site: Site, emit: Emitter) -> str:
    """Of integers, then a choice between the two values."""
    indices, depth, values = site.inputs[:3]
    whole = (emit.op("Cast", name, to=7) for name in (indices, depth))
    hot = emit.op("OneHot", *whole, emit.integers(0, 1), axis=site.attribute("axis", -1))
    off, on = (emit.op("Squeeze", emit.slice(values, 0, i, i + 1), emit.integers(0)) for i in (0, 1))
    return emit.op("Where", emit.op("Cast", hot, to=9), on, off)


@lowers("Hardmax")
def lowered_hardmax(site: Site, emit: Emitter) -> str:
    """One at the first largest entry along `axis`."""
    x, axis = site.inputs[0], int(site.attribute("axis", -1)) % site.rank(0)
    largest = emit.op("ArgMax", x, axis=axis, keepdims=0)
    hot = emit.op("OneHot", largest, emit.shape(x, axis, axis + 1), emit.integers(0, 1), axis=axis)
    return emit.op("Cast", hot, to=11)


@lowers("Mean")
def lowered_mean(site: Site, emit: Emitter) -> str:
    """The mean of the operands, broadcast."""
    return emit.div(emit.op("Sum", *site.inputs), float(len(site.inputs)))


def _gelu(emit: Emitter, x: str, approximate: str) -> str:
    if approximate == "tanh":
        inner = emit.mul(emit.add(x, emit.mul(emit.mul(emit.mul(x, x), x), 0.044715)), math.sqrt(2 / math.pi))
        value = emit.op("Tanh", inner)
    else:
        value = erf(emit, emit.mul(x, math.sqrt(0.5)))
    return emit.mul(emit.mul(x, 0.5), emit.add(value, 1.0))


def _exp_less_one(emit: Emitter, x: str) -> str:
    """exp(x) − 1 for x ≤ 0."""
    return emit.sub(emit.op("Exp", emit.op("Min", x, emit.constant(0.0))), 1.0)


def _unit(emit: Emitter, x: str) -> str:
    return emit.op("Min", emit.op("Max", x, emit.constant(0.0)), emit.constant(1.0))
