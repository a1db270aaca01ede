"""More small networks, broken and healthy: domains of functions, underflow, loops of known length, copies, states, indices."""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import NodeProto, TensorProto, helper

from .networks import (
    CAUSAL,
    FLOAT,
    IMAGE,
    INF,
    INT64,
    LOST,
    NAN,
    NAN_EFFECT,
    ONES,
    SAME,
    ZEROS,
    K,
    Network,
    W,
    attention,
    batch_norm,
    branches,
    entry,
    n,
    then,
)

FLOAT16 = TensorProto.FLOAT16
SEQUENCE: dict[str, Any] = {"inputs": {"x": (FLOAT, (3, 1, 4))}}
RECURRENT = {"l": W[None].repeat(4, 1), "r": W[None].repeat(4, 1)}
ROUNDS = {"w": W, "one": np.array(1), "none": np.array(0), "yes": np.array(True), "no": np.array(False), "s": np.ones((2, 4))}


def chain(name: str, *operators: str, effect: Any = None, nonfinite: int = 0, unusual: int = 0, **constants: Any) -> Network:
    """x through operators; "Op:c" takes a constant second, "c:Op" first, "Op;a=1" an attribute. Then a linear layer."""
    nodes, value = [], "x"
    for index, text in enumerate(operators):
        op, *attributes = text.split(";")
        after = f"v{index}"
        first, _, second = op.partition(":")
        operator, operands = (second, f"{first} {value}") if second[:1].isupper() else (first, f"{value} {second}")
        given = {key: float(number) for key, number in (each.split("=") for each in attributes)}
        nodes.append(n(operator, operands, after, **given))
        value = after
    return Network(name, [*nodes, n("MatMul", f"{value} w", "y")], {"w": W, **constants}, effect, nonfinite, unusual)


def halves(name: str, effect: Any, *before: NodeProto, **constants: Any) -> Network:
    """A cast to float16 and back."""
    return Network(name, [*before, n("Cast", "h", "q", to=FLOAT16), n("Cast", "q", "y", to=FLOAT)], constants, effect)


def loop(name: str, count: str, condition: str, effect: Any, state: str = "s", op: str = "Mul") -> Network:
    """A Loop whose body applies `op` to its state and x."""
    body = helper.make_graph(
        [n("Identity", "go", "on"), n(op, "before x", "after")],
        "body",
        [
            helper.make_tensor_value_info("i", INT64, ()),
            helper.make_tensor_value_info("go", TensorProto.BOOL, ()),
            helper.make_tensor_value_info("before", FLOAT, (2, 4)),
        ],
        [helper.make_tensor_value_info("on", TensorProto.BOOL, ()), helper.make_tensor_value_info("after", FLOAT, (2, 4))],
    )
    constants = {key: value.astype(np.float32) if key == "s" else value for key, value in ROUNDS.items()}
    return Network(name, then(n("Loop", f"{count} {condition} {state}", body=body)), constants, effect)


def scan(name: str, effect: Any, *nodes: NodeProto, nonfinite: int = 0, unusual: int = 0, **constants: Any) -> Network:
    """A Scan of a state (2, 4) over x or a constant; its nodes make `after` from `before` and `slice`."""
    source = "k" if "k" in constants else "x"
    body = helper.make_graph(
        list(nodes),
        "body",
        [helper.make_tensor_value_info(each, FLOAT, (1, 4)) for each in ("before", "slice")],
        [helper.make_tensor_value_info("after", FLOAT, (1, 4))],
    )
    first = n("ReduceMax", "x", "first", axes=[0], keepdims=0)
    given = [first, n("Scan", f"first {source}", "y", body=body, num_scan_inputs=1)]
    return Network(name, given, constants, effect, nonfinite, unusual, {"x": (FLOAT, (3, 1, 4))})


def misfit(name: str, *nodes: NodeProto, **constants: Any) -> Network:
    """Nodes with which onnxruntime does not run, or gives nothing."""
    return Network(name, nodes, constants, None, 1)


def gather(index: int) -> list[NodeProto]:
    """One column of x."""
    return [n("Gather", "x i", "g", axis=1), n("Mul", "g x", "y")]


def quarter(value: float) -> np.ndarray:
    """(3, 1, 4), NaN or so in one entry of the last slice."""
    stack = np.zeros((3, 1, 4), np.float32)
    stack[2, 0, 1] = value
    return stack


