"""Dead outputs, unread inputs and duplicates, counted exactly."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from onnxnull.kernel.structure import dead_outputs, distinct_columns, duplicate_outputs, nearly_dead_outputs, unread_inputs


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16, np.float32, np.float64, np.int8])
def test_counts(dtype: type[np.generic]) -> None:
    stack = np.arange(1, 25).reshape(2, 4, 3).astype(dtype)
    stack[0, :, 1] = 0
    stack[1, :, 2] = stack[1, :, 0]
    stack[1, 3] = 0
    assert (dead_outputs(stack), unread_inputs(stack), duplicate_outputs(stack)) == (1, 1, 1)


def test_minus_zero_is_zero() -> None:
    stack = np.array([[[-0.0, 1.0, 1.0], [0.0, -0.0, 0.0]]])
    assert (dead_outputs(stack), unread_inputs(stack), duplicate_outputs(stack)) == (1, 1, 1)


def test_equal_columns_of_different_blocks_are_no_duplicates() -> None:
    assert duplicate_outputs(np.ones((5, 3, 1))) == 0
    assert duplicate_outputs(np.ones((5, 3, 4))) == 15


def test_columns_that_differ_in_one_entry_that_no_sample_sees() -> None:
    matrix = np.ones((5000, 6), dtype=np.float32)
    matrix[17, 3] = 2
    matrix[4001, 5] = 2
    assert distinct_columns(matrix).tolist() == [0, 3, 5]


def test_large_stack_in_pieces() -> None:
    """More entries than one piece holds."""
    stack = np.ones((2, 3000, 1000), dtype=np.float32)
    stack[0, :, 7] = 0
    stack[1, 2999] = 0
    assert (dead_outputs(stack), unread_inputs(stack)) == (1, 1)


@pytest.mark.parametrize("shape", [(1, 0, 3), (1, 3, 0), (0, 3, 3)])
def test_empty(shape: tuple[int, int, int]) -> None:
    stack = np.zeros(shape)
    groups, rows, columns = shape
    counts = dead_outputs(stack), unread_inputs(stack), duplicate_outputs(stack)
    assert counts == (groups * columns, groups * rows, 0)


@pytest.mark.parametrize("scale", [1e-300, 1e-200, 1.0, 1e200, 1e300])
def test_nearly_dead_outputs(scale: float) -> None:
    """Norms 5, 1, 0, 1e-3 and 1e-9 of the scale; counted below a threshold and above 0, whatever squares would do."""
    stack = scale * np.array([[[3.0, 1.0, 0.0, 1e-3, 1e-9], [4.0, 0.0, 0.0, 0.0, 0.0]]])
    assert [nearly_dead_outputs(stack, scale * threshold) for threshold in (1e-10, 1e-6, 2e-3, 1.5, 5.5)] == [0, 1, 2, 3, 4]


def test_nearly_dead_outputs_of_many_blocks() -> None:
    stack = np.ones((2, 3000, 1000), dtype=np.float16)
    stack[0, :, 7] = 1e-3
    stack[1, :, 8] = 0
    assert nearly_dead_outputs(stack, 1.0) == 1
    assert nearly_dead_outputs(np.zeros((0, 3, 3)), 1.0) == 0


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int8, np.int64])
@pytest.mark.parametrize("rows", [1, 2, 8, 9, 70])
def test_the_first_of_equal_columns(rows: int, dtype: type) -> None:
    """However few or many rows there are: short columns are sorted, long ones are sampled."""
    rng = np.random.default_rng(rows)
    few: np.ndarray = rng.integers(-1, 2, (rows, 6)).astype(dtype)
    few[:, 0] = 0
    matrix = few[:, rng.integers(0, 6, 40)]
    columns = [tuple(column) for column in matrix.T.tolist()]
    wanted = [j for j, column in enumerate(columns) if any(column) and column not in columns[:j]]
    assert distinct_columns(matrix).tolist() == wanted
