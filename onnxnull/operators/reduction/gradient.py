"""Gradients of Reduce*: the cotangent goes back to every entry that was summed, times that entry's derivative."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from onnxnull.operators.gradients import Pull, axes_list, differentiates, fixed


@differentiates("ReduceSum", "ReduceMean")
def reduced(pull: Pull) -> Mapping[int, str]:
    """Evenly."""
    emit, cotangent = pull.emit, _kept(pull, pull.cotangent)
    if pull.site.op_type == "ReduceMean":
        cotangent = _shared(pull, cotangent)
    return {0: emit.op("Expand", cotangent, pull.shape_of(0))}


@differentiates("ReduceMax", "ReduceMin")
def extreme(pull: Pull) -> Mapping[int, str]:
    """To the entry that is the result; shared evenly where several are."""
    emit, x = pull.emit, pull.site.inputs[0]
    y = _kept(pull, pull.site.outputs[0])
    chosen = emit.op("Where", emit.op("Equal", x, y), emit.constant(1.0), emit.constant(0.0))
    axes = _axes(pull)
    count = emit.sum(chosen, axes) if axes else chosen
    return {0: emit.mul(emit.div(_kept(pull, pull.cotangent), count), chosen)}


def _times(slope: Callable[[Pull, str, str], str]) -> Callable[[Pull], Mapping[int, str]]:
    """A rule from f'(x, y), y being the result with all axes."""

    def rule(pull: Pull) -> Mapping[int, str]:
        y = _kept(pull, pull.site.outputs[0])
        return {0: pull.emit.mul(_kept(pull, pull.cotangent), slope(pull, pull.site.inputs[0], y))}

    return rule


differentiates("ReduceL1")(_times(lambda pull, x, y: pull.emit.op("Sign", x)))
differentiates("ReduceL2")(_times(lambda pull, x, y: pull.emit.div(x, y)))
differentiates("ReduceSumSquare")(_times(lambda pull, x, y: pull.emit.mul(x, 2.0)))
differentiates("ReduceProd")(_times(lambda pull, x, y: pull.emit.div(y, x)))
differentiates("ReduceLogSumExp")(_times(lambda pull, x, y: pull.emit.op("Exp", pull.emit.sub(x, y))))


@differentiates("ReduceLogSum")
def log_sum(pull: Pull) -> Mapping[int, str]:
    """One over the sum, which is exp(y)."""
    emit = pull.emit
    share = emit.div(_kept(pull, pull.cotangent), emit.op("Exp", _kept(pull, pull.site.outputs[0])))
    return {0: emit.op("Expand", share, pull.shape_of(0))}


def _axes(pull: Pull) -> list[int]:
    """The axes that were reduced: all where none is given, unless told otherwise."""
    given = axes_list(pull.site, 1)
    if given or (given is not None and pull.site.attribute("noop_with_empty_axes", 0)):
        return given
    if given is None and pull.site.attribute("noop_with_empty_axes", 0):
        return []
    return list(range(pull.site.rank()))


def _kept(pull: Pull, value: str) -> str:
    """Something of the output's shape, with the axes that were reduced put back."""
    if pull.site.attribute("keepdims", 1):
        return value
    axes = _axes(pull)
    return pull.emit.op("Unsqueeze", value, pull.emit.integers(*axes)) if axes else value


def _shared(pull: Pull, cotangent: str) -> str:
    """Over the number of entries."""
    emit, axes, shape = pull.emit, _axes(pull), pull.known(0)
    if shape is not None:
        return emit.mul(cotangent, 1.0 / math.prod(shape[axis] for axis in axes))
    partial = pull.site.shape(0)
    if partial is not None and (part := fixed(tuple(partial[axis] for axis in axes))) is not None:
        return emit.mul(cotangent, 1.0 / math.prod(part))
    lengths = emit.op("Gather", emit.shape(pull.site.inputs[0]), emit.integers(*axes))
    return emit.div(cotangent, emit.op("Cast", emit.op("ReduceProd", lengths, keepdims=0), to=11))
