"""Constants that differ: transposed, swapped, dead for usual inputs, rounded or quantized wrongly."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.comparison.pairs.writing import (
    IDS,
    IMAGE,
    NOT_SAME,
    PRODUCT,
    ROWS,
    Pair,
    changed,
    constant,
    network,
    permuted,
    stored,
    varied,
)

HEADS = """
q0 = MatMul(x, wq) k0 = MatMul(x, wk) v0 = MatMul(x, wv)
q1 = Reshape(q0, split) k1 = Reshape(k0, split) v1 = Reshape(v0, split)
q = Transpose <perm = [0,2,1,3]> (q1) k = Transpose <perm = [0,2,3,1]> (k1) v = Transpose <perm = [0,2,1,3]> (v1)
s = MatMul(q, k) d = Mul(s, c) @ p = Softmax <axis = -1> (e)
o = MatMul(p, v) t = Transpose <perm = [0,2,1,3]> (o) j = Reshape(t, join) y = MatMul(j, wo)
"""
HEADS_OF: dict[str, Any] = dict.fromkeys(("wq", "wk", "wv", "wo"), (8, 8))
HEADS_OF |= {"c": 0.5, "split": [1, 6, 2, 4], "join": [1, 6, 8]}
SWAPPED = [4, 5, 6, 7, 0, 1, 2, 3]
BOXES = "float[1,16,4] boxes, float[1,2,16] x"
FOUND = np.stack([np.arange(16.0), np.arange(16.0), np.arange(16.0) + 1.5, np.arange(16.0) + 1.5], -1)[None]
SCORED = {"boxes": FOUND, "x": 5.0 + np.random.default_rng(0).standard_normal((1, 2, 16))}
TREE = """y = ai.onnx.ml.TreeEnsembleRegressor <n_targets = 1, nodes_treeids = [0,0,0], nodes_nodeids = [0,1,2],
nodes_featureids = [0,0,0], nodes_modes = ["BRANCH_LEQ", "LEAF", "LEAF"], nodes_values = [1e6, 0.0, 0.0],
nodes_truenodeids = [1,0,0], nodes_falsenodeids = [2,0,0], target_treeids = [0,0], target_nodeids = [1,2],
target_ids = [0,0], target_weights = [1.0, @]> (x)"""
WEIGHT = constant("w", (16, 8))
HALF = WEIGHT.astype(np.float16).astype(np.float32)
wrong = HALF.copy()
wrong[3, 4] += 0.01
tiny = WEIGHT * np.where(np.arange(8) == 5, 1e-9, 1).astype(np.float32)
big = np.where(np.arange(8) == 5, 1e9, 1).astype(np.float32)
SCALE = (np.abs(WEIGHT).max(0) / 127).astype(np.float32)
CODES = np.rint(WEIGHT / SCALE).astype(np.int8)


def quantized(name: str, codes: Any = CODES, scale: Any = SCALE, zero: Any = None) -> Pair:
    """A product by floats, and by codes."""
    zero = np.zeros_like(scale, dtype=codes.dtype) if zero is None else zero
    body = f"w = DequantizeLinear <axis = {1 if scale.ndim else 0}> (q, s, z) t = MatMul(x, w) y = Relu(t)"
    first = network(PRODUCT, "t = MatMul(x, w) y = Relu(t)", {"w": WEIGHT})
    return Pair(name, first, network(PRODUCT, body, {"q": codes, "s": scale, "z": zero}), NOT_SAME)


twice = CODES.copy()
twice[7, 3] -= 3
EDGE = "q = QuantizeLinear(x, s, z) d = DequantizeLinear(q, s, z) y = MatMul(d, w)"

PAIRS = [
    stored("a square weight, transposed", ROWS, "y = MatMul(x, w)", {"w": (8, 8)}, {"w": constant("w", (8, 8)).T.copy()}),
    stored(
        "two weights of one shape, swapped",
        ROWS,
        "t = MatMul(x, w) r = Relu(t) y = MatMul(r, v)",
        {"w": (8, 8), "v": (8, 8)},
        {"w": constant("v", (8, 8)), "v": constant("w", (8, 8))},
    ),
    stored(
        "kernels mirrored: a correlation for a convolution",
        IMAGE,
        "y = Conv <pads = [1,1,1,1]> (x, w)",
        {"w": (4, 3, 3, 3)},
        {"w": constant("w", (4, 3, 3, 3))[:, :, ::-1, ::-1].copy()},
    ),
    stored(
        "heads of queries and keys swapped, of values not",
        ROWS,
        HEADS.replace("@", "e = Identity(d)"),
        HEADS_OF,
        {"wq": permuted("wq", (8, 8), 1, SWAPPED), "wk": permuted("wk", (8, 8), 1, SWAPPED)},
    ),
    stored("attention with another scale", ROWS, HEADS.replace("@", "e = Identity(d)"), HEADS_OF, {"c": 0.35355338}),
    stored(
        "a mask that is not quite minus infinity",
        "float[1,6,8] x",
        HEADS.replace("@", "e = Add(d, mask)"),
        HEADS_OF | {"mask": np.triu(np.full((6, 6), -1e4, np.float32), 1)},
        {"mask": np.triu(np.full((6, 6), -1e2, np.float32), 1)},
        at=30.0,
    ),
    stored(
        "a causal mask that lets one entry through",
        "float[1,6,8] x",
        HEADS.replace("@", "e = Add(d, mask)"),
        HEADS_OF | {"mask": np.triu(np.full((6, 6), -np.inf, np.float32), 1)},
        {"mask": np.where(np.arange(36).reshape(6, 6) == 23, 0, np.triu(np.full((6, 6), -np.inf), 1)).astype(np.float32)},
    ),
    stored(
        "an embedding with two rows swapped",
        IDS,
        "t = Gather(table, x) r = Relu(t) y = MatMul(r, w)",
        {"table": (40, 8), "w": (8, 4)},
        {"table": permuted("table", (40, 8), 0, [*range(38), 39, 38])},
        at={"x": [[38, 39, 0, 1, 2]]},
    ),
    stored(
        "an output tied to its embedding against one with two rows swapped",
        IDS,
        "t = Gather(table, x) r = Relu(t) u = Transpose <perm = [1,0]> (head) y = MatMul(r, u)",
        {"table": (40, 8), "head": constant("table", (40, 8))},
        {"head": permuted("table", (40, 8), 0, [1, 0, *range(2, 40)])},
    ),
    stored(
        "integers that float64 cannot tell apart",
        "int64[1,5] x",
        "y = Equal(x, big)",
        {"big": np.int64(2**53)},
        {"big": np.int64(2**53 + 1)},
        outputs="bool y",
        at={"x": np.full((1, 5), 2**53 + 1)},
    ),
    stored(
        "a large identifier",
        IDS,
        "y = Add(x, big)",
        {"big": np.int64(2**62)},
        {"big": np.int64(2**62 + 100)},
        outputs="int64 y",
    ),
    stored("a zero's sign", ROWS, "y = Div(x, zero)", {"zero": 0.0}, {"zero": -0.0}, exits=NOT_SAME),
    stored(
        "a channel that inputs leave dead",
        IMAGE,
        "t = Conv(x, w, b) r = Relu(t) y = Conv(r, v)",
        {"w": (2, 3, 3, 3), "b": [0.0, -1e6], "v": (4, 2, 1, 1)},
        {"v": changed("v", (4, 2, 1, 1), (2, 1, 0, 0), 0.5)},
        at=1e6,
    ),
    stored(
        "a small change in the smallest of the channels",
        IMAGE,
        "t = Conv(x, w) y = Mul(t, s)",
        {"w": (3, 3, 3, 3), "s": np.array([1e4, 1.0, 1e-4], np.float32).reshape(1, 3, 1, 1)},
        {"s": np.array([1e4, 1.0, 1.01e-4], np.float32).reshape(1, 3, 1, 1)},
    ),
    stored(
        "a bias off by far less than the spread",
        ROWS,
        "t = MatMul(x, w) y = Add(t, b)",
        {"w": (8, 8), "b": (8,)},
        {"b": changed("b", (8,), 3, 1e-4)},
    ),
    stored(
        "noise in all weights",
        ROWS,
        "y = MatMul(x, w)",
        {"w": (8, 8)},
        {"w": constant("w", (8, 8)) * (1 + 1e-3 * constant("noise", (8, 8)))},
    ),
    stored(
        "saturated outputs",
        ROWS,
        "t = MatMul(x, w) u = Add(t, b) y = Sigmoid(u)",
        {"w": (8, 4), "b": np.full(4, 400.0, np.float32)},
        {"w": constant("other", (8, 4))},
        at=300.0,
    ),
    stored(
        "probabilities of 1",
        ROWS,
        "t = MatMul(x, w) u = Mul(t, c) y = Softmax(u)",
        {"w": (8, 4), "c": 1e6},
        {"c": 1.1e6},
        at=1e-6,
    ),
    stored(
        "detections that no usual score reaches, overlapping by another share",
        BOXES,
        "s = Sigmoid(x) y = NonMaxSuppression(boxes, s, most, iou, least)",
        {"most": [20], "iou": [0.05], "least": [0.99]},
        {"iou": [0.5]},
        outputs="int64 y",
        at=SCORED,
    ),
    stored(
        "detections that no usual score reaches, scored otherwise",
        BOXES,
        "t = Mul(x, c) s = Sigmoid(t) y = NonMaxSuppression(boxes, s, most, iou, least)",
        {"most": [20], "iou": [0.5], "least": [0.999], "c": 1.0},
        {"c": 2.0},
        outputs="int64 y",
        at=SCORED,
    ),
    varied(
        "a leaf that usual inputs do not reach",
        "float[1,2] x",
        TREE,
        "2.0",
        "3.0",
        domains=', "ai.onnx.ml" : 3',
        at={"x": [[2e6, 0.0]]},
    ),
    stored("weights rounded to float16 but for one", PRODUCT, "y = MatMul(x, w)", {"w": WEIGHT}, {"w": wrong}),
    stored(
        "a channel that float16 rounds to nothing",
        PRODUCT,
        "t = MatMul(x, w) y = Mul(t, s)",
        {"w": tiny, "s": big},
        {"w": tiny.astype(np.float16).astype(np.float32)},
        exits=NOT_SAME,
    ),
    quantized("an int8 weight off by three steps in one place", twice),
    quantized(
        "an int8 weight of another scale in one channel",
        scale=(SCALE * np.where(np.arange(8) == 2, 1.02, 1)).astype(np.float32),
    ),
    quantized("an int8 weight of another zero point", zero=np.full(8, 1, np.int8)),
    quantized("a grid so coarse that every weight is nearest to zero", np.zeros_like(CODES), np.array(1000.0, np.float32)),
    quantized("int8 codes that cut an outlier off", np.clip(CODES, -100, 100)),
    stored(
        "another zero point of the activations",
        PRODUCT,
        EDGE,
        {"s": 0.05, "z": np.uint8(128), "w": WEIGHT},
        {"z": np.uint8(100)},
        at=9.0,
    ),
    stored(
        "another scale of the activations", PRODUCT, EDGE, {"s": 0.05, "z": np.uint8(128), "w": WEIGHT}, {"s": 0.02}, at=9.0
    ),
    varied("noise of another seed", ROWS, "n = RandomNormalLike <seed = @> (x) y = Add(x, n)", "1.0", "2.0", exits=NOT_SAME),
    stored(
        "an output that is constant",
        ROWS,
        "t = Mul(x, zero) y = Add(t, c)",
        {"zero": 0.0, "c": 0.5},
        {"c": 0.5001},
        exits=NOT_SAME,
    ),
    stored(
        "codes of seven bits below zero", PRODUCT, EDGE, {"s": 0.05, "z": np.int8(0), "w": WEIGHT}, {"z": np.uint8(127)}, at=9.0
    ),
]
