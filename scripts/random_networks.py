"""Random small networks for `scripts.explore_guarantees`: steps, most of them linear, and layers that read what comes out.

Tensors have four axes, (N, C, H, W). Network N is the same on every machine.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

Shape = tuple[int, ...]
Placed = tuple[str, Shape]
"""A tensor by name, with its shape."""
OPSET = 18


@dataclass
class Network:
    """A model that grows at random."""

    rng: np.random.Generator
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    constants: dict[str, NDArray[Any]] = field(default_factory=dict)

    def constant(self, array: Any) -> str:
        """The name of a constant; floats become float32."""
        array, name = np.asarray(array), f"c{len(self.constants)}"
        self.constants[name] = array.astype(np.float32) if array.dtype == np.float64 else array
        return name

    def add(self, op: str, *inputs: str, **attributes: Any) -> str:
        """The output of a new node."""
        name = f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, list(inputs), [name], name=f"n{len(self.nodes)}", **attributes))
        return name

    def pick(self, *choices: Any) -> Any:
        """One of them."""
        return choices[self.rng.integers(len(choices))]

    def factors(self, *shape: int) -> NDArray[np.float64]:
        """Numbers between ½ and 2 of either sign, a few zeros among them."""
        numbers = self.rng.uniform(0.5, 2.0, shape) * self.rng.choice([-1.0, 1.0], shape)
        return np.where(self.rng.random(shape) < 0.1, 0.0, numbers)

    def slices(self, x: str, axis: int, start: int, end: int, step: int = 1) -> str:
        """Part of one axis."""
        return self.add("Slice", x, *(self.constant(np.array([n])) for n in (start, end, axis, step)))


Step = Callable[[Network, str, Shape], Placed]


def _same(op: str, *operands: Any, **attributes: Any) -> Step:
    """A step that keeps the shape; operands are constants."""
    return lambda n, x, shape: (n.add(op, x, *(n.constant(o) if o is not None else "" for o in operands), **attributes), shape)


def _scale(n: Network, x: str, shape: Shape) -> Placed:
    return n.add(n.pick("Mul", "Div"), x, n.constant(n.rng.uniform(0.5, 2.0, n.pick((1,), (shape[1], 1, 1), shape[2:])))), shape


def _shrunk(n: Network, x: str, shape: Shape) -> Placed:
    return n.add("Mul", x, n.constant(np.float64(2.0 ** -int(n.rng.integers(20, 70))))), shape


def _masked(n: Network, x: str, shape: Shape) -> Placed:
    mask = n.constant(n.rng.random(n.pick(shape, shape[2:])) < 0.7)
    other = n.pick(x, n.constant(n.rng.standard_normal(shape[3:])), n.slices(x, 3, -1, -100, -1))
    return n.add("Where", mask, *n.pick((x, other), (other, x))), shape


def _pad(n: Network, x: str, shape: Shape) -> Placed:
    top, left, bottom, right = (int(p) for p in n.rng.integers(0, 3, 4))
    pads = n.constant(np.array([0, 0, top, left, 0, 0, bottom, right]))
    padded = n.add("Pad", x, pads, mode=n.pick("constant", "edge", "reflect") if min(shape[2:]) > 2 else "edge")
    return padded, (*shape[:2], shape[2] + top + bottom, shape[3] + left + right)


def _twice(n: Network, x: str, shape: Shape) -> Placed:
    return n.add(n.pick("Add", "Sub", "Mean", "Sum"), x, n.slices(x, 3, -1, -100, -1)), shape


def _turn(n: Network, x: str, shape: Shape) -> Placed:
    turned = (shape[0], shape[1], shape[3], shape[2])
    if n.rng.random() < 0.5:
        return n.add("Einsum", x, equation="nchw->ncwh"), turned
    return n.add("Transpose", x, perm=[0, 1, 3, 2]), turned


def _gather(n: Network, x: str, shape: Shape) -> Placed:
    taken = n.rng.integers(0, shape[1], n.rng.integers(1, 4))
    return n.add("Gather", x, n.constant(taken), axis=1), (shape[0], len(taken), *shape[2:])


def _round_trip(n: Network, x: str, shape: Shape) -> Placed:
    wide = n.add("Cast", x, to=TensorProto.DOUBLE)
    factor = n.add("Cast", n.constant(n.factors(1)), to=TensorProto.DOUBLE)
    return n.add("Cast", n.add("Mul", wide, factor), to=TensorProto.FLOAT), shape


def _cumulated(n: Network, x: str, shape: Shape) -> Placed:
    flags = {"exclusive": int(n.pick(0, 1)), "reverse": int(n.pick(0, 1))}
    return n.add("CumSum", x, n.constant(np.array(n.pick(1, 2, -1))), **flags), shape


def _trilu(n: Network, x: str, shape: Shape) -> Placed:
    return n.add("Trilu", x, n.constant(np.array(int(n.rng.integers(-2, 3)))), upper=int(n.pick(0, 1))), shape


def _scattered(n: Network, x: str, shape: Shape) -> Placed:
    rows = n.constant(np.array([[0, int(n.rng.integers(shape[1]))]]))
    updates = n.pick(n.constant(n.rng.standard_normal((1, *shape[2:]))), n.add("Slice", x, *_first(n)))
    if updates.startswith("t"):
        updates = n.add("Reshape", updates, n.constant(np.array([1, *shape[2:]])))
    return n.add("ScatterND", x, rows, updates, reduction=n.pick("none", "add")), shape


def _first(n: Network) -> list[str]:
    """Slice's operands for the first channel of the first sample."""
    return [n.constant(np.array(part)) for part in ([0, 0], [1, 1], [0, 1])]


