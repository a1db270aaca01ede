"""The order in which one matrix holds what another holds."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onnxnull.comparison.alignment import alignments
from onnxnull.comparison.matching import _assigned
from onnxnull.comparison.verdicts import Order
from onnxnull.kernel.maps.linear_map import Array


def blocks(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal(shape)


def undone(a: Array, b: Array) -> list[tuple[Order, Order]]:
    """The orders that make a the same as b up to factors on columns."""
    found = []
    for alignment in alignments(a, b):
        moved = alignment.apply(a)
        factors = np.sum(moved * b, axis=1, keepdims=True) / np.sum(moved * moved, axis=1, keepdims=True)
        if np.allclose(moved * factors, b, rtol=1e-9, atol=1e-12):
            found.append((alignment.inputs, alignment.outputs))
    return found


@pytest.mark.parametrize("shape", [(1, 27, 8), (1, 8, 27), (1, 64, 64), (1, 700, 20), (1, 5, 3)])
@settings(max_examples=15)
@given(seed=st.integers(0, 2**32 - 1))
def test_any_order_is_found(shape: tuple[int, int, int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    a = rng.standard_normal(shape)
    rows, columns = rng.permutation(shape[1]), rng.permutation(shape[2])
    factors = rng.uniform(0.5, 2.0, shape[2]) * rng.choice([-1.0, 1.0], shape[2])
    assert undone(a, a[:, rows][:, :, columns] * factors)
    assert (Order.SAME, Order.SAME) in undone(a, a * factors)


def test_orders_are_named() -> None:
    a = blocks(1, 48, 20)
    columns = np.random.default_rng(1).permutation(20)
    assert undone(a, a) == [(Order.SAME, Order.SAME)]
    assert (Order.SAME, Order.PERMUTED) in undone(a, a[:, :, columns])
    exchanged = a.reshape(1, 12, 4, 20).swapaxes(1, 2).reshape(1, 48, 20)
    assert undone(a, exchanged)[0] == (Order.LAYOUT, Order.SAME)
    assert (Order.LAYOUT, Order.PERMUTED) in undone(a, exchanged[:, :, columns])
    assert undone(a, a[:, ::-1])[0] == (Order.PERMUTED, Order.SAME)


def test_groups_stay_together() -> None:
    a = blocks(8, 9, 3)
    order = np.random.default_rng(0).permutation(8)
    assert undone(a, a[order]) == [(Order.SAME, Order.PERMUTED)]
    mixed = a.copy()
    mixed[0, :, 0], mixed[1, :, 0] = a[1, :, 0], a[0, :, 0]  # one filter of two groups exchanged: they read other channels
    assert not undone(a, mixed)


def test_strangers_have_no_order() -> None:
    for shape in ((1, 27, 8), (1, 200, 100), (16, 25, 1)):
        assert not list(alignments(blocks(*shape), blocks(*shape, seed=1)))


def test_rounded_numbers_are_found_too() -> None:
    a = blocks(1, 120, 60)
    rng = np.random.default_rng(1)
    rows, columns = rng.permutation(120), rng.permutation(60)
    step = np.abs(a).max() / 127
    b = np.rint(a / step)[:, rows][:, :, columns] * step
    (found,) = alignments(a, b)
    assert found.rows is not None
    assert found.columns is not None
    assert np.array_equal(found.rows, rows)
    assert np.array_equal(found.columns, columns)


def test_equal_columns_may_be_exchanged() -> None:
    a = blocks(1, 30, 12)
    a[:, :, 5] = a[:, :, 2]
    a[:, :, 7:9] = 0.0
    a[:, 20] = a[:, 3]
    rng = np.random.default_rng(2)
    b = a[:, rng.permutation(30)][:, :, rng.permutation(12)]
    assert any(np.array_equal(found.apply(a), b) for found in alignments(a, b))


def test_assignments_are_least() -> None:
    costs = blocks(6, 4)
    pairs = list(_assigned(costs))
    assert len({i for i, _ in pairs}) == len({j for _, j in pairs}) == 4
    best = min(sum(costs[i, j] for j, i in enumerate(rows)) for rows in itertools.permutations(range(6), 4))
    assert sum(costs[i, j] for i, j in pairs) == pytest.approx(best)
