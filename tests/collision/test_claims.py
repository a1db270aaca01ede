"""Claims about layers that onnxruntime really runs: they hold on kernels, break off them, no rounding exceeds the bounds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from onnxnull.collision.claims import Reader, kernel_claim, rounded, runtime_claim
from onnxnull.kernel.maps.batched import Batched
from onnxnull.kernel.maps.convolution import Convolution
from onnxnull.kernel.maps.im2col import Im2col
from onnxnull.kernel.maps.linear_map import Array, LinearMap
from onnxnull.kernel.maps.primitives import Matrix, Scale
from onnxnull.kernel.maps.selection import NOTHING, Selection, identity
from onnxnull.kernel.nullspace import null_space
from onnxnull.operators import LinearUse
from tests.helpers import model, only_use, run, uses, value, weight

U16, U32, U64 = 2.0**-11, 2.0**-24, 2.0**-53
KINDS = {np.dtype(np.float32): TensorProto.FLOAT, np.dtype(np.float64): TensorProto.DOUBLE}


@dataclass(frozen=True)
class Case:
    """One node, its weight and bias, the shape of its activation."""

    node: onnx.NodeProto
    constants: dict[str, np.ndarray]
    shape: tuple[int, ...]
    dtype: Any = np.float32

    @property
    def u(self) -> float:
        return float(np.finfo(self.dtype).eps) / 2

    def proto(self) -> onnx.ModelProto:
        constants = {name: array.astype(self.dtype) for name, array in self.constants.items()}
        inputs = [value("x", self.shape, KINDS[np.dtype(self.dtype)])]
        outputs = [value("y", None, KINDS[np.dtype(self.dtype)])]
        return model([self.node], constants, inputs=inputs, outputs=outputs)

    def use(self, folder: Path) -> LinearUse:
        return only_use(uses(self.proto(), folder))

    def run(self, x: Array) -> np.ndarray:
        return run(self.proto(), {"x": x.astype(self.dtype)})[0]


def conv(shape: tuple[int, ...], weights: np.ndarray, bias: bool = True, op: str = "Conv", **attributes: Any) -> Case:
    names = ["x", "w", "b"] if bias else ["x", "w"]
    count = weights.shape[0] if op == "Conv" else weights.shape[1] * attributes.get("group", 1)
    constants = {"w": weights} | ({"b": weight(count, seed=9)} if bias else {})
    return Case(helper.make_node(op, names, ["y"], name="layer", **attributes), constants, shape)


def dense(op: str, dtype: Any, weights: np.ndarray, **attributes: Any) -> Case:
    p = weights.shape[0 if attributes.get("transB") else 1]
    constants = {"w": weights} | ({"c": weight(p, seed=8)} if op == "Gemm" else {})
    q = weights.size // p
    return Case(helper.make_node(op, ["x", *constants], ["y"], name="layer", **attributes), constants, (3, q), dtype)


CASES: dict[str, Case] = {
    "patch embedding": conv((1, 3, 16, 16), weight(20, 3, 4, 4), strides=[4, 4]),
    "grouped": conv((2, 4, 6, 6), weight(4, 2, 3, 3), strides=[3, 3], group=2),
    "transposed": conv((1, 30, 5, 4), weight(30, 3, 3, 3), op="ConvTranspose", strides=[2, 2], pads=[1, 1, 1, 1]),
    "transposed, no bias": conv((2, 12, 4, 4), weight(12, 2, 2, 2), bias=False, op="ConvTranspose", strides=[2, 2]),
    "matmul": dense("MatMul", np.float32, weight(60, 20)),
    "matmul in double": dense("MatMul", np.float64, weight(60, 20)),
    "gemm": dense("Gemm", np.float32, weight(20, 60), transB=1, alpha=0.3, beta=1.7),
    "gemm in double": dense("Gemm", np.float64, weight(60, 20), alpha=0.3),
}
SPREAD: dict[str, Case] = CASES | {
    "overlapping": conv((1, 3, 9, 8), weight(6, 3, 3, 3), pads=[1, 1, 1, 1], strides=[2, 1]),
    "dilated": conv((1, 2, 9, 9), weight(4, 2, 3, 3), bias=False, dilations=[2, 2]),
    "depthwise": conv((1, 4, 7, 7), weight(4, 1, 3, 3), group=4, pads=[1, 1, 1, 1]),
    "transposed in groups": conv((1, 4, 5, 5), weight(4, 2, 4, 4), op="ConvTranspose", group=2, strides=[2, 2]),
}


def reader_of(case: Case, folder: Path, path: LinearMap | None = None) -> Reader:
    use = case.use(folder)

    def make(blocks: Array) -> LinearMap:
        return use.linear_map(blocks, case.shape)

    return Reader("layer", case.node.op_type, use.matrix(), make, path or identity(case.shape), scale=use.scale)


def in_kernel(case: Case, reader: Reader, rng: np.random.Generator) -> Array:
    """A change of the activation that the layer cannot see."""
    kernel = null_space(reader.blocks)
    layer = reader.make(reader.blocks)
    g, q, _ = reader.blocks.shape
    if isinstance(layer, Batched) and isinstance(layer.sample, Convolution):  # windows that do not overlap
        im2col = Im2col(layer.sample.geometry)
        count = layer.count * im2col.geometry.positions
        patches = kernel.sample(count, rng).reshape(layer.count, -1, g, q).swapaxes(1, 2)
        return im2col.adjoint(patches)
    if isinstance(layer, Batched):
        pixels = kernel.sample(case.shape[0] * int(np.prod(case.shape[2:])), rng)
        return np.moveaxis(pixels.reshape(case.shape[0], *case.shape[2:], g * q), -1, 1)
    return kernel.sample(case.shape[0], rng)


def pair(case: Case, change: Array, rng: np.random.Generator) -> tuple[Array, Array]:
    """x₀ and fl(x₀ + change) in the case's type, as float64."""
    x0 = rng.standard_normal(case.shape).astype(case.dtype).astype(np.float64)
    return x0, (x0 + change).astype(case.dtype).astype(np.float64)


