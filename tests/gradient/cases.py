"""One small model for every operator that has a gradient."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class OneNode:
    """A node on inputs `shapes` (all varying), with constants behind or between them.

    Attributes:
        inputs: names in order; those that are in `constants` are stored, "" is left out.
        low, high: range of the inputs: away from poles and kinks.
    """

    op_type: str
    shapes: dict[str, tuple[int, ...]]
    inputs: tuple[str, ...] = ("x",)
    constants: Mapping[str, Any] = field(default_factory=dict)
    attributes: dict[str, Any] = field(default_factory=dict)
    opset: int = 18
    domain: str = ""
    outputs: int = 1
    used: int = 0
    low: float = -2.0
    high: float = 2.0
    note: str = ""

    @property
    def id(self) -> str:
        return "-".join(filter(None, (self.domain and "ms", self.op_type, self.note)))

    def proto(self, *, open_shapes: bool = False) -> onnx.ModelProto:
        names = [f"y{i}" for i in range(self.outputs)]
        node = helper.make_node(self.op_type, self.inputs, names, domain=self.domain, **self.attributes)
        stored = [numpy_helper.from_array(np.asarray(array), name) for name, array in self.constants.items()]
        dims = {n: [None] * len(s) if open_shapes else list(s) for n, s in self.shapes.items()}
        values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in dims.items()]
        out = helper.make_tensor_value_info(f"y{self.used}", TensorProto.FLOAT, None)
        graph = helper.make_graph([node], "one", values, [out], stored)
        imports = [helper.make_opsetid("", self.opset), *([helper.make_opsetid(self.domain, 1)] if self.domain else [])]
        return helper.make_model(graph, opset_imports=imports, ir_version=8)

    def feeds(self, seed: int = 0) -> Arrays:
        """Inputs whose entries are far apart, so that no order of them changes in a small step."""
        rng = np.random.default_rng(seed)
        total = sum(int(np.prod(shape)) for shape in self.shapes.values())
        grid = (rng.permutation(total) + rng.uniform(0.3, 0.7, total)) / total
        values = self.low + (self.high - self.low) * grid
        found, start = {}, 0
        for name, shape in self.shapes.items():
            count = int(np.prod(shape))
            found[name] = values[start : start + count].reshape(shape)
            start += count
        return found


def f32(*shape: int, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def ints(*values: int) -> np.ndarray:
    return np.array(values, dtype=np.int64)


X: dict[str, tuple[int, ...]] = {"x": (2, 3, 4)}
IMAGE: dict[str, tuple[int, ...]] = {"x": (2, 4, 6, 5)}


def unary(
    op_type: str, low: float = -2.0, high: float = 2.0, *, opset: int = 18, domain: str = "", **attributes: Any
) -> OneNode:
    note = "-".join(f"{value:.3g}" if isinstance(value, float) else str(value) for value in attributes.values())
    return OneNode(op_type, X, attributes=attributes, opset=opset, domain=domain, low=low, high=high, note=note)


def conv(note: str, shape: tuple[int, ...], weight: tuple[int, ...], bias: bool = False, **attributes: Any) -> OneNode:
    constants = {"w": f32(*weight)} | ({"b": f32(weight[0])} if bias else {})
    return OneNode("Conv", {"x": shape}, ("x", *constants), constants, attributes, note=note)


def turned(note: str, shape: tuple[int, ...], weight: tuple[int, ...], **attributes: Any) -> OneNode:
    return OneNode("ConvTranspose", {"x": shape}, ("x", "w"), {"w": f32(*weight)}, attributes, note=note)


def reduction(op_type: str, note: str, axes: Sequence[int] | None, *, low: float = 0.5, **attributes: Any) -> OneNode:
    constants = {} if axes is None else {"a": ints(*axes)}
    return OneNode(op_type, X, ("x", *constants), constants, attributes, note=note, low=low)


def binary(op_type: str, note: str, left: tuple[int, ...], right: tuple[int, ...], low: float = 0.5) -> OneNode:
    return OneNode(op_type, {"x": left, "z": right}, ("x", "z"), note=note, low=low)


UNARY = [
    *(
        unary(op)
        for op in ("Relu", "Sigmoid", "Tanh", "Erf", "Exp", "Abs", "Softplus", "Softsign", "Sin", "Cos", "Atan", "Neg")
    ),
    *(unary(op) for op in ("Identity", "Sinh", "Cosh", "Asinh", "Mish", "Elu", "Selu", "Celu", "LeakyRelu", "Softmax")),
    *(unary(op, 0.3) for op in ("Log", "Sqrt", "Reciprocal")),
    *(unary(op, -0.8, 0.8) for op in ("Asin", "Acos", "Atanh", "Tan")),
    *(unary(op) for op in ("Floor", "Ceil", "Round", "Sign")),
    unary("Acosh", 1.2, 3.0),
    unary("Elu", alpha=0.7),
    unary("Celu", alpha=0.7),
    unary("LeakyRelu", alpha=0.3),
    unary("HardSigmoid", -4.0, 4.0),
    unary("HardSigmoid", -4.0, 4.0, alpha=0.3, beta=0.4),
    unary("HardSwish", -4.0, 4.0),
    unary("ThresholdedRelu", alpha=0.5),
    unary("Gelu", opset=20),
    unary("Gelu", opset=20, approximate="tanh"),
    unary("Gelu", domain="com.microsoft"),
    unary("QuickGelu", domain="com.microsoft", alpha=1.5),
    unary("FastGelu", domain="com.microsoft"),
    unary("Swish", opset=24, alpha=1.3),
    unary("Softmax", axis=1),
    unary("LogSoftmax", axis=0),
    unary("LogSoftmax", axis=-1),
    unary("Hardmax"),
    unary("Cast", to=TensorProto.FLOAT),
]

ENTRIES = [
    *(binary(op, "same", (2, 3, 4), (2, 3, 4)) for op in ("Add", "Sub", "Mul", "Div", "Pow", "Max", "Min", "PRelu")),
    *(binary(op, "row", (2, 3, 4), (4,)) for op in ("Add", "Sub", "Mul", "Div", "Pow")),
    *(binary(op, "both", (2, 1, 4), (3, 1)) for op in ("Add", "Sub", "Mul", "Div", "Max", "Sum", "Mean")),
    binary("PRelu", "slopes", (2, 3, 4), (3, 1), low=-2.0),
    OneNode("BiasGelu", {"x": (2, 3, 4), "z": (4,)}, ("x", "z"), domain="com.microsoft"),
    OneNode("Pow", X, ("x", "p"), {"p": np.float32(2.0)}, note="square"),
    OneNode("Pow", X, ("x", "p"), {"p": np.float32(2.5)}, note="constant", low=0.5),
    OneNode("Pow", X, ("x", "p"), {"p": ints(3)}, note="integer"),
    OneNode("Clip", X, ("x", "l", "h"), {"l": np.float32(-0.5), "h": np.float32(0.75)}, note="both"),
    OneNode("Clip", X, ("x", "", "h"), {"h": np.float32(0.75)}, note="above"),
    OneNode("Where", {"x": (2, 3, 4), "z": (4,)}, ("c", "x", "z"), {"c": np.arange(12).reshape(3, 4) % 3 == 0}),
    OneNode("Dropout", X, ("x", "r"), {"r": np.float32(0.5)}),
    OneNode("CastLike", X, ("x", "l"), {"l": f32(1)}),
    OneNode(
        "BatchNormalization",
        IMAGE,
        ("x", "s", "b", "m", "v"),
        {"s": f32(4), "b": f32(4, seed=2), "m": f32(4, seed=3), "v": f32(4, seed=4) ** 2},
    ),
]

PRODUCTS = [
    *(
        binary("MatMul", f"{len(a)}by{len(b)}", a, b)
        for a, b in [((3, 4), (4, 5)), ((2, 3, 4), (4, 5)), ((3, 4), (2, 4, 5)), ((2, 1, 3, 4), (5, 4, 2)), ((4,), (4, 5))]
    ),
    *(
        binary("MatMul", f"{len(a)}by{len(b)}", a, b)
        for a, b in [((3, 4), (4,)), ((4,), (4,)), ((2, 3, 4), (4,)), ((4,), (2, 4, 5))]
    ),
    OneNode("MatMul", X, ("x", "w"), {"w": f32(4, 5)}, note="stored"),
    *(
        OneNode(
            "Gemm",
            {"x": (4, 3) if a else (3, 4), "z": (5, 4) if b else (4, 5), "c": (5,)},
            ("x", "z", "c"),
            attributes={"transA": a, "transB": b, "alpha": 0.7, "beta": 1.3},
            note=f"{a}{b}",
        )
        for a in (0, 1)
        for b in (0, 1)
    ),
    *(
        OneNode("Einsum", {"x": x, "z": z}, ("x", "z"), attributes={"equation": equation}, note=str(number))
        for number, (equation, x, z) in enumerate(
            [
                ("bij,bjk->bik", (2, 3, 4), (2, 4, 5)),
                ("bij,jk->ki", (2, 3, 4), (4, 5)),
                ("ij,kj", (3, 4), (5, 4)),
                ("bhid,bhjd->bhij", (2, 2, 3, 4), (2, 2, 5, 4)),
            ]
        )
    ),
]

CONVOLUTIONS = [
    conv("plain", (2, 3, 6, 5), (4, 3, 3, 2), bias=True, pads=[1, 0, 1, 1]),
    conv("pointwise", (1, 3, 4, 4), (5, 3, 1, 1)),
    conv("strided", (2, 3, 7, 8), (4, 3, 3, 3), strides=[2, 3], pads=[1, 1, 0, 1]),
    conv("depthwise", (1, 4, 6, 6), (4, 1, 3, 3), group=4, strides=[2, 2], pads=[1, 1, 1, 1]),
    conv("grouped", (1, 4, 6, 6), (6, 2, 3, 3), group=2, dilations=[2, 1]),
    conv("dilated-strided", (1, 2, 9, 9), (3, 2, 3, 3), dilations=[2, 2], strides=[2, 2]),
    conv("wide-padding", (1, 2, 4, 4), (3, 2, 2, 2), pads=[3, 2, 2, 3]),
    conv("gaps", (1, 2, 8, 8), (3, 2, 1, 1), strides=[3, 3]),
    conv("same-upper", (1, 2, 6, 7), (3, 2, 3, 4), auto_pad="SAME_UPPER", strides=[2, 2]),
    conv("same-lower", (1, 2, 6, 7), (3, 2, 3, 4), auto_pad="SAME_LOWER"),
    conv("1d", (2, 3, 9), (4, 3, 4), strides=[2], pads=[1, 2]),
    conv("3d", (1, 2, 4, 5, 4), (3, 2, 2, 3, 2), pads=[0, 1, 0, 1, 1, 0]),
    OneNode("Conv", {"x": (1, 2, 5, 5), "b": (3,)}, ("x", "w", "b"), {"w": f32(3, 2, 2, 2)}, note="bias"),
    turned("plain", (2, 3, 4, 5), (3, 2, 3, 2), pads=[1, 0, 1, 1]),
    turned("strided", (1, 3, 4, 5), (3, 2, 3, 3), strides=[2, 3], output_padding=[1, 2]),
    turned("grouped", (1, 4, 4, 4), (4, 3, 2, 3), group=2, strides=[2, 2], pads=[0, 1, 1, 0]),
    turned("same", (1, 2, 4, 4), (2, 3, 3, 3), auto_pad="SAME_UPPER", strides=[2, 2]),
    turned("wanted", (1, 2, 4, 4), (2, 3, 3, 3), strides=[2, 2], output_shape=[8, 7]),
    turned("dilated", (1, 2, 4, 4), (2, 3, 3, 3), strides=[2, 1], dilations=[1, 2]),
]

POOLS = [
    OneNode("MaxPool", IMAGE, attributes={"kernel_shape": [3, 3], "strides": [2, 1], "pads": [1, 1, 0, 1]}, note="overlap"),
    OneNode("MaxPool", IMAGE, attributes={"kernel_shape": [2, 2], "strides": [2, 2], "ceil_mode": 1}, note="ceil"),
    OneNode("MaxPool", {"x": (2, 3, 9)}, attributes={"kernel_shape": [3], "dilations": [2]}, note="1d"),
    OneNode("AveragePool", IMAGE, attributes={"kernel_shape": [3, 2], "strides": [2, 1], "pads": [1, 0, 1, 1]}),
    OneNode(
        "AveragePool",
        IMAGE,
        attributes={"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1] * 4, "count_include_pad": 1, "ceil_mode": 1},
        note="ceil",
        opset=19,
    ),
    OneNode("LpPool", IMAGE, attributes={"kernel_shape": [2, 2], "p": 2}),
    OneNode("GlobalAveragePool", IMAGE),
    OneNode("GlobalMaxPool", IMAGE),
    OneNode("GlobalLpPool", IMAGE),
    *(
        reduction(f"Reduce{name}", note, axes, **kept)
        for name in ("Sum", "Mean", "Max", "Min", "L1", "L2", "SumSquare", "LogSum", "LogSumExp", "Prod")
        for note, axes, kept in (("kept", [1], {}), ("dropped", [-1, 0], {"keepdims": 0}), ("all", None, {"keepdims": 0}))
    ),
    reduction("ReduceSum", "none", None, noop_with_empty_axes=1),
]

NORMALIZATIONS = [
    OneNode("LayerNormalization", X, ("x", "s", "b"), {"s": f32(4), "b": f32(4, seed=2)}, {"axis": -1}),
    OneNode("LayerNormalization", X, ("x", "s"), {"s": f32(3, 4)}, {"axis": 1}, note="two-axes"),
    OneNode("RMSNormalization", X, ("x", "s"), {"s": f32(4)}, opset=23),
    OneNode("InstanceNormalization", IMAGE, ("x", "s", "b"), {"s": f32(4), "b": f32(4, seed=2)}),
    OneNode("GroupNormalization", IMAGE, ("x", "s", "b"), {"s": f32(4), "b": f32(4)}, {"num_groups": 2}, opset=21),
    OneNode("MeanVarianceNormalization", IMAGE),
    OneNode("LRN", IMAGE, attributes={"size": 3, "alpha": 0.5, "beta": 0.75, "bias": 1.0}),
]

MOVES = [
    OneNode("Reshape", X, ("x", "s"), {"s": ints(0, -1)}),
    OneNode("Flatten", X, attributes={"axis": 2}),
    OneNode("Squeeze", {"x": (2, 1, 3, 1)}, ("x", "a"), {"a": ints(1, -1)}),
    OneNode("Unsqueeze", X, ("x", "a"), {"a": ints(0, -1)}),
    OneNode("Transpose", X, attributes={"perm": [2, 0, 1]}),
    OneNode("Transpose", X, note="reversed"),
    OneNode("Expand", {"x": (3, 1)}, ("x", "s"), {"s": ints(2, 3, 4)}),
    OneNode("Tile", {"x": (2, 3)}, ("x", "r"), {"r": ints(2, 3)}),
    OneNode("DepthToSpace", {"x": (1, 8, 2, 3)}, attributes={"blocksize": 2, "mode": "DCR"}, note="dcr"),
    OneNode("DepthToSpace", {"x": (1, 8, 2, 3)}, attributes={"blocksize": 2, "mode": "CRD"}, note="crd"),
    OneNode("SpaceToDepth", {"x": (1, 2, 4, 6)}, attributes={"blocksize": 2}),
    OneNode("Concat", {"x": (2, 3), "z": (2, 2)}, ("x", "w", "z"), {"w": f32(2, 4)}, {"axis": -1}),
    OneNode("Split", {"x": (2, 6)}, ("x", "s"), {"s": ints(1, 3, 2)}, {"axis": 1}, outputs=3, used=1),
    OneNode("Pad", X, ("x", "p"), {"p": ints(0, 1, 2, 1, 0, -1)}, note="constant"),
    *(
        OneNode("Pad", {"x": (2, 4, 5)}, ("x", "p"), {"p": ints(0, 1, 2, 0, 2, 3)}, {"mode": mode}, note=mode, opset=19)
        for mode in ("reflect", "edge", "wrap")
    ),
    OneNode("Pad", X, ("x", "p", "", "a"), {"p": ints(1, 2), "a": ints(-1)}, note="axes"),
    OneNode("Slice", X, ("x", "s", "e", "a"), {"s": ints(1, -3), "e": ints(9, -1), "a": ints(1, 2)}, note="plain"),
    OneNode(
        "Slice",
        {"x": (5, 7)},
        ("x", "s", "e", "a", "t"),
        {"s": ints(4, 0), "e": ints(-9, 7), "a": ints(0, 1), "t": ints(-2, 3)},
        note="steps",
    ),
    OneNode("Gather", X, ("x", "i"), {"i": np.array(-1)}, {"axis": 1}, note="one"),
    OneNode("Gather", X, ("x", "i"), {"i": np.array([[0, 2], [2, 1]])}, {"axis": 1}, note="many"),
    OneNode("GatherElements", {"x": (3, 4)}, ("x", "i"), {"i": np.array([[0, 3], [1, 1], [2, -1]])}, {"axis": 1}),
    *(
        OneNode(
            "ScatterElements",
            {"x": (3, 4), "z": (2, 4)},
            ("x", "i", "z"),
            {"i": np.array([[0, 1, 2, 0], [2, 1 if kind == "add" else 0, 0, 1]])},
            {"axis": 0, "reduction": kind},
            note=kind,
        )
        for kind in ("none", "add")
    ),
    *(
        OneNode(
            "Resize",
            {"x": (1, 2, 4, 5)},
            ("x", "", "s"),
            {"s": np.array([1, 1, *scale], dtype=np.float32)},
            {"mode": mode, "coordinate_transformation_mode": how},
            note=f"{mode}-{how}",
        )
        for mode, how, scale in (
            ("nearest", "asymmetric", (2.0, 2.0)),
            ("linear", "half_pixel", (1.5, 0.8)),
            ("linear", "align_corners", (2.0, 2.0)),
            ("cubic", "half_pixel", (1.5, 2.0)),
        )
    ),
]

CASES = [*UNARY, *ENTRIES, *PRODUCTS, *CONVOLUTIONS, *POOLS, *NORMALIZATIONS, *MOVES]
