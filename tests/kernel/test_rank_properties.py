"""What must hold for the rank of every matrix."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from hypothesis import given, settings
from hypothesis import strategies as st

from onnxnull.kernel.rank import Certainty, ExactPolicy, Notion, rank, rank_profile
from tests.kernel.exact_truth import Truth, assemble

Matrix = npt.NDArray[np.generic]


@st.composite
def stacks(draw: st.DrawFn) -> Matrix:
    """Stacks (g, q, p) of small integers times powers of two: rank-deficient often, graded sometimes."""
    g, q, p = (draw(st.integers(1, 4)), draw(st.integers(1, 7)), draw(st.integers(1, 7)))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    r = draw(st.integers(0, min(q, p)))
    integers = rng.integers(-3, 4, (g, q, r)) @ rng.integers(-3, 4, (g, r, p))
    spread = draw(st.sampled_from([0, 4, 30]))
    return np.asarray(np.ldexp(integers.astype(np.float64), rng.integers(-spread, spread + 1, (g, 1, p))))


def ranks(stack: Matrix) -> list[tuple[int, Certainty]]:
    profile = rank_profile(stack, exact=ExactPolicy.ALWAYS)
    assert profile.exact is not None
    return [(r.value, r.certainty) for r in (profile.float32, profile.float64, profile.exact)]


@given(stacks(), st.integers(0, 2**32), st.integers(-60, 60))
@settings(max_examples=60)
def test_permutations_and_powers_of_two_change_no_rank(stack: Matrix, seed: int, power: int) -> None:
    rng = np.random.default_rng(seed)
    moved = np.ldexp(stack[rng.permutation(len(stack))], power)
    moved = moved[:, rng.permutation(stack.shape[1])][:, :, rng.permutation(stack.shape[2])]
    assert ranks(stack) == ranks(moved)


@given(stacks())
@settings(max_examples=60)
def test_a_stack_has_the_rank_of_the_matrix_it_stands_for(stack: Matrix) -> None:
    dense = assemble(stack)
    assert ranks(stack) == ranks(dense) == ranks(dense.T)


@given(stacks())
@settings(max_examples=60)
def test_notions_are_ordered_and_true(stack: Matrix) -> None:
    profile = rank_profile(stack, exact=ExactPolicy.ALWAYS)
    truth = Truth(assemble(stack))
    assert profile.exact is not None
    assert profile.float32.value <= profile.float64.value <= profile.exact.value == truth.exact
    for notion in Notion:
        assert rank(stack, notion).value == truth.rank(notion.value)


@given(stacks())
@settings(max_examples=60)
def test_extreme_singular_values(stack: Matrix) -> None:
    profile = rank_profile(stack, exact=ExactPolicy.NEVER)
    sigma = np.linalg.svd(assemble(stack).astype(np.float64), compute_uv=False)
    cutoff = sigma[0] * max(profile.inputs, profile.outputs) * 2.0**-52
    np.testing.assert_allclose(profile.sigma_max, sigma[0], rtol=1e-12)
    if sigma[-1] > 1e8 * cutoff:
        np.testing.assert_allclose(profile.sigma_min, sigma[-1], rtol=1e-6)
    elif sigma[-1] < cutoff / 4:
        assert profile.sigma_min == 0.0
