"""Normalizations by statistics of the activation itself, and LRN: lowerings to double, by ONNX's formulas.

InstanceNormalization: over the spatial axes of each channel. GroupNormalization (opset 18, 21): over groups of channels; scale
and bias are given per group before opset 21, per channel since. LRN: Y = X / (bias + α/size·Σ X²)^β over a window of channels.
"""

from __future__ import annotations

from onnxnull.operators.lowering import Emitter, NotLowerableError, Site, lowers


@lowers("InstanceNormalization")
def lowered_instance_normalization(site: Site, emit: Emitter) -> str:
    """scale·(x − mean)/√(variance + ε) + bias, per sample and channel."""
    x, scale, bias = site.inputs[:3]
    flat = emit.reshape(x, (0, 0, -1))
    normal = _normalized(emit, flat, [2], site.attribute("epsilon", 1e-5))
    column = emit.integers(-1, 1)
    shifted = emit.add(emit.mul(normal, emit.op("Reshape", scale, column)), emit.op("Reshape", bias, column))
    return emit.reshape(shifted, emit.shape(x))


@lowers("GroupNormalization", always=True)
def lowered_group_normalization(site: Site, emit: Emitter) -> str:
    """The same over groups of channels."""
    x, scale, bias = site.inputs[:3]
    groups = int(site.attribute("num_groups", 1))
    grouped = emit.reshape(x, (0, groups, -1))
    normal = _normalized(emit, grouped, [2], site.attribute("epsilon", 1e-5))
    if site.version < 21:
        column = emit.integers(groups, 1)
    else:
        normal, column = emit.reshape(normal, emit.concat([emit.shape(x, 0, 2), emit.integers(-1)])), emit.integers(-1, 1)
    shifted = emit.add(emit.mul(normal, emit.op("Reshape", scale, column)), emit.op("Reshape", bias, column))
    return emit.reshape(shifted, emit.shape(x))


@lowers("MeanVarianceNormalization", always=True)
def lowered_mean_variance_normalization(site: Site, emit: Emitter) -> str:
    """(x − mean) / (√variance + 1e-9) over `axes`."""
    x, axes = site.inputs[0], list(site.attribute("axes", [0, 2, 3]))
    centred = emit.sub(x, emit.mean(x, axes))
    deviation = emit.op("Sqrt", emit.mean(emit.mul(centred, centred), axes))
    return emit.div(centred, emit.add(deviation, 1e-9))


@lowers("LayerNormalization", "SimplifiedLayerNormalization", "RMSNormalization")
def lowered_layer_normalization(site: Site, emit: Emitter) -> str:
    """scale·(x − mean)/√(variance + ε) + bias over the axes from `axis` on; without the mean for RMSNormalization."""
    x, scale, bias = site.inputs[0], site.inputs[1], site.input(2)
    axis, rank = int(site.attribute("axis", -1)), site.rank(0)
    axes = list(range(axis % rank, rank))
    epsilon = site.attribute("epsilon", 1e-5)
    if site.op_type == "LayerNormalization":
        normal = _normalized(emit, x, axes, epsilon)
    else:
        power = emit.mean(emit.mul(x, x), axes)
        normal = emit.div(x, emit.op("Sqrt", emit.add(power, epsilon)))
    scaled = emit.mul(normal, scale)
    return scaled if bias is None else emit.add(scaled, bias)


@lowers("SkipLayerNormalization", "SkipSimplifiedLayerNormalization", domain="com.microsoft")
def lowered_skip_layer_normalization(site: Site, emit: Emitter) -> list[str]:
    """LayerNormalization (or RMSNormalization) of input + skip + bias, over the last axis; output 3 is that sum."""
    simplified = site.op_type == "SkipSimplifiedLayerNormalization"
    if any(site.outputs[1:3]):
        raise NotLowerableError(f"{site.op_type} with the mean or the deviation as outputs")
    total = emit.add(site.inputs[0], site.inputs[1])
    bias = site.input(3 if simplified else 4)
    if bias is not None:
        total = emit.add(total, bias)
    epsilon = site.attribute("epsilon", 1e-12)
    if simplified:
        normal = emit.div(total, emit.op("Sqrt", emit.add(emit.mean(emit.mul(total, total), [-1]), epsilon)))
    else:
        normal = _normalized(emit, total, [-1], epsilon)
    scaled = emit.mul(normal, site.inputs[2])
    beta = None if simplified else site.input(3)
    return [scaled if beta is None else emit.add(scaled, beta), "", "", total]


@lowers("LRN")
def lowered_lrn(site: Site, emit: Emitter) -> str:
    """x / (bias + α/size·Σ x²)^β; the window reaches ⌊(size − 1)/2⌋ channels back and ⌈(size − 1)/2⌉ forward."""
    x, size = site.inputs[0], int(site.attribute("size", 1))
    squares = emit.mul(x, x)
    padding = [0] * (2 * site.rank(0))
    padding[1], padding[1 + site.rank(0)] = (size - 1) // 2, size - 1 - (size - 1) // 2
    padded = emit.pad(squares, padding)
    parts = [emit.slice(padded, 1, i, *([i - size + 1] if i < size - 1 else [])) for i in range(size)]
    total = parts[0] if size == 1 else emit.op("Sum", *parts)
    base = emit.add(emit.mul(total, site.attribute("alpha", 1e-4) / size), site.attribute("bias", 1.0))
    return emit.div(x, emit.op("Pow", base, emit.operand(site.attribute("beta", 0.75))))


def _normalized(emit: Emitter, x: str, axes: list[int], epsilon: float) -> str:
    centred = emit.sub(x, emit.mean(x, axes))
    variance = emit.mean(emit.mul(centred, centred), axes)
    return emit.div(centred, emit.op("Sqrt", emit.add(variance, epsilon)))
