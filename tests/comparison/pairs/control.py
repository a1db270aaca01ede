"""Triggers, branches, loops, randomness, and what stands in front of a network or behind it."""

from __future__ import annotations

import numpy as np

from tests.comparison.pairs.writing import DIFFERENT, IDS, IMAGE, NOT_SAME, ROWS, Pair, apart, constant, network, stored, varied

LOOP = {"count": np.int64(3), "one": 1.0, "half": 0.5}
MEAN = np.array([0.485, 0.456, 0.406], np.float32).reshape(1, 3, 1, 1)
FRONT = {
    "w": (4, 3, 3, 3),
    "g": 2.2,
    "mean": MEAN,
    "small": 1 / 255,
    "zero": [0],
    "one": [1],
    "three": [3],
    "back": [-1],
    "start": [-1],
    "end": [-(2**31)],
}
BRANCHES = """m = ReduceMax <keepdims = 0> (x) g = Greater(m, far) s = Squeeze(g)
y = If(s) <then_branch = yes () => (float[1,6,8] p) { p = Mul(x, @) },
else_branch = no () => (float[1,6,8] q) { q = Neg(x) }>"""
LOOPED = """y = Loop(count, , x) <body = step (int64 i, bool c, float[1,6,8] a) => (bool d, float[1,6,8] b)
{ d = Identity(c) f = Cast <to = 1> (i) g = Add(f, one) t = Mul(a, @) b = Add(t, g) }>"""
LOCAL = (
    '<domain: "local", opset_import: ["" : 18]> Act <alpha: float = @> (a) => (b) { b = LeakyRelu <alpha: float = @alpha> (a) }'
)
BODY = '<domain: "local", opset_import: ["" : 18]> Act(a) => (b) { c = Constant <value_float = @> () b = Mul(a, c) }'
made = [
    network(ROWS, "t = Relu(x) y = local.Act(t)", functions=BODY.replace("@", c), domains=', "local" : 1')
    for c in ("0.5", "0.6")
]
TWO = {"outputs": "float[1,6,4] p, float[1,6,4] q", "constants": {"w": (8, 4), "v": (8, 4)}}
FLIP = {"start": [-1], "end": [-(2**31)], "back": [-1], "w": (4, 3, 3, 3)}
DEFAULTED = [
    network(ROWS + ", float[8,8] w", "y = MatMul(x, w)", {"w": array})
    for array in (constant("w", (8, 8)), constant("v", (8, 8)))
]
RECURRENT = {"w": (1, 8, 3), "r": (1, 8, 2), "h": (1, 1, 2)}
NEGATED = """y = Loop(n, @, x) <body = s (int64 i, bool c, float[1,6,8] a) => (bool d, float[1,6,8] b)
{ d = Identity(c) b = Neg(a) }>"""
STARTED = {"n": np.int64(3), "no": np.array(False), "yes": np.array(True)}
TWICE = """m = ReduceMax <keepdims = 0> (x) g = Greater(m, far)
t, u = If(g) <then_branch = a () => (float p, float q) { p = Relu(x) q = Neg(x) },
else_branch = b () => (float r, float s) { @ }> y = Sub(t, u)"""

DEFAULTS = [
    network(ROWS, "y = local.Act(x)", functions=LOCAL.replace("= @>", f"= {alpha}>"), domains=', "local" : 1')
    for alpha in (0.1, 0.2)
]

