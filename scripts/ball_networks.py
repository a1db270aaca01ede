"""Random networks, each as an ONNX file and as a function of balls of real numbers (python-flint's `arb`).

A network over the real numbers is what its file says, constants as they are stored, and nothing rounded but what a quantizer
rounds: x/scale to the nearest whole number, half to even, then saturated. Of an input that is quantized first, the quotient is
that of float32, as the operator computes it; behind layers it is that of real numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import flint
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

Vector = list[flint.arb]
Step = Callable[[Vector], Vector]


@dataclass
class Network:
    """A chain of steps from x (1, n), as ONNX nodes and as functions of balls.

    Attributes:
        at: the tensor that the next step reads.
        outputs: (name, TensorProto.DataType).
    """

    width: int
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    constants: dict[str, np.ndarray] = field(default_factory=dict)
    exact: list[Step] = field(default_factory=list)
    at: str = "x"
    outputs: list[tuple[str, int]] = field(default_factory=list)

    def add(self, op: str, more: Sequence[Any], exact: Step | None = None, **attributes: Any) -> None:
        """One more step; `more` are its constants, or names of tensors. Without `exact` it changes no number."""
        number = len(self.nodes)
        names = [each if isinstance(each, str) else self.constant(each) for each in more]
        self.nodes.append(helper.make_node(op, [self.at, *names], [f"t{number}"], name=f"{op}_{number}", **attributes))
        self.at = f"t{number}"
        if exact is not None:
            self.exact.append(exact)

    def constant(self, array: Any) -> str:
        """The name of a stored array."""
        name = f"c{len(self.constants)}"
        self.constants[name] = np.asarray(array)
        return name

    def evaluate(self, x: np.ndarray) -> Vector:
        """The network over the reals at x, up to the last step that has real numbers."""
        values = [flint.arb(float(entry)) for entry in x.ravel()]
        for step in self.exact:
            values = step(values)
        return values

    def model(self, inputs: int) -> onnx.ModelProto:
        """As a file."""
        graph = helper.make_graph(
            self.nodes,
            "random",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, inputs])],
            [helper.make_tensor_value_info(name, kind, None) for name, kind in self.outputs],
            [numpy_helper.from_array(array, name) for name, array in self.constants.items()],
        )
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def random_network(rng: np.random.Generator) -> tuple[Network, np.ndarray]:
    """A network with the input to start from: one in four rounds its input to codes first."""
    if rng.random() < 0.25:
        net, x = _behind_a_quantizer(rng)
        layers = int(rng.integers(0, 3))
    else:
        net, x = _normalised(rng)
        layers = int(rng.integers(1, 4))
    for left in range(layers, 0, -1):
        _dense(net, rng)
        _bent(net, rng, last=left == 1)
        if rng.random() < 0.15:
            _rounded(net, rng, x)
    if rng.random() < 0.3:
        net.add("Softmax", [], _softmax, axis=-1)
    net.outputs.append((net.at, TensorProto.FLOAT))
    if rng.random() < 0.2:
        net.nodes.append(helper.make_node("ArgMax", [net.at], ["label"], axis=1))
        net.outputs.append(("label", TensorProto.INT64))
    return net, x[None]


def _normalised(rng: np.random.Generator) -> tuple[Network, np.ndarray]:
    """Features from 1e-12 to 1e12, or subnormal ones, most of them normalised in the graph."""
    inputs = int(rng.integers(4, 20))
    net = Network(inputs)
    sizes = 10.0 ** rng.choice([0, 0, 0, 0, 1, -1, 3, -3, 6, 9, -9, 12, -12], inputs)
    offsets = np.where(rng.random(inputs) < 0.3, sizes * 10.0 ** rng.integers(0, 3, inputs), 0.0)
    x = (offsets + sizes * rng.standard_normal(inputs)).astype(np.float32)
    x[rng.random(inputs) < 0.1] = 0.0
    if rng.random() < 0.1:
        x *= np.float32(1e-38)
        sizes, offsets = sizes * 1e-38, offsets * 1e-38
    if rng.random() < 0.7:
        shift, scale = offsets.astype(np.float32), np.maximum(sizes, 1e-37).astype(np.float32)
        net.add("Sub", [shift[None]], _with(lambda v, c: v - c, shift))
        net.add("Div", [scale[None]], _with(lambda v, c: v / c, scale))
    if rng.random() < 0.05:
        big = np.full(inputs, 1e6, np.float32)
        net.add("Add", [big[None]], _with(lambda v, c: v + c, big))
        net.add("Sub", [big[None]], _with(lambda v, c: v - c, big))
    return net, x


def _behind_a_quantizer(rng: np.random.Generator) -> tuple[Network, np.ndarray]:
    """QuantizeLinear or DynamicQuantizeLinear, then a layer of whole numbers or of floats that are multiples of scales."""
    inputs, out = int(rng.integers(6, 20)), int(rng.integers(1, 5))
    net = Network(out)
    scale = np.float32(rng.choice([2.0**-5, 1 / 255, 0.02, 7.3e-6, 3e5]))
    signed = bool(rng.integers(2))
    kind, low = (np.int8, -128) if signed else (np.uint8, 0)
    zero = int(rng.choice([low, low + 10, low + 128]))
    steps = rng.uniform(low - zero, low + 255 - zero, inputs)
    ends = rng.random(inputs)
    steps = np.where(ends < 0.1, np.rint(steps) + 0.5, np.where(ends < 0.2, rng.choice([-1.0, 1.0], inputs) * 300.0, steps))
    x = (steps * scale).astype(np.float32)
    bound = int(rng.choice([2, 20, 127]))
    codes = rng.integers(-bound, bound + 1, (inputs, out)).astype(np.int8)
    if rng.random() < 0.3:
        codes[:, -1] = codes[:, 0]  # a tie
    each = (10.0 ** rng.choice([-3, -3, 0, -6], out) * rng.uniform(0.5, 2.0, out)).astype(np.float32)
    way = rng.choice(["dequantized", "qlinear", "integer", "dynamic"])
    if way == "dynamic":
        _dynamic(net, codes, each[0])
        return net, x
    grid = [np.array(scale), np.array(zero, kind)]
    net.add("QuantizeLinear", grid, lambda v: [_code(_quotient(float(e.mid()), scale), zero, low, low + 255) for e in v])
    products = _affine(codes, np.zeros(out))
    if way == "qlinear":
        wide = np.float32(scale * each.max() * 16 * bound)
        to = [np.array(wide), np.array(zero, kind)]
        stored = [*grid, codes, each, np.zeros(out, np.int8), *to]
        ratios = [_fraction(scale) * _fraction(s) / _fraction(wide) for s in each]
        net.add("QLinearMatMul", stored, _requantised(products, zero, low, ratios))
        net.add("DequantizeLinear", to, lambda v: [(k - zero) * flint.arb(float(wide)) for k in v])
    elif way == "integer":
        net.add("MatMulInteger", [codes, grid[1]], lambda v: products([k - zero for k in v]))
        net.add("Cast", [], to=TensorProto.FLOAT)
        net.add("Mul", [each[None]], _with(lambda v, c: v * c, each))
    else:
        net.add("DequantizeLinear", grid, lambda v: [(k - zero) * flint.arb(float(scale)) for k in v])
        weight = f"w{len(net.nodes)}"
        made = [net.constant(codes), net.constant(each), net.constant(np.zeros(out, np.int8))]
        net.nodes.append(helper.make_node("DequantizeLinear", made, [weight], name=weight, axis=1))
        net.add("MatMul", [weight], lambda v: [y * flint.arb(float(s)) for y, s in zip(products(v), each, strict=True)])
    return net, x


def _dynamic(net: Network, codes: np.ndarray, scale: np.float32) -> None:
    """DynamicQuantizeLinear → MatMulInteger → Cast → Mul by both scales; what it computes of x in float32 is so here."""
    net.nodes.append(helper.make_node("DynamicQuantizeLinear", ["x"], ["q", "s", "z"], name="dynamic"))
    net.at = "q"
    products = _affine(codes, np.zeros(codes.shape[1]))

    def exact(v: Vector) -> Vector:
        x = np.array([float(each.mid()) for each in v], dtype=np.float32)
        least, most = min(np.float32(0), x.min()), max(np.float32(0), x.max())
        step = np.float32(1) if most == least else np.float32((most - least) / np.float32(255))
        zero = int(np.rint(np.clip(-least / step, 0, 255)))
        found = products([_code(_quotient(float(each), step), zero, 0, 255) - zero for each in x])
        return [y * flint.arb(float(step)) * flint.arb(float(scale)) for y in found]

    net.add("MatMulInteger", [codes, "z"], exact)
    net.add("Cast", [], to=TensorProto.FLOAT)
    net.add("Mul", ["s"])
    net.add("Mul", [scale])


def _dense(net: Network, rng: np.random.Generator) -> None:
    out = int(rng.integers(2, max(3, net.width)))
    weight = (rng.standard_normal((net.width, out)) * 10.0 ** rng.choice([0, 0, 0, -4, 4, -8], (1, out))).astype(np.float32)
    weight[rng.random(net.width) < 0.1] = 0.0
    if rng.random() < 0.2:
        weight[:, -1] = weight[:, 0]  # a tie
    bias = (rng.standard_normal(out) * 10.0 ** rng.integers(-2, 3)).astype(np.float32) * (rng.random() < 0.7)
    bias[-1] = bias[0] if rng.random() < 0.3 else bias[-1]
    net.add("Gemm", [weight, bias], _affine(weight, bias))
    net.width = out


def _bent(net: Network, rng: np.random.Generator, *, last: bool) -> None:
    """An activation, a mask before the end (what reads a mask sees nothing else), or nothing."""
    kind = rng.integers(6)
    if kind == 0:
        net.add("Relu", [], _each(lambda v: v.max(flint.arb(0))))
    elif kind == 1:
        net.add("Sigmoid", [], _each(lambda v: 1 / (1 + (-v).exp())))
    elif kind == 2:
        net.add("Tanh", [], _each(lambda v: v.tanh()))
    elif kind == 3:
        net.add("Clip", [np.float32(-1), np.float32(1)], _each(lambda v: v.min(flint.arb(1)).max(flint.arb(-1))))
    elif kind == 4 and last:
        mask = np.where(rng.random(net.width) < 0.3, -1e30, 0.0).astype(np.float32)
        net.add("Add", [mask[None]], _with(lambda v, c: v + c, mask))


def _rounded(net: Network, rng: np.random.Generator, x: np.ndarray) -> None:
    """A quantizer between layers of floats, of some ten or a thousand steps at x: the latter saturate."""
    size = max(abs(float(v)) for v in net.evaluate(x))
    scale, zero = np.float32(max(size, 1e-30) * 10.0 ** rng.integers(-3, 0)), int(rng.choice([0, 128]))
    stored = [np.array(scale), np.array(zero, np.uint8)]
    ratio = _fraction(scale)
    net.add("QuantizeLinear", stored, lambda v: [_code(_fraction(each.mid()) / ratio, zero, 0, 255) for each in v])
    net.add("DequantizeLinear", stored, lambda v: [(k - zero) * flint.arb(float(scale)) for k in v])


def _quotient(x: float, scale: np.float32) -> Fraction:
    with np.errstate(over="ignore"):
        return _fraction(np.float32(np.clip(np.float32(x) / scale, -1e30, 1e30)))


def _fraction(value: Any) -> Fraction:
    """The number as it is; below 2⁻²⁰⁰⁰ that, with its sign: of exp(−10⁹) the exponent alone has a thousand million digits."""
    if not isinstance(value, flint.arb):
        return Fraction(float(value))
    mantissa, exponent = (int(part) for part in value.man_exp())
    if mantissa.bit_length() + exponent < -2000:
        return Fraction((mantissa > 0) - (mantissa < 0), 2**2000)
    return Fraction(mantissa) * Fraction(2) ** exponent


def _code(quotient: Fraction, zero: int, low: int, high: int) -> flint.arb:
    return flint.arb(min(high, max(low, round(quotient) + zero)))


def _requantised(products: Step, zero: int, low: int, ratios: Sequence[Fraction]) -> Step:
    def exact(v: Vector) -> Vector:
        sums = products([k - zero for k in v])
        return [_code(_fraction(y.mid()) * ratio, zero, low, low + 255) for y, ratio in zip(sums, ratios, strict=True)]

    return exact


def _affine(weight: np.ndarray, bias: np.ndarray) -> Step:
    rows = [[flint.arb(float(w)) for w in column] for column in weight.T]
    biases = [flint.arb(float(b)) for b in bias]
    return lambda x: [sum((w * v for w, v in zip(row, x, strict=True)), b) for row, b in zip(rows, biases, strict=True)]


def _with(function: Callable[[flint.arb, flint.arb], flint.arb], constant: np.ndarray) -> Step:
    constants = [flint.arb(float(c)) for c in constant.ravel()]
    return lambda x: [function(v, c) for v, c in zip(x, constants, strict=True)]


def _each(function: Callable[[flint.arb], flint.arb]) -> Step:
    return lambda x: [function(v) for v in x]


def _softmax(x: Vector) -> Vector:
    top = max(x, key=lambda v: float(v.mid()))
    powers = [(v - top).exp() for v in x]
    total = sum(powers, flint.arb(0))
    return [p / total for p in powers]
