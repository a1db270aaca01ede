"""Small networks with empty outputs, masks that hide everything, floats of eight bits, open batches, nodes that fail."""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import NodeProto, TensorProto

from .further_networks import misfit
from .networks import FLOAT, INF, NAN, NAN_EFFECT, SAME, K, Network, W, n

FLOAT8 = TensorProto.FLOAT8E4M3FN
LEARNING = "ai.onnx.ml"


def masked(name: str, mask: Any, effect: Any = None) -> Network:
    """Attention with a mask that it adds, or that is boolean."""
    nodes = [n("MatMul", "x w", "q"), n("Attention", "q x x m", "y", q_num_heads=1, kv_num_heads=1)]
    return Network(name, nodes, {"w": W, "m": mask}, effect, inputs={"x": (FLOAT, (1, 2, 4))}, opset=23)


def empty(name: str, *nodes: NodeProto, inputs: Any = None, **constants: Any) -> Network:
    """An output that is always empty, or a sum of nothing."""
    return Network(name, nodes, constants, SAME, inputs=inputs or {"x": (FLOAT, (2, 4))})


def eighth(name: str, number: float, saturate: int, effect: Any = None) -> Network:
    """|x| + number as a float of eight bits, and back."""
    nodes = [n("Abs", "x", "a"), n("Add", "a c", "h"), n("Cast", "h", "f", to=FLOAT8, saturate=saturate)]
    return Network(name, [*nodes, n("Cast", "f", "y", to=FLOAT)], {"c": number}, effect, opset=19)


def scaler(name: str, scale: list[float], effect: Any = None) -> Network:
    """(x - 1) times a scale."""
    return Network(name, [n("Scaler", "x", "y", domain=LEARNING, scale=scale, offset=[1.0] * len(scale))], {}, effect)


def binarizer(name: str, threshold: float, effect: Any = None) -> Network:
    """A threshold for what lies between 0 and 1."""
    nodes = [n("Sigmoid", "x", "a"), n("Binarizer", "a", "y", domain=LEARNING, threshold=threshold)]
    return Network(name, nodes, {}, effect)


def sequence(name: str, *nodes: NodeProto, effect: Any = None) -> Network:
    """What a sequence of square roots gives; of numbers below 0 they are NaN."""
    before = [n("Abs", "x", "a"), n("Neg", "a", "b"), n("Sub", "b one", "c"), n("Sqrt", "a" if effect is None else "c", "r")]
    return Network(name, [*before, *nodes], {"one": 1.0, "first": np.array(0)}, effect)


def several(name: str, *nodes: NodeProto, effect: Any = None, opset: int = 18) -> Network:
    """What a sequence of x, h = |x| and r = √(−|x| − 1) gives, of which r is NaN, or t: x above r."""
    before = [n("Abs", "x", "h"), n("Neg", "h", "b"), n("Sub", "b one", "c"), n("Sqrt", "c", "r")]
    numbers = {"one": 1.0, "at0": np.array(0), "at1": np.array(1), "at2": np.array(-1), "sizes": np.array([1, 3])}
    return Network(
        name,
        [*before, n("SequenceConstruct", "x h r", "s"), n("Concat", "x r", "t", axis=0), *nodes],
        numbers,
        effect,
        opset=opset,
    )


def unreachable(threshold: float) -> Network:
    """Boxes whose scores lie between 0 and 1."""
    constants = {
        "b": np.array([[[0, 0, 1, 1], [2, 2, 3, 3]]], np.float32),
        "m": np.array([5]),
        "i": np.array([0.5], np.float32),
        "t": np.array([threshold], np.float32),
    }
    nodes = [n("Sigmoid", "x", "p"), n("NonMaxSuppression", "b p m i t", "y")]
    return Network("boxes", nodes, constants, inputs={"x": (FLOAT, (1, 1, 2))})


