"""Networks that somebody wrote who had not seen the others: constants that spoil everything, step by step."""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import NodeProto, TensorProto, helper

from onnxnull.ranges.results import Effect

from .networks import FLOAT, IMAGE, INF, INT64, LOST, NAN_EFFECT, SAME, K, Network, W, n

_CONSTANTS: dict[str, Any] = {
    "w": W,
    "nought": 0.0,
    "half": 0.5,
    "one": 1.0,
    "two": 2.0,
    "less": -2.0,
    "large": 1e30,
    "inf": INF,
    "axis": np.array(1),
    "four": np.array(4),
    "k": K,
    "mask": np.array([-INF, 0, -INF, -INF], np.float32),
    "pair": np.array([-INF, 0, -INF, 0], np.float32),
    "below": -INF,
    "hidden": np.full(4, -INF, np.float32),
    "begin": np.array([INF, 0, 0, 0], np.float32),
    "mixed": np.array([INF, -INF, 0, 0], np.float32),
    "first": np.array([[0], [1]]),
    "other": np.ones((2, 4), np.float32),
    "wide": np.array([0, 0, 0, 4]),
    "from": np.array([4]),
    "to": np.array([8]),
    "columns": np.array([1]),
    "far": np.array(9),
    "onoff": np.array([0, 1], np.float32),
    "corner": np.zeros((2, 4), np.int64),
    "scale": 0.01,
    "code": np.array(0, np.uint8),
    "thousand": 1000.0,
    "single": np.array([2, 4, 1]),
    "square": np.array([2, 4]),
    "alone": np.ones(1, np.float32),
    "twice": np.array([1, 1, 2, 2], np.float32),
}


def steps(name: str, text: str, effect: Effect | None = None, nonfinite: int = 0, image: bool = False) -> Network:
    """Nodes "Op operands > output ; ..." ("op a=1" before "<" for attributes), from x or from m = x·W, to y."""
    nodes: list[NodeProto] = [] if image else [n("MatMul", "x w", "m")]
    for part in text.split(";"):
        left, output = part.split(">")
        operator, *operands = left.split()
        attributes = {key: _number(value) for key, value in (each.split("=") for each in operands if "=" in each)}
        nodes.append(n(operator, " ".join(each for each in operands if "=" not in each), output.strip(), **attributes))
    read = {each for node in nodes for each in node.input}
    constants = {key: value for key, value in _CONSTANTS.items() if key in read}
    return Network(name, nodes, constants, effect, nonfinite, inputs=IMAGE if image else {"x": (FLOAT, (2, 4))})


def _number(text: str) -> Any:
    if "," in text:
        return [int(each) for each in text.split(",")]
    return float(text) if "." in text else int(text) if text.lstrip("-").isdigit() else text


