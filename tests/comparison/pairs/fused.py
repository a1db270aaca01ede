"""Attributes of the operators that onnxruntime fuses, and of rarer ones."""

from __future__ import annotations

import numpy as np

from tests.comparison.pairs.writing import IMAGE, MICROSOFT, NOT_SAME, ROWS, SQUARE, Pair, apart, network, varied

ATTENTION = {"w": (8, 24), "b": (24,)}
ROI = {"r": np.array([[0.5, 0.5, 5.0, 6.0]], np.float32), "b": [0]}
ALIGN = "y = RoiAlign <output_height = 3, output_width = 3, sampling_ratio = 2> (x, r, b)"

PAIRS = [
    varied(
        "Attention with other heads",
        ROWS,
        "y = com.microsoft.Attention <num_heads = @> (x, w, b)",
        "2",
        "4",
        constants=ATTENTION,
        domains=MICROSOFT,
    ),
    varied(
        "Attention that does not see what follows",
        ROWS,
        "y = com.microsoft.Attention <num_heads = 2, unidirectional = @> (x, w, b)",
        "0",
        "1",
        constants=ATTENTION,
        domains=MICROSOFT,
    ),
    apart(
        "Attention that sees what follows against one that does not, written out",
        ROWS,
        "y = com.microsoft.Attention <num_heads = 1, unidirectional = 1> (x, w, b)",
        "f = MatMul(x, w) g = Add(f, b) q, k, v = Split <axis = 2, num_outputs = 3> (g) "
        "t = Transpose <perm = [0,2,1]> (k) s = MatMul(q, t) d = Mul(s, c) "
        "p = Softmax(d) y = MatMul(p, v)",
        ATTENTION | {"c": np.float32(8**-0.5)},
        domains=MICROSOFT,
    ),
    varied(
        "a fused product's factor",
        SQUARE,
        "y = com.microsoft.FusedMatMul <alpha = @> (x, w)",
        "1.0",
        "0.5",
        constants={"w": (8, 8)},
        domains=MICROSOFT,
    ),
    varied(
        "a fused product's transpose",
        SQUARE,
        "y = com.microsoft.FusedMatMul <transB = @> (x, w)",
        "0",
        "1",
        constants={"w": (8, 8)},
        domains=MICROSOFT,
    ),
    varied(
        "the fused activation of a convolution",
        IMAGE,
        "y = com.microsoft.FusedConv <activation = @> (x, w)",
        '"Relu"',
        '"Tanh"',
        constants={"w": (4, 3, 3, 3)},
        domains=MICROSOFT,
    ),
    varied("QuickGelu's factor", ROWS, "y = com.microsoft.QuickGelu <alpha = @> (x)", "1.702", "1.0", domains=MICROSOFT),
    varied(
        "BiasGelu and FastGelu",
        ROWS,
        "y = com.microsoft.@ (x, b)",
        "BiasGelu",
        "FastGelu",
        constants={"b": (8,)},
        domains=MICROSOFT,
        exits=NOT_SAME,
    ),
    varied(
        "epsilon of SkipLayerNormalization",
        ROWS + ", float[1,6,8] z",
        "y = com.microsoft.SkipLayerNormalization <epsilon = @> (x, z, s)",
        "1e-5",
        "1e-2",
        constants={"s": (8,)},
        domains=MICROSOFT,
        at=0.3,
    ),
    varied(
        "a grid whose corners lie elsewhere",
        IMAGE,
        "y = GridSample <align_corners = @> (x, g)",
        "0",
        "1",
        constants={"g": np.random.default_rng(0).uniform(-1, 1, (1, 4, 4, 2)).astype(np.float32)},
    ),
    Pair(
        "RoiAlign of opset 10 and of 16 read other pixels",
        network(IMAGE, ALIGN, ROI, opset=10),
        network(IMAGE, ALIGN, ROI, opset=16),
        NOT_SAME,
    ),
    varied(
        "labels",
        "int64[1,3] x",
        "y = ai.onnx.ml.LabelEncoder <keys_int64s = [0,1,2,3,4,5,6,7], values_floats = [0.0,1.0,2.0,3.0,4.0,5.0,6.0,@]> (x)",
        "7.0",
        "8.0",
        domains=', "ai.onnx.ml" : 3',
        at={"x": [[1, 2, 7]]},
    ),
]
