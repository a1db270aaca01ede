"""The kernel lattice of an integer matrix: exact, whole, short; and vectors of it near a wish and in a box."""

from __future__ import annotations

import flint
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from onnxnull.kernel.lattice.integer_kernel import along, inside, kernel_lattice, nearest, toward
from onnxnull.kernel.lattice.reduction import lll, shorten

SHAPES = st.tuples(st.integers(1, 14), st.integers(0, 9))
MATRICES = SHAPES.flatmap(lambda shape: arrays(np.int64, shape, elements=st.integers(-128, 127)))
LOW_RANK = st.tuples(
    arrays(np.int64, (10, 2), elements=st.integers(-9, 9)), arrays(np.int64, (2, 6), elements=st.integers(-9, 9))
).map(lambda pair: pair[0] @ pair[1])


def smith(basis: np.ndarray) -> set[int]:
    """The invariant factors: all 1 where the lattice has every integer vector of the space that it spans."""
    form = flint.fmpz_mat(basis.tolist()).snf()
    return {int(form[i, i]) for i in range(len(basis))}


def random(q: int, p: int, seed: int = 0, bound: int = 127) -> np.ndarray:
    return np.random.default_rng(seed).integers(-bound, bound + 1, (q, p))


@settings(max_examples=60)
@given(st.one_of(MATRICES, LOW_RANK))
def test_the_basis_spans_the_whole_kernel_lattice(matrix: np.ndarray) -> None:
    basis = kernel_lattice(matrix)
    rank = int(flint.fmpz_mat(matrix.tolist()).rank()) if matrix.size else 0
    assert basis.shape == (len(matrix) - rank, len(matrix))
    assert not np.any(basis @ matrix)
    assert len(basis) == 0 or smith(basis) == {1}


@pytest.mark.parametrize(("q", "p"), [(40, 12), (70, 24), (60, 40)])
def test_block_reduction_keeps_the_lattice_and_shortens_it(q: int, p: int) -> None:
    matrix = random(q, p)
    before = kernel_lattice(matrix, tours=0)
    after = shorten(before, 8)
    assert not np.any(after @ matrix)
    assert smith(after) == {1}
    lengths = [np.linalg.norm(basis, axis=1) for basis in (before, after)]
    assert lengths[1].mean() <= lengths[0].mean()
    # det of the kernel lattice is at most that of the columns: |b₁| below 1.02ᵈ·det^(1/d)
    _, log_det = np.linalg.slogdet((matrix.T @ matrix).astype(np.float64))
    assert np.log(lengths[1].min()) <= (q - p) * np.log(1.02) + log_det / 2 / (q - p)


def test_short_vectors_are_found_where_there_are_some() -> None:
    """Twins among the inputs: eᵢ − eⱼ is in the kernel."""
    matrix = np.repeat(random(12, 10), 2, axis=0)
    basis = kernel_lattice(matrix)
    assert np.count_nonzero(np.abs(basis).sum(axis=1) == 2) == 12


@pytest.mark.parametrize("seed", range(3))
def test_vectors_near_a_wish_and_far_along_one_stay_in_the_box(seed: int) -> None:
    matrix = random(40, 8, seed, bound=20)
    basis = kernel_lattice(matrix)
    rng = np.random.default_rng(seed)
    low, high = -rng.integers(0, 60, (5, 40)), rng.integers(0, 60, (5, 40))
    wishes = rng.standard_normal((5, 40)) * 20
    for found in (toward(basis, wishes, low, high), along(basis, wishes, low, high)):
        assert not np.any(found @ matrix)
        assert np.all((found >= low) & (found <= high))
        assert np.any(found)
    assert np.all(np.linalg.norm(toward(basis, wishes, low, high) - wishes, axis=1) <= np.linalg.norm(wishes, axis=1))


def test_boxes_on_one_side_of_zero_hold_vectors_that_no_basis_vector_fits_into() -> None:
    matrix = random(32, 10)
    basis = kernel_lattice(matrix)
    low, high = np.zeros((3, 32), np.int64), np.full((3, 32), 200)
    low[:, ::2] = -100
    assert not np.any(np.all((basis >= low[0]) & (basis <= high[0]), axis=1))
    found = inside(basis, low, high, np.random.default_rng(0))
    assert not np.any(found @ matrix)
    assert np.all((found >= low) & (found <= high))
    assert np.all(np.any(found, axis=1))
    nothing = np.zeros((1, 32), np.int64)
    assert not np.any(inside(basis, nothing, nothing, np.random.default_rng(0)))


def test_the_nearest_plane_finds_a_lattice_vector_itself() -> None:
    basis = kernel_lattice(random(30, 10))
    vector = np.random.default_rng(1).integers(-50, 51, len(basis)) @ basis
    noise = np.random.default_rng(2).uniform(-0.3, 0.3, 30)
    np.testing.assert_array_equal(nearest(basis, vector + noise), vector)
    np.testing.assert_array_equal(nearest(basis[:0], noise), np.zeros(30))


def test_what_is_too_large_is_refused() -> None:
    with pytest.raises(OverflowError):
        kernel_lattice(random(30, 29) << 32)


def test_dependent_rows_are_dropped() -> None:
    rows = random(4, 9)
    assert len(lll(np.concatenate([rows, rows[:2] - rows[2:]]))) == 4
