"""Extreme eigenvalues of Gram matrices against a decomposition, and the digits of extreme singular values."""

from __future__ import annotations

import numpy as np
import pytest

from onnxnull.kernel.maps.linear_map import Array
from onnxnull.kernel.rank import rank_profile
from onnxnull.kernel.rank.extremes import attaining, largest, smallest


def with_values(sigma: Array, rows: int, seed: int) -> Array:
    """A matrix (rows, n) with these singular values."""
    rng = np.random.default_rng(seed)
    left, right = (np.linalg.qr(rng.standard_normal((size, len(sigma))))[0] for size in (rows, len(sigma)))
    return np.asarray((left * sigma) @ right.T)


SPECTRA = {
    "flat edge": np.sqrt(np.linspace(1, 2, 200)),
    "decay": 1 / np.arange(1.0, 201),
    "three times": np.array([3.0] * 3 + [1.0] * 197),
    "one value": np.full(200, 0.7),
    "rank 20": np.array([*np.linspace(1, 2, 20), *[0.0] * 180]),  # a block of directions is exhausted in its middle
    "rank 1": np.array([5.0, *[0.0] * 199]),
}


@pytest.mark.parametrize("name", SPECTRA)
def test_extremes_of_a_gram_matrix(name: str) -> None:
    a = with_values(SPECTRA[name], 220, seed=0)
    gram = a.T @ a
    truth = np.linalg.eigvalsh(gram)
    value, vector = largest(gram)
    assert value == pytest.approx(truth[-1], rel=1e-9)
    for unit in (vector, attaining(gram, float(truth[-1]))):
        assert np.linalg.norm(unit) == pytest.approx(1)
        assert unit @ gram @ unit == pytest.approx(truth[-1], rel=1e-6)
    if truth[0] > 1e-8:
        found = smallest(gram)
        assert found is not None
        assert found[0][0] == pytest.approx(truth[0], rel=1e-9)


@pytest.mark.parametrize("exponent", [2, 3.1, 3.9, 4.9, 5.1, 6, 8])
def test_six_digits_of_singular_values(exponent: float) -> None:
    """Eigenvalues of the Gram matrix have them to 10⁻³·σ_max, their vectors to 10⁻⁵, accurate products beyond."""
    for spread in (np.logspace(0, -exponent, 120), np.array([*np.ones(117), *[10.0**-exponent * 1.0001] * 2, 10.0**-exponent])):
        a = with_values(spread, 150, seed=int(10 * exponent))
        ranks, truth = rank_profile(a), np.linalg.svd(a, compute_uv=False)
        assert ranks.sigma_max == pytest.approx(truth[0], rel=1e-7)
        assert ranks.sigma_min == pytest.approx(truth[-1], rel=1e-6)
