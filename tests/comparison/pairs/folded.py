"""Networks whose nodes are moved, merged or folded."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.comparison.pairs.writing import IDS, IMAGE, NOT_DIFFERENT, ROWS, alike, constant, network, same

W33: dict[str, Any] = {"w": (4, 3, 3, 3)}
FACTORS = np.abs(constant("factors", (4,))).reshape(1, 4, 1, 1)
ATTENTION = {"w": (8, 24), "b": (24,)}
NHWC = "float[1,8,8,3] x"
NORM: dict[str, Any] = {"w": (4, 3, 3, 3), "s": (4,), "b": (4,), "m": (4,), "v": [0.3, 1.0, 2.0, 7.0]}
by = constant("s", (4,)) / np.sqrt(np.array(NORM["v"]) + 1e-5)
NORM |= {
    "fw": (constant("w", (4, 3, 3, 3)) * by[:, None, None, None]).astype(np.float32),
    "fb": (constant("b", (4,)) - constant("m", (4,)) * by).astype(np.float32),
}
QKV = np.concatenate([constant(name, (8, 4)) for name in ("q", "k", "v")], 1)
LOCAL = """<domain: "local", opset_import: ["" : 18]> Act <alpha: float = 0.1> (a) => (b)
{ b = LeakyRelu <alpha: float = @alpha> (a) }"""
ODD = np.array([np.nan, -0.0, np.inf, 1.0, 2.0, 3.0, 4.0, 5.0], np.float32)
scale = constant("sc4", (4,))
wide = constant("tw", (4, 2, 3, 3))
wrong, right = wide.copy(), wide * 1.0
right[:2] *= np.abs(scale[:2]).reshape(1, 2, 1, 1)
right[2:] *= np.abs(scale[2:]).reshape(1, 2, 1, 1)
wrong = wide * np.abs(scale).reshape(4, 1, 1, 1)

LEFT, RIGHT = "float[1,8] u", "float[1,8] v"

PAIRS = [
    alike(
        "a transpose moved through",
        IMAGE,
        "t = Transpose <perm = [0,2,3,1]> (x) r = Relu(t) y = Mul(r, c)",
        "r = Relu(x) m = Mul(r, d) y = Transpose <perm = [0,2,3,1]> (m)",
        {"c": (3,), "d": constant("c", (3,)).reshape(1, 3, 1, 1)},
    ),
    alike(
        "layout changed and changed back",
        IMAGE,
        "c = Conv(x, w) y = Relu(c)",
        "a = Transpose <perm = [0,2,3,1]> (x) b = Transpose <perm = [0,3,1,2]> (a) "
        "c = Conv(b, w) d = Transpose <perm = [0,2,3,1]> (c) "
        "e = Relu(d) y = Transpose <perm = [0,3,1,2]> (e)",
        W33,
    ),
    alike(
        "a reduction on either side of a transpose",
        IMAGE,
        "t = Transpose <perm = [0,2,3,1]> (x) y = ReduceMean <keepdims = 0> (t, a)",
        "y = ReduceMean <keepdims = 0> (x, b)",
        {"a": [1, 2], "b": [2, 3]},
    ),
    alike(
        "Concat on either side of a transpose",
        IMAGE,
        "a = Relu(x) b = Tanh(x) c = Concat <axis = 1> (a, b) y = Transpose <perm = [0,2,3,1]> (c)",
        "t = Transpose <perm = [0,2,3,1]> (x) a = Relu(t) b = Tanh(t) y = Concat <axis = 3> (a, b)",
        exits=NOT_DIFFERENT,
    ),
    alike(
        "split and put together",
        ROWS,
        "a, b = Split <axis = 2, num_outputs = 2> (x) c = Concat <axis = 2> (a, b) y = Relu(c)",
        "y = Relu(x)",
        exits=NOT_DIFFERENT,
    ),
    alike(
        "reshaped and back",
        ROWS,
        "a = Reshape(x, f) b = Relu(a) y = Reshape(b, g)",
        "y = Relu(x)",
        {"f": [48], "g": [1, 6, 8]},
    ),
    alike("Flatten and Reshape", IMAGE, "y = Flatten(x)", "y = Reshape(x, s)", {"s": [0, -1]}),
    alike(
        "a shape that is computed",
        "float[N,3,8,8] x",
        "y = Flatten(x)",
        "s = Shape(x) b = Gather <axis = 0> (s, zero) u = Unsqueeze(b, axis) c = Concat <axis = 0> (u, rest) y = Reshape(x, c)",
        {"zero": np.int64(0), "axis": [0], "rest": [-1]},
    ),
    alike(
        "one part of a shape",
        "float[N,6,8] x",
        "s = Shape(x) f = Slice(s, zero, one) c = Concat <axis = 0> (f, rest) y = Reshape(x, c)",
        "f = Shape <end = 1> (x) c = Concat <axis = 0> (f, rest) y = Reshape(x, c)",
        {"zero": [0], "one": [1], "rest": [-1]},
    ),
    alike(
        "a subexpression computed twice",
        ROWS,
        "a = MatMul(x, w) b = Relu(a) y = Mul(b, a)",
        "a = MatMul(x, w) c = MatMul(x, w) b = Relu(c) y = Mul(b, a)",
        {"w": (8, 8)},
    ),
    alike(
        "a BatchNormalization folded",
        IMAGE,
        "t = Conv(x, w) y = BatchNormalization(t, s, b, m, v)",
        "y = Conv(x, fw, fb)",
        NORM,
    ),
    alike(
        "a BatchNormalization as a product and a sum",
        IMAGE,
        "y = BatchNormalization(x, s, b, m, v)",
        "t = Mul(x, f) y = Add(t, g)",
        {
            "s": [1.0, 2.0, 3.0],
            "b": [0.5, 0.0, 1.0],
            "m": [1.0, 1.0, 2.0],
            "v": [1.0, 4.0, 9.0],
            "f": (np.array([1.0, 2.0, 3.0]) / np.sqrt(np.array([1.0, 4.0, 9.0]) + 1e-5)).reshape(1, 3, 1, 1).astype(np.float32),
            "g": (
                np.array([0.5, 0.0, 1.0])
                - np.array([1.0, 1.0, 2.0]) * np.array([1.0, 2.0, 3.0]) / np.sqrt(np.array([1.0, 4.0, 9.0]) + 1e-5)
            )
            .reshape(1, 3, 1, 1)
            .astype(np.float32),
        },
    ),
    alike(
        "a factor in front of a product",
        ROWS,
        "t = Mul(x, c) y = MatMul(t, w)",
        "y = MatMul(x, v)",
        {"c": (8,), "w": (8, 4), "v": constant("c", (8,))[:, None] * constant("w", (8, 4))},
    ),
    alike(
        "equal biases merged",
        ROWS,
        "t = MatMul(x, w) u = Add(t, b) r = Relu(u) v = MatMul(r, z) y = Add(v, c)",
        "t = MatMul(x, w) u = Add(t, b) r = Relu(u) v = MatMul(r, z) y = Add(v, b)",
        {"w": (8, 8), "z": (8, 8), "b": (8,), "c": constant("b", (8,))},
    ),
    alike(
        "queries, keys and values in one product",
        ROWS,
        "a = MatMul(x, q) b = MatMul(x, k) c = MatMul(x, v) "
        "t = Transpose <perm = [0,2,1]> (b) s = MatMul(a, t) p = Softmax(s) y = MatMul(p, c)",
        "f = MatMul(x, all) a, b, c = Split <axis = 2, num_outputs = 3> (f) "
        "t = Transpose <perm = [0,2,1]> (b) s = MatMul(a, t) "
        "p = Softmax(s) y = MatMul(p, c)",
        {"q": (8, 4), "k": (8, 4), "v": (8, 4), "all": QKV},
        exits=NOT_DIFFERENT,
    ),
    alike("Identity and Dropout", ROWS, "a = Dropout(x, half) b = Identity(a) y = Relu(b)", "y = Relu(x)", {"half": 0.5}),
    alike("nodes that nothing reads", ROWS, "a = Tanh(x) b = MatMul(a, w) y = Relu(x)", "y = Relu(x)", {"w": (8, 3)}),
    alike(
        "Where of a constant condition",
        ROWS,
        "t = Tanh(x) r = Relu(x) y = Where(c, t, r)",
        "y = Tanh(x)",
        {"c": np.array(True)},
        exits=NOT_DIFFERENT,
    ),
    alike(
        "an If of a constant condition",
        ROWS,
        """y = If(c) <then_branch = a () => (float[1,6,8] p) { p = Relu(x) },
          else_branch = b () => (float[1,6,8] q) { q = Tanh(x) }>""",
        "y = Relu(x)",
        {"c": np.array(True)},
        exits=NOT_DIFFERENT,
    ),
    alike(
        "a loop written out",
        ROWS,
        """y = Loop(n, , x) <body = step (int64 i, bool c, float[1,6,8] a) => (bool d, float[1,6,8] b)
          { d = Identity(c) b = Mul(a, half) }>""",
        "t = Mul(x, half) y = Mul(t, half)",
        {"n": np.int64(2), "half": 0.5},
        exits=NOT_DIFFERENT,
    ),
    same(
        "a local function, and what it stands for",
        network(ROWS, "y = local.Act(x)", functions=LOCAL, domains=', "local" : 1'),
        network(ROWS, "y = LeakyRelu <alpha = 0.1> (x)"),
    ),
    same(
        "a function whose attribute is given",
        network(ROWS, "y = local.Act <alpha = 0.3> (x)", functions=LOCAL, domains=', "local" : 1'),
        network(ROWS, "y = LeakyRelu <alpha = 0.3> (x)"),
    ),
    same(
        "names and order",
        network("float[1,8] x, float[1,8] z", "a = Relu(x) b = Tanh(z) y = Sub(a, b)"),
        network("float[1,8] left, float[1,8] right", "t2 = Tanh(right) t1 = Relu(left) out = Sub(t1, t2)", outputs="float out"),
    ),
    same(
        "not a number, equal to itself",
        network(ROWS, "t = Max(x, c) y = Relu(t)", {"c": ODD}),
        network(ROWS, "q = Max(x, d) y = Relu(q)", {"d": ODD.copy()}),
    ),
    alike(
        "a shift of Softmax by one number",
        ROWS,
        "m = Add(x, c) y = Softmax(m)",
        "y = Softmax(x)",
        {"c": 0.5},
        exits=NOT_DIFFERENT,
    ),
    alike(
        "a slice of a slice, merged",
        ROWS,
        "a = Slice(x, two, end, ax) y = Slice(a, one, three, ax)",
        "y = Slice(x, three, five, ax)",
        {"one": [1], "two": [2], "three": [3], "five": [5], "end": [8], "ax": [2]},
    ),
    alike(
        "division of integers, folded",
        IDS,
        "c = Div(a, b) y = Add(x, c)",
        "y = Add(x, d)",
        {"a": np.int64(-7), "b": np.int64(2), "d": np.int64(-3)},
        outputs="int64 y",
    ),
    alike(
        "a remainder, folded",
        IDS,
        "c = Mod(a, b) y = Add(x, c)",
        "y = Add(x, d)",
        {"a": np.int64(-7), "b": np.int64(3), "d": np.int64(2)},
        outputs="int64 y",
    ),
    alike(
        "Max of Min and Min of Max",
        ROWS,
        "m = Max(x, lo) y = Min(m, hi)",
        "m = Min(x, hi) y = Max(m, lo)",
        {"lo": -1.0, "hi": 2.0},
    ),
    alike(
        "two ranges as one",
        ROWS,
        "m = Clip(x, lo, hi) y = Clip(m, zero, two)",
        "y = Clip(x, zero, one)",
        {"lo": -1.0, "hi": 1.0, "zero": 0.0, "two": 2.0, "one": 1.0},
        exits=NOT_DIFFERENT,
    ),
    alike("PRelu of one slope", ROWS, "y = PRelu(x, c)", "y = LeakyRelu <alpha = 0.25> (x)", {"c": 0.25}, exits=NOT_DIFFERENT),
    alike(
        "the larger of x and a tenth",
        ROWS,
        "y = LeakyRelu <alpha = 0.1> (x)",
        "m = Mul(x, c) y = Max(x, m)",
        {"c": 0.1},
        exits=NOT_DIFFERENT,
    ),
    alike(
        "two products as one",
        ROWS,
        "t = MatMul(x, w) y = MatMul(t, v)",
        "y = MatMul(x, u)",
        {"w": (8, 4), "v": (4, 8), "u": constant("w", (8, 4)) @ constant("v", (4, 8))},
        exits=NOT_DIFFERENT,
    ),
    alike(
        "an adapter merged",
        ROWS,
        "p = MatMul(x, w) t = MatMul(x, a) u = MatMul(t, b) y = Add(p, u)",
        "y = MatMul(x, m)",
        {"w": (8, 8), "a": (8, 2), "b": (2, 8), "m": constant("w", (8, 8)) + constant("a", (8, 2)) @ constant("b", (2, 8))},
        exits=NOT_DIFFERENT,
    ),
    alike("twice", ROWS, "y = Add(x, x)", "y = Mul(x, c)", {"c": 2.0}),
    alike(
        "normalized by instance or by as many groups",
        IMAGE,
        "y = InstanceNormalization(x, s, b)",
        "r = Reshape(x, f) m = ReduceMean(r, a) d = Sub(r, m) q = Mul(d, d) "
        "v = ReduceMean(q, a) e = Add(v, eps) k = Sqrt(e) n = Div(d, k) "
        "o = Reshape(n, g) t = Mul(o, sc) y = Add(t, bc)",
        {
            "s": (3,),
            "b": (3,),
            "f": [1, 3, 64],
            "a": [2],
            "eps": 1e-5,
            "g": [1, 3, 8, 8],
            "sc": constant("s", (3,)).reshape(1, 3, 1, 1),
            "bc": constant("b", (3,)).reshape(1, 3, 1, 1),
        },
        exits=NOT_DIFFERENT,
    ),
    alike(
        "factors folded into a transposed convolution of groups",
        "float[1,4,4,4] x",
        "c = ConvTranspose <group = 2> (x, tw) y = Mul(c, f)",
        "y = ConvTranspose <group = 2> (x, v)",
        {
            "tw": (4, 2, 3, 3),
            "f": FACTORS,
            "v": constant("tw", (4, 2, 3, 3)) * FACTORS.reshape(2, 1, 2, 1, 1).repeat(2, 1).reshape(4, 2, 1, 1),
        },
    ),
    same(
        "inputs listed in another order",
        network(f"{LEFT}, {RIGHT}", "y = Sub(u, v)"),
        network(f"{RIGHT}, {LEFT}", "y = Sub(u, v)"),
        NOT_DIFFERENT,
    ),
]
