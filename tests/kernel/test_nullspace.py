"""Null spaces: the right dimension, orthonormal, and in the kernel to rounding."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
import scipy.linalg

from onnxnull.kernel.nullspace import null_space
from onnxnull.kernel.rank import Notion
from tests.kernel.exact_truth import assemble

RNG = np.random.default_rng(7)
LOW_RANK = RNG.integers(-5, 6, (40, 5)) @ RNG.integers(-5, 6, (5, 12))
DEPTHWISE = RNG.standard_normal((30, 9, 1)) * (RNG.random((30, 1, 1)) < 0.8)
UNREAD = np.where(RNG.random((50, 1)) < 0.3, 0, RNG.standard_normal((50, 8)))
GRADED = (
    np.linalg.qr(RNG.standard_normal((60, 8)))[0]
    * 10.0 ** -np.arange(0, 12, 1.5)
    @ np.linalg.qr(RNG.standard_normal((8, 8)))[0]
)

CASES = {
    "tall": RNG.standard_normal((60, 10)),
    "tall float32": RNG.standard_normal((600, 100)).astype(np.float32),
    "wide, trivial": RNG.standard_normal((10, 60)),
    "low rank": LOW_RANK.astype(np.float32),
    "low rank, wide": LOW_RANK.T,
    "groups": RNG.standard_normal((4, 9, 3)),
    "groups, wide": np.asarray([LOW_RANK.T, 2 * LOW_RANK.T]),
    "depthwise": DEPTHWISE.astype(np.float32),
    "unread inputs": UNREAD,
    "graded": GRADED,
    "zero": np.zeros((4, 3)),
    "no outputs": np.zeros((4, 0)),
}


def dense(matrix: npt.NDArray[np.generic]) -> npt.NDArray[np.float64]:
    return assemble(matrix if matrix.ndim == 3 else matrix[None]).astype(np.float64)


@pytest.mark.parametrize("notion", [Notion.FLOAT64, Notion.EXACT])
@pytest.mark.parametrize("name", CASES)
def test_basis_is_orthonormal_and_in_the_kernel(name: str, notion: Notion) -> None:
    weight = dense(CASES[name])
    kernel = null_space(CASES[name], notion)
    assert kernel.dimension == scipy.linalg.null_space(weight.T).shape[1] if weight.size else kernel.dimension == len(weight)
    norm = np.linalg.norm(weight, 2) if weight.size else 0.0
    for basis in (kernel.basis(), kernel.basis(min(3, kernel.dimension))):
        np.testing.assert_allclose(basis @ basis.T, np.eye(len(basis)), atol=1e-14)
        assert (np.linalg.norm(basis @ weight, axis=1) <= 1e-14 * norm).all()
    assert kernel.residual <= 1e-14


@pytest.mark.parametrize("name", CASES)
def test_projection_is_the_orthogonal_one(name: str) -> None:
    kernel = null_space(CASES[name])
    basis = kernel.basis()
    x = np.random.default_rng(0).standard_normal((2, 5, kernel.inputs))
    np.testing.assert_allclose(kernel.project(x), x @ basis.T @ basis, atol=1e-13)
    assert kernel.project(x[0, 0]).shape == (kernel.inputs,)


def test_sample_is_reproducible_and_of_unit_norm() -> None:
    kernel = null_space(CASES["tall"])
    first, second = (kernel.sample(4, np.random.default_rng(3)) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    np.testing.assert_allclose(np.linalg.norm(first, axis=1), 1)
    assert np.linalg.matrix_rank(first) == 4


def test_nearly_dead_filters_belong_to_one_kernel_and_not_to_the_other() -> None:
    """An output of norm 1e-20 is in the float64 kernel; the exact kernel is orthogonal to it all the same."""
    weight = np.random.default_rng(0).standard_normal((48, 8))
    weight[:, 3] *= 1e-20
    loose, strict = null_space(weight, Notion.FLOAT64), null_space(weight, Notion.EXACT)
    assert (loose.dimension, strict.dimension) == (41, 40)
    filter_ = weight[:, 3] / np.linalg.norm(weight[:, 3])
    assert np.linalg.norm(loose.project(filter_)) > 0.5
    assert np.linalg.norm(strict.project(filter_)) < 1e-14
    assert (np.linalg.norm(loose.basis() @ weight, axis=1) <= 1e-14 * np.linalg.norm(weight, 2)).all()


def test_nearly_equal_outputs_keep_the_kernel_accurate() -> None:
    """Two filters that differ by 1e-9: their difference must be orthogonal to the kernel too, relative to its size."""
    rng = np.random.default_rng(0)
    weight = rng.standard_normal((80, 6))
    difference = rng.standard_normal(80)
    weight[:, 5] = weight[:, 4] + 1e-9 * difference
    basis = null_space(weight).basis()
    assert len(basis) == 74
    exact = weight[:, 5] - weight[:, 4]
    assert np.abs(basis @ exact).max() <= 1e-14 * np.linalg.norm(weight, 2)


def test_only_the_kernel_is_stored() -> None:
    """A long weight's kernel is kept through the short side."""
    kernel = null_space(np.random.default_rng(0).standard_normal((20000, 10), dtype=np.float32))
    assert kernel.dimension == 19990
    sample = kernel.sample(2, np.random.default_rng(1))
    assert sample.shape == (2, 20000)
    assert kernel.residual <= 1e-15


def test_more_vectors_than_there_are() -> None:
    with pytest.raises(ValueError, match="dimension 50"):
        null_space(CASES["tall"]).basis(51)
    with pytest.raises(ValueError, match="no unit vectors"):
        null_space(CASES["wide, trivial"]).sample(1, np.random.default_rng(0))
    with pytest.raises(ValueError, match="60 entries"):
        null_space(CASES["tall"]).project(np.zeros(59))
