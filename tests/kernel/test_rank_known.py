"""Ranks of matrices built to need one particular method, and the contract of the entry points."""

from __future__ import annotations

import time

import ml_dtypes
import numpy as np
import pytest

from onnxnull.kernel.rank import Certainty, ExactPolicy, Notion, Rank, rank, rank_profile


def methods(rank: Rank) -> tuple[str, ...]:
    assert rank.proof is not None
    return tuple(sorted({part.evidence.method for part in (*rank.proof.lower, *rank.proof.upper)}))


def test_full_rank_is_proved_by_cholesky_in_every_notion() -> None:
    profile = rank_profile(np.random.default_rng(0).standard_normal((300, 40), dtype=np.float32))
    assert profile.exact is not None
    for found in (profile.float32, profile.float64, profile.exact):
        assert (found.value, found.certainty.is_proved, methods(found)) == (40, True, ("gram", "shape"))
    assert profile.exact.certainty is Certainty.EXACT
    assert profile.float64.certainty is Certainty.CERTIFIED
    assert profile.nullity(Notion.FLOAT64) == 260


def test_dead_filters_are_lost_at_each_cutoff_in_turn() -> None:
    """Columns of norm 1e-9 and 1e-15 beside others near 1, as in trained stems."""
    matrix = np.random.default_rng(0).standard_normal((147, 64))
    matrix[:, 5:9] *= 1e-9
    matrix[:, 20] *= 1e-15
    profile = rank_profile(matrix.astype(np.float32))
    assert profile.exact is not None
    assert [profile.float32.value, profile.float64.value, profile.exact.value] == [59, 63, 64]
    assert all(r.certainty.is_proved for r in (profile.float32, profile.float64, profile.exact))


def test_the_largest_block_sets_the_cutoff_for_all() -> None:
    stack = np.ones((3, 2, 1))
    stack[1] *= 1e-9
    stack[2] *= 1e-20
    profile = rank_profile(stack)
    assert profile.exact is not None
    assert [profile.float32.value, profile.float64.value, profile.exact.value] == [1, 2, 3]


def test_planted_integer_rank_beyond_small_relations() -> None:
    """Kernel vectors of this product have large entries: only the minors prove it."""
    rng = np.random.default_rng(4)
    matrix = rng.integers(-2000, 2001, (40, 20)) @ rng.integers(-2000, 2001, (20, 30))
    found = rank(matrix, Notion.EXACT)
    assert (found.value, found.certainty, methods(found)) == (20, Certainty.EXACT, ("minors", "modular"))


def test_proportional_columns_are_related_over_q() -> None:
    rng = np.random.default_rng(5)
    matrix = rng.standard_normal((60, 12)).astype(np.float32)
    matrix[:, 3], matrix[:, 7] = matrix[:, 0] * 2.0**-7, -matrix[:, 1]
    found = rank(matrix, Notion.EXACT)
    assert (found.value, methods(found)) == (10, ("modular", "relations"))


@pytest.mark.parametrize(
    "dtype", [np.float16, ml_dtypes.bfloat16, np.float32, np.float64, np.int8, np.uint8, np.int64, np.bool_]
)
def test_every_type(dtype: type[np.generic]) -> None:
    matrix = np.array([[1, 0, 1], [0, 1, 1], [1, 1, 0], [0, 0, 0]]).astype(dtype)
    profile = rank_profile(matrix)
    assert profile.exact is not None
    assert [profile.float32.value, profile.float64.value, profile.exact.value] == [3, 3, 3]
    np.testing.assert_allclose(profile.sigma_max, 2.0)
    np.testing.assert_allclose(profile.sigma_min, 1.0)


@pytest.mark.parametrize("shape", [(0, 4), (4, 0), (0, 0), (2, 0, 3), (0, 2, 3), (3, 4)])
def test_nothing_but_zeros_has_rank_zero(shape: tuple[int, ...]) -> None:
    profile = rank_profile(np.zeros(shape, dtype=np.float32))
    assert profile.exact is not None
    for found in (profile.float32, profile.float64, profile.exact):
        assert (found.value, found.certainty) == (0, Certainty.EXACT)
    assert (profile.sigma_max, profile.sigma_min) == (0.0, 0.0)


