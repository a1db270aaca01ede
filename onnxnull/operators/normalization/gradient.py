"""Gradients of Softmax and of normalizations; those by statistics of the activation itself go through their lowering."""

from __future__ import annotations

from collections.abc import Mapping

from onnxnull.operators.gradients import Pull, differentiates, through_lowering

through_lowering("LayerNormalization", "SimplifiedLayerNormalization", "RMSNormalization", "InstanceNormalization")
through_lowering("GroupNormalization", "MeanVarianceNormalization", "LRN")


@differentiates("Softmax")
def softmax(pull: Pull) -> Mapping[int, str]:
    """y·(ȳ − Σ ȳ·y) along the axis."""
    emit, y = pull.emit, pull.site.outputs[0]
    weighted = emit.mul(pull.cotangent, y)
    total = emit.sum(weighted, [int(pull.site.attribute("axis", -1))])
    return {0: emit.sub(weighted, emit.mul(y, total))}


@differentiates("LogSoftmax")
def log_softmax(pull: Pull) -> Mapping[int, str]:
    """ȳ − softmax·Σ ȳ along the axis."""
    emit = pull.emit
    total = emit.sum(pull.cotangent, [int(pull.site.attribute("axis", -1))])
    return {0: emit.sub(pull.cotangent, emit.mul(emit.op("Exp", pull.site.outputs[0]), total))}