LOST_BROKEN = [
    masked("hides-everything", np.full((2, 2), -INF, np.float32), SAME),
    masked("false-everywhere", np.zeros((2, 2), np.bool_), SAME),
    masked("mask-of-nan", np.full((2, 2), NAN, np.float32), NAN_EFFECT),
    empty("compress-nothing", n("Compress", "x c", "y", axis=1), c=np.zeros(4, np.bool_)),
    empty("compress-nothing-and-on", n("Compress", "x c", "h"), n("Relu", "h", "y"), c=np.zeros(3, np.bool_)),
    empty("pad-away", n("Pad", "x p", "y"), p=np.array([0, -4, 0, 0])),
    empty("pad-away-and-sum", n("Pad", "x p", "h"), n("ReduceSum", "h", "y", keepdims=0), p=np.array([0, -2, 0, -2])),
    empty("slice-away", n("Slice", "x a b a", "h"), n("MatMul", "h w", "y"), a=np.array([0]), b=np.array([0]), w=W),
    empty("top-of-none", n("TopK", "x k", "y i", axis=1), k=np.array([0])),
    empty("no-copy", n("Tile", "x s", "y"), s=np.array([0, 1])),
    empty("no-index", n("Gather", "x s", "y", axis=1), s=np.zeros(0, np.int64)),
    empty("pool-as-large", n("MaxPool", "x", "y", kernel_shape=[9, 9]), inputs={"x": (FLOAT, (1, 4, 8, 8))}),
    eighth("beyond-eight-bits", 1e4, 0, NAN_EFFECT),
    eighth("saturated", 1e4, 1, SAME),
    scaler("scaled-by-zero", [0.0] * 4, SAME),
    scaler("scaled-by-one-zero", [0.0], SAME),
    binarizer("beyond-the-sigmoid", 2.0, SAME),
    binarizer("below-the-sigmoid", -1.0, SAME),
    sequence("first-is-nan", n("SequenceConstruct", "r r", "s"), n("SequenceAt", "s first", "y"), effect=NAN_EFFECT),
    several("last-is-nan", n("SequenceAt", "s at2", "y"), effect=NAN_EFFECT),
    several("one-beside-others", n("ConcatFromSequence", "s", "y", axis=1), effect=NAN_EFFECT),
    several("one-above-others", n("ConcatFromSequence", "s", "y", axis=0, new_axis=1), effect=NAN_EFFECT),
    several("moved-up", n("SequenceErase", "s at0", "e"), n("SequenceAt", "e at1", "y"), effect=NAN_EFFECT),
    several("put-first", n("SequenceInsert", "s r at0", "e"), n("SequenceAt", "e at0", "y"), effect=NAN_EFFECT),
    several("optional", n("Optional", "r", "o"), n("OptionalGetElement", "o", "y"), effect=NAN_EFFECT),
    several("row", n("SplitToSequence", "t", "e", axis=0, keepdims=0), n("SequenceAt", "e at2", "y"), effect=NAN_EFFECT),
    several("slices", n("SplitToSequence", "t sizes", "e", axis=0), n("SequenceAt", "e at1", "y"), effect=NAN_EFFECT),
    sequence("all-are-nan", n("SplitToSequence", "r", "s"), n("ConcatFromSequence", "s", "y", axis=0), effect=NAN_EFFECT),
]
"""As `networks.BROKEN`."""

