"""How far two outputs are apart: known numbers, invariances of ulps, and nothing that passes in silence."""

from __future__ import annotations

import math
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from onnxnull.collision.output_change import best, classes, compare, mask, probabilities, ulps

FLOATS = (np.float16, np.float32, np.float64)
BITS = {np.float16: 16, np.float32: 32, np.float64: 64}


@st.composite
def pairs(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Two arrays of one float type and shape, without NaN and Inf."""
    dtype = draw(st.sampled_from(FLOATS))
    finite = st.floats(allow_nan=False, allow_infinity=False, width=BITS[dtype])  # type: ignore[arg-type]
    return tuple(draw(hnp.arrays(dtype, 3, elements=finite)) for _ in range(2))  # type: ignore[return-value]


def rank(value: np.floating[Any]) -> int:
    """The float's place among the floats of its type, 0 for both zeros; by Python's integers."""
    size = int(value.dtype.itemsize)
    word = int.from_bytes(value.tobytes(), "little")
    magnitude = word & ((1 << (8 * size - 1)) - 1)
    return -magnitude if word >> (8 * size - 1) else magnitude


@given(pairs())
def test_ulps_count_the_floats_in_between(pair: tuple[np.ndarray, np.ndarray]) -> None:
    before, after = pair
    assert ulps(before, after) == float(max(abs(rank(a) - rank(b)) for a, b in zip(before, after, strict=True)))
    assert ulps(before, after) == ulps(after, before) == ulps(-before, -after)
    assert ulps(before, before) == 0.0


@given(pairs())
def test_the_next_float_is_one_ulp_away(pair: tuple[np.ndarray, np.ndarray]) -> None:
    before, toward = pair
    after = np.nextafter(before, toward)
    assert ulps(before, after) == float(np.any(before != toward))


@pytest.mark.parametrize("dtype", FLOATS)
def test_ulps_across_zero(dtype: type[np.floating[Any]]) -> None:
    smallest = np.nextafter(dtype(0), dtype(1))
    zero = np.zeros(1, dtype)
    assert ulps(zero, -zero) == 0.0
    assert ulps(zero, np.array([smallest])) == ulps(-zero, np.array([smallest])) == 1.0
    assert ulps(np.array([-smallest]), np.array([smallest])) == 2.0
    top = np.array([np.finfo(dtype).max])
    assert ulps(top, -top) == float(2 * rank(top[0]))  # needs all 64 bits of a uint64


def test_ulps_of_bfloat16() -> None:
    before = np.array([1.0, -2.0], ml_dtypes.bfloat16)
    after = np.array([1.0 + 2**-7, -2.0], ml_dtypes.bfloat16)
    change = compare("y", before, after)
    assert (change.ulps, change.max_abs, change.dtype, change.bitwise) == (1.0, 2**-7, "bfloat16", False)


def test_numbers() -> None:
    change = compare("y", np.array([[1.0, -4.0, 2.0]], np.float32), np.array([[1.5, -4.0, 2.25]], np.float32))
    assert (change.name, change.shape, change.dtype) == ("y", (1, 3), "float32")
    assert (change.bitwise, change.max_abs, change.relative, change.ulps) == (False, 0.5, 0.125, 2.0**22)
    assert (change.top1, change.top5, change.mask) == (True, True, None)


def test_the_same() -> None:
    y = np.random.default_rng(0).standard_normal((2, 7))
    change = compare("y", y, y.copy(order="F"))
    assert (change.bitwise, change.max_abs, change.relative, change.ulps, change.top1) == (True, 0.0, 0.0, 0.0, True)


def test_zeros_of_both_signs_differ_in_bits_only() -> None:
    change = compare("y", np.array([0.0, 1.0]), np.array([-0.0, 1.0]))
    assert (change.bitwise, change.max_abs, change.ulps) == (False, 0.0, 0.0)


def test_nothing_to_relate_to() -> None:
    assert compare("y", np.zeros(3), np.ones(3)).relative is None
    empty = compare("boxes", np.zeros((0, 4), np.float32), np.zeros((0, 4), np.float32))
    assert (empty.bitwise, empty.max_abs, empty.relative, empty.ulps, empty.top1) == (True, 0.0, None, 0.0, None)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", FLOATS)
def test_what_is_not_finite_on_both_sides_is_unchanged(value: float, dtype: type[np.floating[Any]]) -> None:
    before = np.array([value, 1.0, 3.0], dtype)
    same = compare("y", before, before.copy())
    assert (same.bitwise, same.max_abs, same.ulps, same.top1, same.top5) == (True, 0.0, 0.0, True, True)
    moved = compare("y", before, np.array([value, 2.0, 3.0], dtype))
    assert (moved.bitwise, moved.max_abs) == (False, 1.0)
    assert moved.relative == pytest.approx(1 / 3)
    assert moved.ulps == ulps(np.array([1.0], dtype), np.array([2.0], dtype))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("other", [1.0, np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", FLOATS)
def test_what_is_not_finite_on_one_side_never_passes(value: float, other: float, dtype: type[np.floating[Any]]) -> None:
    if value == other or (math.isnan(value) and math.isnan(other)):
        return
    sides = [np.array([first, 1.0, 3.0], dtype) for first in (value, other)]
    for before, after in (sides, sides[::-1]):
        change = compare("y", before, after)
        assert not change.bitwise
        assert math.isnan(change.max_abs)
        assert change.relative is None
        assert change.ulps is not None
        assert math.isnan(change.ulps)
        if math.isnan(value) or math.isnan(other):
            assert change.top1 is False
            assert change.top5 is False


def test_differences_beyond_the_largest_float() -> None:
    largest = np.finfo(np.float64).max
    change = compare("y", np.array([largest]), np.array([-largest]))
    assert (change.max_abs, change.relative, change.bitwise) == (np.inf, np.inf, False)


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int64, np.uint64])
def test_integers(dtype: type[np.integer[Any]]) -> None:
    ends = np.iinfo(dtype)
    before, after = np.array([ends.min, 5], dtype), np.array([ends.max, 5], dtype)
    for first, second in ((before, after), (after, before)):
        change = compare("y", first, second)
        assert (change.bitwise, change.ulps, change.top1, change.mask) == (False, None, None, None)
        assert change.max_abs == float(int(ends.max) - int(ends.min))
    assert compare("y", before, before.copy()).bitwise
    assert compare("y", np.array([4], dtype), np.array([5], dtype)).relative == 0.25


def test_booleans_and_strings() -> None:
    flags = compare("y", np.array([True, False]), np.array([True, True]))
    assert (flags.dtype, flags.bitwise, flags.max_abs, flags.relative, flags.ulps) == ("bool", False, 1.0, 1.0, None)
    words = np.array(["cat", "dog"], dtype=object)
    same = compare("y", words, np.array(["c" + "at", "".join(["d", "og"])], dtype=object))
    assert (same.dtype, same.bitwise, same.max_abs) == ("string", True, 0.0)
    other = compare("y", words, np.array(["cat", "cow"], dtype=object))
    assert not other.bitwise
    assert math.isnan(other.max_abs)


@pytest.mark.parametrize(
    "after", [np.zeros((3, 4), np.float32), np.zeros((2, 4), np.float64), np.zeros(8, np.float32), np.zeros((0, 4), np.float32)]
)
def test_other_shapes_and_types_never_pass(after: np.ndarray) -> None:
    change = compare("boxes", np.zeros((2, 4), np.float32), after)
    assert (change.shape, change.bitwise, change.relative, change.ulps) == ((2, 4), False, None, None)
    assert (change.top1, change.top5, change.mask) == (None, None, None)
    assert math.isnan(change.max_abs)


def test_classes() -> None:
    scores = np.array([[9, 8, 7, 6, 5, 4], [1, 2, 3, 4, 5, 6]], np.float32)
    swapped = scores.copy()
    swapped[1, [4, 5]] = swapped[1, [5, 4]]  # the best two of the second sample
    change = compare("y", scores, swapped)
    assert (change.top1, change.top5) == (False, True)
    swapped[0, 5] = 5.5  # the sixth overtakes the fifth
    assert compare("y", scores, swapped).top5 is False


def test_equal_scores_are_ranked_by_index() -> None:
    tied = np.array([[1.0, 1.0, 0.0]])
    assert compare("y", tied, np.array([[1.0, 1.0 - 1e-9, 0.0]])).top1 is True
    assert compare("y", tied, np.array([[1.0, 1.0 + 1e-9, 0.0]])).top1 is False
    assert best(tied) == [(0, 1.0), (1, 1.0), (2, 0.0)]


@pytest.mark.parametrize(
    ("shape", "viewed"),
    [
        ((4,), (1, 4)),
        ((2, 4), (2, 4)),
        ((2, 4, 1, 1), (2, 4)),
        ((2, 4, 1), (2, 4)),
        ((2, 1), None),
        ((1,), None),
        ((), None),
        ((2, 4, 2, 1), None),
        ((2, 0), None),
        ((0, 4), None),
    ],
)
def test_which_outputs_are_lists_of_classes(shape: tuple[int, ...], viewed: tuple[int, ...] | None) -> None:
    found = classes(np.zeros(shape, np.float32))
    assert (None if found is None else found.shape) == viewed
    assert classes(np.zeros(shape, np.int64)) is None


def test_masks_of_several_classes() -> None:
    labels = np.random.default_rng(0).integers(0, 3, (2, 8, 9))
    maps = np.moveaxis(np.eye(3)[labels], -1, 1)
    found = mask(maps)
    np.testing.assert_array_equal(found, labels)
    other = maps.copy()
    other[0, :, 0, 0] = other[0, ::-1, 0, 0] + (labels[0, 0, 0] == 1) * np.array([2.0, 0.0, 0.0])
    assert compare("y", maps, maps.copy()).mask == 1.0
    assert compare("y", maps, other).mask == 1 - 1 / 144
    other[1, 2, 3, 4] = np.nan
    assert compare("y", other, other.copy()).mask == 1.0
    assert compare("y", maps, other).mask == 1 - 2 / 144


def test_masks_of_one_class() -> None:
    values = np.random.default_rng(0).uniform(0, 1, (1, 1, 8, 9)).astype(np.float32)
    np.testing.assert_array_equal(mask(values), values[:, 0] > 0.5)
    logits = 4 * values - 2
    np.testing.assert_array_equal(mask(logits), logits[:, 0] > 0)
    # the threshold is that of the original, also where the other one leaves [0, 1]
    outside = values.copy()
    outside[0, 0, 0, 0] = -1e-7
    expected = 1.0 if values[0, 0, 0, 0] <= 0.5 else 1 - 1 / 72
    assert compare("y", values, outside).mask == expected


@pytest.mark.parametrize(
    ("shape", "dtype"),
    [
        ((1, 257, 200, 200), np.float16),
        ((1, 255, 13, 13), np.float32),  # a detection head
        ((1, 64, 64, 21), np.float32),  # channels last
        ((1, 4, 1, 1), np.float32),
        ((1, 3, 8, 8), np.int64),
        ((3, 8, 8), np.float32),
        ((0, 3, 8, 8), np.float32),
    ],
)
def test_which_outputs_are_no_masks(shape: tuple[int, ...], dtype: type[np.generic]) -> None:
    assert mask(np.zeros(shape, dtype)) is None
    assert compare("y", np.zeros(shape, dtype), np.zeros(shape, dtype)).mask is None


def test_best() -> None:
    scores = np.array([0.1, 0.7, 0.2], np.float64)
    assert best(scores, 2) == best(scores[None, :, None, None], 2) == [(1, 0.7), (2, 0.2)]
    assert len(best(scores)) == 3
    for other in (np.zeros((2, 3)), np.zeros((1, 2, 2)), np.zeros(3, np.int64)):
        with pytest.raises(ValueError, match="not one list"):
            best(other)


def test_probabilities() -> None:
    given_ = np.array([[0.25, 0.75], [0.5, 0.5004]])
    np.testing.assert_array_equal(probabilities(given_), given_)
    logits = np.array([[1000.0, 1000.0, -np.inf]], np.float32)
    np.testing.assert_allclose(probabilities(logits), [[0.5, 0.5, 0.0]])
    np.testing.assert_allclose(probabilities(np.array([0.0, 0.0])), [0.5, 0.5])
    assert np.isnan(probabilities(np.array([np.inf, 1.0]))).any()


def test_one_number() -> None:
    change = compare("y", np.array(1.0, np.float32), np.array(1.5, np.float32))
    assert (change.shape, change.max_abs, change.relative, change.ulps, change.top1) == ((), 0.5, 0.5, 2.0**22, None)
