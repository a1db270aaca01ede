"""Normalizations, as sums and products of means.

1. BatchNormalization at inference: (x − mean)·scale/√(var + epsilon) + B (ONNX opset 7 to 15).
2. LayerNormalization (opset 17): with d = x − mean over the last axes, d/√(mean of d² + epsilon)·scale + B; com.microsoft's
   SkipLayerNormalization does it of a sum; SimplifiedLayerNormalization and RMSNormalization leave the mean out.
3. InstanceNormalization does it over the image, GroupNormalization (opset 18, 21) over groups of channels.
"""

from __future__ import annotations

import numpy as np

from onnxnull.comparison.graphs import constants as c
from onnxnull.comparison.graphs.algebra import Algebra
from onnxnull.comparison.graphs.rewrites import Const, ReadNode, Result, Term, Value, rule
from onnxnull.comparison.graphs.rewrites.arithmetic import ONE
from onnxnull.comparison.graphs.rewrites.reductions import mean
from onnxnull.comparison.graphs.terms import known

MICROSOFT = "com.microsoft"
_MINUS = c.scalar(-1.0)


def normalised(terms: Algebra, x: Value, axes: list[int], epsilon: float, *, centred: bool = True) -> Value:
    """d/√(mean of d² + epsilon), d = x − mean where centred."""
    d = terms.sum([(ONE, x), (_MINUS, mean(terms, x, axes))]) if centred else x
    variance = mean(terms, terms.product([(d, 2.0)]), axes)
    root = terms.product([(terms.sum([(ONE, variance)], number(epsilon)), 0.5)])
    return terms.product([(d, 1.0), (root, -1.0)])


def number(value: float) -> Const:
    """A float attribute: float32, as ONNX stores it."""
    return c.const(np.array(float(np.float32(value))), dtype="float32")


def _affine(node: ReadNode, x: Value, scale: Value | None, shift: Value | None) -> Value:
    scaled = x if scale is None else node.terms.product([(x, 1.0), (scale, 1.0)])
    return scaled if shift is None else node.terms.sum([(ONE, scaled), (ONE, shift)])


def _on_channels(k: Value | None, length: int) -> Value | None:
    return c.reshaped(k, (k.size, *(1,) * (length - 2))) if isinstance(k, Const) else k


@rule("BatchNormalization")
def batch(node: ReadNode) -> Result:
    """Rule 1."""
    x, *rest = node.operands
    if (
        not isinstance(x, Term)
        or x.shape is None
        or len(x.shape) < 2
        or len([o for o in node.view.outputs if o is not None]) > 1
    ):
        return None
    if node.attribute("training_mode", 0) or node.attribute("spatial", 1) != 1 or not all(isinstance(k, Const) for k in rest):
        return None
    scale, shift, middle, variance = (k for k in (_on_channels(k, len(x.shape)) for k in rest) if isinstance(k, Const))
    factor = c.times(scale, c.power(c.plus(variance, number(node.attribute("epsilon", 1e-5))), -0.5))
    return node.terms.sum([(factor, x)], c.plus(shift, c.times(_MINUS, c.times(middle, factor))))


def _single(node: ReadNode) -> bool:
    return all(o is None or (not o.value.uses() and not o.value.is_graph_output()) for o in node.view.outputs[1:])


@rule("LayerNormalization", "RMSNormalization", "SimplifiedLayerNormalization")
def layer(node: ReadNode) -> Result:
    """Rule 2."""
    x = node.operand(0)
    if not isinstance(x, Term) or x.shape is None or not _single(node):
        return None
    axis = node.attribute("axis", -1) % len(x.shape)
    axes = list(range(axis, len(x.shape)))
    centred = node.op == "LayerNormalization"
    found = normalised(node.terms, x, axes, float(node.attribute("epsilon", 1e-5)), centred=centred)
    return _affine(node, found, node.operand(1), node.operand(2))


@rule("SimplifiedLayerNormalization", domain=MICROSOFT)
def simplified(node: ReadNode) -> Result:
    """Rule 2."""
    return layer(node)


@rule("SkipLayerNormalization", "SkipSimplifiedLayerNormalization", domain=MICROSOFT)
def skip(node: ReadNode) -> Result:
    """Rule 2: x + skip (+ bias); the fourth output is that sum."""
    x, beside = node.operand(0), node.operand(1)
    simple = "Simplified" in node.op
    scale, shift = node.operand(2), None if simple else node.operand(3)
    bias = node.operand(3 if simple else 4)
    if x is None or beside is None or x.shape is None:
        return None
    total = node.terms.sum([(ONE, x), (ONE, beside), *([(ONE, bias)] if bias is not None else [])])
    found = normalised(node.terms, total, [len(x.shape) - 1], float(node.attribute("epsilon", 1e-12)), centred=not simple)
    return [_affine(node, found, scale, shift), None, None, total]


@rule("InstanceNormalization")
def instance(node: ReadNode) -> Result:
    """Rule 3."""
    x = node.operand(0)
    if not isinstance(x, Term) or x.shape is None:
        return None
    found = normalised(node.terms, x, list(range(2, len(x.shape))), float(node.attribute("epsilon", 1e-5)))
    return _affine(node, found, *(_on_channels(node.operand(i), len(x.shape)) for i in (1, 2)))


@rule("GroupNormalization")
def group(node: ReadNode) -> Result:
    """Rule 3; since opset 21 with a scale per channel, before per group."""
    x = node.operand(0)
    shape = None if x is None else known(x.shape)
    scale, shift = node.operand(1), node.operand(2)
    if not isinstance(x, Term) or shape is None or not isinstance(scale, Const) or not isinstance(shift, Const):
        return None
    groups = int(node.attribute("num_groups", 1))
    parts = node.terms.reshape(x, (shape[0], groups, -(-int(np.prod(shape[1:])) // groups)))
    found = node.terms.reshape(normalised(node.terms, parts, [2], float(node.attribute("epsilon", 1e-5))), shape)
    if node.version < 21:
        each = shape[1] // groups
        scale, shift = (_repeated(k, each) for k in (scale, shift))
    return _affine(node, found, _on_channels(scale, len(shape)), _on_channels(shift, len(shape)))


def _repeated(k: Const, each: int) -> Const:
    return c.moved(k, f"repeat {each}", (k.size * each,), lambda v: np.repeat(v, each))
