"""Models to start from: those in models/, and small ones with every kind of operator that onnxnull knows something about."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

node = helper.make_node
FLOAT, INT8, UINT8, INT32, BOOL = (getattr(TensorProto, name) for name in ("FLOAT", "INT8", "UINT8", "INT32", "BOOL"))
MICROSOFT = "com.microsoft"
_MODELS = Path(__file__).resolve().parents[2] / "models"
DATA = "weights.bin"
"""External data of one of the seeds, beside the model."""


def seeds() -> list[bytes]:
    """All of them, serialized; the large ones last."""
    small = [make().SerializeToString() for make in _SMALL]
    return [*small, *(path.read_bytes() for path in sorted(_MODELS.glob("*.onnx"), key=lambda path: path.stat().st_size))]


def data() -> bytes:
    """What lies in `DATA`."""
    return weight(64).tobytes()


def weight(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype(np.float32)


def integers(*shape: int, dtype: type = np.int8) -> np.ndarray:
    return np.random.default_rng(sum(shape)).integers(0, 100, shape).astype(dtype)


def value(name: str, shape: Sequence[int | str] | None, kind: int = FLOAT) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, shape)


def model(
    nodes: Sequence[onnx.NodeProto],
    constants: Mapping[str, Any],
    inputs: Sequence[onnx.ValueInfoProto],
    *,
    opset: int = 21,
    functions: Sequence[onnx.FunctionProto] = (),
) -> onnx.ModelProto:
    """A model whose output is that of the last node."""
    stored = [a if isinstance(a, onnx.TensorProto) else numpy_helper.from_array(np.asarray(a), n) for n, a in constants.items()]
    graph = helper.make_graph(list(nodes), "graph", list(inputs), [value(nodes[-1].output[0], None)], stored)
    imports = [helper.make_opsetid(d, v) for d, v in (("", opset), (MICROSOFT, 1), ("ai.onnx.ml", 3), ("local", 1))]
    made: onnx.ModelProto = helper.make_model(graph, opset_imports=imports, ir_version=10, functions=list(functions))
    return made


def convolutions() -> onnx.ModelProto:
    """Focus, a padded stem, a depthwise and a transposed convolution, pooling, a residual, a classifier."""
    nodes = [
        node("Slice", ["x", "b", "e", "a", "t"], ["s"]),
        node("Sub", ["s", "mean"], ["m"]),
        node("Pad", ["m", "p"], ["d"]),
        node("Conv", ["d", "w1", "b1"], ["c1"], strides=[2, 2], kernel_shape=[3, 3]),
        node("BatchNormalization", ["c1", "g", "g", "g", "v"], ["n"]),
        node("Relu", ["n"], ["r"]),
        node("Conv", ["r", "w2"], ["c2"], group=4, pads=[1, 1, 1, 1], dilations=[1, 1]),
        node("Add", ["c2", "r"], ["res"]),
        node("ConvTranspose", ["res", "w3"], ["c3"], strides=[2, 2], output_padding=[1, 1]),
        node("AveragePool", ["c3"], ["k"], kernel_shape=[2, 2], strides=[2, 2]),
        node("GlobalAveragePool", ["k"], ["q"]),
        node("Flatten", ["q"], ["f"], axis=1),
        node("Gemm", ["f", "w4", "b4"], ["y"], transB=1, alpha=0.5),
    ]
    constants = {
        "b": np.array([0, 1]),
        "e": np.array([9, 9]),
        "a": np.array([2, 3]),
        "t": np.array([1, 2]),
        "mean": weight(3, 1, 1),
        "p": np.array([0, 0, 1, 1, 0, 0, 1, 1]),
        "w1": weight(4, 3, 3, 3),
        "b1": weight(4),
        "g": np.ones(4, np.float32),
        "v": np.ones(4, np.float32),
        "w2": weight(4, 1, 3, 3),
        "w3": weight(4, 2, 3, 3),
        "w4": weight(5, 2),
        "b4": weight(5),
    }
    return model(nodes, constants, [value("x", ["n", 3, 10, 10])])


def constants_in_chains() -> onnx.ModelProto:
    """A weight that is computed: cast, transposed, reshaped, scaled, gathered, concatenated, tied."""
    nodes = [
        node("Cast", ["h"], ["a"], to=FLOAT),
        node("Transpose", ["a"], ["b"], perm=[1, 0]),
        node("Shape", ["b"], ["s"]),
        node("Gather", ["s", "one"], ["d"]),
        node("Concat", ["d", "minus"], ["t"], axis=0),
        node("Reshape", ["b", "t"], ["c"]),
        node("ConstantOfShape", ["s"], ["o"], value=numpy_helper.from_array(np.ones(1, np.float32))),
        node("Mul", ["c", "k"], ["e"]),
        node("Expand", ["k", "s"], ["z"]),
        node("Tile", ["r", "two"], ["u"]),
        node("Range", ["zero", "six", "step"], ["rg"]),
        node("Add", ["e", "u"], ["w"]),
        node("MatMul", ["x", "w"], ["y"]),
        node("MatMul", ["y", "b"], ["yy"]),
        node("Einsum", ["yy", "w"], ["out"], equation="...i,ij->...j"),
    ]
    constants = {
        "h": weight(4, 6).astype(np.float16),
        "one": np.array([1]),
        "minus": np.array([-1]),
        "k": np.float32(0.5),
        "r": weight(3, 2),
        "two": np.array([2, 2]),
        "zero": np.float32(0),
        "six": np.float32(6),
        "step": np.float32(0.5),
    }
    nodes[5] = node("Reshape", ["b", "shape"], ["c"])
    constants["shape"] = np.array([6, -1])
    return model(nodes, constants, [value("x", [2, 6])])


def quantized() -> onnx.ModelProto:
    """Quantized convolutions and products, and dequantized weights: per tensor, per channel, in blocks."""
    blocked = helper.make_tensor("w4", TensorProto.INT4, [8, 3], integers(24).tolist() and [i % 7 for i in range(24)])
    nodes = [
        node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        node("QLinearConv", ["q", "s", "z", "wc", "sc", "zc", "s", "z"], ["c"], pads=[1, 1, 1, 1]),
        node("ConvInteger", ["q", "wc", "z", "zc"], ["ci"]),
        node("DequantizeLinear", ["c", "s", "z"], ["f"]),
        node("Reshape", ["f", "shape"], ["v"]),
        node("DequantizeLinear", ["wm", "sm"], ["dm"], axis=1),
        node("MatMul", ["v", "dm"], ["m"]),
        node("QuantizeLinear", ["m", "s", "z"], ["qm"]),
        node("QLinearMatMul", ["qm", "s", "z", "wq", "s", "zw", "s", "z"], ["qq"]),
        node("DynamicQuantizeLinear", ["m"], ["dq", "ds", "dz"]),
        node("MatMulInteger", ["dq", "wq", "dz", "zw"], ["mi"]),
        node("DequantizeLinear", ["w4", "s4"], ["d4"], axis=0, block_size=4),
        node("MatMul", ["m", "d4"], ["y"]),
    ]
    constants = {
        "s": np.float32(0.1),
        "z": np.uint8(3),
        "wc": integers(2, 3, 3, 3),
        "sc": np.array([0.1, 0.2], np.float32),
        "zc": np.zeros(2, np.int8),
        "shape": np.array([-1, 8]),
        "wm": integers(8, 8),
        "sm": np.linspace(0.1, 1, 8).astype(np.float32),
        "wq": integers(8, 3),
        "zw": np.int8(1),
        "w4": blocked,
        "s4": weight(2, 3),
    }
    return model(nodes, constants, [value("x", [1, 3, 4, 4])])


def microsoft() -> onnx.ModelProto:
    """Fused and quantized operators of com.microsoft."""
    nodes = [
        node("MatMulNBits", ["x", "wn", "sn"], ["a"], domain=MICROSOFT, K=16, N=8, bits=4, block_size=16),
        node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        node("QGemm", ["q", "s", "z", "wq", "s", "zw"], ["g"], domain=MICROSOFT, transB=0),
        node("MatMulIntegerToFloat", ["q", "wq", "s", "s"], ["mf"], domain=MICROSOFT),
        node("DynamicQuantizeMatMul", ["x", "wq", "s"], ["dq"], domain=MICROSOFT),
        node("FusedMatMul", ["x", "wf"], ["fm"], domain=MICROSOFT, transB=1, alpha=0.5),
        node("FusedGemm", ["x", "wf", "bf"], ["fg"], domain=MICROSOFT, transB=1, activation="Relu"),
        node("FusedConv", ["im", "wc", "bc"], ["fc"], domain=MICROSOFT, activation="Relu", kernel_shape=[3, 3]),
        node(
            "DynamicQuantizeLSTM",
            ["sq", "lw", "lr", "lb", "", "", "", "", "ls", "lz", "ls", "lz"],
            ["ly"],
            domain=MICROSOFT,
            hidden_size=2,
        ),
        node("Add", ["a", "fm"], ["y"]),
    ]
    constants = {
        "wn": integers(8, 1, 8, dtype=np.uint8),
        "sn": weight(8),
        "s": np.float32(0.1),
        "z": np.uint8(3),
        "wq": integers(16, 8),
        "zw": np.int8(0),
        "wf": weight(8, 16),
        "bf": weight(8),
        "wc": weight(2, 3, 3, 3),
        "bc": weight(2),
        "lw": integers(1, 3, 8),
        "lr": integers(1, 2, 8),
        "lb": weight(1, 16),
        "ls": np.ones(1, np.float32),
        "lz": np.zeros(1, np.int8),
    }
    inputs = [value("x", [2, 16]), value("im", [1, 3, 5, 5]), value("sq", [4, 1, 3])]
    return model(nodes, constants, inputs)


def attention() -> onnx.ModelProto:
    """A transformer's layer, once fused and once in parts, with an embedding in front."""
    nodes = [
        node("Gather", ["table", "ids"], ["e"]),
        node("LayerNormalization", ["e", "g", "g"], ["n"], axis=-1),
        node("Attention", ["n", "wa", "ba"], ["at"], domain=MICROSOFT, num_heads=2),
        node("MatMul", ["n", "wqkv"], ["qkv"]),
        node("Split", ["qkv", "thirds"], ["q", "k", "v"], axis=2),
        node("MultiHeadAttention", ["q", "k", "v"], ["mh"], domain=MICROSOFT, num_heads=2),
        node("QuantizeLinear", ["n", "s", "z"], ["qn"]),
        node("QAttention", ["qn", "wi", "ba", "s", "s", "", "z", "zw"], ["qa"], domain=MICROSOFT, num_heads=2),
        node("Attention", ["q", "k", "v"], ["at23"], q_num_heads=2, kv_num_heads=2),
        node("Sum", ["at", "mh", "qa", "at23"], ["sum"]),
        node("MatMul", ["sum", "wo"], ["o"]),
        node("Gelu", ["o"], ["y"]),
    ]
    constants = {
        "table": weight(10, 8),
        "g": np.ones(8, np.float32),
        "wa": weight(8, 24),
        "ba": weight(24),
        "wqkv": weight(8, 24),
        "thirds": np.array([8, 8, 8]),
        "s": np.float32(0.1),
        "z": np.uint8(3),
        "wi": integers(8, 24),
        "zw": np.int8(0),
        "wo": weight(8, 4),
    }
    return model(nodes, constants, [value("ids", [1, 5], TensorProto.INT64)], opset=23)