LOST_MISFITS = [
    misfit("tuple-beyond", n("ScatterND", "x i u", "y"), i=np.array([[5]]), u=np.ones((1, 4), np.float32)),
    misfit("tuple-below", n("GatherND", "x i", "h"), n("Mul", "h h", "y"), i=np.array([[1, -9]])),
    misfit("scattered-beyond", n("ScatterElements", "x i u", "y", axis=1), i=np.array([[7]]), u=np.ones((1, 1), np.float32)),
    misfit("pads-of-more-than-there-is", n("Pad", "x p", "y"), p=np.array([0, -5, 0, 0])),
    Network(
        "kernel-larger-than-image",
        [n("Conv", "x k", "h"), n("Relu", "h", "y")],
        {"k": K},
        None,
        1,
        0,
        {"x": (FLOAT, (1, 4, 1, 8))},
    ),
    Network(
        "kernel-spread-too-far",
        [n("Conv", "x k", "h"), n("Relu", "h", "y")],
        {"k": K[..., :1]},
        None,
        1,
        0,
        {"x": (FLOAT, (1, 4, 2, 8))},
    ),
]
"""As `further_networks.MISFITS`."""

LOST_HEALTHY = [
    masked("hides-one", np.where(np.eye(2, dtype=np.bool_), -INF, 0).astype(np.float32)),
    masked("hides-one-row", np.array([[0, 0], [-INF, -INF]], np.float32)),
    masked("low-but-finite", np.full((2, 2), -1e30, np.float32)),
    masked("true-once", np.array([[True, False], [False, False]])),
    Network("compress-some", [n("Compress", "x c", "y", axis=1)], {"c": np.array([False, True])}),
    Network("crop", [n("Pad", "x p", "y")], {"p": np.array([0, -3, 0, 0])}),
    Network(
        "nothing-beside-something",
        [n("Slice", "x a a one", "h"), n("Concat", "h x", "y", axis=1)],
        {"a": np.array([0]), "one": np.array([1])},
    ),
    eighth("within-eight-bits", 1.0, 0),
    scaler("scaled-by-some-zeros", [0.0, 1.0, 0.0, 2.0]),
    binarizer("within-the-sigmoid", 0.5),
    several("others-are-numbers", n("SequenceAt", "s at1", "y")),
    several("last-is-erased", n("SequenceErase", "s", "e"), n("ConcatFromSequence", "e", "y", axis=1)),
    several("one-more-behind-nan", n("SequenceInsert", "s x", "e"), n("SequenceAt", "e at2", "y")),
    sequence("first-of-two", n("SequenceConstruct", "r r", "s"), n("SequenceAt", "s first", "y")),
    Network("last-tuple", [n("GatherND", "x i", "h"), n("Mul", "h h", "y")], {"i": np.array([[1, -4]])}),
    Network(
        "kernel-as-large-as-image", [n("Conv", "x k", "y", pads=[1, 1, 1, 1])], {"k": K}, inputs={"x": (FLOAT, (1, 4, 1, 1))}
    ),
]
"""As `networks.HEALTHY`."""


def moved(name: str, *nodes: NodeProto, **constants: Any) -> Network:
    """An open batch that is the last axis of t."""
    return Network(name, [n("Transpose", "x", "t", perm=[1, 0]), *nodes], constants, inputs={"x": (FLOAT, (None, 4))})  # type: ignore[dict-item]


OPEN_BATCH = [
    moved("softmax", n("Softmax", "t", "y", axis=1)),
    moved("maximum", n("ReduceMax", "t", "m", axes=[1]), n("Sub", "t m", "y")),
    moved("second-sample", n("Gather", "t i", "y", axis=1), i=np.array([1])),
    moved("second-tuple", n("GatherND", "t i", "h"), n("Mul", "h h", "y"), i=np.array([[0, 1]])),
    moved("all-but-the-first", n("Slice", "t a b a", "y"), a=np.array([1]), b=np.array([9])),
    moved("index-of-the-highest", n("ArgMax", "t", "y", axis=1)),
    moved("layer", n("LayerNormalization", "t s", "y", axis=1), s=np.ones(1, np.float32)),
    moved("crop-one-sample", n("Pad", "t p", "y"), p=np.array([0, 0, 0, -1])),
    moved("reshaped", n("Reshape", "x s", "r"), n("Softmax", "r", "y", axis=1), s=np.array([4, -1])),
]
"""An open batch, of which nothing may be said."""