FURTHER_BROKEN = [
    chain("acos-of-two", "Relu", "Add:c", "Acos", effect=NAN_EFFECT, c=2.0),
    chain("acosh-below-one", "Sigmoid", "Mul:c", "Acosh", effect=NAN_EFFECT, c=0.5),
    chain("atanh-of-more", "Relu", "Add:c", "Atanh", effect=NAN_EFFECT, c=1.5),
    chain("asin-of-less", "Abs", "Neg", "Sub:c", "Asin", effect=NAN_EFFECT, c=1.25),
    chain("relu-of-minus-softplus", "Softplus", "Neg", "Relu", effect=SAME),
    chain("selu-gamma-zero", "Selu;gamma=0", effect=SAME),
    chain("threshold-beyond", "Sigmoid", "ThresholdedRelu;alpha=2", effect=SAME),
    chain("shrink-beyond", "Tanh", "Shrink;lambd=2", effect=SAME),
    chain("hard-swish-closed", "Abs", "Neg", "Sub:c", "HardSwish", effect=SAME, c=4.0),
    chain("temperature-zero", "Div:c", "Softmax", effect=NAN_EFFECT, nonfinite=1, c=0.0),
    chain("scores-times-inf", "Mul:c", "Softmax", effect=NAN_EFFECT, nonfinite=1, c=INF),
    chain("underflow-over-itself", "Relu", "c:Sub", "Exp", "Div:z", effect=NAN_EFFECT, c=-200.0, z=0.0),
    chain("minus-itself", "Sub:x", effect=SAME),
    Network(
        "minus-its-only-maximum",
        [n("MatMul", "x c", "h"), n("ReduceMax", "h", "m", axes=[1]), n("Sub", "h m", "y")],
        {"c": W[:, :1]},
        SAME,
    ),
    Network(
        "unit-of-one",
        [n("MatMul", "x c", "h"), n("Exp", "h", "e"), n("Add", "e one", "p"), n("LpNormalization", "p", "y", axis=1)],
        {"c": 0.01 * W[:, :1], "one": 1.0},
        SAME,
    ),
    Network(
        "highest-is-inf",
        [n("Concat", "x c", "h", axis=1), n("ReduceMax", "h", "y", axes=[1])],
        {"c": ONES[:2, None] * INF},
        LOST,
    ),
    Network(
        "lowest-is-minus-inf",
        [n("Concat", "x c", "h", axis=1), n("ReduceMin", "h", "y", axes=[1])],
        {"c": -ONES[:2, None] * INF},
        LOST,
    ),
    Network(
        "product-with-zero",
        [n("Concat", "x c", "h", axis=1), n("ReduceProd", "h", "y", axes=[1])],
        {"c": ZEROS[:2, None]},
        SAME,
    ),
    halves("beyond-float16", LOST, n("Abs", "x", "a"), n("Add", "a c", "h"), c=1e6),
    halves("below-float16", SAME, n("Sigmoid", "x", "a"), n("Mul", "a c", "h"), c=1e-9),
    Network(
        "mask-times-minus-inf",
        [
            n("Cast", "m", "f", to=FLOAT),
            n("Sub", "o f", "k"),
            n("Mul", "k v", "b"),
            n("Add", "x b", "s"),
            n("Softmax", "s", "y"),
        ],
        {"o": 1.0, "v": -INF},
        NAN_EFFECT,
        nonfinite=1,
        inputs={"x": (FLOAT, (2, 4)), "m": (INT64, (2, 4))},
    ),
    loop("no-round", "none", "yes", SAME),
    loop("no-round-by-condition", "-", "no", SAME),
    scan("scanned-nan", None, n("Add", "before slice", "after"), nonfinite=1, k=quarter(NAN)),
    Network(
        "first-state-nan",
        [n("GRU", "x l r - - h", "y", hidden_size=4)],
        {"l": W[None].repeat(3, 1), "r": W[None].repeat(3, 1), "h": entry(NAN)[None, None]},
        None,
        1,
        **SEQUENCE,
    ),
    Network(
        "peephole-nan",
        [n("LSTM", "x l r - - - - p", "y", hidden_size=4)],
        {**RECURRENT, "p": np.full((1, 12), NAN, np.float32)},
        None,
        1,
        **SEQUENCE,
    ),
    batch_norm("one-variance-zero-without-epsilon", LOST, 1, v=ONES * 0, epsilon=0.0),
    chain("all-lost", "Sub:c", "Tanh", "Mul:d", effect=SAME, c=INF, d=0.5),
    chain("never-so-low", "Relu", "Div:z", "Elu", nonfinite=1, z=0.0),
    Network(
        "gates-are-bounded",
        [n("GRU", "x l r", "h", hidden_size=4), n("Min", "h c", "y")],
        {"l": W[None].repeat(3, 1), "r": W[None].repeat(3, 1), "c": -2.0},
        SAME,
        **SEQUENCE,
    ),
    Network(
        "scale-inf-behind-elu",
        [n("InstanceNormalization", "x s b", "h"), n("Elu", "h", "e"), n("Conv", "e k", "y")],
        {"s": ONES * INF, "b": ZEROS, "k": K},
        None,
        1,
        inputs=IMAGE,
    ),
    Network(
        "one-scale-inf-in-front-of-others",
        [n("InstanceNormalization", "x s b", "h"), n("Elu", "h", "e"), n("Conv", "e k", "c"), n("LRN", "c", "y", size=3)],
        {"s": entry(INF), "b": ZEROS, "k": K},
        None,
        1,
        inputs=IMAGE,
    ),
    Network(
        "zeros-before-a-batch-norm",
        [n("Conv", "x k", "c"), n("Mul", "c z", "m"), n("BatchNormalization", "m s b b s", "h"), n("PRelu", "h p", "y")],
        {"k": K, "z": 0.0, "s": ONES, "b": ONES * -0.5, "p": np.full((4, 1, 1), 0.1, np.float32)},
        SAME,
        inputs=IMAGE,
    ),
    chain("slope-inf", "LeakyRelu;alpha=inf", nonfinite=1),
    Network(
        "pad-inf-before-conv",
        [n("Pad", "x p v"), n("Conv", "h k", "y")],
        {"p": np.array([0, 0, 1, 1, 0, 0, 1, 1]), "v": INF, "k": K},
        None,
        1,
        inputs=IMAGE,
    ),
]
"""As `networks.BROKEN`."""

