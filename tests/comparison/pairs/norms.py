"""Normalizations that are folded wrongly, or nearly the same."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.comparison.pairs.writing import DIFFERENT, IMAGE, NOT_SAME, ROWS, Pair, apart, constant, network, varied

FACTORS = np.abs(constant("factors", (4,))).reshape(1, 4, 1, 1)
NORM = {"s": [1e3, 1.0, 1e-3, 1.0], "b": (4,), "m": (4,), "v": [1.0, 2.0, 0.5, 1.0], "w": (4, 3, 3, 3)}


def folded(eps: float = 1e-5, off: float = 0.0) -> dict[str, Any]:
    scale = np.array(NORM["s"]) / np.sqrt(np.array(NORM["v"]) + eps)
    bias = constant("b", (4,)) - constant("m", (4,)) * scale
    bias[2] += off
    return {"fw": (constant("w", (4, 3, 3, 3)) * scale[:, None, None, None]).astype(np.float32), "fb": bias.astype(np.float32)}


NORMED = "m = ReduceMean(x, a) d = Sub(x, m) q = Mul(d, d) v = ReduceMean(q, a) @ y = Div(d, r)"
VARIANCE = {"a": [2], "eps": 0.01, "more": np.float32(8 / 7)}

PAIRS = [
    apart(
        "a norm without its mean",
        ROWS,
        "y = LayerNormalization <epsilon = 0.01> (x, s)",
        "q = Mul(x, x) v = ReduceMean(q, a) e = Add(v, eps) r = Sqrt(e) d = Div(x, r) y = Mul(d, s)",
        {"s": (8,), "a": [2], "eps": 0.01},
    ),
    apart(
        "the mean and the inverse spread that LayerNormalization gives too",
        ROWS,
        "t, y, z = LayerNormalization(x, s)",
        "t, z, y = LayerNormalization(x, s)",
        {"s": (8,)},
    ),
    apart(
        "factors folded into the wrong channels of a transposed convolution of groups",
        "float[1,4,4,4] x",
        "c = ConvTranspose <group = 2> (x, tw) y = Mul(c, f)",
        "y = ConvTranspose <group = 2> (x, v)",
        {"tw": (4, 2, 3, 3), "f": FACTORS, "v": constant("tw", (4, 2, 3, 3)) * FACTORS.reshape(4, 1, 1, 1)},
    ),
    apart(
        "a factor in front of LayerNormalization, which its epsilon sees",
        ROWS,
        "m = Mul(x, c) y = LayerNormalization(m, s)",
        "y = LayerNormalization(x, s)",
        {"c": 0.001, "s": (8,)},
    ),
    *(
        Pair(
            name,
            network(IMAGE, "t = Conv(x, w) y = BatchNormalization(t, s, b, m, v)", NORM),
            network(IMAGE, "y = Conv(x, fw, fb)", given),
            exits,
        )
        for name, given, exits in (
            ("a BatchNormalization folded with another epsilon", folded(1e-3), NOT_SAME),
            ("a BatchNormalization folded with a small channel's bias off by a hundredth", folded(off=0.015), DIFFERENT),
        )
    ),
    *(
        varied(name, ROWS, NORMED, "e = Add(v, eps) r = Sqrt(e)", text, VARIANCE, exits=NOT_SAME, at=0.3)
        for name, text in (
            ("epsilon outside the root", "s = Sqrt(v) r = Add(s, eps)"),
            ("epsilon as a floor", "f = Max(v, eps) r = Sqrt(f)"),
            ("a variance over n − 1", "u = Mul(v, more) e = Add(u, eps) r = Sqrt(e)"),
            ("a spread without its root", "r = Add(v, eps)"),
        )
    ),
]