@pytest.mark.parametrize("name", CASES)
def test_both_claims_hold_on_the_kernel(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    reader, rng = reader_of(case, tmp_path), np.random.default_rng(10)
    x0, x1 = pair(case, in_kernel(case, reader, rng), rng)
    assert np.abs(x1 - x0).max() > 0.1
    kernel = kernel_claim(reader, x0, x1, case.u)
    assert kernel.holds, kernel
    assert kernel.ratio is not None
    assert kernel.ratio > 1e-4
    runtime = runtime_claim(reader, x0.astype(case.dtype), x1.astype(case.dtype), case.run(x0), case.run(x1), case.u)
    assert runtime.holds, runtime
    assert runtime.ratio is not None
    assert runtime.ratio > 1e-4
    assert runtime.value < 1e3 * case.u


@pytest.mark.parametrize("name", CASES)
def test_a_step_off_the_kernel_breaks_the_kernel_claim(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    reader, rng = reader_of(case, tmp_path), np.random.default_rng(1)
    change = in_kernel(case, reader, rng) + 1e-3 * rng.standard_normal(case.shape)
    x0, x1 = pair(case, change, rng)
    for u in (U32, U64):
        claim = kernel_claim(reader, x0, x1, u)
        assert claim.holds is False
        assert claim.value > 1e-4


@pytest.mark.parametrize("name", CASES)
def test_an_output_tampered_with_breaks_the_runtime_claim(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    reader, rng = reader_of(case, tmp_path), np.random.default_rng(2)
    x0, x1 = pair(case, in_kernel(case, reader, rng), rng)
    y0, y1 = case.run(x0), case.run(x1)
    honest = runtime_claim(reader, x0, x1, y0, y1, case.u)
    assert honest.bound is not None
    worst = y1.copy()
    worst.flat[np.argmax(np.abs(worst))] += 10 * honest.bound
    claim = runtime_claim(reader, x0, x1, y0, worst, case.u)
    assert honest.holds
    assert claim.holds is False
    assert claim.value == np.abs(worst.astype(np.float64) - y0).max()
    assert claim.bound is not None
    assert claim.ratio == pytest.approx(claim.value / claim.bound)  # the bound that is shown is the one exceeded most


@pytest.mark.parametrize("name", SPREAD)
def test_rounding_never_exceeds_the_runtime_bound(name: str, tmp_path: Path) -> None:
    """The bound is a theorem about any two inputs; r alone would not do."""
    case = SPREAD[name]
    reader = reader_of(case, tmp_path)
    proto = case.proto()

    @settings(max_examples=12)
    @given(seed=st.integers(0, 2**32), step=st.sampled_from([0.0, 1e-8, 1e-5, 1.0]), scale=st.sampled_from([1e-30, 1.0, 1e6]))
    def check(seed: int, step: float, scale: float) -> None:
        rng = np.random.default_rng(seed)
        x0 = (scale * rng.standard_normal(case.shape)).astype(case.dtype)
        x1 = (x0 + step * scale * rng.standard_normal(case.shape)).astype(case.dtype)
        y0, y1 = (run(proto, {"x": x})[0] for x in (x0, x1))
        claim = runtime_claim(reader, x0, x1, y0, y1, case.u)
        assert claim.holds, claim
        assert claim.ratio is not None
        assert claim.ratio == 0 if np.array_equal(y0, y1) else claim.ratio > 1e-4

    check()


def test_the_bound_needs_its_rounding_term(tmp_path: Path) -> None:
    """What float32 really loses is more than a bound of double's rounding: the claim measures something."""
    case = CASES["matmul"]
    reader, rng = reader_of(case, tmp_path), np.random.default_rng(3)
    x0, x1 = pair(case, in_kernel(case, reader, rng), rng)
    assert runtime_claim(reader, x0, x1, case.run(x0), case.run(x1), U64).holds is False


def test_the_bound_knows_of_a_bias_and_a_scale(tmp_path: Path) -> None:
    case = dense("Gemm", np.float32, 1e-3 * weight(60, 20))
    case = replace(case, constants=case.constants | {"c": 1e4 * weight(20, seed=1)})
    reader, rng = reader_of(case, tmp_path), np.random.default_rng(8)
    x0, x1 = pair(case, 0.1 * rng.standard_normal(case.shape), rng)
    y0, y1 = case.run(x0), case.run(x1)
    assert runtime_claim(reader, x0, x1, y0, y1, U32).holds
    beyond = np.abs(y1.astype(np.float64) - y0) - np.abs(reader.make(reader.blocks).apply(x1 - x0))
    assert beyond.max() > 1e-5  # rounding of the products alone is 1e-9
    one = Reader("layer", "Gemm", np.ones((1, 1, 1)), lambda b: Matrix(b[0]), identity((1,)))
    x, y = np.ones(1), np.ones(1, np.float32)
    bounds = [runtime_claim(replace(one, scale=scale), x, x, y, y, U32).bound for scale in (1.0, 2.0)]
    assert bounds == pytest.approx([4 * U32, 6 * U32], rel=1e-5)  # 2·γ₂·1 and 2·γ₃·1


def test_a_difference_that_was_made_in_double_arithmetic(tmp_path: Path) -> None:
    """x₁ = 0 is represented for nothing: what is left of φᵀW is the arithmetic that made φ."""
    case = CASES["matmul in double"]
    reader, rng = reader_of(case, tmp_path), np.random.default_rng(9)
    claim = kernel_claim(reader, in_kernel(case, reader, rng), np.zeros(case.shape), U64)
    assert claim.holds
    assert claim.value > 0


def test_flushing_to_zero_is_allowed() -> None:
    """One run flushes what the other keeps: products and sums, subnormal weights, subnormal activations."""
    for w, x, kept in ((1e-9, 1e-30, 1e-39), (1e-40, 1e5, 1e-35), (1e5, 1e-40, 1e-35)):
        reader = Reader("layer", "MatMul", np.full((1, 1, 1), w), lambda b: Matrix(b[0]), identity((1,)))
        a, zero, y = np.full(1, x, np.float32), np.zeros(1, np.float32), np.full(1, kept, np.float32)
        assert runtime_claim(reader, a, a, zero, y, U32).holds
        assert runtime_claim(reader, a, a, zero, 100 * y + np.float32(1e-36), U32).holds is False


def test_dead_outputs(tmp_path: Path) -> None:
    """A column of norm 1e-14: below the cut-off, so that the kernel ignores it; the claim allows just that."""
    weights = weight(60, 20).astype(np.float64)
    weights[:, 3] *= 1e-14 / np.linalg.norm(weights[:, 3])
    weights[:, 4] = 0.0
    case = dense("MatMul", np.float32, weights.astype(np.float32))
    reader, rng = reader_of(case, tmp_path), np.random.default_rng(4)
    change = in_kernel(case, reader, rng)
    x0, x1 = pair(case, change, rng)
    runtime = runtime_claim(reader, x0, x1, case.run(x0), case.run(x1), U32)
    assert runtime.holds
    x0 = rng.standard_normal(case.shape)
    x1 = x0 + change
    assert kernel_claim(reader, x0, x1, U64).holds is False  # seen, however small: the column has an accuracy of its own
    assert kernel_claim(replace(reader, dropped=1.01e-14), x0, x1, U64).holds


def test_zeros(tmp_path: Path) -> None:
    case = dense("MatMul", np.float32, np.zeros((4, 3), np.float32))
    reader = reader_of(case, tmp_path)
    x = np.ones(case.shape)
    same = kernel_claim(reader, x, x, U32)
    assert (same.value, same.ratio) == (0.0, 0.0)
    y = np.zeros((3, 3), np.float32)
    assert runtime_claim(reader, x, 2 * x, y, y, U32).ratio == 0.0
    assert runtime_claim(reader, x, x, y, y + np.float32(1e-30), U32).holds is False


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_numbers_that_are_not_finite_break_every_claim(bad: float, tmp_path: Path) -> None:
    case = CASES["matmul"]
    reader = reader_of(case, tmp_path)
    x, y = np.ones(case.shape), np.ones((3, 20), np.float32)
    x_bad, y_bad = x.copy(), y.copy()
    x_bad[0, 0] = y_bad[0, 0] = bad
    broken = [
        kernel_claim(reader, x_bad, x_bad, U32),
        kernel_claim(replace(reader, blocks=reader.blocks * bad), x, x, U32),
        runtime_claim(reader, x_bad, x_bad, y, y, U32),
        runtime_claim(reader, x, x, y_bad, y_bad, U32),
        runtime_claim(reader, x, x, y, y_bad, U32, "Winograd"),
    ]
    for claim in broken:
        assert np.isnan(claim.value)
        assert claim.holds is False
        assert claim.ratio == np.inf
    huge = np.full(case.shape, 1.7e308)
    assert kernel_claim(reader, -huge, huge, U64).holds is False


def test_where_no_bound_applies(tmp_path: Path) -> None:
    case = CASES["matmul"]
    reader = reader_of(case, tmp_path)
    x, y = np.ones(case.shape), np.ones((3, 20), np.float32)
    claim = runtime_claim(reader, x, x, y, y + 1, U32, "the provider may use Winograd")
    assert (claim.value, claim.bound, claim.ratio, claim.holds) == (1.0, None, None, None)
    assert claim.reason == "the provider may use Winograd"
    long = Reader("layer", "MatMul", np.ones((1, 1024, 1)), lambda b: Matrix(b[0], (1,)), identity((1, 1024)))
    one = np.ones((1, 1024))
    claim = runtime_claim(long, one, one, np.ones((1, 1), np.float16), np.ones((1, 1), np.float16), U16)
    assert claim.holds is None
    assert claim.reason is not None
    assert "1024 terms" in claim.reason
    with pytest.raises(ValueError, match="unit roundoff"):
        kernel_claim(reader, x, x, 1e-7)
    with pytest.raises(ValueError, match="unit roundoff"):
        runtime_claim(reader, x, x, y, y, 1e-7)
    with pytest.raises(ValueError, match="gives"):
        runtime_claim(reader, x, x, y[:1], y[:1], U32)


def test_float16_outputs_of_float32_sums() -> None:
    """Emulated: float16 numbers, sums in float32, outputs stored as float16, down to subnormal ones."""
    rng = np.random.default_rng(5)
    for scale in (1.0, 1e-3, 1e-6):
        weights = rng.standard_normal((1, 48, 10)).astype(np.float16).astype(np.float64)
        reader = Reader("layer", "MatMul", weights, lambda b: Matrix(b[0], (4,)), identity((4, 48)))
        x0 = (scale * rng.standard_normal((4, 48))).astype(np.float16)
        x1 = (x0 + null_space(weights).sample(4, rng) * scale).astype(np.float16)
        y0, y1 = ((x.astype(np.float32) @ weights[0].astype(np.float32)).astype(np.float16) for x in (x0, x1))
        claim = runtime_claim(reader, x0, x1, y0, y1, U32)
        assert claim.holds, claim
        assert claim.ratio is not None
        assert claim.ratio > 1e-4
        assert kernel_claim(reader, x0.astype(np.float64), x1.astype(np.float64), U16).holds
        tampered = y1 + np.float16(64) * np.spacing(np.abs(y1).max())
        assert runtime_claim(reader, x0, x1, y0, tampered, U32).holds is False


def test_rounded_weights(tmp_path: Path) -> None:
    case = CASES["gemm"]
    reader = reader_of(case, tmp_path)
    assert reader.scale == pytest.approx(0.3)
    np.testing.assert_array_equal(rounded(reader, np.float32).blocks, reader.blocks)
    weights = case.constants["w"].T.astype(np.float16).astype(np.float64)
    np.testing.assert_array_equal(rounded(reader, np.float16).blocks[0], weights * reader.scale)
    beyond = rounded(replace(reader, blocks=reader.blocks * 1e6), np.float16)
    assert kernel_claim(beyond, np.zeros(case.shape), np.zeros(case.shape), U16).holds is False


PADDED = np.pad(np.arange(120).reshape(3, 40), ((0, 0), (5, 15)), constant_values=NOTHING)
PATHS: dict[str, Callable[[], LinearMap]] = {
    "scaled": lambda: Scale((3, 60), np.linspace(0.1, 3.0, 60)),
    "padded": lambda: Selection((3, 40), PADDED, np.array(0.3)),
    "averaged": lambda: Scale((3, 60), np.array(1 / 3)) @ Matrix(np.repeat(np.eye(60), 3, axis=0), (3,)),
}


@pytest.mark.parametrize("name", PATHS)
def test_paths(name: str, tmp_path: Path) -> None:
    """x₁ − x₀ in the kernel of the layer after its path, the path evaluated in double."""
    case, rng = CASES["matmul in double"], np.random.default_rng(6)
    path = PATHS[name]()
    reader = reader_of(case, tmp_path, path)
    whole = (reader.make(reader.blocks) @ path).dense().reshape(path.inputs, -1)
    x0 = rng.standard_normal(path.input_shape)
    x1 = x0 + null_space(whole[None]).sample(1, rng).reshape(path.input_shape)
    for u in (U64, U32):
        assert kernel_claim(reader, x0, x1, u).holds
    assert kernel_claim(reader, x0, x1 + 1e-3 * rng.standard_normal(x1.shape), U32).holds is False
