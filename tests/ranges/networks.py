"""Small networks with a constant that breaks them, or looks as if it did; each is judged, and then run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper

from onnxnull.ranges.results import Effect

NAN, INF = float("nan"), float("inf")
FLOAT, INT64, BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL
W = np.random.default_rng(0).standard_normal((4, 4)).astype(np.float32)
K = np.random.default_rng(1).standard_normal((4, 4, 3, 3)).astype(np.float32)
NAN_EFFECT, LOST, SAME = Effect.NAN, Effect.NOT_FINITE, Effect.CONSTANT


@dataclass(frozen=True)
class Network:
    """A network from `x` to `y`.

    Attributes:
        effect: what must be proved of y; None where nothing may be.
        nonfinite, unusual: what is said of its constants.
        inputs: name → (element type, shape).
    """

    name: str
    nodes: Sequence[NodeProto]
    constants: Mapping[str, Any] = field(default_factory=dict)
    effect: Effect | None = None
    nonfinite: int = 0
    unusual: int = 0
    inputs: Mapping[str, tuple[int, Sequence[int]]] = field(default_factory=lambda: {"x": (FLOAT, (2, 4))})
    opset: int = 17
    outputs: Sequence[str] = ("y",)
    microsoft: bool = False

    def proto(self) -> onnx.ModelProto:
        """The model."""
        graph = helper.make_graph(
            list(self.nodes),
            "graph",
            [helper.make_tensor_value_info(name, kind, shape) for name, (kind, shape) in self.inputs.items()],
            [onnx.ValueInfoProto(name=name) for name in self.outputs],
            [numpy_helper.from_array(_array(value), name) for name, value in self.constants.items()],
        )
        opsets = [helper.make_opsetid("", self.opset)]
        if any(node.domain == "ai.onnx.ml" for node in self.nodes):
            opsets.append(helper.make_opsetid("ai.onnx.ml", 3))
        if self.microsoft:
            opsets.append(helper.make_opsetid("com.microsoft", 1))
        return helper.make_model(graph, opset_imports=opsets, ir_version=9)

    def feeds(self, seed: int) -> dict[str, np.ndarray]:
        """Random inputs of a size that goes with the seed."""
        rng = np.random.default_rng(seed)
        found: dict[str, np.ndarray] = {}
        for name, (kind, shape) in self.inputs.items():
            if kind == INT64:
                found[name] = rng.integers(0, 2, shape)
            elif kind == BOOL:
                found[name] = rng.integers(0, 2, shape).astype(np.bool_)
            else:
                dtype = helper.tensor_dtype_to_np_dtype(kind)
                found[name] = (10.0 ** (seed % 3 - 1) * rng.standard_normal(shape)).astype(dtype)
        return found


def _array(value: Any) -> np.ndarray:
    return value if isinstance(value, np.ndarray) else np.asarray(value, np.float32)


def n(op: str, inputs: str, output: str = "h", **attributes: Any) -> NodeProto:
    """A node of its own name: inputs by spaces, "-" for one that is left out."""
    names = ["" if name == "-" else name for name in inputs.split()]
    return helper.make_node(op, names, output.split(), name=f"{op}_{output.split()[0]}", **attributes)


def then(*nodes: NodeProto) -> list[NodeProto]:
    """And a linear layer from h to y."""
    return [*nodes, n("MatMul", "h w", "y")]


def one(
    name: str, op: str, inputs: str, effect: Effect | None = None, nonfinite: int = 0, unusual: int = 0, **constants: Any
) -> Network:
    """One node, then a linear layer."""
    return Network(name, then(n(op, inputs)), {"w": W, **constants}, effect, nonfinite, unusual)


IMAGE = {"x": (FLOAT, (1, 4, 6, 6))}
MASK = {"x": (FLOAT, (2, 4)), "m": (BOOL, (2, 4))}
ONES, ZEROS = np.ones(4, np.float32), np.zeros(4, np.float32)


def entry(value: float) -> np.ndarray:
    """A vector with this in its second place."""
    return np.array([1, value, 1, 1], np.float32)


def batch_norm(
    name: str, effect: Effect | None = None, nonfinite: int = 0, unusual: int = 0, epsilon: float = 1e-5, **constants: Any
) -> Network:
    """Over four channels, then a convolution."""
    nodes = [n("BatchNormalization", "x s b m v", epsilon=epsilon), n("Conv", "h k", "y", pads=[1, 1, 1, 1])]
    found = {"s": ONES, "b": ZEROS, "m": ZEROS, "v": ONES, "k": K, **constants}
    return Network(name, nodes, found, effect, nonfinite, unusual, IMAGE)


def attention(name: str, mask: np.ndarray, effect: Effect | None = None, nonfinite: int = 0) -> Network:
    """Scores of a tensor with itself, a mask, Softmax, values."""
    nodes = [
        n("MatMul", "x w", "q"),
        n("Transpose", "x", "t", perm=[0, 2, 1]),
        n("MatMul", "q t", "s"),
        n("Add", "s mask", "masked"),
        n("Softmax", "masked", "p", axis=-1),
        n("MatMul", "p x", "y"),
    ]
    return Network(name, nodes, {"w": W, "mask": mask}, effect, nonfinite, inputs={"x": (FLOAT, (1, 5, 4))})


CAUSAL = np.triu(np.full((5, 5), -np.inf, np.float32), 1)
ONE_ROW = np.where(np.arange(5)[:, None] == 2, -np.inf, CAUSAL).astype(np.float32)
CODES = {"z": np.array(3, np.uint8)}


def quantizer(name: str, scale: float, effect: Effect | None = None, nonfinite: int = 2) -> Network:
    """QuantizeLinear and DequantizeLinear of one scale, then a linear layer."""
    nodes = then(n("QuantizeLinear", "x s z", "q"), n("DequantizeLinear", "q s z"))
    return Network(name, nodes, {"w": W, "s": scale, **CODES}, effect, nonfinite)


def branches(then_value: Any, else_value: Any, op: str = "Mul") -> NodeProto:
    """An If whose branches apply `op` to x and a constant each."""
    bodies = {}
    for key, value in (("then_branch", then_value), ("else_branch", else_value)):
        constant = n("Constant", "", f"{key}_c", value=numpy_helper.from_array(_array(value)))
        bodies[key] = helper.make_graph(
            [constant, n(op, f"x {key}_c", f"{key}_y")], key, [], [onnx.ValueInfoProto(name=f"{key}_y")]
        )
    return helper.make_node("If", ["c"], ["h"], name="If", **bodies)


SCALAR_CONDITION = {"x": (FLOAT, (2, 4)), "c": (BOOL, ())}

BROKEN = [
    one("where-always-nan", "Where", "c x v", NAN_EFFECT, unusual=1, c=np.zeros((1, 4), np.bool_), v=NAN),
    one("where-always-inf", "Where", "c v x", LOST, c=np.ones(4, np.bool_), v=INF),
    one("where-always-zero", "Where", "c x v", SAME, c=np.zeros((1, 4), np.bool_), v=0.0),
    one("where-one-column-nan", "Where", "c x v", NAN_EFFECT, unusual=1, c=np.array([1, 0, 1, 1], np.bool_), v=NAN),
    one("sum-nan", "Sum", "x v x", NAN_EFFECT, 1, v=NAN),
    one("sum-inf", "Sum", "x v x", LOST, v=INF),
    one("mean-nan", "Mean", "x v", NAN_EFFECT, 1, v=NAN),
    one("min-nan", "Min", "x v", NAN_EFFECT, 1, v=NAN),
    one("min-minus-inf", "Min", "x v", LOST, v=-INF),
    one("max-inf", "Max", "v x", LOST, v=INF),
    one("max-nan", "Max", "x v", NAN_EFFECT, 1, v=NAN),
    one("pow-nan-base", "Pow", "v x", None, 1, v=NAN),
    one("pow-zero", "Pow", "x v", SAME, v=0.0),
    one("mul-nan", "Mul", "x v", NAN_EFFECT, 1, v=NAN),
    one("mul-inf", "Mul", "x v", LOST, unusual=0, v=INF),
    one("mul-zero", "Mul", "x v", SAME, v=0.0),
    one("mul-one-inf", "Mul", "x v", LOST, v=entry(INF)),
    one("add-nan", "Add", "x v", NAN_EFFECT, 1, v=NAN),
    one("add-one-nan", "Add", "x v", NAN_EFFECT, 1, v=entry(NAN)),
    one("add-inf", "Add", "x v", LOST, v=-INF),
    one("sub-inf", "Sub", "v x", LOST, v=INF),
    one("div-by-zero", "Div", "x v", LOST, v=0.0),
    one("div-of-zero", "Div", "v x", SAME, v=0.0),
    one("div-by-inf", "Div", "x v", SAME, v=INF),
    one("div-one-by-zero", "Div", "x v", LOST, v=entry(0.0)),
    Network(
        "sqrt-below-zero", then(n("Relu", "x", "r"), n("Sub", "v r", "s"), n("Sqrt", "s")), {"w": W, "v": -1.0}, NAN_EFFECT
    ),
    Network(
        "log-below-zero", then(n("Sigmoid", "x", "r"), n("Sub", "r v", "s"), n("Log", "s")), {"w": W, "v": 2.0}, NAN_EFFECT
    ),
    Network("exp-overflows", then(n("Relu", "x", "r"), n("Add", "r v", "s"), n("Exp", "s")), {"w": W, "v": 1000.0}, LOST),
    Network("relu-of-negatives", then(n("Sigmoid", "x", "r"), n("Sub", "r v", "s"), n("Relu", "s")), {"w": W, "v": 2.0}, SAME),
    Network("clip-to-a-point", then(n("Clip", "x v v")), {"w": W, "v": 1.5}, SAME),
    Network("clip-crossed", then(n("Clip", "x a b")), {"w": W, "a": 2.0, "b": 1.0}, SAME),
    Network("clip-beyond", then(n("Sigmoid", "x", "r"), n("Clip", "r a b")), {"w": W, "a": 3.0, "b": 5.0}, SAME),
    attention("mask-of-minus-inf", np.full((5, 5), -np.inf, np.float32), NAN_EFFECT, 1),
    attention("mask-with-one-lost-row", ONE_ROW, NAN_EFFECT),
    batch_norm("variance-below-zero", NAN_EFFECT, 1, v=-ONES),
    batch_norm("variance-minus-epsilon", LOST, 1, v=entry(-0.25), epsilon=0.25),
    batch_norm("variance-nan", NAN_EFFECT, 1, v=entry(NAN)),
    batch_norm("variance-zero-epsilon-zero", LOST, 1, v=entry(0.0), epsilon=0.0),
    batch_norm("epsilon-nan", NAN_EFFECT, 1, epsilon=NAN),
    batch_norm("scale-zero", SAME, s=ZEROS),
    batch_norm("scale-inf", LOST, 1, s=entry(INF)),
    Network("layer-epsilon-nan", then(n("LayerNormalization", "x s", epsilon=NAN)), {"w": W, "s": ONES}, NAN_EFFECT, 1),
    Network("layer-epsilon-negative", then(n("LayerNormalization", "x s", epsilon=-1.0)), {"w": W, "s": ONES}, None, 1),
    Network("layer-scale-inf", then(n("LayerNormalization", "x s")), {"w": W, "s": entry(INF)}, LOST, 1),
    Network(
        "instance-epsilon-nan",
        [n("InstanceNormalization", "x s b", "y", epsilon=NAN)],
        {"s": ONES, "b": ONES},
        NAN_EFFECT,
        1,
        inputs=IMAGE,
    ),
    Network(
        "instance-of-one-entry",
        [n("InstanceNormalization", "x s b", "y")],
        {"s": ONES, "b": ONES},
        SAME,
        inputs={"x": (FLOAT, (1, 4, 1, 1))},
    ),
    Network(
        "group-epsilon-nan",
        [n("GroupNormalization", "x s b", "y", epsilon=NAN, num_groups=2)],
        {"s": ONES, "b": ONES},
        NAN_EFFECT,
        1,
        inputs=IMAGE,
        opset=21,
    ),
    Network("rms-epsilon-nan", then(n("RMSNormalization", "x s", epsilon=NAN)), {"w": W, "s": ONES}, NAN_EFFECT, 1, opset=23),
    Network(
        "computed-variance-nan",
        then(
            n("ReduceMean", "x", "m", axes=[1]),
            n("Sub", "x m", "d"),
            n("Mul", "d d", "q"),
            n("ReduceMean", "q", "u", axes=[1]),
            n("Add", "u v", "t"),
            n("Sqrt", "t", "r"),
            n("Div", "d r"),
        ),
        {"w": W, "v": NAN},
        NAN_EFFECT,
        1,
    ),
    Network("gemm-alpha-nan", then(n("Gemm", "x w c", alpha=NAN)), {"w": W, "c": ONES}, NAN_EFFECT, 1),
    Network("gemm-beta-nan", then(n("Gemm", "x w c", beta=NAN)), {"w": W, "c": ONES}, NAN_EFFECT, 1),
    Network("gemm-alpha-zero", then(n("Gemm", "x w c", alpha=0.0)), {"w": W, "c": ONES}, SAME),
    Network("gemm-bias-nan", then(n("Gemm", "x w c")), {"w": W, "c": entry(NAN)}, NAN_EFFECT, 1),
    Network("leaky-slope-nan", then(n("LeakyRelu", "x", alpha=NAN)), {"w": W}, None, 1),
    Network(
        "leaky-slope-nan-of-negatives",
        then(n("Sigmoid", "x", "r"), n("Sub", "r v", "s"), n("LeakyRelu", "s", alpha=NAN)),
        {"w": W, "v": 2.0},
        NAN_EFFECT,
        1,
    ),
    Network("prelu-slope-nan", then(n("PRelu", "x v")), {"w": W, "v": entry(NAN)}, None, 1),
    Network("elu-alpha-nan", then(n("Elu", "x", alpha=NAN)), {"w": W}, None, 1),
    Network("celu-alpha-nan", then(n("Celu", "x", alpha=NAN)), {"w": W}, NAN_EFFECT, 1),
    Network("selu-gamma-nan", then(n("Selu", "x", gamma=NAN)), {"w": W}, NAN_EFFECT, 1),
    Network("hard-sigmoid-nan", then(n("HardSigmoid", "x", alpha=NAN)), {"w": W}, NAN_EFFECT, 1),
    Network("hard-sigmoid-flat", then(n("HardSigmoid", "x", alpha=0.0)), {"w": W}, SAME),
    Network("thresholded-nan", then(n("ThresholdedRelu", "x", alpha=NAN)), {"w": W}, SAME, 1),
    Network(
        "pad-nan",
        [n("Pad", "x p v"), n("Conv", "h k", "y")],
        {"p": np.array([0, 0, 1, 1, 0, 0, 1, 1]), "v": NAN, "k": K},
        None,
        1,
        inputs=IMAGE,
    ),
    Network(
        "pad-nan-then-mean",
        [n("Pad", "x p v", "h"), n("MatMul", "h w", "y")],
        {"p": np.array([0, 1, 0, 0]), "v": NAN, "w": np.ones((5, 3), np.float32)},
        NAN_EFFECT,
        1,
    ),
    Network(
        "conv-bias-nan",
        [n("Conv", "x k b", pads=[1, 1, 1, 1]), n("Conv", "h k", "y", pads=[1, 1, 1, 1])],
        {"k": K, "b": entry(NAN)},
        NAN_EFFECT,
        1,
        inputs=IMAGE,
    ),
    Network("conv-of-zeros", [n("Conv", "x z b", "y", pads=[1, 1, 1, 1])], {"z": 0 * K, "b": ONES}, SAME, inputs=IMAGE),
    Network(
        "zeros-behind-a-conv",
        [
            n("Conv", "x k", "c"),
            n("Mul", "c z", "d"),
            n("Relu", "d", "e"),
            n("GlobalAveragePool", "e", "f"),
            n("Flatten", "f"),
            n("Gemm", "h w b", "y"),
        ],
        {"k": K, "z": 0.0, "w": W, "b": ONES},
        SAME,
        inputs=IMAGE,
    ),
    Network(
        "scatter-of-nan",
        then(n("ScatterND", "x i u")),
        {"w": W, "i": np.array([[0], [1]]), "u": np.full((2, 4), NAN, np.float32)},
        NAN_EFFECT,
        unusual=1,
    ),
    Network(
        "concat-then-the-constant",
        then(n("Concat", "x v", "c", axis=1), n("Slice", "c a b d")),
        {"w": W, "v": np.ones((2, 4), np.float32), "a": np.array([4]), "b": np.array([8]), "d": np.array([1])},
        SAME,
    ),
    Network(
        "concat-with-nan",
        [n("Concat", "x v", "c", axis=1), n("MatMul", "c u", "y")],
        {"u": np.ones((5, 3), np.float32), "v": np.full((2, 1), NAN, np.float32)},
        NAN_EFFECT,
        unusual=1,
    ),
    Network(
        "table-of-nan",
        then(n("Gather", "t i")),
        {"w": W, "t": np.full((2, 4), NAN, np.float32)},
        NAN_EFFECT,
        1,
        inputs={"i": (INT64, (3,))},
    ),
    Network("reduce-of-nan", [n("Add", "x v"), n("ReduceMean", "h", "y", axes=[1])], {"v": entry(NAN)}, NAN_EFFECT, 1),
    Network("softmax-of-one", [n("Softmax", "x", "y", axis=1)], {}, SAME, inputs={"x": (FLOAT, (3, 1))}),
    Network("argmax-of-zeros", [n("Mul", "x v"), n("ArgMax", "h", "y", axis=1)], {"v": 0.0}, SAME),
    Network("cast-of-zeros", [n("Mul", "x v"), n("Cast", "h", "y", to=INT64)], {"v": 0.0}, SAME),
    quantizer("quantizer-zero", 0.0, SAME),
    quantizer("quantizer-inf", INF, NAN_EFFECT),
    quantizer("quantizer-nan", NAN, NAN_EFFECT),
    quantizer("quantizer-negative", -1.0),
    Network("both-branches-lose", then(branches(0.0, 0.0)), {"w": W}, SAME, inputs=SCALAR_CONDITION),
    Network("both-branches-nan", then(branches(NAN, NAN)), {"w": W}, NAN_EFFECT, 2, inputs=SCALAR_CONDITION),
    Network(
        "max-pool-of-nan", [n("Mul", "x v"), n("MaxPool", "h", "y", kernel_shape=[2, 2])], {"v": NAN}, SAME, 1, inputs=IMAGE
    ),
    Network("reciprocal-of-zero", then(n("Mul", "x v", "z"), n("Reciprocal", "z")), {"w": W, "v": 0.0}, LOST),
    Network(
        "skip-without-input", then(n("Mul", "x z", "a"), n("MatMul", "a w", "b"), n("Add", "a b")), {"w": W, "z": 0.0}, SAME
    ),
    Network(
        "float16-mul-zero",
        then(n("Cast", "x", "f", to=TensorProto.FLOAT16), n("Mul", "f v", "g"), n("Cast", "g", to=FLOAT)),
        {"w": W, "v": np.array(0, np.float16)},
        SAME,
    ),
    Network(
        "lstm-after-zero",
        [n("Mul", "x z", "a"), n("LSTM", "a l r", "y", hidden_size=2)],
        {"z": 0.0, "l": W[None].repeat(2, 1), "r": W[None, :, :2].repeat(2, 1)},
        SAME,
        inputs={"x": (FLOAT, (3, 1, 4))},
    ),
]

HEALTHY = [
    one("plain", "Add", "x v", v=1.0),
    Network("where-by-input", then(n("Where", "m x v")), {"w": W, "v": 0.0}, inputs=MASK),
    one("max-minus-inf", "Max", "x v", v=-INF),
    one("min-inf", "Min", "x v", v=INF),
    one("min-float-max", "Min", "x v", v=3.4028235e38),
    Network("clip-infinite", then(n("Clip", "x a b")), {"w": W, "a": -INF, "b": INF}),
    Network("clip-float-max", then(n("Clip", "x a b")), {"w": W, "a": 0.0, "b": 3.4028235e38}),
    Network("clip-6", then(n("Clip", "x", min=-INF, max=6.0)), {"w": W}, opset=10),
    attention("causal", CAUSAL),
    attention("some-minus-inf", np.where(np.arange(5) < 3, 0, -np.inf).astype(np.float32)[None]),
    attention("float-min", np.full((5, 5), -3.4028235e38, np.float32) * (np.arange(5) > 2)),
    batch_norm("variance-zero", v=entry(0.0)),
    batch_norm("variance-tiny", v=entry(1e-38), epsilon=0.0),
    batch_norm("one-scale-zero", s=entry(0.0)),
    batch_norm("epsilon-below-zero-but-not-the-sum", epsilon=-0.5),
    Network("layer-epsilon-zero", then(n("LayerNormalization", "x s", epsilon=0.0)), {"w": W, "s": ONES}),
    Network("layer-scale-of-zero", [n("MatMul", "x w", "b"), n("Mul", "b g", "d"), n("Add", "x d", "y")], {"w": W, "g": ZEROS}),
    Network(
        "max-pool-pads",
        [n("Pad", "x p v"), n("MaxPool", "h", "y", kernel_shape=[3, 3])],
        {"p": np.array([0, 0, 1, 1, 0, 0, 1, 1]), "v": -INF},
        inputs=IMAGE,
    ),
    Network("guarded-div", then(n("Abs", "x", "a"), n("Add", "a e", "b"), n("Div", "x b")), {"w": W, "e": 1e-6}),
    Network(
        "div-by-where", then(n("Equal", "x z", "q"), n("Where", "q o x", "s"), n("Div", "o s")), {"w": W, "z": 0.0, "o": 1.0}
    ),
    Network("nan-guard", then(n("IsNaN", "x", "q"), n("Where", "q z x")), {"w": W, "z": 0.0}),
    Network(
        "nan-guard-behind-div",
        then(n("Div", "x x", "d"), n("IsNaN", "d", "q"), n("Where", "q z d", "g"), n("Add", "g x")),
        {"w": W, "z": 0.0},
    ),
    Network("gemm-beta-zero", then(n("Gemm", "x w c", beta=0.0)), {"w": W, "c": ONES}),
    Network("gemm-beta-nan-without-c", then(n("Gemm", "x w", beta=NAN)), {"w": W}),
    Network("unread-nan", then(n("Gemm", "x w c", beta=0.0)), {"w": W, "c": ONES, "unread": NAN}),
    Network("one-branch-lives", then(branches(0.0, 1.0)), {"w": W}, inputs=SCALAR_CONDITION),
    Network(
        "dead-filters",
        [n("Conv", "x k b", "c"), n("Relu", "c"), n("Conv", "h k", "y")],
        {"k": K * np.array([1, 0, 0, 1])[:, None, None, None].astype(np.float32), "b": -ONES},
        inputs=IMAGE,
    ),
    Network("softmax-log", [n("MatMul", "x w", "h"), n("LogSoftmax", "h", "y")], {"w": W}),
    quantizer("quantizer", 0.1, None, 0),
    Network(
        "sum-of-squares",
        then(
            n("Mul", "x x", "q"),
            n("ReduceSum", "q a", "s", keepdims=1),
            n("Add", "s e", "t"),
            n("Sqrt", "t", "r"),
            n("Div", "x r"),
        ),
        {"w": W, "a": np.array([1]), "e": 1e-12},
    ),
    Network("one-minus-sigmoid", then(n("Sigmoid", "x", "s"), n("Sub", "o s", "t"), n("Log", "t")), {"w": W, "o": 1.0}),
    Network("zero-to-one", then(n("HardSigmoid", "x")), {"w": W}),
    Network(
        "concat-of-a-constant",
        [n("Concat", "x v", "c", axis=1), n("MatMul", "c u", "y")],
        {"u": np.ones((6, 3), np.float32), "v": np.ones((2, 2), np.float32)},
    ),
    Network(
        "gathered-minus-inf",
        [n("Gather", "t i"), n("Add", "x h", "s"), n("Softmax", "s", "y")],
        {"t": np.where(np.eye(2, 4) > 0, -np.inf, 0).astype(np.float32)},
        inputs={"x": (FLOAT, (2, 4)), "i": (INT64, (2,))},
    ),
    one("scaled", "Mul", "x v", v=1e-3),
    Network(
        "shape-only-scale",
        then(n("Shape", "x", "s"), n("Cast", "s", "f", to=FLOAT), n("ReduceProd", "f", "p", keepdims=0), n("Div", "x p")),
        {"w": W},
    ),
    Network("random-mask", then(n("Greater", "x z", "g"), n("Cast", "g", "f", to=FLOAT), n("Mul", "x f")), {"w": W, "z": 0.0}),
    Network("constant-condition", then(n("Where", "c x v")), {"w": W, "c": np.array([1, 0, 1, 1], np.bool_), "v": 0.0}),
]
