"""Healthy networks of steps that look broken: variances of 0, masks of −Inf, factors of 0, guarded divisions, empty tensors.

Every step takes a value (batch, 8) of float32 and gives one, that still depends on it. The judge decides whether the network
that they make is healthy.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from scripts.breaking.healthy import BOOL, FLOAT, INT64, model, node, value, weight

WIDTH = 8
INF = np.float32(np.inf)


class Builder:
    """Nodes and constants of a network that grows."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, np.ndarray] = {}
        self.count = 0

    def name(self) -> str:
        """A name that nothing has."""
        self.count += 1
        return f"v{self.count}"

    def stored(self, array: Any) -> str:
        """A constant; numbers of Python are float32."""
        name = self.name()
        self.constants[name] = np.asarray(array, np.float32 if isinstance(array, float) else None)
        return name

    def weight(self, *shape: int) -> str:
        """A random weight."""
        return self.stored(weight(*shape, seed=self.rng.randrange(1000)))

    def op(self, operator: str, *inputs: str, **attributes: Any) -> str:
        """A node of one output."""
        name = self.name()
        self.nodes.append(node(operator, list(inputs), [name], **attributes))
        return name

    def ops(self, operator: str, outputs: int, *inputs: str, **attributes: Any) -> list[str]:
        """A node of several outputs."""
        names = [self.name() for _ in range(outputs)]
        self.nodes.append(node(operator, list(inputs), names, **attributes))
        return names

    def vector(self, low: float, high: float, *odd: float) -> str:
        """(8,) numbers between these, some of which are replaced by odd ones."""
        numbers = np.array([self.rng.uniform(low, high) for _ in range(WIDTH)], np.float32)
        for each in odd:
            numbers[self.rng.randrange(WIDTH)] = each
        return self.stored(numbers)


Step = Callable[[Builder, str], str]
STEPS: dict[str, Step] = {}


def _step(make: Step) -> Step:
    STEPS[make.__name__.strip("_").replace("_", "-")] = make
    return make


@_step
def _variance_of_zero(b: Builder, x: str) -> str:
    return b.op(
        "BatchNormalization", x, b.vector(0.5, 1.5, 0.0), b.vector(-1, 1), b.vector(-0.1, 0.1), b.vector(0, 1, 0.0, 0.0)
    )


@_step
def _scales_of_zero(b: Builder, x: str) -> str:
    normal = b.op("LayerNormalization", x, b.vector(0.5, 1.5, 0.0, 0.0), b.vector(-1, 1, 0.0), axis=-1)
    return b.op("Add", normal, b.op("Mul", b.op("MatMul", x, b.weight(WIDTH, WIDTH)), b.stored(0.0)))


@_step
def _mask(b: Builder, x: str) -> str:
    hidden = b.rng.choice([-np.inf, -1e9, -3.4028234663852886e38])
    masked = b.op("Add", x, b.vector(0, 0.1, hidden, hidden))
    return b.op("Add", b.op("Softmax", masked, axis=-1), x) if b.rng.random() < 0.5 else b.op("Softmax", masked, axis=-1)


@_step
def _causal(b: Builder, x: str) -> str:
    """Attention over the eight numbers, as tokens of one."""
    tokens = b.op("Unsqueeze", x, b.stored(np.array([2])))
    queries = b.op("MatMul", tokens, b.weight(1, 4))
    scores = b.op("MatMul", queries, b.op("Transpose", b.op("MatMul", tokens, b.weight(1, 4)), perm=[0, 2, 1]))
    kind = b.rng.randrange(3)
    if kind == 0:
        mask = b.stored(np.where(np.tril(np.ones((WIDTH, WIDTH))) > 0, 0, -np.inf).astype(np.float32))
        masked = b.op("Add", scores, mask)
    elif kind == 1:
        filled = b.op("ConstantOfShape", b.stored(np.array([WIDTH, WIDTH])), value=numpy_helper.from_array(np.array([-INF])))
        masked = b.op("Add", scores, b.op("Trilu", filled, b.stored(np.array(1)), upper=1))
    else:
        keep = b.stored(np.tril(np.ones((WIDTH, WIDTH), bool)))
        masked = b.op("Where", keep, scores, b.stored(-INF))
    mixed = b.op("MatMul", b.op("Softmax", masked, axis=-1), b.op("MatMul", tokens, b.weight(1, 1)))
    return b.op("Add", b.op("Squeeze", mixed, b.stored(np.array([2]))), x)


