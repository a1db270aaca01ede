"""Gradients of arithmetic entry by entry with broadcasting, and of what passes values on at inference."""

from __future__ import annotations

from collections.abc import Mapping

from onnxnull.operators.gradients import NotDifferentiableError, Pull, differentiates


@differentiates("Add", "Sum", "Sub")
def add(pull: Pull) -> Mapping[int, str]:
    """The cotangent; the second operand of Sub changes its sign."""
    emit, found = pull.emit, {}
    for index in pull.wanted:
        cotangent = pull.summed(pull.cotangent, index)
        found[index] = emit.op("Neg", cotangent) if (pull.site.op_type, index) == ("Sub", 1) else cotangent
    return found


@differentiates("Mean")
def mean(pull: Pull) -> Mapping[int, str]:
    """The cotangent over the number of operands."""
    share = pull.emit.div(pull.cotangent, float(len(pull.site.inputs)))
    return {index: pull.summed(share, index) for index in pull.wanted}


@differentiates("Mul")
def mul(pull: Pull) -> Mapping[int, str]:
    """Times the other operand."""
    inputs = pull.site.inputs
    return {index: pull.summed(pull.emit.mul(pull.cotangent, inputs[1 - index]), index) for index in pull.wanted}


@differentiates("Div")
def div(pull: Pull) -> Mapping[int, str]:
    """ȳ/b for the first operand, −ȳ·y/b for the second."""
    emit, found = pull.emit, {}
    share = emit.div(pull.cotangent, pull.site.inputs[1])
    if 0 in pull.wanted:
        found[0] = pull.summed(share, 0)
    if 1 in pull.wanted:
        found[1] = pull.summed(emit.op("Neg", emit.mul(share, pull.site.outputs[0])), 1)
    return found


@differentiates("Neg")
def neg(pull: Pull) -> Mapping[int, str]:
    """Times −1."""
    return {0: pull.emit.op("Neg", pull.cotangent)}


@differentiates("Pow")
def power(pull: Pull) -> Mapping[int, str]:
    """p·x^(p−1) for the base, y·log x for the exponent."""
    emit, (x, p) = pull.emit, pull.site.inputs[:2]
    found = {}
    if 0 in pull.wanted:
        exponent = pull.site.constant(1)
        if exponent is not None and exponent.size == 1 and float(exponent.ravel()[0]) == 2.0:
            slope = emit.mul(x, 2.0)
        else:
            p = emit.operand(exponent) if exponent is not None else emit.op("Cast", p, to=11)
            slope = emit.mul(emit.op("Pow", x, emit.sub(p, 1.0)), p)
        found[0] = pull.summed(emit.mul(pull.cotangent, slope), 0)
    if 1 in pull.wanted:
        found[1] = pull.summed(emit.mul(pull.cotangent, emit.mul(pull.site.outputs[0], emit.op("Log", x))), 1)
    return found


@differentiates("Max", "Min")
def largest(pull: Pull) -> Mapping[int, str]:
    """To the operand that is the result; shared evenly where several are."""
    emit, y = pull.emit, pull.site.outputs[0]
    one, zero = emit.constant(1.0), emit.constant(0.0)
    chosen = [emit.op("Where", emit.op("Equal", x, y), one, zero) for x in pull.site.inputs]
    share = emit.div(pull.cotangent, emit.op("Sum", *chosen))
    return {index: pull.summed(emit.mul(share, chosen[index]), index) for index in pull.wanted}


@differentiates("Where")
def where(pull: Pull) -> Mapping[int, str]:
    """To the operand that was taken."""
    emit, zero = pull.emit, pull.emit.constant(0.0)
    condition, found = pull.site.inputs[0], {}
    if 1 in pull.wanted:
        found[1] = pull.summed(emit.op("Where", condition, pull.cotangent, zero), 1)
    if 2 in pull.wanted:
        found[2] = pull.summed(emit.op("Where", condition, zero, pull.cotangent), 2)
    return found


@differentiates("Identity", "Cast", "CastLike")
def identity(pull: Pull) -> Mapping[int, str]:
    """The cotangent: all floats of a model have one type when it is differentiated."""
    return {0: pull.cotangent}


@differentiates("Dropout")
def dropout(pull: Pull) -> Mapping[int, str]:
    """The identity at inference."""
    training = pull.site.constant(2)
    if pull.site.input(2) is not None and (training is None or bool(training.any())):
        raise NotDifferentiableError("it may train")
    return {0: pull.cotangent}


@differentiates("BatchNormalization")
def batch_normalization(pull: Pull) -> Mapping[int, str]:
    """ȳ·scale/√(var + ε) along axis 1, with statistics that do not depend on the input."""
    emit, site = pull.emit, pull.site
    if site.attribute("training_mode", 0) or pull.wanted - {0}:
        raise NotDifferentiableError("its statistics or its scale depend on the input")
    scale, variance = site.constant(1), site.constant(4)
    epsilon = float(site.attribute("epsilon", 1e-5))
    column = (-1, *(1,) * max(site.rank() - 2, 0))
    if scale is not None and variance is not None:
        factor = emit.constant((scale / (variance + epsilon) ** 0.5).reshape(column))
    else:
        deviation = emit.op("Sqrt", emit.add(site.inputs[4], epsilon))
        factor = emit.reshape(emit.div(site.inputs[1], deviation), column)
    return {0: emit.mul(pull.cotangent, factor)}