def test_views_and_read_only_arrays_are_read_as_they_are() -> None:
    whole = np.random.default_rng(0).standard_normal((6, 8, 10, 3)).astype(np.float32)
    whole.setflags(write=False)
    view = whole.transpose(3, 1, 2, 0)[0, ::2, :, 1:4]
    assert rank(view, Notion.FLOAT64).value == 3 * 4


def test_the_first_integer_that_no_double_holds() -> None:
    """2⁵³ + 1: as doubles the two columns are one, and at the float64 cut-off that makes the difference."""
    matrix = np.array([[2**53 + 1, 2**53 + 1], [2**53 + 1, 2**53 - 15]])
    assert not rank(matrix, Notion.FLOAT64).certainty.is_proved
    assert rank(matrix, Notion.EXACT).value == 2


def test_integers_beyond_doubles_are_exact_only() -> None:
    matrix = np.array([[2**61, 2**61 + 1], [2**61, 2**61]])
    profile = rank_profile(matrix)
    assert profile.exact is not None
    assert (profile.exact.value, profile.exact.certainty) == (2, Certainty.EXACT)
    assert not profile.float64.certainty.is_proved


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_none_are_refused(bad: float) -> None:
    with pytest.raises(ValueError, match="NaN or an infinity"):
        rank(np.array([[1.0, bad]]), Notion.FLOAT32)


def test_a_deadline_in_the_past_is_kept() -> None:
    with pytest.raises(TimeoutError):
        rank_profile(np.eye(3), deadline=time.monotonic() - 1)


def test_exact_policy() -> None:
    wide = np.random.default_rng(0).integers(-3, 4, (30, 4)) @ np.random.default_rng(1).integers(-3, 4, (4, 20))
    assert rank_profile(wide, exact=ExactPolicy.NEVER).exact is None
    found = rank_profile(wide, exact=ExactPolicy.ALWAYS).exact
    assert found is not None
    assert (found.value, found.certainty) == (4, Certainty.EXACT)


def test_a_value_at_the_cutoff_is_ambiguous_or_proved_never_guessed() -> None:
    """σ = (1, τ) with τ the float64 cut-off up to a rounding: no proof can tell, and none is claimed."""
    tau = 200 * 2.0**-52
    matrix = np.zeros((200, 2))
    matrix[0, 0], matrix[1, 1] = 1.0, tau * (1 + 2.0**-50)
    found = rank(matrix, Notion.FLOAT64)
    assert found.certainty is Certainty.AMBIGUOUS
    assert (found.lower, found.upper) == (1, 2)


def test_large_square_weight_with_values_around_the_float32_cutoff() -> None:
    """Large enough for the Krylov path: the bottom of the spectrum instead of all of it."""
    n = 1510
    sigma = np.linspace(1, 0.5, n)
    sigma[-3:] = 2e-5, 1.5e-5, 3e-6
    u, v = np.linalg.qr(np.random.default_rng(0).standard_normal((n, 2)))[0].T
    matrix = np.diag(sigma)  # between two Householder reflections
    matrix -= 2 * np.outer(u, u @ matrix)
    matrix -= 2 * np.outer(matrix @ v, v)
    profile = rank_profile(matrix, exact=ExactPolicy.CHEAP)
    assert (profile.float32.value, profile.float32.certainty) == (n - 3, Certainty.CERTIFIED)
    assert (profile.float64.value, profile.float64.certainty) == (n, Certainty.CERTIFIED)
    np.testing.assert_allclose([profile.sigma_max, profile.sigma_min], [1, 3e-6], rtol=1e-6)


def test_the_weight_is_not_written_to() -> None:
    for matrix in (np.random.default_rng(0).standard_normal((2200, 520)), 1e200 * np.eye(9), np.diag([1, 1e-9, 1e-14])):
        before = matrix.copy()
        rank_profile(matrix)
        for notion in Notion:
            rank(matrix, notion)
        np.testing.assert_array_equal(matrix, before)


def test_long_weight_needs_only_a_part() -> None:
    matrix = np.random.default_rng(0).standard_normal((4096, 520), dtype=np.float32)
    assert rank(matrix, Notion.FLOAT64).certainty is Certainty.CERTIFIED
    assert rank(matrix.T, Notion.EXACT).certainty is Certainty.EXACT