MISFITS = [
    misfit("index-beyond", *gather(4), i=np.array([4])),
    misfit("index-below", *gather(-5), i=np.array([-5])),
    misfit("index-of-a-table", n("Gather", "t i", "g"), n("Add", "x g", "y"), t=W, i=np.array([9])),
    misfit("elements-beyond", n("GatherElements", "x i", "y", axis=1), i=np.array([[7], [0]])),
    misfit("reshape", n("Reshape", "x s", "y"), s=np.array([3, 5])),
    misfit("layer-scale-too-long", n("LayerNormalization", "x s", "y"), s=np.ones(5, np.float32)),
    misfit("gemm-bias-too-long", n("Gemm", "x w b", "y"), w=W, b=np.ones(5, np.float32)),
    misfit("slope-too-long", n("PRelu", "x s", "y"), s=np.ones((1, 3), np.float32)),
    misfit("batch-norm-too-short", n("BatchNormalization", "x s o o o", "y"), s=np.ones(3, np.float32), o=ONES),
]
"""What loads and fails at the first run, whatever the input."""

FURTHER_HEALTHY = [
    chain("acos-of-tanh", "Tanh", "Acos"),
    chain("acosh-from-one-on", "Relu", "Add:c", "Acosh", c=1.0),
    chain("atanh-within", "Tanh", "Mul:c", "Atanh", c=0.9),
    chain("softplus-above-a-half", "Softplus", "Sub:c", "Relu", c=0.5),
    chain("threshold-within", "ThresholdedRelu;alpha=0.1"),
    chain("shrink-within", "Shrink;lambd=0.05"),
    chain("hard-swish", "HardSwish"),
    chain("small-and-large-again", "Sigmoid", "Mul:c", "Mul:c", "Mul:d", c=1e-15, d=1e30),
    Network(
        "highest-or-minus-inf",
        [n("Concat", "x c", "h", axis=1), n("ReduceMax", "h", "y", axes=[1])],
        {"c": -ONES[:2, None] * INF},
    ),
    halves("small-in-float16", None, n("Sigmoid", "x", "a"), n("Mul", "a c", "h"), c=1e-6),
    Network("minus-a-maximum", [n("ReduceMax", "x", "m", axes=[1]), n("Sub", "x m", "y")]),
    loop("one-round", "one", "yes", None),
    loop("no-round-but-the-input", "none", "yes", None, state="x"),
    scan("running-maximum", None, n("Max", "before slice", "after")),
    attention("causal-twice", CAUSAL + CAUSAL),
    Network(
        "lstm-above-a-half",
        [n("LSTM", "x l r", "h", hidden_size=4), n("Max", "h c", "y")],
        {**RECURRENT, "c": -0.1},
        **SEQUENCE,
    ),
    Network("index-from-the-end", gather(-4), {"i": np.array([-4])}),
    Network("reshape-with-copy", [n("Reshape", "x s", "y")], {"s": np.array([0, 2, -1])}),
    Network("branch-never-taken", then(branches(NAN, 2.0)), {"w": W, "c": np.array(False)}),
    Network(
        "pad-minus-inf-before-softmax",
        [n("Pad", "x p v"), n("Softmax", "h", "s"), n("Mul", "s s", "y")],
        {"p": np.array([0, 0, 0, 2]), "v": -INF},
    ),
]
"""As `networks.HEALTHY`."""