def recurrent() -> onnx.ModelProto:
    """LSTM, GRU and RNN, one and two directions."""
    nodes = [
        node("LSTM", ["x", "lw", "lr", "lb"], ["l", "lh"], hidden_size=3, direction="bidirectional"),
        node("Squeeze", ["lh", "zero"], ["ls"]),
        node("GRU", ["x", "gw", "gr"], ["g"], hidden_size=3, linear_before_reset=0),
        node("Squeeze", ["g", "ones"], ["gs"]),
        node("RNN", ["gs", "rw", "rr"], ["y"], hidden_size=2, activations=["Relu"]),
    ]
    constants = {
        "lw": weight(2, 12, 4),
        "lr": weight(2, 12, 3),
        "lb": weight(2, 24),
        "zero": np.array([1]),
        "gw": weight(1, 9, 4),
        "gr": weight(1, 9, 3),
        "ones": np.array([1]),
        "rw": weight(1, 2, 3),
        "rr": weight(1, 2, 2),
    }
    return model(nodes, constants, [value("x", [5, 1, 4])])


def control_flow() -> onnx.ModelProto:
    """Weights in the branches of an If, in the bodies of a Loop and a Scan."""

    def body(nodes: Sequence[onnx.NodeProto], inputs: Sequence[onnx.ValueInfoProto], outputs: Sequence[str]) -> onnx.GraphProto:
        stored = [numpy_helper.from_array(weight(4, 4), "inner")]
        return helper.make_graph(list(nodes), "body", list(inputs), [value(name, None) for name in outputs], stored)

    then = body([node("MatMul", ["x", "inner"], ["t"])], [], ["t"])
    other = body([node("MatMul", ["x", "w"], ["o"])], [], ["o"])
    step = [node("MatMul", ["v", "w"], ["u"]), node("Identity", ["go"], ["on"])]
    rounds = [value("i", [], TensorProto.INT64), value("go", [], BOOL), value("v", None)]
    scanned = [node("Gemm", ["row", "inner"], ["out"]), node("Identity", ["state"], ["after"])]
    nodes = [
        node("If", ["c"], ["a"], then_branch=then, else_branch=other),
        node("Loop", ["n", "c", "a"], ["b"], body=body(step, rounds, ["on", "u"])),
        node("Unsqueeze", ["b", "axes"], ["s"]),
        node(
            "Scan",
            ["x", "s"],
            ["f", "y"],
            body=body(scanned, [value("state", None), value("row", None)], ["after", "out"]),
            num_scan_inputs=1,
        ),
    ]
    constants = {"w": weight(4, 4), "n": np.int64(3), "axes": np.array([0])}
    return model(nodes, constants, [value("x", [2, 4]), value("c", [], BOOL)])


