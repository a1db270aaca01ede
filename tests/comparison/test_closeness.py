"""The verdict on two aligned matrices: what rounding, factors and grids explain, and that nothing more passes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from onnxnull.comparison.closeness import closeness, scaled_closeness
from onnxnull.comparison.verdicts import Factors, Verdict

Array = NDArray[np.float64]
FLOATS = ("float32", "float32")


def blocks(*shape: int, seed: int = 0, dtype: type = np.float32) -> Array:
    """Numbers of a type, as float64."""
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype).astype(np.float64)


def quantized(a: Array, bits: int, axes: tuple[int, ...], *, zero_point: bool = False, scale: type = np.float32) -> Array:
    """Rounded to a grid with one step for all entries along `axes`."""
    low, high = a.min(axis=axes, keepdims=True), a.max(axis=axes, keepdims=True)
    if zero_point:
        step = ((high - low) / (2**bits - 1)).astype(scale).astype(np.float64)
        offset = np.rint(-low / step)
        shifted: Array = step * (np.clip(np.rint(a / step) + offset, 0, 2**bits - 1) - offset)
        return shifted
    step = (np.maximum(high, -low) / (2 ** (bits - 1) - 1)).astype(scale).astype(np.float64)
    rounded: Array = step * np.rint(a / step)
    return rounded


def in_rows(a: Array, rows: int, bits: int) -> Array:
    """Blocks of so many rows of a column have a step each."""
    g, q, p = a.shape
    return quantized(a.reshape(g, q // rows, rows, p), bits, (2,)).reshape(a.shape)


class TestRounding:
    @pytest.mark.parametrize("name", ["float16", "float32"])
    def test_a_cast(self, name: str) -> None:
        a = blocks(1, 40, 30, dtype=np.float64)
        b = a.astype(name).astype(np.float64)
        for types in (("float64", name), (name, "float64"), ("float64", "float64")):
            found = closeness(a, b, types)
            assert (found.verdict, found.rounding) == (Verdict.ROUNDED, name)

    def test_bfloat16(self) -> None:
        a = blocks(1, 40, 30)
        b = (a.astype(np.float32).view(np.uint32) & 0xFFFF0000).view(np.float32).astype(np.float64)
        assert closeness(a, b, ("float32", "bfloat16")).rounding == "bfloat16"
        assert closeness(a, b, FLOATS).rounding == "bfloat16"  # stored as float32, and yet nothing but bfloat16

    def test_subnormal_numbers(self) -> None:
        a = blocks(1, 40, 30) * 2.0**-20
        assert closeness(a, a.astype(np.float16).astype(np.float64), ("float32", "float16")).verdict is Verdict.ROUNDED

    def test_the_same_numbers_in_another_type_are_identical(self) -> None:
        a = blocks(1, 8, 8, dtype=np.float16)
        assert closeness(a, a.copy(), ("float64", "float16")).verdict is Verdict.IDENTICAL

    @settings(max_examples=20)
    @given(st.integers(0, 1199), st.sampled_from([3.0, -3.0, 1e3]))
    def test_an_entry_further_off_is_different(self, place: int, ulps: float) -> None:
        a = blocks(1, 40, 30)
        b = a.astype(np.float16).astype(np.float64)
        b.flat[place] *= 1 + ulps * 2.0**-10
        assert closeness(a, b, ("float32", "float16")).verdict is Verdict.DIFFERENT

    def test_zero_is_not_rounded_to(self) -> None:
        a = blocks(1, 8, 8)
        b = a.copy()
        b[0, 0, 0] = 0.0
        assert closeness(a, b, FLOATS).verdict is Verdict.DIFFERENT


GRIDS = {
    "8 bits": lambda a: quantized(a, 8, (0, 1, 2)),
    "8 bits a column": lambda a: quantized(a, 8, (1,)),
    "8 bits, zero point": lambda a: quantized(a, 8, (0, 1, 2), zero_point=True),
    "8 bits a column, zero point": lambda a: quantized(a, 8, (1,), zero_point=True),
    "4 bits a column": lambda a: quantized(a, 4, (1,)),
    "4 bits a block": lambda a: in_rows(a, 32, 4),
    "8 bits a block": lambda a: in_rows(a, 32, 8),
    "16 bits": lambda a: quantized(a, 16, (0, 1, 2)),
}


class TestQuantisation:
    @pytest.mark.parametrize("grid", GRIDS)
    def test_rounding_to_the_nearest(self, grid: str) -> None:
        a = blocks(1, 96, 20)
        for one, other in ((a, GRIDS[grid](a)), (GRIDS[grid](a), a)):
            found = closeness(one, other, FLOATS)
            assert found.verdict is Verdict.QUANTIZED
            assert found.steps == pytest.approx(0.5, abs=0.03)

    @pytest.mark.parametrize("shape", [(32, 9, 1), (8, 9, 4), (1, 27, 16), (1, 4, 64), (1, 8, 16)])
    @pytest.mark.parametrize("axes", [(0, 1, 2), (1,)])
    def test_small_weights(self, shape: tuple[int, int, int], axes: tuple[int, ...]) -> None:
        for seed in range(5):
            a = blocks(*shape, seed=seed)
            assert closeness(a, quantized(a, 8, axes), FLOATS).verdict is Verdict.QUANTIZED

    def test_steps_in_float16(self) -> None:
        a = blocks(1, 96, 20)
        assert closeness(a, quantized(a, 8, (1,), scale=np.float16), FLOATS).verdict is Verdict.QUANTIZED

    def test_rounding_up_or_down(self) -> None:
        a = blocks(1, 64, 16)
        step = np.abs(a).max() / 127
        b = step * np.where(np.random.default_rng(1).random(a.shape) < 0.5, np.floor(a / step), np.ceil(a / step))
        found = closeness(a, b, FLOATS)
        assert found.verdict is Verdict.QUANTIZED
        assert found.steps == pytest.approx(1.0, abs=0.05)

    def test_one_grid_on_another(self) -> None:
        a = blocks(1, 64, 16)
        assert closeness(quantized(a, 8, (0, 1, 2)), quantized(a, 8, (1,)), FLOATS).verdict is Verdict.QUANTIZED

    @pytest.mark.parametrize("grid", GRIDS)
    @settings(max_examples=10)
    @given(place=st.integers(0, 1919))
    def test_an_entry_two_steps_off_is_different(self, grid: str, place: int) -> None:
        a = blocks(1, 96, 20)
        b = GRIDS[grid](a)
        there = np.unravel_index(place, a.shape)
        a[there] += np.abs(b).max() * (0.6 if "4" in grid else 0.05)
        assert closeness(a, b, FLOATS).verdict is Verdict.DIFFERENT

    @pytest.mark.parametrize("shape", [(1, 64, 16), (32, 9, 1), (1, 3, 5), (1, 2, 2), (4, 5, 1), (1, 1, 7)])
    def test_numbers_on_no_grid_are_different(self, shape: tuple[int, int, int]) -> None:
        for seed in range(20):
            a = blocks(*shape, seed=seed)
            noise = 1e-3 * blocks(*shape, seed=seed + 100)
            assert closeness(a, a + noise, FLOATS).verdict is Verdict.DIFFERENT


class TestFactors:
    def test_each_kind(self) -> None:
        a = blocks(1, 24, 16)
        rng = np.random.default_rng(1)
        rows, columns = rng.uniform(0.1, 9, (1, 24, 1)), rng.uniform(-3, 3, (1, 1, 16))
        for factors, b in (
            (Factors.ONE, a * -2.5),
            (Factors.OUTPUTS, a * columns),
            (Factors.INPUTS, a * rows),
            (Factors.BOTH, a * rows * columns),
        ):
            found = scaled_closeness(a, b.astype(np.float32).astype(np.float64), FLOATS)
            assert (found.verdict, found.scale.factors) == (Verdict.SCALED, factors)
            assert not found.scale.explained

    def test_factors_and_a_grid(self) -> None:
        a = blocks(1, 64, 16)
        b = quantized(a * np.random.default_rng(1).uniform(0.2, 5, (1, 1, 16)), 8, (1,))
        found = scaled_closeness(a, b, FLOATS)
        assert (found.verdict, found.scale.factors) == (Verdict.QUANTIZED, Factors.OUTPUTS)

    @pytest.mark.parametrize("shape", [(1, 24, 16), (16, 9, 1), (1, 2, 2), (1, 1, 8), (1, 8, 1), (5, 1, 1)])
    def test_strangers_are_not_factors_apart(self, shape: tuple[int, int, int]) -> None:
        for seed in range(10):
            a, b = blocks(*shape, seed=seed), blocks(*shape, seed=seed + 50)
            assert scaled_closeness(a, b, FLOATS).verdict is Verdict.DIFFERENT

    def test_dead_outputs(self) -> None:
        a = blocks(1, 24, 16)
        a[:, :, 3] = 0.0
        b = a * np.linspace(1.0, 2.0, 16)
        assert scaled_closeness(a, b.astype(np.float32).astype(np.float64), FLOATS).verdict is Verdict.SCALED
        b[0, 5, 3] = 0.5
        assert scaled_closeness(a, b, FLOATS).verdict is Verdict.DIFFERENT