FRESH_BROKEN = [
    steps("modulo-nothing", "Mod m nought fmod=1 > y", SAME),
    steps("root-of-minus-a-square", "Mul m m > s; Neg s > t; Sub t one > u; Sqrt u > y", NAN_EFFECT),
    steps("root-of-a-negative-as-a-power", "Abs m > a; Neg a > b; Sub b one > c; Pow c half > y", NAN_EFFECT),
    steps("code-of-a-bound", f"Clip m two two > c; Cast c to={INT64} > d; OneHot d four onoff > y", SAME),
    steps("sum-begins-with-inf", "Add m begin > a; CumSum a axis > y", LOST),
    steps("sum-of-both-infinities", "Add m mixed > a; CumSum a axis > y", LOST),
    steps("sum-from-the-end", "Add m begin > a; CumSum a axis reverse=1 > c; Mul c nought > y", NAN_EFFECT),
    steps("log-of-nothing-left", "Add m hidden > a; ReduceLogSumExp a > y", SAME),
    steps("one-is-left", "Add m mask > a; Softmax a > y", SAME),
    steps("lowest-of-a-pool", "Add x below > a; MaxPool a kernel_shape=2,2 > b; GlobalMaxPool b > y", SAME, image=True),
    steps("resized-zeros", "Mul x nought > d; Resize d - twice > r; Conv r k > y", SAME, image=True),
    steps("equal-to-itself", "Equal m m > e; Where e nought m > q; MatMul q w > y", SAME),
    steps("more-than-itself", f"Greater m m > e; Cast e to={FLOAT} > f; MatMul f w > y", SAME),
    steps("minus-and-plus", "Neg m > a; Add m a > b; MatMul b w > y", SAME),
    steps("divided-by-itself", "Div m m > y", SAME),
    steps("closed-valve", "Relu m > a; Neg a > b; Max b nought > c; MatMul c w > y", SAME),
    steps("floor-of-less-than-one", "Sigmoid m > a; Mul a half > b; Floor b > c; MatMul c w > y", SAME),
    steps("cut-to-nothing", f"Tanh m > a; Mul a half > b; Cast b to=6 > c; Cast c to={FLOAT} > d; MatMul d w > y", SAME),
    steps(
        "always-true",
        f"Exp m > a; Add a one > b; Cast b to={TensorProto.BOOL} > c; Cast c to={FLOAT} > d; MatMul d w > y",
        SAME,
    ),
    steps("never-less", "Exp m > a; Add a one > b; Greater b nought > c; Not c > d; Where d m nought > y", SAME),
    steps("beyond-half", f"Abs m > a; Add a large > b; Cast b to={TensorProto.FLOAT16} > h; Cast h to={FLOAT} > y", LOST),
    steps(
        "saturated-codes",
        "Abs m > a; Add a thousand > b; QuantizeLinear b scale code > q; DequantizeLinear q scale code > y",
        SAME,
    ),
    steps("one-corner-of-zeros", "Mul x nought > d; GatherElements d corner axis=1 > g; MatMul g w > y", SAME),
    steps("overwritten", "ScatterND x first other > s; MatMul s w > y", SAME),
    steps("padding-alone", "Pad x wide > p; Slice p from to columns > s; MatMul s w > y", SAME),
    steps("constant-half", "Concat other x axis=1 > c; Split c axis=1 > a b; MatMul a w > y", SAME),
    steps("above-the-corner", "Trilu x far upper=1 > t; MatMul t w > y", SAME),
    steps("flat-hard-sigmoid", "HardSigmoid m alpha=0.0 > h; MatMul h w > y", SAME),
    steps("flat-below", "Abs m > a; Neg a > b; Elu b alpha=0.0 > e; MatMul e w > y", SAME),
    steps("bounds-swapped", "Clip m two less > c; MatMul c w > y", SAME),
    steps("normal-of-one", "Reshape x single > r; LayerNormalization r alone > l; Reshape l square > q; MatMul q w > y", SAME),
    steps("nothing-against-nothing", "Sum m inf mask > y", NAN_EFFECT),
]
"""As `networks.BROKEN`."""

_LOOPED = helper.make_graph(
    [n("Identity", "go", "on"), n("Tanh", "s", "t")],
    "body",
    [
        helper.make_tensor_value_info("round", INT64, []),
        helper.make_tensor_value_info("go", TensorProto.BOOL, []),
        helper.make_tensor_value_info("s", FLOAT, None),
    ],
    [helper.make_tensor_value_info("on", TensorProto.BOOL, []), helper.make_tensor_value_info("t", FLOAT, None)],
)

FRESH_MISFITS = [
    Network(
        "too-long-behind-a-loop",
        [n("Loop", "rounds true x", "h", body=_LOOPED), n("Add", "h b", "y")],
        {"rounds": np.array(2), "true": np.array(True), "b": np.ones(7, np.float32)},
        None,
        1,
    ),
    Network(
        "recurrence-too-long",
        [n("LSTM", "x l r", "y", hidden_size=3)],
        {"l": np.ones((1, 12, 4), np.float32), "r": np.ones((1, 12, 4), np.float32)},
        None,
        1,
        inputs={"x": (FLOAT, (3, 1, 4))},
    ),
]
"""As `further_networks.MISFITS`."""

FRESH_HEALTHY = [
    steps("two-are-left", "Add m pair > a; Softmax a > y"),
    steps("sums", "CumSum m axis > y"),
    steps("sums-from-the-end", "CumSum m axis reverse=1 exclusive=1 > c; Add c m > y"),
    steps("no-less-than-itself-or-more", "Equal m m > e; Where e m nought > q; MatMul q w > y"),
    steps("minus-another", "Neg m > a; Add x a > b; MatMul b w > y"),
    steps("elu-as-relu", "Elu m alpha=0.0 > e; MatMul e w > y"),
]
"""As `networks.HEALTHY`."""
