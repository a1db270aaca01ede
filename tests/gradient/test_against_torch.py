"""Gradients of random networks against torch's autograd, where torch is there."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from onnxnull.gradient import Function

torch = pytest.importorskip("torch", reason="torch is not installed")


EPSILON = float(np.float32(1e-5))
"""As the ONNX attribute stores it."""


class Builder:
    """A random network as an ONNX graph and as a function of torch tensors, layer by layer."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.nodes: list[Any] = []
        self.stored: list[Any] = []
        self.name, self.shape = "x", (2, 4, 9, 8)
        self.steps: list[Any] = []

    def constant(self, *shape: int) -> tuple[str, Any]:
        array = (self.rng.standard_normal(shape) / max(1.0, np.sqrt(np.prod(shape[1:])))).astype(np.float32)
        self.stored.append(numpy_helper.from_array(array, f"c{len(self.stored)}"))
        return self.stored[-1].name, torch.tensor(array.astype(np.float64))

    def add(self, op_type: str, inputs: list[str], step: Any, **attributes: Any) -> None:
        result = f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(op_type, [self.name, *inputs], [result], **attributes))
        self.name = result
        self.steps.append(step)

    def layer(self) -> None:
        nn, channels = torch.nn.functional, self.shape[1]
        kind = self.rng.choice(["conv", "depthwise", "max", "average", "relu", "gelu", "norm", "scale", "residual", "soft"])
        if kind in ("conv", "depthwise"):
            group = channels if kind == "depthwise" else 1
            stride = int(self.rng.integers(1, 3))
            name, w = self.constant(channels, channels // group, 3, 3)
            self.add(
                "Conv",
                [name],
                lambda x: nn.conv2d(x, w, stride=stride, padding=1, groups=group),
                group=group,
                strides=[stride] * 2,
                pads=[1] * 4,
            )
        elif kind == "max":
            self.add("MaxPool", [], lambda x: nn.max_pool2d(x, 3, 1, 1), kernel_shape=[3, 3], pads=[1] * 4)
        elif kind == "average":
            self.add(
                "AveragePool",
                [],
                lambda x: nn.avg_pool2d(x, 3, 1, 1, count_include_pad=False),
                kernel_shape=[3, 3],
                pads=[1] * 4,
            )
        elif kind == "relu":
            self.add("LeakyRelu", [], lambda x: nn.leaky_relu(x, float(np.float32(0.1))), alpha=0.1)
        elif kind == "gelu":
            self.add("Gelu", [], nn.gelu)
        elif kind == "norm":
            (scale, s), (bias, b) = self.constant(channels), self.constant(channels)
            self.add(
                "InstanceNormalization",
                [scale, bias],
                lambda x: nn.instance_norm(x, weight=s, bias=b, eps=EPSILON),
            )
        elif kind == "scale":
            name, w = self.constant(channels, 1, 1)
            self.add("Mul", [name], lambda x: x * w)
        elif kind == "residual":
            before, index = self.name, len(self.steps)
            self.add("Tanh", [], torch.tanh)
            self.nodes.append(helper.make_node("Add", [self.name, before], [f"r{index}"]))
            self.name = f"r{index}"
            self.steps[-1] = lambda x: torch.tanh(x) + x
        else:
            self.add("Softmax", [], lambda x: torch.softmax(x, 1), axis=1)

    def finish(self) -> Any:
        name, w = self.constant(self.shape[1], 5)
        self.add("GlobalAveragePool", [], lambda x: x.mean((2, 3), keepdim=True))
        self.add("Flatten", [], lambda x: x.flatten(1), axis=1)
        self.add("Gemm", [name], lambda x: x @ w)
        self.add("LogSoftmax", [], lambda x: torch.log_softmax(x, -1), axis=-1)
        x = helper.make_tensor_value_info("x", TensorProto.FLOAT, list(self.shape))
        y = helper.make_tensor_value_info(self.name, TensorProto.FLOAT, None)
        graph = helper.make_graph(self.nodes, "random", [x], [y], self.stored)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)

    def run(self, x: Any) -> Any:
        for step in self.steps:
            x = step(x)
        return x


@pytest.mark.parametrize("seed", range(12))
def test_random_networks(seed: int) -> None:
    builder = Builder(seed)
    for _ in range(6):
        builder.layer()
    model = builder.finish()
    x = builder.rng.standard_normal(builder.shape)
    tensor = torch.tensor(x, requires_grad=True)
    expected = builder.run(tensor)
    cotangent = builder.rng.standard_normal(tuple(expected.shape))
    expected.backward(torch.tensor(cotangent))
    value, gradient = Function(model, {"x": x}, threads=1).pull(x, cotangent)
    np.testing.assert_allclose(value, expected.detach().numpy(), rtol=0, atol=1e-11)
    np.testing.assert_allclose(gradient, tensor.grad.numpy(), rtol=0, atol=1e-9 * max(1.0, np.abs(gradient).max()))