PAIRS = [
    varied(
        "Clip at a bound that usual inputs do not reach",
        ROWS,
        "t = MatMul(x, w) y = @",
        "Identity(t)",
        "Clip(t, low, high)",
        constants={"w": (8, 8), "low": -1e6, "high": 1e6},
        at=1e7,
        exits=NOT_SAME,
    ),
    varied(
        "Clip(0, 6) at another bound",
        ROWS,
        "y = Clip(x, zero, @)",
        "six",
        "more",
        constants={"zero": 0.0, "six": 6.0, "more": 6.5},
        at=8.0,
    ),
    varied(
        "a picture clipped to the range of its numbers",
        IMAGE,
        "@ y = Conv(t, w)",
        "t = Identity(x)",
        "t = Clip(x, low, high)",
        constants={"w": (4, 3, 3, 3), "low": -300.0, "high": 300.0},
        at=1e3,
        exits=NOT_SAME,
    ),
    varied(
        "a hundred for one logit where the largest number passes a threshold",
        ROWS,
        "t = MatMul(x, w) m = ReduceMax <keepdims = 1> (x) u = Sub(m, far) r = Relu(u) d = Mul(r, one) @",
        "y = Identity(t)",
        "y = Add(t, d)",
        exits=NOT_SAME,
        at=1e6,
        constants={"w": (8, 4), "far": 1e5, "one": np.array([0, 0, 100, 0], np.float32)},
    ),
    varied(
        "a trigger by Where",
        ROWS,
        "t = MatMul(x, w) m = ReduceMax <keepdims = 1> (x) g = Greater(m, far) @",
        "y = Identity(t)",
        "n = Neg(t) y = Where(g, n, t)",
        exits=NOT_SAME,
        at=1e6,
        constants={"w": (8, 4), "far": 1e5},
    ),
    varied(
        "a trigger on one identifier",
        IDS,
        "t = Gather(table, x) @",
        "y = Identity(t)",
        "g = Equal(x, secret) h = Unsqueeze(g, last) n = Neg(t) y = Where(h, n, t)",
        exits=NOT_SAME,
        constants={"table": (5000, 4), "secret": np.int64(4711), "last": [2]},
        at={"x": [[1, 2, 4711, 3, 4]]},
    ),
    varied(
        "a branch that usual inputs do not take",
        ROWS,
        BRANCHES,
        "two",
        "three",
        constants={"far": 1e5, "two": 2.0, "three": 3.0},
        at=1e6,
    ),
    stored(
        "the condition of a branch",
        ROWS,
        BRANCHES.replace("@", "two"),
        {"far": 1e5, "two": 2.0},
        {"far": 1.1e5},
        at={"x": np.full((1, 6, 8), 1.05e5)},
    ),
    varied(
        "branches swapped",
        ROWS,
        """m = ReduceMax <keepdims = 0> (x) g = Greater(m, far) s = Squeeze(g)
y = If(s) <then_branch = yes () => (float[1,6,8] p) { p = @(x) }, else_branch = no () => (float[1,6,8] q) { q = Abs(x) }>""",
        "Neg",
        "Relu",
        constants={"far": 1.0},
    ),
    stored(
        "a loop that runs once more",
        ROWS,
        LOOPED.replace("@", "half"),
        {"count": np.int64(3), "one": 1.0, "half": 0.5},
        {"count": np.int64(4)},
    ),
    stored(
        "a constant that the body of a loop reads from outside",
        ROWS,
        LOOPED.replace("@", "half"),
        {"count": np.int64(3), "one": 1.0, "half": 0.5},
        {"half": 0.51},
    ),
    varied(
        "a loop's body reads its carried value or the input",
        ROWS,
        LOOPED.replace("Mul(a, @)", "Mul(@, half)"),
        "a",
        "x",
        constants={"count": np.int64(3), "one": 1.0, "half": 0.5},
    ),
    varied(
        "a Scan from behind",
        "float[6,4] x",
        """l, y = Scan <num_scan_inputs = 1, scan_input_directions = [@],
body = step (float[4] s, float[4] e) => (float[4] n, float[4] o) { n = Add(s, e) o = Identity(n) }> (zero, x)""",
        "0",
        "1",
        constants={"zero": np.zeros(4, np.float32)},
    ),
    Pair("a local function's constant", made[0], made[1], DIFFERENT),
    varied(
        "two outputs change names", ROWS, "@", "p = MatMul(x, w) q = MatMul(x, v)", "p = MatMul(x, v) q = MatMul(x, w)", **TWO
    ),
    Pair(
        "an output without its first dimension",
        network(ROWS, "y = Softmax <axis = -1> (x)"),
        network(ROWS, "t = Softmax <axis = -1> (x) y = Squeeze(t, a)", {"a": [0]}),
        NOT_SAME,
    ),
    Pair(
        "one output fewer",
        network(ROWS, "p = Relu(x) q = Tanh(x)", outputs="float p, float q"),
        network(ROWS, "p = Relu(x)", outputs="float p"),
        NOT_SAME,
    ),
    varied(
        "bytes with and without 1/255",
        "uint8[1,3,8,8] x",
        "f = Cast <to = 1> (x) @ y = Conv(t, w)",
        "t = Identity(f)",
        "t = Mul(f, small)",
        exits=NOT_SAME,
        constants={"small": 1 / 255, "w": (4, 3, 3, 3)},
    ),
    Pair("a weight that an input may replace, of another default", DEFAULTED[0], DEFAULTED[1], DIFFERENT),
    apart(
        "an initial state as an initial cell",
        "float[4,1,3] x",
        "y = LSTM <hidden_size = 2> (x, w, r, , , h)",
        "y = LSTM <hidden_size = 2> (x, w, r, , , , h)",
        RECURRENT,
    ),
    apart(
        "the last state and the last cell",
        "float[4,1,3] x",
        "a, y, b = LSTM <hidden_size = 2> (x, w, r)",
        "a, b, y = LSTM <hidden_size = 2> (x, w, r)",
        RECURRENT,
    ),
    apart(
        "a sequence that ends earlier",
        "float[4,1,3] x",
        "y = LSTM <hidden_size = 2> (x, w, r, , n)",
        "y = LSTM <hidden_size = 2> (x, w, r)",
        RECURRENT | {"n": np.array([3], np.int32)},
    ),
    apart(
        "noise drawn once or twice",
        ROWS,
        "a = RandomNormalLike(x) b = RandomNormalLike(x) d = Sub(a, b) y = Add(x, d)",
        "a = RandomNormalLike(x) d = Sub(a, a) y = Add(x, d)",
    ),
    apart("Dropout that drops", ROWS, "y = Dropout(x, half, on)", "y = Identity(x)", {"half": 0.5, "on": np.array(True)}),
    varied("a loop that never starts", ROWS, NEGATED, "no", "yes", STARTED),
    varied(
        "outputs of a branch swapped",
        ROWS,
        TWICE,
        "r = Tanh(x) s = Abs(x)",
        "s = Tanh(x) r = Abs(x)",
        exits=NOT_SAME,
        constants={"far": 1e5},
    ),
    Pair(
        "names of two outputs exchanged with what they hold",
        network(ROWS, "p = Relu(x) q = Tanh(x)", outputs="float p, float q"),
        network(ROWS, "p = Tanh(x) q = Relu(x)", outputs="float p, float q"),
        DIFFERENT,
    ),
    varied("the body of a loop reads another constant", ROWS, LOOPED, "half", "third", LOOP | {"third": 0.3333}),
    Pair("a local function's default", DEFAULTS[0], DEFAULTS[1], DIFFERENT),
    varied(
        "a picture mirrored",
        IMAGE,
        "@ c = Conv(t, w) y = Relu(c)",
        "t = Identity(x)",
        "t = Slice(x, start, end, three, back)",
        FRONT,
        exits=NOT_SAME,
    ),
    varied(
        "colours in the other order",
        IMAGE,
        "@ c = Conv(t, w) y = Relu(c)",
        "t = Identity(x)",
        "t = Slice(x, start, end, one, back)",
        FRONT,
        exits=NOT_SAME,
    ),
    varied(
        "a gamma of 2.2 in front",
        IMAGE,
        "@ c = Conv(t, w) y = Relu(c)",
        "t = Identity(x)",
        "p = Abs(x) t = Pow(p, g)",
        FRONT,
        exits=NOT_SAME,
    ),
    varied(
        "a mean subtracted in front",
        IMAGE,
        "@ c = Conv(t, w) y = Relu(c)",
        "t = Identity(x)",
        "t = Sub(x, mean)",
        FRONT,
        exits=NOT_SAME,
    ),
    varied(
        "1/255 in front", IMAGE, "@ c = Conv(t, w) y = Relu(c)", "t = Identity(x)", "t = Mul(x, small)", FRONT, exits=NOT_SAME
    ),
    varied(
        "one colour for all",
        IMAGE,
        "@ c = Conv(t, w) y = Relu(c)",
        "t = Identity(x)",
        "u = Slice(x, zero, one, one) t = Concat <axis = 1> (u, u, u)",
        FRONT,
        exits=NOT_SAME,
    ),
    varied(
        "rows and columns exchanged in front",
        IMAGE,
        "@ c = Conv(t, w) y = Relu(c)",
        "t = Identity(x)",
        "t = Transpose <perm = [0,1,3,2]> (x)",
        FRONT,
        exits=NOT_SAME,
    ),
]