def functions() -> onnx.ModelProto:
    """Local functions that call each other, with weights inside."""
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("local", 1)]
    inner = [node("Constant", [], ["k"], value=numpy_helper.from_array(weight(4, 4))), node("MatMul", ["a", "k"], ["b"])]
    outer = [node("Inner", ["a"], ["p"], domain="local"), node("Gemm", ["p", "w"], ["b"])]
    outer[1].attribute.add(name="transB", ref_attr_name="t", type=onnx.AttributeProto.INT)
    made = [
        helper.make_function("local", "Inner", ["a"], ["b"], inner, opsets),
        helper.make_function("local", "Outer", ["a", "w"], ["b"], outer, opsets, ["t"]),
    ]
    calls = [node("Outer", ["x", "w"], ["h"], domain="local", t=1), node("Outer", ["h", "w"], ["y"], domain="local", t=0)]
    return model(calls, {"w": weight(4, 4)}, [value("x", [2, 4])], functions=made)


def moved_inputs() -> onnx.ModelProto:
    """Linear steps on the way to the weight: resized, split, gathered, padded, averaged."""
    nodes = [
        node("Resize", ["x", "", "scales"], ["r"], mode="linear", coordinate_transformation_mode="asymmetric"),
        node("Split", ["r", "halves"], ["a", "b"], axis=3),
        node("Concat", ["b", "a"], ["c"], axis=1),
        node("DepthToSpace", ["c"], ["d"], blocksize=2),
        node("SpaceToDepth", ["d"], ["e"], blocksize=2),
        node("ReduceMean", ["e", "axes"], ["m"], keepdims=1),
        node("Gather", ["m", "order"], ["g"], axis=1),
        node("GatherND", ["g", "places"], ["gn"]),
        node("Squeeze", ["g", "axes"], ["s"]),
        node("Div", ["s", "two"], ["h"]),
        node("Cast", ["h"], ["dd"], to=TensorProto.DOUBLE),
        node("MatMul", ["dd", "w"], ["y"]),
    ]
    constants = {
        "scales": np.array([1, 1, 2, 2], np.float32),
        "halves": np.array([4, 4]),
        "axes": np.array([2]),
        "order": np.array([3, 2, 1, 0]),
        "places": np.array([[0, 0, 0]]),
        "two": np.float32(2),
        "w": weight(4, 3).astype(np.float64),
    }
    return model(nodes, constants, [value("x", [1, 2, 4, 4])])