def _scattered_elements(n: Network, x: str, shape: Shape) -> Placed:
    places = np.zeros((1, 1, 1, min(3, shape[3])), dtype=np.int64)
    places[..., :] = n.rng.permutation(shape[3])[: places.shape[3]]
    updates = n.constant(n.rng.standard_normal(places.shape))
    return n.add("ScatterElements", x, n.constant(places), updates, axis=3, reduction=n.pick("none", "add")), shape


def _pool(n: Network, x: str, shape: Shape) -> Placed:
    if min(shape[2:]) < 3:
        return x, shape
    return n.add("AveragePool", x, kernel_shape=[2, 2]), (*shape[:2], shape[2] - 1, shape[3] - 1)


def _depth(n: Network, x: str, shape: Shape) -> Placed:
    if shape[2] % 2 or shape[3] % 2 or shape[1] > 2:
        return x, shape
    return n.add("SpaceToDepth", x, blocksize=2), (shape[0], 4 * shape[1], shape[2] // 2, shape[3] // 2)


def _mean(n: Network, x: str, shape: Shape) -> Placed:
    axis = int(n.pick(1, 2, 3))
    mean = n.add(n.pick("ReduceMean", "ReduceSum"), x, n.constant(np.array([axis])), keepdims=1)
    return n.add("Expand", mean, n.constant(np.array(shape))), shape


def _norm(n: Network, x: str, shape: Shape) -> Placed:
    return n.add("BatchNormalization", x, *(n.constant(n.rng.uniform(0.5, 2.0, shape[1])) for _ in range(4))), shape


def _resize(n: Network, x: str, shape: Shape) -> Placed:
    attributes = {
        "mode": n.pick("nearest", "linear", "cubic"),
        "coordinate_transformation_mode": n.pick(
            "half_pixel", "half_pixel_symmetric", "pytorch_half_pixel", "align_corners", "asymmetric"
        ),
        "nearest_mode": n.pick("round_prefer_floor", "round_prefer_ceil", "floor", "ceil"),
    }
    if attributes["mode"] == "cubic":
        attributes |= {"exclude_outside": int(n.pick(0, 1)), "cubic_coeff_a": float(n.pick(-0.75, -0.5))}
    if n.rng.random() < 0.5:
        target = (*shape[:2], *(int(m) for m in n.rng.integers(1, 9, 2)))
        return n.add("Resize", x, "", "", n.constant(np.array(target)), **attributes), target
    scales = np.array([1, 1, *n.rng.choice([0.5, 0.7, 1, 1.1, 1.3, 1.5, 2, 2.4], 2)], np.float32)
    lengths = tuple(int(np.floor(np.float32(m) * s)) for m, s in zip(shape, scales, strict=True))
    if min(lengths) == 0:
        return x, shape
    return n.add("Resize", x, "", n.constant(scales), **attributes), lengths


def _squared(n: Network, x: str, shape: Shape) -> Placed:
    return n.add("Mul", x, n.slices(x, 3, -1, -100, -1)), shape


def _chosen(n: Network, x: str, shape: Shape) -> Placed:
    positive = n.add("Greater", x, n.constant(np.float64(0.3)))
    return n.add("Where", positive, x, n.constant(np.float64(0.3))), shape


def _halved(n: Network, x: str, shape: Shape) -> Placed:
    return n.add("Cast", n.add("Cast", x, to=TensorProto.FLOAT16), to=TensorProto.FLOAT), shape


LINEAR: tuple[Step, ...] = (
    *(_scale, _masked, _pad, _twice, _turn, _gather, _round_trip, _cumulated, _trilu, _scattered, _scattered_elements),
    *(
        _pool,
        _depth,
        _mean,
        _norm,
        _resize,
        _resize,
        _resize,
        _shrunk,
        _same("Clip"),
        _same("Identity"),
        _same("Dropout"),
        _same("Neg"),
    ),
    _same("Clip", np.float32(-np.inf), np.float32(np.inf)),
)
NOT_LINEAR: tuple[Step, ...] = (
    *(_squared, _chosen, _halved, _same("Relu"), _same("Clip", np.float32(-1), None), _same("Abs"), _same("Softmax", axis=1)),
    *(_same("LeakyRelu", alpha=0.5), _same("Round"), _same("HardSwish"), _same("Clip", None, np.float32(1))),
)


def layer(n: Network, x: str, shape: Shape) -> str:
    """A layer with weights that reads the tensor; some of their columns depend on others, or are tiny."""
    batch, c, h, w = shape
    kind = n.pick("conv", "conv", "gemm", "tokens", "rows")

    def weight(*sizes: int, outputs: int) -> str:
        array = np.moveaxis(n.rng.standard_normal(sizes), outputs, 0)
        defect = n.rng.random()
        if defect < 0.3 and len(array) > 1:
            array[0] = 2 * array[-1]
        elif defect < 0.5:
            array[-1] *= n.pick(1e-3, 0.0)
        return n.constant(np.moveaxis(array, 0, outputs))

    if kind == "conv":
        k, groups = min(int(n.pick(1, 2, 3)), h, w), int(n.pick(1, 1, c))
        pads = [int(p) for p in n.rng.integers(0, 2, 4)] if k > 1 else [0] * 4
        filters = weight(groups * int(n.rng.integers(1, 4)), c // groups, k, k, outputs=0)
        return n.add("Conv", x, filters, group=groups, strides=[int(n.pick(1, 2))] * 2, pads=pads)
    if kind == "gemm":
        return n.add("Gemm", n.add("Flatten", x), weight(int(n.rng.integers(1, 12)), c * h * w, outputs=0), transB=1)
    if kind == "tokens":
        tokens = n.add("Reshape", x, n.constant(np.array([batch, c, h * w])))
        return n.add("MatMul", n.add("Transpose", tokens, perm=[0, 2, 1]), weight(c, int(n.rng.integers(1, c + 2)), outputs=1))
    return n.add("MatMul", x, weight(w, int(n.rng.integers(1, w + 2)), outputs=1))


def network(seed: int) -> onnx.ModelProto:
    """The network of a case: input x, output y."""
    n = Network(np.random.default_rng([19, seed]))
    shape: Shape = (int(n.rng.integers(1, 3)), int(n.rng.integers(1, 4)), int(n.rng.integers(2, 7)), int(n.rng.integers(2, 7)))
    placed: Placed = ("x", shape)

    def several(place: Placed) -> Placed:
        for _ in range(n.rng.integers(0, 4)):
            steps = NOT_LINEAR if n.rng.random() < 0.04 else LINEAR
            place = steps[n.rng.integers(len(steps))](n, *place)
        return place

    placed = several(placed)
    read = [several(placed) for _ in range(n.pick(1, 1, 2, 3))]
    flat = [n.add("Flatten", n.add(n.pick("Relu", "Tanh", "Identity"), layer(n, *one)), axis=0) for one in read]
    if n.rng.random() < 0.08:  # a second reading of the input, past its layers
        flat.append(n.add("Flatten", n.add(n.pick("Relu", "Identity", "Sigmoid"), n.pick("x", placed[0])), axis=0))
    n.nodes.append(helper.make_node("Concat", flat, ["y"], axis=1))
    graph = helper.make_graph(
        n.nodes,
        "random",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(array, name) for name, array in n.constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=9)