def _image(b: Builder, x: str, channels: int = 2) -> str:
    return b.op("Reshape", x, b.stored(np.array([0, channels, 8 // channels // 2, 2])))


def _row(b: Builder, image: str) -> str:
    return b.op("Reshape", image, b.stored(np.array([0, WIDTH])))


@_step
def _pooled(b: Builder, x: str) -> str:
    image = b.op("Relu", _image(b, x)) if b.rng.random() < 0.5 else _image(b, x)
    pools = {"MaxPool": {}, "AveragePool": {"count_include_pad": b.rng.randrange(2)}}
    kind = b.rng.choice(list(pools))
    wide = b.op(kind, image, kernel_shape=[2, 2], pads=[1, 1, 0, 0], **pools[kind])
    return b.op("Add", _row(b, wide), x)


@_step
def _padded_by_minus_infinity(b: Builder, x: str) -> str:
    padded = b.op("Pad", _image(b, x), b.stored(np.array([0, 0, 1, 1, 0, 0, 0, 0])), b.stored(-INF))
    return _row(b, b.op("MaxPool", padded, kernel_shape=[2, 2]))


@_step
def _convolved(b: Builder, x: str) -> str:
    image = _image(b, x)
    kind = b.rng.randrange(4)
    if kind == 0:
        made = b.op("Conv", image, b.weight(2, 2, 3, 3), pads=[1, 1, 1, 1])
    elif kind == 1:
        made = b.op("Conv", image, b.weight(2, 1, 3, 3), b.weight(2), pads=[2, 2, 2, 2], dilations=[2, 2], group=2)
    elif kind == 2:
        made = b.op("ConvTranspose", b.op("Conv", image, b.weight(4, 2, 1, 1)), b.weight(4, 2, 1, 1))
    else:
        made = b.op("InstanceNormalization", image, b.stored(np.array([0.0, 1.0], np.float32)), b.weight(2))
    return b.op("Add", _row(b, made), x)


@_step
def _bounds(b: Builder, x: str) -> str:
    kind = b.rng.randrange(5)
    if kind == 0:
        return b.op("Clip", x, b.stored(-1e30), b.stored(INF))
    if kind == 1:
        return b.op("Clip", x, "", b.stored(6.0))
    if kind == 2:
        return b.op("Max", b.op("Min", x, b.stored(INF)), b.vector(-3, -2, -np.inf))
    if kind == 3:
        return b.op("Min", x, b.vector(2, 3, np.inf))
    return b.op("Clip", x, b.stored(-INF), b.stored(1e30))


@_step
def _closed_residual(b: Builder, x: str) -> str:
    inner = b.op("Relu", b.op("MatMul", x, b.weight(WIDTH, 12)))
    scaled = b.op("Mul", b.op("MatMul", inner, b.weight(12, WIDTH)), b.stored(np.zeros(WIDTH, np.float32)))
    return b.op("Add", x, scaled)


@_step
def _guarded(b: Builder, x: str) -> str:
    kind, below = b.rng.randrange(5), b.op("Relu", x)
    if kind == 0:
        nothing = b.op("Equal", below, b.stored(0.0))
        return b.op("Add", b.op("Div", x, b.op("Where", nothing, b.stored(1.0), below)), x)
    if kind == 1:
        return b.op("Div", x, b.op("Max", b.op("Abs", x), b.stored(1e-6)))
    if kind == 2:
        quotient = b.op("Div", x, below)
        return b.op("Where", b.op("Greater", below, b.stored(0.0)), quotient, x)
    if kind == 3:
        logs = b.op("Log", b.op("Add", below, b.stored(1e-12)))
        return b.op("Add", b.op("Mul", logs, b.stored(0.01)), x)
    unknown = b.op("Div", x, b.op("ReduceL2", x, axes=[1], keepdims=1))
    return b.op("Where", b.op("IsNaN", unknown), b.stored(0.0), unknown)


@_step
def _between_constants(b: Builder, x: str) -> str:
    chosen = b.op("Where", b.op("Greater", x, b.stored(0.0)), b.stored(1.0), b.rng.choice([b.stored(0.0), b.vector(-1, 1)]))
    return b.op("Add", b.op("Mul", x, chosen), b.op("Mul", x, b.stored(0.1)))


@_step
def _dead_branch(b: Builder, x: str) -> str:
    b.op("MatMul", x, b.weight(WIDTH, 3))
    then = helper.make_graph([node("Identity", [x], ["t"])], "then", [], [value("t", None)])
    lost = [numpy_helper.from_array(np.array(np.nan, np.float32), "lost")]
    other = helper.make_graph([node("Mul", [x, "lost"], ["o"])], "other", [], [value("o", None)], lost)
    return b.op("If", b.stored(np.array(True)), then_branch=then, else_branch=other)


@_step
def _choice(b: Builder, x: str) -> str:
    def branch(name: str, sign: float) -> onnx.GraphProto:
        stored = [numpy_helper.from_array(weight(WIDTH, WIDTH, seed=b.rng.randrange(99)), f"{name}w")]
        stored += [numpy_helper.from_array(np.array(sign, np.float32), f"{name}s")]
        inner = [node("MatMul", [x, f"{name}w"], [f"{name}m"]), node("Mul", [f"{name}m", f"{name}s"], [f"{name}o"])]
        return helper.make_graph(inner, name, [], [value(f"{name}o", None)], stored)

    above = b.op("Greater", b.op("ReduceSum", x, keepdims=0), b.stored(0.0))
    return b.op("If", above, then_branch=branch(b.name(), 1.0), else_branch=branch(b.name(), -1.0))


@_step
def _half(b: Builder, x: str) -> str:
    halved = b.op("Cast", x, to=TensorProto.FLOAT16)
    matrix = b.stored(weight(WIDTH, WIDTH, seed=b.rng.randrange(99)).astype(np.float16))
    clipped = b.op("Clip", b.op("MatMul", halved, matrix), b.stored(np.float16(-65504)), b.stored(np.float16(65504)))
    return b.op("Cast", clipped, to=FLOAT)


def _loop(b: Builder, nodes: Sequence[onnx.NodeProto], after: str, states: Sequence[str], rounds: str) -> list[str]:
    inputs = [value("i", [], INT64), value("go", [], BOOL), *(value(f"s{k}", None) for k in range(len(states)))]
    outputs = [value("on", [], BOOL), *(value(f"{after}{k}", None) for k in range(len(states)))]
    body = helper.make_graph([node("Identity", ["go"], ["on"]), *nodes], "body", inputs, outputs)
    return b.ops("Loop", len(states), rounds, b.stored(np.array(True)), *states, body=body)


@_step
def _layers_in_a_loop(b: Builder, x: str) -> str:
    stack = b.stored(weight(3, WIDTH, WIDTH, seed=b.rng.randrange(99)) * np.float32(1.5))
    nodes = [node("Gather", [stack, "i"], ["w"], axis=0), node("MatMul", ["s0", "w"], ["m"]), node("Tanh", ["m"], ["t0"])]
    return _loop(b, nodes, "t", [x], b.stored(np.array(3)))[0]


@_step
def _sum_in_a_loop(b: Builder, x: str) -> str:
    """An accumulator that begins as 0, and a state that a run decides how often to halve."""
    zero, half = b.op("Mul", x, b.stored(0.0)), b.stored(0.5)
    nodes = [node("Add", ["s0", "s1"], ["t0"]), node("Mul", ["s1", half], ["t1"])]
    rounds = b.stored(np.array(b.rng.choice([3, 40])))
    if b.rng.random() < 0.5:
        rounds = b.op(
            "Add", b.op("ArgMax", b.op("ReduceMax", x, axes=[0], keepdims=0), axis=0, keepdims=0), b.stored(np.array(1))
        )
    return _loop(b, nodes, "t", [zero, x], rounds)[0]


@_step
def _layers_in_a_scan(b: Builder, x: str) -> str:
    """onnxruntime asks for the rank of what the body gives, and may not find it behind a Loop."""
    step = [node("MatMul", ["s", "l"], ["m"]), node("Tanh", ["m"], ["t"])]
    body = helper.make_graph(step, "body", [value("s", None), value("l", [WIDTH, WIDTH])], [value("t", ["n", WIDTH])])
    stack = b.stored(weight(3, WIDTH, WIDTH, seed=b.rng.randrange(99)) * np.float32(1.5))
    return b.op("Scan", x, stack, body=body, num_scan_inputs=1)


@_step
def _sequence(b: Builder, x: str) -> str:
    if b.rng.random() < 0.5:
        parts = b.op("SplitToSequence", x, b.stored(np.array([3, 0, 5])), axis=1)
        return b.op(
            "ConcatFromSequence",
            b.op(
                "SequenceInsert",
                b.op("SequenceErase", parts),
                b.op("Slice", x, b.stored(np.array([3])), b.stored(np.array([8])), b.stored(np.array([1]))),
            ),
            axis=1,
        )
    sequence = b.op("SequenceConstruct", x, b.op("Mul", x, b.stored(0.0)))
    return b.op("SequenceAt", sequence, b.stored(np.array(0)))


@_step
def _quantized(b: Builder, x: str) -> str:
    scale, zero = b.stored(0.05), b.stored(np.uint8(128))
    codes = b.op("QuantizeLinear", x, scale, zero)
    return b.op("DequantizeLinear", codes, scale, zero)


@_step
def _quantized_weight(b: Builder, x: str) -> str:
    rng = np.random.default_rng(b.rng.randrange(99))
    codes = b.stored(rng.integers(-100, 100, (WIDTH, WIDTH)).astype(np.int8))
    return b.op("MatMul", x, b.op("DequantizeLinear", codes, b.vector(0.001, 0.01), axis=1))


@_step
def _integer_product(b: Builder, x: str) -> str:
    rng = np.random.default_rng(b.rng.randrange(99))
    codes, scale, zero = b.ops("DynamicQuantizeLinear", 3, x)
    product = b.op("MatMulInteger", codes, b.stored(rng.integers(-90, 90, (WIDTH, WIDTH)).astype(np.int8)), zero)
    return b.op("Mul", b.op("Cast", product, to=FLOAT), b.op("Mul", scale, b.stored(0.01)))


@_step
def _empty(b: Builder, x: str) -> str:
    nothing = b.op("Slice", x, b.stored(np.array([4])), b.stored(np.array([4])), b.stored(np.array([1])))
    return b.op("Concat", nothing, x, axis=1)


@_step
def _shapes(b: Builder, x: str) -> str:
    rows = b.op("Slice", b.op("Shape", x), b.stored(np.array([0])), b.stored(np.array([1])))
    tall = b.op("Reshape", x, b.op("Concat", rows, b.stored(np.array([2, -1])), axis=0))
    turned = b.op("Transpose", tall, perm=[0, 2, 1])
    return b.op("Reshape", turned, b.op("Concat", rows, b.stored(np.array([WIDTH])), axis=0))


@_step
def _soft(b: Builder, x: str) -> str:
    raised = b.op("Exp", b.op("Sub", x, b.op("ReduceMax", x, axes=[1], keepdims=1)))
    return b.op("Div", raised, b.op("ReduceSum", raised, b.stored(np.array([1])), keepdims=1))


@_step
def _functions(b: Builder, x: str) -> str:
    kind = b.rng.choice(
        ["Tanh", "Sigmoid", "Softplus", "Erf", "HardSwish", "Elu", "LeakyRelu", "Selu", "Softsign", "Gelu", "Root"]
    )
    if kind == "Gelu":
        half = b.op("Add", b.op("Erf", b.op("Div", x, b.stored(1.4142135))), b.stored(1.0))
        return b.op("Mul", b.op("Mul", x, half), b.stored(0.5))
    if kind == "Root":
        return b.op("Sqrt", b.op("Add", b.op("Pow", x, b.stored(2.0)), b.stored(1e-12)))
    return b.op(kind, x, **({"alpha": 0.0} if kind == "LeakyRelu" else {}))


@_step
def _half_of_zeros(b: Builder, x: str) -> str:
    both = b.op("Concat", b.op("Mul", x, b.stored(0.0)), x, axis=1)
    return b.op("MatMul", both, b.weight(2 * WIDTH, WIDTH))


@_step
def _chosen(b: Builder, x: str) -> str:
    largest, places = b.ops("TopK", 2, x, b.stored(np.array([4])), axis=1)
    spread = b.op("Mul", b.op("Cast", places, to=FLOAT), b.stored(0.1))
    return b.op("Concat", largest, spread, axis=1)


@_step
def _remembered(b: Builder, x: str) -> str:
    tokens = b.op("Unsqueeze", x, b.stored(np.array([0])))
    kind = b.rng.choice(["LSTM", "GRU", "RNN"])
    gates = {"LSTM": 4, "GRU": 3, "RNN": 1}[kind] * WIDTH
    out = b.op(
        kind,
        tokens,
        b.weight(1, gates, WIDTH),
        b.weight(1, gates, WIDTH),
        b.stored(np.zeros((1, 2 * gates), np.float32)),
        hidden_size=WIDTH,
    )
    return b.op("Squeeze", out, b.stored(np.array([0, 1])))


@_step
def _placed(b: Builder, x: str) -> str:
    """Zeros in one column; a cast that cuts; a product of sines."""
    kind = b.rng.randrange(3)
    if kind == 0:
        return b.op("Mul", x, b.vector(1, 1, 0.0))
    if kind == 1:
        whole = b.op("Cast", b.op("Cast", b.op("Mul", x, b.stored(10.0)), to=TensorProto.INT32), to=FLOAT)
        return b.op("Add", b.op("Mul", whole, b.stored(0.1)), x)
    return b.op("Mul", b.op("Sin", x), b.op("Cos", x))


def network(rng: random.Random) -> tuple[onnx.ModelProto, str]:
    """A random network, and what it consists of."""
    b = Builder(rng)
    batches: list[int | str] = [2, "n"]
    batch = rng.choice(batches)
    kinds = [rng.choice(list(STEPS)) for _ in range(rng.randrange(1, 6))]
    x = "x"
    for kind in kinds:
        x = STEPS[kind](b, x)
        if rng.random() < 0.5:
            x = b.op("MatMul", x, b.weight(WIDTH, WIDTH))
    b.op("MatMul", x, b.weight(WIDTH, rng.choice([4, WIDTH, 12])))
    return model(b.nodes, b.constants, value("x", [batch, WIDTH])), ", ".join(kinds)
