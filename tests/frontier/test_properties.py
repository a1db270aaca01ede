"""Random models of linear steps in front of random layers: onnxruntime and dense linear algebra say whether we are right."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from onnxnull import frontier
from onnxnull.kernel.maps.linear_map import Composition
from tests.frontier.judge import dense_nullity, kernel_is_invisible, nullity, only_frontier
from tests.helpers import model, run, value

node = helper.make_node


@dataclass
class Builder:
    """A model that grows at random. `double` holds to ops that onnxruntime's CPU provider runs in float64."""

    rng: np.random.Generator
    double: bool
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    constants: dict[str, Any] = field(default_factory=dict)

    def constant(self, array: Any) -> str:
        name = f"c{len(self.constants)}"
        array = np.asarray(array)
        if array.dtype.kind == "f":
            array = array.astype(np.float64 if self.double else np.float32)
        self.constants[name] = array
        return name

    def add(self, op: str, *inputs: str, **attributes: Any) -> str:
        name = f"t{len(self.nodes)}"
        self.nodes.append(node(op, list(inputs), [name], name=f"n{len(self.nodes)}", **attributes))
        return name

    def pick(self, *choices: Any) -> Any:
        return choices[self.rng.integers(len(choices))]

    def factors(self, *shape: int) -> str:
        numbers = self.rng.uniform(0.5, 2.0, shape) * self.rng.choice([-1.0, 1.0], shape)
        return self.constant(np.where(self.rng.random(shape) < 0.1, 0.0, numbers))

    def slices(self, x: str, axis: int, start: int, end: int, step: int = 1) -> str:
        return self.add("Slice", x, *(self.constant(np.array([n])) for n in (start, end, axis, step)))

    def step(self, x: str, shape: tuple[int, ...]) -> tuple[str, tuple[int, ...]]:
        """One linear step on a tensor (N, C, H, W)."""
        n, c, h, w = shape
        kind = self.pick("scale", "shift", "mirror", "pad", "crop", "norm", "turn", "focus", "pool", "double", "sum", "gather")
        if kind == "scale":
            return self.add("Mul", x, self.factors(*self.pick((1,), (c, 1, 1), (h, w)))), shape
        if kind == "shift":
            return self.add("Sub", self.constant(self.rng.standard_normal((c, 1, 1))), x), shape
        if kind == "mirror":
            return self.slices(x, 3, -1, -100, -1), shape
        if kind == "pad":
            top, left, bottom, right = (int(p) for p in self.rng.integers(0, 3, 4))
            pads = self.constant(np.array([0, 0, top, left, 0, 0, bottom, right]))
            mode = self.pick("constant", "constant", "edge")
            return self.add("Pad", x, pads, mode=mode), (n, c, h + top + bottom, w + left + right)
        if kind == "crop" and h > 3:
            return self.slices(x, 2, 1, h), (n, c, h - 1, w)
        if kind == "norm":
            four = [self.constant(self.rng.uniform(0.5, 2.0, c)) for _ in range(4)]
            return self.add("BatchNormalization", x, *four), shape
        if kind == "turn":
            return self.add("Transpose", x, perm=[0, 1, 3, 2]), (n, c, w, h)
        if kind == "focus" and h % 2 == 0 and c < 4:
            parts = [self.slices(x, 2, i, 100, 2) for i in (0, 1)]
            return self.add("Concat", *parts, axis=1), (n, 2 * c, h // 2, w)
        if kind == "pool" and not self.double and min(h, w) > 3:
            return self.add("AveragePool", x, kernel_shape=[2, 2]), (n, c, h - 1, w - 1)
        if kind == "double":
            return self.add("Add", x, self.slices(x, 3, -1, -100, -1)), shape
        if kind == "sum":
            return self.add("Sum", x, self.constant(self.rng.standard_normal((n, c, h, w)))), shape
        if kind == "gather":
            taken = self.rng.integers(0, c, self.rng.integers(1, 4))
            return self.add("Gather", x, self.constant(taken), axis=1), (n, len(taken), h, w)
        return self.add("Identity", x), shape

    def layer(self, x: str, shape: tuple[int, ...]) -> str:
        """A layer with weights that reads the tensor."""
        n, c, h, w = shape
        kind = (
            self.pick("gemm", "tokens", "rows") if self.double else self.pick("conv", "conv", "conv", "gemm", "tokens", "rows")
        )
        normal = self.rng.standard_normal
        if kind == "conv":
            k, groups = int(self.pick(1, 2, 3)), int(self.pick(1, c))
            k = min(k, h, w)
            outputs = groups * int(self.rng.integers(1, 4))
            filters = self.constant(normal((outputs, c // groups, k, k)) / k)
            pads = [int(p) for p in self.rng.integers(0, 2, 4)] if k > 1 else [0] * 4
            return self.add("Conv", x, filters, group=groups, strides=[int(self.pick(1, 2))] * 2, pads=pads)
        if kind == "gemm":
            rows = self.add("Flatten", x)
            q = c * h * w
            return self.add("Gemm", rows, self.constant(normal((int(self.rng.integers(1, 12)), q)) / q**0.5), transB=1)
        if kind == "tokens":
            tokens = self.add("Reshape", x, self.constant(np.array([n, c, h * w])))
            tokens = self.add("Transpose", tokens, perm=[0, 2, 1])
            return self.add("MatMul", tokens, self.constant(normal((c, int(self.rng.integers(1, c + 2))))))
        return self.add("MatMul", x, self.constant(normal((w, int(self.rng.integers(1, w + 2))))))


def random_model(seed: int, *, double: bool) -> tuple[onnx.ModelProto, int, tuple[int, ...]]:
    """(model, number of layers at the frontier, input shape): the first outputs are those of the layers, then one."""
    rng = np.random.default_rng(seed)
    b = Builder(rng, double)
    shape: tuple[int, ...] = (
        int(rng.integers(1, 3)),
        int(rng.integers(1, 4)),
        int(rng.integers(3, 7)),
        int(rng.integers(3, 7)),
    )
    x, now = "x", shape
    for _ in range(rng.integers(0, 3)):
        x, now = b.step(x, now)
    layers = []
    for _ in range(rng.choice([1, 1, 2, 3])):
        branch, there = x, now
        for _ in range(rng.integers(0, 3)):
            branch, there = b.step(branch, there)
        layers.append(b.layer(branch, there))
    flat = [b.add("Flatten", b.add("Relu", layer), axis=0) for layer in layers]
    rest = b.add("Concat", *flat, axis=1)
    kind = TensorProto.DOUBLE if double else TensorProto.FLOAT
    outputs = [value(name, None, kind) for name in (*layers, rest)]
    return model(b.nodes, b.constants, inputs=[value("x", shape, kind)], outputs=outputs), len(layers), shape


@pytest.mark.parametrize("seed", range(150))
@pytest.mark.parametrize("double", [False, True], ids=["float32", "float64"])
def test_random_models(seed: int, double: bool, tmp_path: Path) -> None:
    proto, count, shape = random_model(seed, double=double)
    found = only_frontier(proto, tmp_path)
    assert found.guaranteed, found.obstacle
    assert found.entries == np.prod(shape)
    # what onnxruntime makes of a difference is what the map says
    rng = np.random.default_rng(seed)
    dtype: type = np.float64 if double else np.float32
    x, d = rng.standard_normal((2, *shape)).astype(dtype)
    before, after = run(proto, {"x": x})[:count], run(proto, {"x": x + d})[:count]
    difference = np.concatenate([np.subtract(b, a, dtype=np.float64).ravel() for a, b in zip(before, after, strict=True)])
    mapped = found.map()
    np.testing.assert_allclose(mapped.apply(d), difference, atol=1e-10 if double else 1e-4)
    u, v = rng.standard_normal(shape), rng.standard_normal(mapped.output_shape)
    np.testing.assert_allclose(np.vdot(mapped.apply(u), v), np.vdot(u, mapped.adjoint(v)), rtol=1e-10, atol=1e-10)
    # the bounds hold, and what is projected is not seen
    lower, upper = nullity(found)
    assert lower <= dense_nullity(found) <= upper
    kernel_is_invisible(proto, found, {"x": x}, seed=seed, tolerance=1e-11 if double else 2e-5)


def test_a_share_of_the_energy(tmp_path: Path) -> None:
    """Scaling by 1/255 in front of the layer must not scale the share (nor the projection)."""
    rng = np.random.default_rng(0)
    nodes = [node("Mul", ["x", "k"], ["m"]), node("Conv", ["m", "w"], ["y"], strides=[2, 2])]
    proto = model(nodes, {"k": np.float32(1 / 255), "w": np.ones((1, 1, 1, 1), np.float32)}, inputs=[value("x", (2, 1, 6, 6))])
    found = only_frontier(proto, tmp_path)
    assert isinstance(found.map(), object)
    x = rng.standard_normal((2, 1, 6, 6))
    seen = x.copy()
    seen[:, :, 1::2] = 0
    seen[:, :, :, 1::2] = 0
    share = 1 - np.vdot(seen, seen) / np.vdot(x, x)
    kernel = frontier.JointKernel(found)
    np.testing.assert_allclose(kernel.share(x), share, rtol=1e-12)
    np.testing.assert_allclose(kernel.project(x), x - seen, atol=1e-13)
    assert kernel.share(np.zeros_like(x)) == 0.0


def test_padding_joins_the_convolution(tmp_path: Path) -> None:
    """Zero padding in front is the convolution's own: the bounds stay tight at a size where nothing is done densely."""
    pads = np.array([0, 0, 3, 3, 0, 0, 3, 3])
    weight = np.random.default_rng(0).standard_normal((4, 3, 7, 7)).astype(np.float32)
    nodes = [node("Pad", ["x", "p"], ["q"]), node("Conv", ["q", "w"], ["y"], strides=[2, 2])]
    found = only_frontier(model(nodes, {"p": pads, "w": weight}, inputs=[value("x", (1, 3, 64, 64))]), tmp_path)
    inner = node("Conv", ["x", "w"], ["y"], strides=[2, 2], pads=[3] * 4)
    same = only_frontier(model([inner], {"w": weight}, inputs=[value("x", (1, 3, 64, 64))]), tmp_path)
    assert nullity(found) == nullity(same)
    assert nullity(found)[0] == nullity(found)[1] > 0
    assert isinstance(found.map().parts[0], Composition)  # type: ignore[attr-defined]
