"""Networks written with other operators or attributes."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.comparison.pairs.writing import IMAGE, NOT_DIFFERENT, ROWS, SQUARE, alike, constant, network, same

W33: dict[str, Any] = {"w": (4, 3, 3, 3)}
DENSE = np.zeros((3, 3, 3, 3), np.float32)
DENSE[[0, 1, 2], [0, 1, 2]] = constant("narrow", (3, 1, 3, 3))[:, 0]

PAIRS = [
    alike(
        "defaults written out",
        IMAGE,
        "c = Conv(x, w) y = LeakyRelu(c)",
        'c = Conv <auto_pad = "NOTSET", strides = [1,1], dilations = [1,1], group = 1, pads = [0,0,0,0], '
        "kernel_shape = [3,3]> (x, w) "
        "y = LeakyRelu <alpha = 0.01> (c)",
        W33,
    ),
    alike(
        "auto_pad and pads",
        IMAGE,
        'y = Conv <auto_pad = "SAME_UPPER", strides = [2,2]> (x, w)',
        "y = Conv <pads = [0,0,1,1], strides = [2,2]> (x, w)",
        W33,
    ),
    alike("VALID is no padding", IMAGE, 'y = Conv <auto_pad = "VALID"> (x, w)', "y = Conv(x, w)", W33),
    alike("holes in a 1 × 1 convolution", IMAGE, "y = Conv <dilations = [2,2]> (x, w)", "y = Conv(x, w)", {"w": (4, 3, 1, 1)}),
    alike(
        "ceil_mode where the size divides",
        IMAGE,
        "y = MaxPool <kernel_shape = [2,2], strides = [2,2], ceil_mode = 1> (x)",
        "y = MaxPool <kernel_shape = [2,2], strides = [2,2]> (x)",
    ),
    alike(
        "axes counted from the end",
        ROWS,
        "s = Softmax <axis = -1> (x) y = ReduceMean <keepdims = 0> (s, i)",
        "s = Softmax <axis = 2> (x) y = ReduceMean <keepdims = 0> (s, j)",
        {"i": [-2], "j": [1]},
    ),
    alike(
        "a slice to the end",
        ROWS,
        "y = Slice(x, a, b, d)",
        "y = Slice(x, a, e, d)",
        {"a": [2], "b": [8], "e": [2**63 - 1], "d": [2]},
    ),
    alike(
        "the last of 8",
        ROWS,
        "y = Gather <axis = 2> (x, i)",
        "y = Gather <axis = 2> (x, j)",
        {"i": np.int64(-1), "j": np.int64(7)},
    ),
    alike(
        "one row by Gather, by Slice and by Split",
        ROWS,
        "y = Gather <axis = 1> (x, i)",
        "s = Slice(x, i1, i2, a) y = Squeeze(s, a)",
        {"i": np.int64(2), "i1": [2], "i2": [3], "a": [1]},
    ),
    alike("Clip with and without a bound that is none", ROWS, "y = Clip(x, zero)", "y = Relu(x)", {"zero": 0.0}),
    alike(
        "Relu6 in three ways",
        ROWS,
        "y = Clip(x, zero, six)",
        "r = Max(x, zero) y = Min(six, r)",
        {"zero": 0.0, "six": 6.0},
        at=9.0,
    ),
    same(
        "constants as nodes",
        network(ROWS, "t = MatMul(x, w) u = Mul(t, c) y = Reshape(u, s)", {"w": (8, 4), "c": 0.5, "s": [6, 4]}),
        network(
            ROWS,
            "s = Constant <value_ints = [6,4]> () c = Constant <value_float = 0.5> () "
            "t = MatMul(x, w) u = Mul(t, c) y = Reshape(u, s)",
            {"w": (8, 4)},
        ),
    ),
    alike(
        "Upsample to a size",
        IMAGE,
        'y = Resize <mode = "nearest", coordinate_transformation_mode = "asymmetric", nearest_mode = "floor"> (x, , s)',
        'y = Resize <mode = "nearest", coordinate_transformation_mode = "asymmetric", nearest_mode = "floor"> (x, , , z)',
        {"s": [1.0, 1.0, 2.0, 2.0], "z": [1, 3, 16, 16]},
    ),
    alike("a flag that no size reads", ROWS, "y = Cast <to = 1> (x)", "y = Identity(x)"),
    alike("subtract, or add the negative", ROWS, "n = Neg(c) y = Add(x, n)", "y = Sub(x, c)", {"c": (8,)}),
    alike(
        "three in one sum",
        ROWS,
        "a = Relu(x) b = Tanh(x) y = Sum(a, x, b)",
        "a = Relu(x) b = Tanh(x) t = Add(b, a) y = Add(x, t)",
    ),
    alike("the mean of two", ROWS, "a = Relu(x) y = Mean(a, x)", "a = Relu(x) t = Add(x, a) y = Mul(t, c)", {"c": 0.5}),
    alike(
        "a residual's bias in another place",
        ROWS,
        "t = MatMul(x, w) u = Add(t, b) y = Add(x, u)",
        "t = MatMul(x, w) u = Add(x, t) y = Add(b, u)",
        {"w": (8, 8), "b": (8,)},
    ),
    alike("squares", ROWS, "y = Pow(x, two)", "y = Mul(x, x)", {"two": 2.0}),
    alike("a root of positive numbers", ROWS, "a = Abs(x) y = Pow(a, half)", "a = Abs(x) y = Sqrt(a)", {"half": 0.5}),
    alike(
        "one over the root",
        ROWS,
        "a = Exp(x) s = Sqrt(a) y = Div(x, s)",
        "a = Exp(x) s = Sqrt(a) r = Reciprocal(s) y = Mul(r, x)",
    ),
    alike(
        "divide, or multiply by the inverse",
        ROWS,
        "t = Div(x, c) y = Softmax(t)",
        "t = Mul(x, d) y = Softmax(t)",
        {"c": np.float32(np.sqrt(7)), "d": np.float32(1 / np.sqrt(7))},
    ),
    alike(
        "ones and zeros",
        ROWS,
        "t = Mul(x, one) u = Add(t, zero) y = Relu(u)",
        "y = Relu(x)",
        {"one": 1.0, "zero": (1.0 * np.zeros(8, np.float32))},
    ),
    alike("the larger, and the smaller of the negatives", ROWS, "y = Max(x, c)", "y = Max(c, x)", {"c": (8,)}),
    alike(
        "greater is less the other way round",
        "float[1,6,8] x, float[1,6,8] z",
        "g = Greater(x, z) y = Where(g, x, z)",
        "g = Less(z, x) y = Where(g, x, z)",
    ),
    alike(
        "not less is greater or equal",
        ROWS,
        "l = Less(x, c) n = Not(l) y = Cast <to = 1> (n)",
        "g = GreaterOrEqual(x, c) y = Cast <to = 1> (g)",
        {"c": 0.5},
        exits=NOT_DIFFERENT,
    ),
    alike(
        "branches of Where exchanged",
        ROWS,
        "l = Less(x, c) y = Where(l, x, c)",
        "l = Less(x, c) n = Not(l) y = Where(n, c, x)",
        {"c": 0.5},
        exits=NOT_DIFFERENT,
    ),
    alike(
        "a sigmoid from its parts",
        ROWS,
        "y = Sigmoid(x)",
        "n = Neg(x) e = Exp(n) d = Add(e, one) y = Reciprocal(d)",
        {"one": 1.0},
        exits=NOT_DIFFERENT,
    ),
    alike(
        "tanh from a sigmoid",
        ROWS,
        "y = Tanh(x)",
        "d = Mul(x, two) s = Sigmoid(d) e = Mul(s, two) y = Sub(e, one)",
        {"one": 1.0, "two": 2.0},
        exits=NOT_DIFFERENT,
    ),
    alike(
        "a softmax from its parts",
        ROWS,
        "y = Softmax <axis = -1> (x)",
        "m = ReduceMax(x, a) d = Sub(x, m) e = Exp(d) s = ReduceSum(e, a) y = Div(e, s)",
        {"a": [-1]},
        exits=NOT_DIFFERENT,
    ),
    alike(
        "HardSwish from its parts",
        ROWS,
        "y = HardSwish(x)",
        "t = Add(x, three) r = Clip(t, zero, six) m = Mul(x, r) y = Div(m, six)",
        {"zero": 0.0, "three": 3.0, "six": 6.0},
        at=4.0,
    ),
    alike(
        "LayerNormalization from its parts",
        ROWS,
        "y = LayerNormalization <epsilon = 0.001> (x, s, b)",
        "m = ReduceMean(x, a) d = Sub(x, m) q = Mul(d, d) v = ReduceMean(q, a) e = Add(v, eps) r = Sqrt(e) n = Div(d, r) "
        "t = Mul(n, s) y = Add(t, b)",
        {"s": (8,), "b": (8,), "a": [2], "eps": 0.001},
    ),
    alike(
        "Einsum and MatMul",
        SQUARE,
        'y = Einsum <equation = "ij,kj->ik"> (x, w)',
        "t = Transpose <perm = [1,0]> (w) y = MatMul(x, t)",
        {"w": (8, 8)},
        exits=NOT_DIFFERENT,
    ),
    alike(
        "Gemm and its parts",
        SQUARE,
        "y = Gemm <alpha = 0.5, beta = 2.0, transB = 1> (x, w, b)",
        "t = Transpose <perm = [1,0]> (w) p = MatMul(x, t) q = Mul(p, half) c = Mul(b, two) y = Add(q, c)",
        {"w": (8, 8), "b": (8,), "half": 0.5, "two": 2.0},
    ),
    alike(
        "a product on the other side",
        SQUARE,
        "y = MatMul(x, w)",
        "u = Transpose <perm = [1,0]> (w) t = Transpose <perm = [1,0]> (x) p = MatMul(u, t) y = Transpose <perm = [1,0]> (p)",
        {"w": (8, 8)},
        exits=NOT_DIFFERENT,
    ),
    alike(
        "a 1 × 1 convolution is a product",
        IMAGE,
        "y = Conv(x, w)",
        "r = Reshape(w, two) f = Reshape(x, flat) p = MatMul(r, f) y = Reshape(p, back)",
        {"w": (4, 3, 1, 1), "two": [4, 3], "flat": [1, 3, 64], "back": [1, 4, 8, 8]},
        exits=NOT_DIFFERENT,
    ),
    alike(
        "a convolution of lines as one of pictures",
        "float[1,3,16] x",
        "y = Conv <pads = [1,1]> (x, w)",
        "u = Unsqueeze(x, a) v = Unsqueeze(w, a) c = Conv <pads = [0,1,0,1]> (u, v) y = Squeeze(c, a)",
        {"w": (4, 3, 3), "a": [2]},
        exits=NOT_DIFFERENT,
    ),
    alike(
        "a mean over all pixels",
        IMAGE,
        "g = GlobalAveragePool(x) y = Flatten(g)",
        "y = ReduceMean <keepdims = 0> (x, a)",
        {"a": [2, 3]},
    ),
    alike("a pool of the whole picture", IMAGE, "y = GlobalAveragePool(x)", "y = AveragePool <kernel_shape = [8,8]> (x)"),
    alike("a sum over the size", ROWS, "y = ReduceMean(x, a)", "s = ReduceSum(x, a) y = Mul(s, c)", {"a": [2], "c": 0.125}),
    alike("the largest of all pixels", IMAGE, "y = GlobalMaxPool(x)", "y = ReduceMax(x, a)", {"a": [2, 3]}),
    alike("the length of a row", ROWS, "y = ReduceL2(x, a)", "q = Mul(x, x) s = ReduceSum(q, a) y = Sqrt(s)", {"a": [2]}),
    alike(
        "DepthToSpace from its parts",
        "float[1,8,4,4] x",
        'y = DepthToSpace <blocksize = 2, mode = "CRD"> (x)',
        "r = Reshape(x, six) t = Transpose <perm = [0,1,4,2,5,3]> (r) y = Reshape(t, four)",
        {"six": [1, 2, 2, 2, 4, 4], "four": [1, 2, 8, 8]},
    ),
    alike(
        "padding in the pool",
        IMAGE,
        "y = AveragePool <kernel_shape = [3,3], pads = [1,1,1,1], count_include_pad = 1> (x)",
        "p = Pad(x, pads) y = AveragePool <kernel_shape = [3,3]> (p)",
        {"pads": [0, 0, 1, 1, 0, 0, 1, 1]},
        exits=NOT_DIFFERENT,
    ),
    alike(
        "zeros around positive numbers in a pool for the largest",
        IMAGE,
        "r = Relu(x) y = MaxPool <kernel_shape = [3,3], pads = [1,1,1,1]> (r)",
        "r = Relu(x) p = Pad(r, pads) y = MaxPool <kernel_shape = [3,3]> (p)",
        {"pads": [0, 0, 1, 1, 0, 0, 1, 1]},
        exits=NOT_DIFFERENT,
    ),
    alike(
        "Expand before what broadcasts", ROWS, "e = Expand(c, s) y = Add(x, e)", "y = Add(x, c)", {"c": (8,), "s": [1, 6, 8]}
    ),
    alike(
        "Tile and Concat",
        ROWS,
        "r = Relu(x) y = Tile(r, n)",
        "r = Relu(x) y = Concat <axis = 1> (r, r)",
        {"n": [1, 2, 1]},
        exits=NOT_DIFFERENT,
    ),
    alike(
        "a bias of zeros", IMAGE, "z = ConstantOfShape(n) y = Conv(x, w, z)", "y = Conv(x, w)", {"w": (4, 3, 3, 3), "n": [4]}
    ),
    alike(
        "a depthwise convolution written densely",
        IMAGE,
        "y = Conv <group = 3> (x, narrow)",
        "y = Conv(x, dense)",
        {"narrow": (3, 1, 3, 3), "dense": DENSE},
        exits=NOT_DIFFERENT,
    ),
]