def external() -> onnx.ModelProto:
    """A weight in a file of its own."""
    tensor = TensorProto(name="w", data_type=FLOAT, dims=[4, 3], data_location=TensorProto.EXTERNAL)
    for key, entry in (("location", DATA), ("offset", "16"), ("length", "48")):
        tensor.external_data.add(key=key, value=entry)
    return model([node("MatMul", ["x", "w"], ["y"])], {"w": tensor}, [value("x", [2, 4])])


def odd_types() -> onnx.ModelProto:
    """Weights in bfloat16, float64, int32, bool and strings, and ai.onnx.ml's."""
    nodes = [
        node("MatMul", ["xb", "wb"], ["yb"]),
        node("MatMul", ["xd", "wd"], ["yd"]),
        node("MatMul", ["xi", "wi"], ["yi"]),
        node("Where", ["mask", "xd", "xd"], ["ym"]),
        node("LinearRegressor", ["xd"], ["yl"], domain="ai.onnx.ml", coefficients=[1.0, 2.0, 3.0, 4.0], targets=1),
        node("StringNormalizer", ["text"], ["t"]),
        node("Identity", ["yd"], ["y"]),
    ]
    constants = {
        "wb": weight(4, 3).astype(ml_dtypes.bfloat16),
        "wd": weight(4, 3).astype(np.float64),
        "wi": integers(4, 3, dtype=np.int32),
        "mask": np.ones((2, 4), bool),
        "text": np.array(["a", "b"], dtype=object),
    }
    inputs = [value("xb", [2, 4], TensorProto.BFLOAT16), value("xd", [2, 4], TensorProto.DOUBLE), value("xi", [2, 4], INT32)]
    return model(nodes, constants, inputs)


_SMALL: list[Callable[[], onnx.ModelProto]] = [
    convolutions,
    constants_in_chains,
    quantized,
    microsoft,
    attention,
    recurrent,
    control_flow,
    functions,
    moved_inputs,
    external,
    odd_types,
]
