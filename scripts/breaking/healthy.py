"""Small networks that a release gate has to pass."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

node = helper.make_node
FLOAT, INT64, BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL


def weight(*shape: int, seed: int = 0) -> np.ndarray:
    """Random float32 numbers whose products neither grow nor vanish."""
    fan = max(1, int(np.prod(shape[1:]))) if len(shape) > 1 else 1
    numbers: np.ndarray = np.random.default_rng([seed, *shape]).standard_normal(shape) / np.sqrt(fan)
    return numbers.astype(np.float32)


def value(name: str, shape: Sequence[int | str] | None, kind: int = FLOAT) -> onnx.ValueInfoProto:
    """A graph input or output."""
    return helper.make_tensor_value_info(name, kind, shape)


def model(
    nodes: Sequence[onnx.NodeProto], constants: Mapping[str, Any], *inputs: onnx.ValueInfoProto, opset: int = 17
) -> onnx.ModelProto:
    """A model whose output is that of the last node."""
    stored = [numpy_helper.from_array(np.asarray(array), name) for name, array in constants.items()]
    graph = helper.make_graph(list(nodes), "graph", list(inputs), [value(nodes[-1].output[0], None)], stored)
    made: onnx.ModelProto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)
    return made


def mlp() -> onnx.ModelProto:
    """Three layers, one of them behind a normalization of the input."""
    nodes = [
        node("Sub", ["x", "mean"], ["centred"]),
        node("Div", ["centred", "std"], ["normal"]),
        node("Gemm", ["normal", "w1", "b1"], ["a1"], alpha=1.0, beta=1.0, transB=1),
        node("Relu", ["a1"], ["h1"]),
        node("MatMul", ["h1", "w2"], ["a2"]),
        node("Add", ["a2", "b2"], ["s2"]),
        node("LeakyRelu", ["s2"], ["h2"], alpha=0.1),
        node("Gemm", ["h2", "w3", "b3"], ["y"]),
    ]
    constants = {
        "mean": weight(6) * 0.1,
        "std": np.linspace(0.5, 1.5, 6, dtype=np.float32),
        "w1": weight(8, 6),
        "b1": weight(8) * 0.1,
        "w2": weight(8, 7),
        "b2": weight(7) * 0.1,
        "w3": weight(7, 4),
        "b3": weight(4),
    }
    return model(nodes, constants, value("x", ["n", 6]))


def cnn() -> onnx.ModelProto:
    """Padding, convolutions, a batch normalization, a depthwise one, pools, a residual, a classifier."""
    nodes = [
        node("Pad", ["x", "pads", "fill"], ["p"]),
        node("Conv", ["p", "w1", "b1"], ["c1"], kernel_shape=[3, 3]),
        node("BatchNormalization", ["c1", "gamma", "beta", "mean", "var"], ["n1"], epsilon=1e-5),
        node("PRelu", ["n1", "slope"], ["h1"]),
        node("MaxPool", ["h1"], ["m1"], kernel_shape=[2, 2], strides=[2, 2], pads=[1, 1, 1, 1]),
        node("Conv", ["m1", "w2"], ["c2"], group=4, pads=[1, 1, 1, 1]),
        node("Add", ["c2", "m1"], ["r"]),
        node("Clip", ["r", "low", "high"], ["h2"]),
        node("GlobalAveragePool", ["h2"], ["g"]),
        node("Flatten", ["g"], ["f"]),
        node("Gemm", ["f", "w3", "b3"], ["y"], transB=1),
    ]
    constants = {
        "pads": np.array([0, 0, 1, 1, 0, 0, 1, 1]),
        "fill": np.float32(0),
        "w1": weight(4, 3, 3, 3),
        "b1": weight(4) * 0.1,
        "gamma": np.linspace(0.5, 1.5, 4, dtype=np.float32),
        "beta": weight(4) * 0.1,
        "mean": weight(4) * 0.1,
        "var": np.linspace(0.0, 1.5, 4, dtype=np.float32),
        "slope": np.full((4, 1, 1), 0.2, np.float32),
        "w2": weight(4, 1, 3, 3),
        "low": np.float32(-1e30),
        "high": np.float32(np.inf),
        "w3": weight(5, 4),
        "b3": weight(5),
    }
    return model(nodes, constants, value("x", [1, 3, 5, 5]))


def transformer() -> onnx.ModelProto:
    """A block with a causal mask, and a feed-forward network."""
    nodes = [
        node("LayerNormalization", ["x", "g1", "s1"], ["n1"], axis=-1, epsilon=1e-5),
        node("MatMul", ["n1", "wq"], ["q"]),
        node("MatMul", ["n1", "wk"], ["k"]),
        node("MatMul", ["n1", "wv"], ["v"]),
        node("Transpose", ["k"], ["kt"], perm=[0, 2, 1]),
        node("MatMul", ["q", "kt"], ["scores"]),
        node("Div", ["scores", "root"], ["scaled"]),
        node("Add", ["scaled", "mask"], ["masked"]),
        node("Softmax", ["masked"], ["attention"], axis=-1),
        node("MatMul", ["attention", "v"], ["mixed"]),
        node("MatMul", ["mixed", "wo"], ["out"]),
        node("Mul", ["out", "layer_scale"], ["small"]),
        node("Add", ["small", "x"], ["r1"]),
        node("LayerNormalization", ["r1", "g2"], ["n2"], axis=-1, epsilon=1e-5),
        node("MatMul", ["n2", "w1"], ["a"]),
        node("Add", ["a", "b1"], ["ab"]),
        node("Div", ["ab", "two"], ["e"]),
        node("Erf", ["e"], ["erf"]),
        node("Add", ["erf", "one"], ["cdf"]),
        node("Mul", ["ab", "cdf"], ["gelu"]),
        node("MatMul", ["gelu", "w2"], ["f"]),
        node("Add", ["f", "r1"], ["y"]),
    ]
    mask = np.where(np.tril(np.ones((5, 5))) > 0, 0.0, -np.inf)
    constants = {
        "g1": np.linspace(0.5, 1.5, 8, dtype=np.float32),
        "s1": weight(8) * 0.1,
        "g2": np.linspace(0.5, 1.5, 8, dtype=np.float32),
        "root": np.float32(np.sqrt(8)),
        "mask": mask.astype(np.float32),
        "layer_scale": np.linspace(0.0, 1.0, 8, dtype=np.float32),
        "b1": weight(16) * 0.1,
        "two": np.float32(np.sqrt(2)),
        "one": np.float32(1),
        "w1": weight(8, 16),
        "w2": weight(16, 8),
        **{f"w{name}": weight(8, 8, seed=i) for i, name in enumerate("qkvo")},
    }
    return model(nodes, constants, value("x", [1, 5, 8]))


def quantized() -> onnx.ModelProto:
    """Weights and activations through QuantizeLinear and DequantizeLinear."""
    nodes = [
        node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        node("DequantizeLinear", ["q", "s", "z"], ["d"]),
        node("DequantizeLinear", ["w1", "s1"], ["dw1"], axis=1),
        node("MatMul", ["d", "dw1"], ["a"]),
        node("Add", ["a", "b1"], ["ab"]),
        node("Relu", ["ab"], ["h"]),
        node("DequantizeLinear", ["w2", "s2"], ["dw2"]),
        node("MatMul", ["h", "dw2"], ["y"]),
    ]
    rng = np.random.default_rng(0)
    constants = {
        "s": np.float32(0.02),
        "z": np.uint8(128),
        "w1": rng.integers(-100, 100, (6, 8)).astype(np.int8),
        "s1": np.linspace(0.01, 0.02, 8, dtype=np.float32),
        "b1": weight(8) * 0.1,
        "w2": rng.integers(-100, 100, (8, 4)).astype(np.int8),
        "s2": np.float32(0.01),
    }
    return model(nodes, constants, value("x", [3, 6]))


def recurrent() -> onnx.ModelProto:
    """An LSTM and a GRU."""
    nodes = [
        node("LSTM", ["x", "lw", "lr", "lb"], ["l"], hidden_size=3),
        node("Squeeze", ["l", "one"], ["ls"]),
        node("GRU", ["ls", "gw", "gr"], ["g"], hidden_size=4),
        node("Squeeze", ["g", "one"], ["gs"]),
        node("MatMul", ["gs", "w"], ["y"]),
    ]
    constants = {
        "lw": weight(1, 12, 4),
        "lr": weight(1, 12, 3),
        "lb": weight(1, 24),
        "one": np.array([1]),
        "gw": weight(1, 12, 3),
        "gr": weight(1, 12, 4),
        "w": weight(4, 2),
    }
    return model(nodes, constants, value("x", [5, 1, 4]))


def branches() -> onnx.ModelProto:
    """An If with a weight in either branch."""

    def branch(name: str) -> onnx.GraphProto:
        inner = [node("MatMul", ["h", f"{name}_w"], [f"{name}_y"])]
        stored = [numpy_helper.from_array(weight(6, 4, seed=len(name)), f"{name}_w")]
        return helper.make_graph(inner, name, [], [value(f"{name}_y", None)], stored)

    nodes = [
        node("MatMul", ["x", "w"], ["m"]),
        node("Tanh", ["m"], ["h"]),
        node("If", ["c"], ["i"], then_branch=branch("then"), else_branch=branch("other")),
        node("Add", ["i", "b"], ["y"]),
    ]
    return model(nodes, {"w": weight(5, 6), "b": weight(4)}, value("x", [2, 5]), value("c", [], BOOL))


def scanned_layers() -> onnx.ModelProto:
    """A Scan whose state goes through a stack of layers, one each step."""
    step = [node("MatMul", ["state", "layer"], ["m"]), node("Tanh", ["m"], ["after"]), node("Identity", ["after"], ["out"])]
    body = helper.make_graph(
        step, "body", [value("state", [2, 6]), value("layer", [6, 6])], [value("after", [2, 6]), value("out", [2, 6])]
    )
    nodes = [
        node("MatMul", ["x", "w"], ["h"]),
        node("Scan", ["h", "stack"], ["last", "all"], body=body, num_scan_inputs=1),
        node("Add", ["last", "b"], ["y"]),
    ]
    return model(nodes, {"w": weight(5, 6), "stack": 2 * weight(4, 6, 6), "b": weight(6)}, value("x", [2, 5]))


def looped_layers() -> onnx.ModelProto:
    """A Loop whose state goes through a stack of layers, taken by the counter."""
    step = [
        node("Gather", ["stack", "i"], ["layer"], axis=0),
        node("MatMul", ["state", "layer"], ["m"]),
        node("Tanh", ["m"], ["after"]),
        node("Identity", ["go"], ["on"]),
    ]
    inputs = [value("i", [], INT64), value("go", [], BOOL), value("state", [2, 6])]
    body = helper.make_graph(step, "body", inputs, [value("on", [], BOOL), value("after", [2, 6])])
    nodes = [
        node("MatMul", ["x", "w"], ["h"]),
        node("Loop", ["n", "true", "h"], ["last"], body=body),
        node("Add", ["last", "b"], ["y"]),
    ]
    constants = {"w": weight(5, 6), "stack": 2 * weight(4, 6, 6), "b": weight(6), "n": np.int64(4), "true": np.array(True)}
    return model(nodes, constants, value("x", [2, 5]))


def half() -> onnx.ModelProto:
    """Float16 inside, float32 outside."""
    nodes = [
        node("Cast", ["x"], ["xh"], to=TensorProto.FLOAT16),
        node("MatMul", ["xh", "w1"], ["a"]),
        node("Add", ["a", "b1"], ["ab"]),
        node("Relu", ["ab"], ["h"]),
        node("MatMul", ["h", "w2"], ["m"]),
        node("Cast", ["m"], ["y"], to=FLOAT),
    ]
    constants = {
        name: array.astype(np.float16) for name, array in (("w1", weight(6, 8)), ("b1", weight(8)), ("w2", weight(8, 4)))
    }
    return model(nodes, constants, value("x", [2, 6]))


def normalizations() -> onnx.ModelProto:
    """What else has an epsilon, a slope or a mask."""
    nodes = [
        node("InstanceNormalization", ["x", "g", "s"], ["n"], epsilon=1e-5),
        node("Elu", ["n"], ["e"], alpha=0.9),
        node("Conv", ["e", "w"], ["c"]),
        node("LRN", ["c"], ["l"], size=3, alpha=1e-3, beta=0.75, bias=1.0),
        node("HardSigmoid", ["l"], ["h"], alpha=0.2, beta=0.5),
        node("Where", ["keep", "h", "blank"], ["k"]),
        node("ReduceMean", ["k"], ["m"], axes=[2, 3], keepdims=0),
        node("MatMul", ["m", "v"], ["y"]),
    ]
    keep = np.ones((6, 6), bool)
    keep[0] = False
    constants = {
        "g": np.linspace(0.5, 1.5, 3, dtype=np.float32),
        "s": weight(3),
        "w": weight(4, 3, 1, 1),
        "keep": keep,
        "blank": np.float32(0),
        "v": weight(4, 3),
    }
    return model(nodes, constants, value("x", [1, 3, 6, 6]))


HEALTHY: dict[str, Callable[[], onnx.ModelProto]] = {
    make.__name__: make
    for make in (
        mlp,
        cnn,
        transformer,
        quantized,
        recurrent,
        branches,
        scanned_layers,
        looped_layers,
        half,
        normalizations,
    )
}
