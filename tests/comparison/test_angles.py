"""Principal angles between kernels, against SciPy's on explicit null spaces, and by iteration against dense matrices."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.linalg import block_diag, null_space, subspace_angles

from onnxnull.comparison.angles import kernel_angle, operator_angle
from onnxnull.kernel.maps.linear_map import Array


def blocks(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal(shape)


def expected(a: Array, b: Array) -> float:
    """SciPy's angle between the null spaces of the block-diagonal matrices; the first ones where dimensions differ."""
    kernels = [null_space(block_diag(*side).T) for side in (a, b)]
    return float(np.degrees(subspace_angles(*kernels).max()))


@pytest.mark.parametrize(("shape", "noise"), [((1, 20, 6), 1e-3), ((1, 20, 6), 3.0), ((3, 9, 2), 0.1), ((1, 40, 39), 1e-6)])
def test_against_scipy(shape: tuple[int, int, int], noise: float) -> None:
    a = blocks(*shape)
    b = a + noise * blocks(*shape, seed=1)
    assert kernel_angle(a, b).degrees == pytest.approx(expected(a, b), rel=1e-8)
    assert kernel_angle(b, a).degrees == pytest.approx(expected(a, b), rel=1e-8)


def test_dependent_columns() -> None:
    a, b = blocks(1, 20, 6), blocks(1, 20, 6)
    a[:, :, 5] = a[:, :, 4] + a[:, :, 3]
    assert kernel_angle(a, b).degrees == pytest.approx(expected(a, b), abs=1e-9)
    assert kernel_angle(a, b).degrees == pytest.approx(0.0, abs=1e-9)  # one kernel lies in the other


def test_small_angles_are_accurate() -> None:
    """Rotating one column by θ in a plane of its own."""
    for theta in (1e-3, 1e-8, 1e-12):
        a = np.eye(6)[None, :, :3]
        b = a.copy()
        b[0, :, 0] = np.cos(theta) * np.eye(6)[0] + np.sin(theta) * np.eye(6)[5]
        assert kernel_angle(a, b).degrees == pytest.approx(np.degrees(theta), rel=1e-3)


def test_columns_and_their_factors_do_not_matter() -> None:
    a = blocks(1, 30, 8)
    b = a[:, :, ::-1] * np.linspace(0.001, 1000.0, 8)
    assert kernel_angle(a, b).degrees == pytest.approx(0.0, abs=1e-9)


def test_no_kernel() -> None:
    tall, square = blocks(1, 8, 3), blocks(1, 8, 8)
    assert kernel_angle(square, square).reason == "neither has a kernel"
    assert kernel_angle(tall, square).reason == "only one of them has a kernel"
    assert kernel_angle(tall, blocks(1, 9, 3)).degrees is None


def test_groups_of_different_ranks() -> None:
    """Kernels of one dimension, one group of either model larger: some vector of one is orthogonal to the other."""
    a, b = blocks(2, 6, 2), blocks(2, 6, 2)
    a[0, :, 1], b[1, :, 1] = a[0, :, 0], b[1, :, 0]
    assert kernel_angle(a, b).degrees == pytest.approx(90.0)
    assert expected(a, b) == pytest.approx(90.0)


@pytest.mark.parametrize(("noise", "outputs"), [(0.05, 8), (0.5, 8), (0.05, 5)])
def test_by_iteration(noise: float, outputs: int) -> None:
    a = blocks(40, 8)
    b = a[:, :outputs] + noise * blocks(40, outputs, seed=1)
    spans = [np.linalg.qr(matrix)[0] for matrix in (a, b)]
    found = operator_angle(
        lambda x: x - spans[0] @ (spans[0].T @ x), lambda x: x - spans[1] @ (spans[1].T @ x), (40,), a_is_smaller=True
    )
    true = kernel_angle(a[None], b[None]).degrees
    assert true is not None
    assert found.at_least
    assert found.degrees is not None
    assert 0.8 * true <= found.degrees <= true * (1 + 1e-9)
