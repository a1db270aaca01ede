"""Selections against what NumPy does: application, adjoint, composition, sums, padding."""

from __future__ import annotations

import numpy as np
import pytest

from onnxnull.kernel.maps.linear_map import Sum
from onnxnull.kernel.maps.selection import NOTHING, Selection, add, compose, identity


def drawn(rng: np.random.Generator, shape: tuple[int, ...], output: tuple[int, ...]) -> Selection:
    """Entries taken at random, some of them nothing, some factors zero."""
    indices = rng.integers(NOTHING, int(np.prod(shape)), output)
    return Selection(shape, indices, rng.integers(-2, 3, output).astype(float))


@pytest.mark.parametrize("seed", range(30))
def test_matrix_adjoint_rank_and_composition(seed: int) -> None:
    rng = np.random.default_rng(seed)
    first, second = drawn(rng, (2, 3), (4, 2)), drawn(rng, (4, 2), (3, 3))
    matrix = np.zeros((6, 8))
    for place, (index, factor) in enumerate(zip(first.indices.ravel(), first.factors.ravel(), strict=True)):
        if index != NOTHING:
            matrix[index, place] = factor
    np.testing.assert_array_equal(first.dense(), matrix)
    np.testing.assert_array_equal(first.T.dense(), matrix.T)
    assert first.rank == np.linalg.matrix_rank(matrix)
    together = compose(second, first)
    assert isinstance(together, Selection)
    np.testing.assert_array_equal(together.dense(), matrix @ second.dense())


@pytest.mark.parametrize("seed", range(30))
def test_sums(seed: int) -> None:
    rng = np.random.default_rng(seed)
    a, b = drawn(rng, (2, 3), (4,)), drawn(rng, (2, 3), (4,))
    apart = Selection((2, 3), np.where(a.indices == NOTHING, b.indices, NOTHING), b.factors)
    for other in (b, apart):
        total = add(a, other)
        np.testing.assert_array_equal(total.dense(), a.dense() + other.dense())
    assert isinstance(add(a, apart), Selection)
    twice = add(identity((3,)), identity((3,)))
    assert isinstance(twice, Selection)
    np.testing.assert_array_equal(twice.dense(), 2 * np.eye(3))
    assert isinstance(add(identity((3,)), Selection((3,), np.array([1, 2, 0]), np.ones(()))), Sum)


def test_padding_is_recognised() -> None:
    inner = np.arange(6).reshape(2, 3)
    padded = np.pad(inner, ((0, 1), (2, 0)), constant_values=NOTHING)
    assert Selection((2, 3), padded, np.ones(())).padding() == ((0, 1), (2, 0))
    assert identity((2, 3)).padding() == ((0, 0), (0, 0))
    assert Selection((2, 3), padded, np.full((3, 5), 2.0)).padding() == ((0, 1), (2, 0))
    for indices, factors in (
        (padded[:, ::-1], np.ones(())),  # mirrored
        (padded, np.zeros(())),  # nothing gets through
        (inner[:, :2], np.ones(())),  # cropped
        (np.pad(inner, 1, mode="edge"), np.ones(())),  # the edge repeated
        (padded[None], np.ones(())),  # another rank
    ):
        assert Selection((2, 3), indices, factors).padding() is None


def test_empty_and_scalar_tensors() -> None:
    empty = Selection((0, 3), np.full((2,), NOTHING), np.ones(()))
    np.testing.assert_array_equal(empty.apply(np.zeros((0, 3))), np.zeros(2))
    assert empty.adjoint(np.ones(2)).shape == (0, 3)
    scalar = Selection((), np.zeros((), dtype=np.int64), np.array(3.0))
    assert scalar.apply(np.array(2.0)) == 6.0
    assert scalar.adjoint(np.array(2.0)) == 6.0
    assert scalar.rank == 1


@pytest.mark.parametrize("factor", [1e-200, 1e200])
def test_factors_that_leave_the_range_of_doubles(factor: float) -> None:
    """1e-200·1e-200 is not 0: the entry is read."""
    for factors in (np.array(factor), np.full(3, factor)):
        one = Selection((3,), np.arange(3), factors)
        with pytest.raises(FloatingPointError):
            one.after(one)
    assert one.after(Selection((3,), np.arange(3), 1 / factors)).rank == 3
