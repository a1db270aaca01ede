"""What a kernel claim allows: what representing the entries costs that a layer reads and that moved, if that is little."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onnxnull.collision.channel_scale import channel_scale
from onnxnull.collision.claims import Reader, kernel_claim
from onnxnull.kernel.maps.batched import Batched
from onnxnull.kernel.maps.convolution import Convolution, TransposedConvolution
from onnxnull.kernel.maps.im2col import ConvGeometry
from onnxnull.kernel.maps.linear_map import Array
from onnxnull.kernel.maps.primitives import Matrix, Scale
from onnxnull.kernel.maps.selection import identity

U16, U32, U64 = 2.0**-11, 2.0**-24, 2.0**-53
TAU = {U16: 5e-2, U32: 1e-3, U64: 1e-9}
TYPES = {U16: np.float16, U32: np.float32, U64: np.float64}
LEAST = 2.0**-149
MAX32 = float(np.finfo(np.float32).max)


def reader_of(weight: Any, **given: Any) -> Reader:
    """The layer x ↦ x·W, W (q, p)."""
    blocks = np.array(weight, dtype=np.float64)[None]
    return Reader("layer", "MatMul", blocks, lambda b: Matrix(b[0]), identity((blocks.shape[1],)), **given)


def stored(values: Any, u: float) -> Array:
    with np.errstate(over="ignore"):
        return np.array(values, dtype=np.float64).astype(TYPES[u]).astype(np.float64)


@dataclass(frozen=True)
class Case:
    weight: Any
    x0: Any
    x1: Any
    outcome: str
    u: float = U32
    given: dict[str, Any] = field(default_factory=dict)


PROJECTED = {"dropped": 1e-15, "spread": 1e-15}
"""What a projection on the kernel leaves, in the place of an analysis."""
CASES: dict[str, Case] = {
    "a kernel vector": Case([[1], [1]], [1, 2], [1.5, 1.5], "holds"),
    "a step off the kernel": Case([[1], [1]], [1, 2], [1.5, 1.6], "broken"),
    "2^57 in an entry that nothing reads": Case([[1], [1], [0]], [1, 2, 3], [5, 7, 2.0**57], "broken", given=PROJECTED),
    "the same in double": Case([[1], [1], [0]], [1, 2, 3], [5, 7, 2.0**57], "broken", U64, PROJECTED),
    "2^57 unread beside a kernel vector": Case([[1], [1], [0]], [1, 2, 3], [2, 1, 2.0**57], "holds", given=PROJECTED),
    "2^57 read by another output": Case(
        [[1, 0], [1, 0], [0, 1], [0, 1]], [1, 2, 3, 3], [5, 7, 2.0**57, 6 - 2.0**57], "refused", given=PROJECTED
    ),
    "nothing moved": Case([[1, 2], [3, 4]], [1, 2], [1, 2], "holds"),
    "a step that was lost in one entry": Case([[1], [1]], [2.0**30, 0], [2.0**30, -1.0], "broken"),
    "a weight of 0.1 on a huge entry that stays": Case([[0.1], [1]], [1e30, 0], [1e30, 1e-3], "broken"),
    "a rounded huge entry": Case([[1], [1 / 3]], [2.0**30, 2.0], [2.0**30 + 2.0**20, 2.0 - 3 * 2.0**20], "holds"),
    "x1 so large that it drowns the claim": Case([[1 / 3], [1]], [1, 2], [3e18, -1e18], "refused", U64),
    "the same at float32": Case([[1 / 3], [1]], [1, 2], [3e7 + 1, 2 - 1e7], "refused"),
    "larger still, and exact": Case([[1], [1]], [1, 2], [1 + 2.0**50, 2 - 2.0**50], "holds", U64),
    "float32's largest": Case([[1], [1]], [0, 0], [MAX32, -MAX32], "holds"),
    "float32's largest, with a third": Case([[1 / 3], [1]], [1, 1], [MAX32, -MAX32 / 3], "refused"),
    "denormals, exact": Case([[1], [1]], [2.0**-140, 3 * 2.0**-140], [2.0**-139, 2.0**-139], "holds"),
    "denormals, to their rounding": Case([[1], [0.3]], [1e-39, 3e-39], [1.3e-39, 2e-39], "holds"),
    "a few of the least denormals": Case(
        [[1], [0.3]], [21 * 2.0**-149, 21 * 2.0**-149], [24 * 2.0**-149, 12 * 2.0**-149], "refused"
    ),
    "zeros of either sign": Case([[1], [2]], [0.0, -0.0], [-0.0, 0.0], "holds"),
    "an origin without a scale": Case([[1 / 3], [1]], [0, 0], [3, -1], "refused"),
    "an origin, exactly in the kernel": Case([[1], [1]], [0, 0], [3, -3], "holds"),
    "weights of all sizes": Case([[1e-20, 1e20], [1e-20, 1e20], [1, 0]], [1, 2, 3], [1.5, 1.5, 3], "holds", given=PROJECTED),
    "a small output hides behind a large one": Case([[1e10, 1], [1e10, 1.001]], [1, 2], [2, 1], "broken"),
    "a dead output that the cut-off drops": Case(
        [[1, 1e-14], [1, 3e-14]], [1, 2], [2, 1], "refused", U64, {"dropped": np.array([[[1e-16, 5e-14]]])}
    ),
    "float16": Case([[1 / 3], [1]], [1, 2], [2.5, 1.5], "holds", U16),
    "float16, drowned": Case([[1 / 3], [1]], [1, 2], [1501, -498], "refused", U16),
    "not finite": Case([[1], [1]], [1, 2], [np.inf, -np.inf], "broken"),
    "beyond double": Case([[1e300], [1]], [1e200, 2], [-1e200, 2], "broken", U64),
}


@pytest.mark.parametrize("name", CASES)
def test_what_a_kernel_claim_says(name: str) -> None:
    case = CASES[name]
    reader = reader_of(case.weight, **case.given)
    x0, x1 = stored(case.x0, case.u), stored(case.x1, case.u)
    claim = kernel_claim(reader, x0, x1, case.u, tolerance=TAU[case.u])
    assert {True: "holds", False: "broken", None: "refused"}[claim.holds] == case.outcome, claim
    assert (claim.reason is None) == (case.outcome == "holds" or (case.outcome == "broken" and np.isfinite(claim.value)))


SIZES = [0.0, 2.0**-149, 1e-40, 1e-30, 1e-8, 0.1, 1.0, 3.0, 1e4, 1.7e9, 1e18, 2.0**57, 1e30]


@settings(max_examples=150, deadline=None)
@given(seed=st.integers(0, 2**32), u=st.sampled_from([U16, U32, U64]), p=st.integers(1, 3))
def test_no_claim_passes_that_is_not_true(seed: int, u: float, p: int) -> None:
    """Weights and inputs of all sizes, half of the pairs in the kernel up to rounding; the truth in fractions."""
    rng = np.random.default_rng(seed)
    q = int(rng.integers(p + 1, 7))
    weight = rng.choice([0.0, *SIZES[5:9]], (q, p)) * rng.standard_normal((q, p)).astype(np.float32)
    sizes = rng.choice(SIZES[:9] if u == U16 else SIZES, q)
    x0 = stored(sizes * rng.standard_normal(q), u)
    change = rng.choice([1.0, 1.0, *SIZES[2:10]], q) * rng.standard_normal(q)
    if rng.random() < 0.7:
        left, sigma, _ = np.linalg.svd(weight)
        kernel = left[:, np.count_nonzero(sigma > 1e-12 * sigma.max(initial=0.0)) :]
        change = rng.choice(SIZES[4:9]) * (kernel @ (kernel.T @ change))
    x1 = stored(np.where(rng.random(q) < 0.2, x0, x0 + change), u)
    if not (np.all(np.isfinite(x1)) and np.all(np.isfinite(x0))):
        return
    claim = kernel_claim(reader_of(weight), x0, x1, u, tolerance=TAU[u])
    moved = [Fraction(b) - Fraction(a) for a, b in zip(x0, x1, strict=True)]
    true = [abs(total(Fraction(w) * d for w, d in zip(column, moved, strict=True))) for column in weight.T]
    assert max(true) <= Fraction(claim.value)
    eta = Fraction({U16: 2.0**-25, U32: 2.0**-150, U64: 2.0**-1074}[u])
    costs = [
        Fraction(u) * abs(Fraction(b)) + eta + 9 * Fraction(U64) * abs(d) if d else Fraction(0)
        for b, d in zip(x1, moved, strict=True)
    ]
    allowed = [total(abs(Fraction(w)) * cost for w, cost in zip(column, costs, strict=True)) for column in weight.T]
    most = [Fraction(TAU[u] * scale) for scale in channel_scale(reader_of(weight), x0)]
    under = Fraction(2) ** -1000
    if claim.holds:
        assert all(r <= limit + under for r, limit in zip(true, allowed, strict=True))
        assert all(r <= limit for r, limit in zip(true, most, strict=True))
    elif claim.holds is None:
        assert any(r > 0 and limit + under > m for r, limit, m in zip(true, allowed, most, strict=True))


def total(parts: Iterable[Fraction]) -> Fraction:
    return sum(parts, Fraction(0))


def test_rounding_on_the_way_is_no_part_of_the_claim() -> None:
    """x − 1.7·10⁹ at float32: what arrives is multiples of 128, and 10⁻⁷ of it moves the layer."""
    path = Scale((2,), np.ones(2))
    reader = reader_of([[1], [1]])
    reader = Reader(reader.node, reader.op, reader.blocks, reader.make, path)
    x0, x1 = np.array([1.0, 2.0]), np.array([2.0, 1.0])
    exact = np.array([1, 2], np.float32), np.array([2, 1], np.float32)
    assert kernel_claim(reader, x0, x1, U32, tolerance=1e-3, seen=exact).holds
    a_little = exact[0], np.array([2, 1 + 2.0**-20], np.float32)
    assert kernel_claim(reader, x0, x1, U32, tolerance=1e-3, seen=a_little).holds
    drowned = exact[0], np.array([2, 1.25], np.float32)
    claim = kernel_claim(reader, x0, x1, U32, tolerance=1e-3, seen=drowned)
    assert claim.holds is None
    assert claim.reason is not None
    assert "on the way" in claim.reason


def test_channels_are_columns() -> None:
    """One large channel lends a small one nothing, however the layer is laid out."""
    rng = np.random.default_rng(0)
    sizes = np.array([1.0, 1e6, 1e-6])
    dense = (rng.standard_normal((1, 5, 3)) * sizes).astype(np.float64)
    rows = Reader("layer", "MatMul", dense, lambda b: Matrix(b[0], (4,)), identity((4, 5)))
    found = channel_scale(rows, rng.standard_normal((4, 5)))
    assert found.shape == (4, 3)
    assert np.all(found == found[:1])
    assert np.all(np.abs(np.log10(found[0] / sizes)) < 1)
    geometry = ConvGeometry.of((5, 5), (2, 2), channels=2)
    filters = rng.standard_normal((1, 8, 3)) * sizes
    images = Reader("layer", "Conv", filters, lambda b: Batched(Convolution(geometry, b), 2), identity((2, 2, 5, 5)))
    x0 = rng.standard_normal((2, 2, 5, 5))
    x0[..., :3, :] = 0.0  # a black border has no scale of its own
    found = channel_scale(images, x0)
    assert found.shape == (2, 3, 4, 4)
    assert np.all(found == found[:1, :, :1, :1])
    assert np.all(np.abs(np.log10(found[0, :, 0, 0] / sizes)) < 1)
    assert not channel_scale(images, np.zeros_like(x0)).any()


def test_a_channel_that_reads_zeros_only_has_the_scale_of_typical_entries() -> None:
    """A depthwise layer behind a ReLU that is off in one channel: its collision is no less of one."""
    reader = reader_of(np.diag([1.0, 2.0, 4.0]))
    found = channel_scale(reader, np.array([3.0, 0.0, -3.0]))
    assert np.all(found[:2] > 0)
    assert 0.1 < found[1] / (2 * found[0]) < 10
    mixed = reader_of([[1, 0], [1, 0], [0, 1 / 3], [0, 1]])
    x0, x1 = stored([1, 2, 0, 0], U32), stored([2, 1, 3, -1], U32)
    assert kernel_claim(mixed, x0, x1, U32, tolerance=1e-3).holds
    drowned_in_it = stored([2, 1, 3e7, -1e7], U32)
    assert kernel_claim(mixed, x0, drowned_in_it, U32, tolerance=1e-3).holds is None


def test_channels_of_transposed_filters() -> None:
    rng = np.random.default_rng(0)
    sizes = np.array([1.0, 1e6])
    geometry = ConvGeometry.of((6, 6), (2, 2), channels=2, strides=(2, 2))
    blocks = rng.standard_normal((1, 3, 8)) * np.repeat(sizes, 4)
    reader = Reader(
        "layer", "ConvTranspose", blocks, lambda b: Batched(TransposedConvolution(geometry, b), 1), identity((1, 3, 3, 3))
    )
    found = channel_scale(reader, rng.standard_normal((1, 3, 3, 3)))
    assert np.all(np.abs(np.log10(found[0, :, 0, 0] / sizes)) < 1)
    assert np.all(found == found[:, :, :1, :1])
