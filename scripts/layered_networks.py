"""Small random networks layer by layer: convolutions, normalizations, activations, pools, attention, reshapes, branches."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

Rng = np.random.Generator


class Net:
    """A network that grows layer by layer; `x` is the current tensor, `shape` its shape."""

    def __init__(self, rng: Rng) -> None:
        self.rng, self.nodes, self.constants = rng, list[onnx.NodeProto](), dict[str, np.ndarray]()
        self.image = bool(rng.random() < 0.6)
        self.shape: tuple[int, ...] = (1, int(rng.integers(2, 5)), 8, 8) if self.image else (1, int(rng.integers(3, 7)), 8)
        self.input = self.shape
        self.x, self.count, self.past = "x", 0, list[tuple[str, tuple[int, ...]]]()

    def constant(self, array: object) -> str:
        """Store a constant."""
        name = f"c{len(self.constants)}"
        self.constants[name] = np.asarray(array)
        return name

    def op(self, op_type: str, *inputs: str, shape: tuple[int, ...] | None = None, **attributes: Any) -> str:
        """Append a node that reads the current tensor first."""
        self.count += 1
        name = f"t{self.count}"
        domain = attributes.pop("domain", "")
        self.nodes.append(helper.make_node(op_type, [self.x, *inputs], [name], f"n{self.count}", domain=domain, **attributes))
        self.past.append((self.x, self.shape))
        self.x, self.shape = name, self.shape if shape is None else shape
        return name

    def normal(self, *shape: int, size: float = 1.0) -> np.ndarray:
        """Random numbers; some round, so that grids are met."""
        array = size * self.rng.standard_normal(shape)
        if self.rng.random() < 0.2:
            array = np.rint(4.0 * array) / 4.0
        return array.astype(np.float32)

    def layer(self) -> None:
        """One more."""
        kinds = [
            self.scale,
            self.activation,
            self.normalise,
            self.branch,
            self.softmax,
            self.clip,
            self.gelu,
            self.move,
            self.power,
        ]
        kinds += (
            [self.convolution] * 4 + [self.pool] if len(self.shape) == 4 else [self.product] * 4 + [self.attention, self.reduce]
        )
        kinds[self.rng.integers(len(kinds))]()

    def convolution(self) -> None:
        out = int(self.rng.integers(2, 6))
        depthwise = self.rng.random() < 0.3
        groups = self.shape[1] if depthwise else 1
        out = self.shape[1] if depthwise else out
        weight = self.constant(self.normal(out, self.shape[1] // groups, 3, 3, size=0.4))
        bias = [self.constant(self.normal(out))] if self.rng.random() < 0.7 else []
        self.op("Conv", weight, *bias, shape=(1, out, *self.shape[2:]), pads=[1, 1, 1, 1], group=groups)
        if self.rng.random() < 0.6:
            parts = [self.normal(out), self.normal(out), self.normal(out), np.abs(self.normal(out)) + np.float32(0.1)]
            self.op("BatchNormalization", *map(self.constant, parts), epsilon=float(self.rng.choice([1e-5, 1e-3])))

    def product(self) -> None:
        out = int(self.rng.integers(3, 9))
        self.op("MatMul", self.constant(self.normal(self.shape[-1], out, size=0.5)), shape=(*self.shape[:-1], out))
        if self.rng.random() < 0.7:
            self.op("Add", self.constant(self.normal(out)))

    def scale(self) -> None:
        op = self.rng.choice(["Mul", "Add", "Sub", "Div"])
        shape = [(), (1,) * len(self.shape), (1, self.shape[1], *(1,) * (len(self.shape) - 2)), self.shape[-1:]]
        array = self.normal(*shape[self.rng.integers(4)])
        self.op(str(op), self.constant(np.where(np.abs(array) < 0.2, np.float32(0.7), array).astype(np.float32)))

    def activation(self) -> None:
        kinds: list[tuple[str, dict[str, Any]]] = [("Relu", {}), ("Sigmoid", {}), ("Tanh", {}), ("HardSwish", {}), ("Abs", {})]
        kinds += [("LeakyRelu", {"alpha": 0.1}), ("Elu", {"alpha": 0.7}), ("HardSigmoid", {"alpha": 0.2}), ("Neg", {})]
        name, attributes = kinds[self.rng.integers(len(kinds))]
        self.op(name, **attributes)

    def clip(self) -> None:
        low, high = sorted(self.rng.choice([-1.0, 0.0, 0.5, 2.0, 6.0], 2, replace=False))
        self.op("Clip", self.constant(np.float32(low)), self.constant(np.float32(high)))

    def gelu(self) -> None:
        self.op("Gelu", approximate=str(self.rng.choice(["none", "tanh"])))

    def power(self) -> None:
        self.op("Abs")
        self.op("Add", self.constant(np.float32(0.3)))
        self.op(
            *(("Sqrt",) if self.rng.random() < 0.5 else ("Pow", self.constant(np.float32(self.rng.choice([2.0, 0.5, 1.5])))))
        )

    def normalise(self) -> None:
        if len(self.shape) == 4:
            self.op("InstanceNormalization", *(self.constant(self.normal(self.shape[1])) for _ in range(2)), epsilon=1e-3)
            return
        width = self.shape[-1]
        self.op("LayerNormalization", self.constant(self.normal(width)), self.constant(self.normal(width)), epsilon=1e-3)

    def branch(self) -> None:
        same = [name for name, shape in self.past if shape == self.shape and name != self.x]
        if same:
            op = str(self.rng.choice(["Add", "Mul", "Sub", "Max"]))
            self.op(op, same[self.rng.integers(len(same))])

    def softmax(self) -> None:
        self.op("Softmax", axis=int(self.rng.integers(1, len(self.shape))))

    def move(self) -> None:
        if len(self.shape) == 4:
            batch, channels, *rest = self.shape
            self.op("Reshape", self.constant(np.array([batch, channels, -1])), shape=(batch, channels, rest[0] * rest[1]))
        else:
            batch, rows, width = self.shape
            self.op("Transpose", perm=[0, 2, 1], shape=(batch, width, rows))

    def pool(self) -> None:
        op = str(self.rng.choice(["MaxPool", "AveragePool"]))
        self.op(op, kernel_shape=[3, 3], pads=[1, 1, 1, 1])

    def reduce(self) -> None:
        op, axis = str(self.rng.choice(["ReduceMean", "ReduceSum", "ReduceMax"])), int(self.rng.integers(1, 3))
        shape = tuple(1 if i == axis else size for i, size in enumerate(self.shape))
        self.op(op, self.constant(np.array([axis])), shape=shape)

    def attention(self) -> None:
        x, shape, width = self.x, self.shape, int(self.rng.integers(2, 5))
        parts = []
        for _ in range(3):
            self.x, self.shape = x, shape
            parts.append(self.op("MatMul", self.constant(self.normal(shape[-1], width)), shape=(*shape[:-1], width)))
        self.x, self.shape = parts[1], (*shape[:-1], width)
        keys = self.op("Transpose", perm=[0, 2, 1], shape=(shape[0], width, shape[1]))
        self.x = parts[0]
        self.op("MatMul", keys, shape=(shape[0], shape[1], shape[1]))
        self.op("Mul", self.constant(np.float32(width**-0.5)))
        self.op("Softmax", axis=-1)
        self.op("MatMul", parts[2], shape=(*shape[:-1], width))

    def model(self) -> onnx.ModelProto:
        """As a protobuf."""
        graph = helper.make_graph(
            self.nodes,
            "random",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, self.input)],
            [helper.make_tensor_value_info(self.x, TensorProto.FLOAT, None)],
            [numpy_helper.from_array(array, name) for name, array in self.constants.items()],
        )
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
