"""One small network in the forms that exporters give it.

image 1×3×12×12 → stem 3×3, stride 3 (27×8) → depthwise 3×3 (9×1, 8 groups) → pointwise (8×16) → Flatten → dense (256×24) →
q, k, v (24×16) → sigmoid(q)·k + v → head (16×10); each convolution with its own BatchNormalization, Relu between.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

Array = NDArray[np.float32]
CONVOLUTIONS = ("stem", "depthwise", "pointwise")
PRODUCTS = ("dense", "q", "k", "v", "head")
WEIGHTS = (*CONVOLUTIONS, *PRODUCTS)
EPSILON = 1e-3
MEAN, STD = np.array([0.485, 0.456, 0.406], np.float32), np.array([0.229, 0.224, 0.225], np.float32)


@dataclass(frozen=True)
class Network:
    """Weights (convolutions as ONNX has them, products as inputs × outputs), biases, and normalizations (scale, shift, mean,
    variance)."""

    weights: dict[str, Array]
    biases: dict[str, Array]
    norms: dict[str, tuple[Array, Array, Array, Array]]


def network(seed: int = 0) -> Network:
    """Random numbers, at scales that differ from channel to channel."""
    rng = np.random.default_rng(seed)
    shapes = {
        "stem": (8, 3, 3, 3),
        "depthwise": (8, 1, 3, 3),
        "pointwise": (16, 8, 1, 1),
        "dense": (256, 24),
        "q": (24, 16),
        "k": (24, 16),
        "v": (24, 16),
        "head": (16, 10),
    }

    def normal(*shape: int) -> Array:
        return rng.standard_normal(shape).astype(np.float32)

    weights = {name: normal(*shape) / np.float32(4.0) for name, shape in shapes.items()}
    outputs = {name: shape[0] if name in CONVOLUTIONS else shape[1] for name, shape in shapes.items()}
    norms = {
        name: (
            rng.uniform(0.2, 3.0, outputs[name]).astype(np.float32),
            normal(outputs[name]),
            normal(outputs[name]),
            rng.uniform(0.1, 4.0, outputs[name]).astype(np.float32),
        )
        for name in CONVOLUTIONS
    }
    return Network(weights, {name: normal(outputs[name]) for name in (*CONVOLUTIONS, "dense")}, norms)


def folded(net: Network) -> Network:
    """Every BatchNormalization folded into its convolution, in float32, as exporters do."""
    weights, biases = dict(net.weights), dict(net.biases)
    for name, (scale, shift, mean, variance) in net.norms.items():
        factor = scale / np.sqrt(variance + np.float32(EPSILON))
        weights[name] = weights[name] * factor.reshape(-1, 1, 1, 1)
        biases[name] = (biases[name] - mean) * factor + shift
    return Network(weights, biases, {})


def permuted(net: Network, seed: int = 1) -> Network:
    """The same function, hidden channels in another order."""
    rng = np.random.default_rng(seed)
    weights, biases, norms = dict(net.weights), dict(net.biases), dict(net.norms)
    first, second, third, fourth = (rng.permutation(n) for n in (8, 16, 24, 16))
    for name, order in (("stem", first), ("depthwise", first), ("pointwise", second)):
        weights[name], biases[name] = weights[name][order], biases[name][order]
        norms[name] = tuple(part[order] for part in norms[name])  # type: ignore[assignment]
    weights["pointwise"] = weights["pointwise"][:, first]
    weights["dense"] = weights["dense"].reshape(16, 16, 24)[second].reshape(256, 24)[:, third]
    biases["dense"] = biases["dense"][third]
    for name in ("q", "k", "v"):
        weights[name] = weights[name][third][:, fourth]
    weights["head"] = weights["head"][fourth]
    return Network(weights, biases, norms)


def normalised_inside(net: Network) -> Network:
    """The stem on images (x − MEAN)/STD, folded into its weight and bias."""
    scaled = net.weights["stem"] / STD.reshape(1, 3, 1, 1)
    bias = net.biases["stem"] - (scaled * MEAN.reshape(1, 3, 1, 1)).sum(axis=(1, 2, 3))
    return replace(net, weights={**net.weights, "stem": scaled}, biases={**net.biases, "stem": bias})


def with_weight(net: Network, name: str, weight: Array) -> Network:
    """One weight exchanged."""
    return replace(net, weights={**net.weights, name: weight})


@dataclass(frozen=True, kw_only=True)
class Export:
    """How a network is written.

    Attributes:
        prefix: of every name. backwards: initializers and branches in the other order.
        transposed: products as Gemm with transB. fused: q, k, v as one weight.
        dtype: of the constants. bits: the weights as integers behind DequantizeLinear; per_tensor: with one scale for each.
        channels_last: the image comes as 1×12×12×3. flat_last: the dense layer reads channels last.
        preprocessing: (x − MEAN)/STD is done inside.
    """

    prefix: str = ""
    backwards: bool = False
    transposed: bool = False
    fused: bool = False
    dtype: type = np.float32
    bits: int | None = None
    per_tensor: bool = False
    channels_last: bool = False
    flat_last: bool = False
    preprocessing: bool = False


class _Writer:
    def __init__(self, net: Network, how: Export) -> None:
        self.net, self.how = net, how
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []

    def op(self, op_type: str, *inputs: str, name: str, **attributes: Any) -> str:
        output = f"{self.how.prefix}{name}_out"
        self.nodes.append(helper.make_node(op_type, list(inputs), [output], f"{self.how.prefix}{name}", **attributes))
        return output

    def constant(self, name: str, array: NDArray[np.generic]) -> str:
        self.initializers.append(numpy_helper.from_array(np.ascontiguousarray(array), f"{self.how.prefix}{name}"))
        return f"{self.how.prefix}{name}"

    def floats(self, name: str, array: NDArray[np.generic]) -> str:
        return self.constant(name, array.astype(self.how.dtype))

    def weight(self, name: str, array: Array, axis: int) -> str:
        """`axis` numbers the outputs."""
        bits = self.how.bits
        if bits is None:
            return self.floats(f"{name}.weight", array)
        others = None if self.how.per_tensor else tuple(i for i in range(array.ndim) if i != axis)
        scale = (np.abs(array).max(axis=others) / (2 ** (bits - 1) - 1)).astype(np.float32)
        spread = scale if self.how.per_tensor else scale.reshape([-1 if i == axis else 1 for i in range(array.ndim)])
        stored = self.constant(f"{name}.integers", np.rint(array / spread).astype(np.int8))
        scales = self.constant(f"{name}.scale", scale)
        return self.op("DequantizeLinear", stored, scales, name=f"{name}.dequantized", axis=axis)

    def convolution(self, x: str, name: str, **attributes: object) -> str:
        weight = self.weight(name, self.net.weights[name], 0)
        x = self.op("Conv", x, weight, self.floats(f"{name}.bias", self.net.biases[name]), name=name, **attributes)
        if name in self.net.norms:
            parts = [self.floats(f"{name}.norm{i}", part) for i, part in enumerate(self.net.norms[name])]
            x = self.op("BatchNormalization", x, *parts, name=f"{name}.norm", epsilon=EPSILON)
        return self.op("Relu", x, name=f"{name}.relu")

    def product(self, x: str, name: str, array: Array) -> str:
        if self.how.transposed:
            return self.op("Gemm", x, self.weight(name, array.T, 0), name=name, transB=1)
        return self.op("MatMul", x, self.weight(name, array, 1), name=name)

    def write(self) -> onnx.ModelProto:
        how, net = self.how, self.net
        image = f"{how.prefix}image"
        x = image
        if how.preprocessing:
            axes = (1, 1, 1, 3) if how.channels_last else (1, 3, 1, 1)
            x = self.op("Sub", x, self.floats("mean", MEAN.reshape(axes)), name="centred")
            x = self.op("Div", x, self.floats("std", STD.reshape(axes)), name="normalised")
        if how.channels_last:
            x = self.op("Transpose", x, name="first", perm=[0, 3, 1, 2])
        x = self.convolution(x, "stem", strides=[3, 3])
        x = self.convolution(x, "depthwise", pads=[1, 1, 1, 1], group=8)
        x = self.convolution(x, "pointwise")
        dense = net.weights["dense"]
        if how.flat_last:
            x = self.op("Transpose", x, name="last", perm=[0, 2, 3, 1])
            dense = dense.reshape(16, 16, 24).swapaxes(0, 1).reshape(256, 24)
        x = self.op("Flatten", x, name="flat")
        x = self.product(x, "dense", dense)
        x = self.op("Add", x, self.floats("dense.bias", net.biases["dense"]), name="dense.add")
        x = self.op("Relu", x, name="dense.relu")
        names = ["q", "k", "v"]
        if how.fused:
            whole = self.product(x, "qkv", np.concatenate([net.weights[name] for name in names], axis=1))
            parts = [f"{how.prefix}{name}_out" for name in names]
            sizes = self.constant("sizes", np.array([16, 16, 16], np.int64))
            self.nodes.append(helper.make_node("Split", [whole, sizes], parts, f"{how.prefix}split", axis=1))
            found = dict(zip(names, parts, strict=True))
        else:
            order = names[::-1] if how.backwards else names
            found = {name: self.product(x, name, net.weights[name]) for name in order}
        x = self.op("Mul", self.op("Sigmoid", found["q"], name="gate"), found["k"], name="gated")
        x = self.op("Add", x, found["v"], name="sum")
        x = self.product(x, "head", net.weights["head"])
        kind = TensorProto.FLOAT16 if how.dtype is np.float16 else TensorProto.FLOAT
        shape = [1, 12, 12, 3] if how.channels_last else [1, 3, 12, 12]
        initializers = self.initializers[::-1] if how.backwards else self.initializers
        graph = helper.make_graph(
            self.nodes,
            "graph",
            [helper.make_tensor_value_info(image, kind, shape)],
            [helper.make_tensor_value_info(x, kind, [1, 10])],
            initializers,
        )
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def write(path: Path, net: Network, **how: object) -> Path:
    """The network as a file; options as in `Export`."""
    path.write_bytes(_Writer(net, Export(**how)).write().SerializeToString())  # type: ignore[arg-type]
    return path
