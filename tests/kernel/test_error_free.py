"""Products with a radius against exact arithmetic: Python's fractions."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onnxnull.kernel.maps.batched import Batched
from onnxnull.kernel.maps.convolution import Convolution, TransposedConvolution, transposed
from onnxnull.kernel.maps.im2col import ConvGeometry
from onnxnull.kernel.maps.linear_map import Array, LinearMap, Sum
from onnxnull.kernel.maps.primitives import BlockMatrix, Matrix, Permute, Scale
from onnxnull.kernel.maps.selection import NOTHING, Selection
from onnxnull.kernel.nullspace import null_space
from onnxnull.kernel.numerics.enclosures import Make, Near, enclose, through
from onnxnull.kernel.numerics.error_free import two_difference, two_product, two_sum
from onnxnull.kernel.rank.problem import prepare
from onnxnull.kernel.rank.spectrum import apply

WILD = st.floats(allow_nan=False, allow_infinity=False, width=64)
MILD = st.floats(-1e100, 1e100, allow_subnormal=False).filter(lambda x: x == 0 or abs(x) > 1e-100)
GEOMETRY = ConvGeometry.of((4, 3), (3, 2), channels=2, strides=(2, 1), pads=1)


def matrix(blocks: Array) -> LinearMap:
    return Matrix(blocks[0])


def convolution(blocks: Array) -> LinearMap:
    return Batched(Convolution(GEOMETRY, blocks), 2)


def transposed_convolution(blocks: Array) -> TransposedConvolution:
    return transposed((2, 3), (3, 2), blocks, strides=(2, 1), dilations=(1, 1), pads_begin=(1, 0), pads_end=(0, 0))


KINDS: dict[str, tuple[Make, tuple[int, int, int]]] = {
    "matrix": (matrix, (1, 5, 3)),
    "blocks": (lambda blocks: BlockMatrix(blocks), (2, 3, 2)),
    "convolution": (convolution, (1, 12, 2)),
    "transposed convolution": (transposed_convolution, (1, 2, 12)),
}


def exact_image(make: Make, blocks: Array, *values: Array) -> list[Fraction]:
    """The image of Σ values in fractions. Which entry of the blocks a matrix entry is, the map itself tells."""
    labels = np.arange(1.0, blocks.size + 1).reshape(blocks.shape)
    places = make(labels).dense().astype(int)  # (inputs, outputs)
    weights = [Fraction(0), *(Fraction(float(w)) for w in blocks.ravel())]
    inputs = [sum((Fraction(float(v.ravel()[i])) for v in values), Fraction(0)) for i in range(len(places))]
    return [
        sum((weights[places[i, o]] * inputs[i] for i in np.flatnonzero(places[:, o])), Fraction(0))
        for o in range(places.shape[1])
    ]


def assert_within(make: Make, blocks: Array, change: tuple[Array, Array]) -> tuple[Array, Array]:
    centre, radius = enclose(make, blocks, change)
    assert centre.shape == radius.shape == make(blocks).output_shape
    for truth, c, r in zip(exact_image(make, blocks, *change), centre.ravel(), radius.ravel(), strict=True):
        assert r == np.inf or abs(truth - Fraction(float(c))) <= Fraction(float(r)), (truth, c, r)
    return centre, radius


@given(WILD, WILD)
def test_two_sum_and_difference(a: float, b: float) -> None:
    for (high, low), truth in (
        (two_sum(np.array(a), np.array(b)), Fraction(a) + Fraction(b)),
        (two_difference(np.array(a), np.array(b)), Fraction(a) - Fraction(b)),
    ):
        if np.isfinite(high) and np.isfinite(low):
            assert Fraction(float(high)) + Fraction(float(low)) == truth
        else:
            assert abs(truth) > 2**1022


@given(MILD, MILD)
def test_two_product(a: float, b: float) -> None:
    high, low = two_product(np.array(a), np.array(b))
    assert Fraction(float(high)) + Fraction(float(low)) == Fraction(a) * Fraction(b)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(4))
def test_typical_numbers_are_nearly_exact(kind: str, seed: int) -> None:
    make, shape = KINDS[kind]
    rng = np.random.default_rng(seed)
    blocks = rng.standard_normal(shape).astype(np.float32 if seed % 2 else np.float64).astype(np.float64)
    x1, x0 = rng.standard_normal((2, *make(blocks).input_shape))
    change = two_difference(x1, x0)
    centre, radius = assert_within(make, blocks, change)
    largest = np.abs(blocks).max() * np.abs(change[0]).max()
    assert (radius <= 2.0**-53 * np.abs(centre) * 1.01 + 2.0**-90 * largest).all()


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=40)
@given(data=st.data())
def test_any_numbers_are_within_the_radius(kind: str, data: st.DataObject) -> None:
    make, shape = KINDS[kind]
    values = data.draw(st.sampled_from([WILD, MILD, st.floats(-4, 4, width=32)]))
    few = data.draw(st.lists(values, min_size=6, max_size=6))
    rng = np.random.default_rng(data.draw(st.integers(0, 9)))
    pool = np.array([*few, 0.0, 1.0])
    blocks = rng.choice(pool, shape)
    high, low = rng.choice(pool, (2, *make(blocks).input_shape))
    assert_within(make, blocks, (high, low * data.draw(st.sampled_from([0.0, 2.0**-60, 1.0]))))


def test_what_a_kernel_vector_leaves_is_seen() -> None:
    """φᵀW = 1e-17 or so out of terms near 1: hopeless in double arithmetic, known here to many digits."""
    rng = np.random.default_rng(0)
    blocks = rng.standard_normal((1, 40, 8)).astype(np.float32).astype(np.float64)
    x0 = rng.standard_normal(40)
    x1 = x0 + null_space(blocks).sample(1, rng)[0]
    change = two_difference(x1, x0)
    centre, radius = assert_within(matrix, blocks, change)
    assert 1e-18 < np.abs(centre).max() < 1e-14
    assert (radius < 1e-12 * np.abs(centre) + 1e-28).all()


def test_nearly_dead_columns_have_an_accuracy_of_their_own() -> None:
    rng = np.random.default_rng(1)
    blocks = rng.standard_normal((1, 30, 4)).astype(np.float32).astype(np.float64)
    blocks[:, :, 1] *= 2.0**-47
    blocks[:, :, 2] *= 2.0**-120
    blocks[:, :, 3] = 0.0
    centre, radius = assert_within(matrix, blocks, (rng.standard_normal(30), np.zeros(30)))
    assert (radius <= 1e-15 * np.abs(centre)).all()
    assert centre[3] == radius[3] == 0.0


def test_exponents_beyond_the_slices_widen_the_radius() -> None:
    rng = np.random.default_rng(2)
    blocks = np.ldexp(rng.standard_normal((1, 60, 2)), rng.integers(-1000, 900, (1, 60, 2)))
    change = np.ldexp(rng.standard_normal(60), rng.integers(-900, 100, 60)), np.zeros(60)
    centre, radius = assert_within(matrix, blocks, change)
    assert (radius <= 1e-14 * np.abs(centre) + 2.0**-150 * np.abs(blocks).max() * np.abs(change[0]).max()).all()
    assert radius.max() > 0


def test_cancelled_and_empty_changes() -> None:
    blocks = np.ones((1, 2, 1))
    for high, low in (([0.0, 0.0], [0.0, 0.0]), ([1.0, 1.0], [-1.0, -1.0])):
        centre, radius = assert_within(matrix, blocks, (np.array(high), np.array(low)))
        assert centre[0] == radius[0] == 0.0
    assert_within(matrix, blocks, (np.array([1.0, 1.0]), np.array([-1.0, -1.0 + 2.0**-53])))
    assert_within(matrix, blocks, (np.array([1e-200, 1.0]), np.array([0.0, -1.0])))
    assert enclose(matrix, np.zeros((1, 0, 3)), (np.zeros(0), np.zeros(0)))[1].tolist() == [0.0, 0.0, 0.0]
    with pytest.raises(ValueError, match="finite"):
        enclose(matrix, blocks, (np.array([np.nan, 0.0]), np.zeros(2)))
    with pytest.raises(ValueError, match="input shape"):
        enclose(matrix, blocks, (np.zeros((1, 2)), np.zeros((1, 2))))


def test_overflow_is_an_infinite_radius() -> None:
    centre, radius = enclose(matrix, np.full((1, 2, 1), 1e300), (np.full(2, 1e300), np.zeros(2)))
    assert radius.tolist() == [np.inf]
    assert np.isfinite(centre).all()


def test_underflow_is_in_the_radius() -> None:
    blocks, change = np.full((1, 1, 1), np.ldexp(1 + 2.0**-52, -600)), np.full(1, np.ldexp(1 + 2.0**-52, -470))
    _, radius = assert_within(matrix, blocks, (change, np.zeros(1)))
    assert 0 < radius[0] < 1e-307


def test_products_of_a_band_are_as_near_as_they_say() -> None:
    """1300 rows are three bands; integers so large that neither the factors' slices nor their products are short."""
    rng = np.random.default_rng(3)
    band = np.zeros((1300, 60))
    for row in range(1300):
        band[row, row // 26 : row // 26 + 11] = rng.integers(-(2**52), 2**52, 11)
    x = rng.integers(-(2**52), 2**52, (60, 3)).astype(np.float64)
    x[:, 1] *= 2.0**-80
    image, error = apply(prepare(band).blocks[0], x)
    truth = [
        [sum(Fraction(a) * Fraction(b) for a, b in zip(row, column, strict=True) if a) for column in x.T.tolist()]
        for row in band.tolist()
    ]
    off = sum((Fraction(y) - t) ** 2 for y, t in zip(image.ravel().tolist(), (t for row in truth for t in row), strict=True))
    assert off <= Fraction(error) ** 2
    assert error <= 2.0**-50 * np.linalg.norm(image)


SELECTION = Selection((2, 3), np.array([[0, 4, NOTHING], [5, 5, 1]]), np.array([0.1, -3.0, 7.0]))
PATHS: dict[str, LinearMap] = {
    "selection": SELECTION,
    "scale": Scale((2, 3), np.array([1 / 3, 0.5, 1e-200])),
    "averages": Batched(Scale((2,), np.array(1 / 3)) @ Matrix(np.array([[1.0, 0.0], [1.0, 0.1], [1.0, 0.3]])), 2),
    "sum": SELECTION + Scale((2, 3), np.array(0.7)),
    "moved": Permute((3, 2), (1, 0)) @ Permute((2, 3), (1, 0)) @ SELECTION,
}


@pytest.mark.parametrize("name", PATHS)
@settings(max_examples=60)
@given(data=st.data())
def test_paths(name: str, data: st.DataObject) -> None:
    path = PATHS[name]
    numbers = data.draw(st.lists(st.one_of(MILD, st.floats(-4, 4, width=32)), min_size=6, max_size=6))
    high = np.array(numbers).reshape(2, 3)
    low = high[::-1] * 2.0**-54
    radius = np.abs(high) * 2.0**-100
    near = through(path, Near(high, low, radius))
    weights = averages() if name == "averages" else exact_matrix(path)
    for o, (h, l, r) in enumerate(zip(near.high.ravel(), near.low.ravel(), near.radius.ravel(), strict=True)):
        truth = Fraction(0)
        spread = Fraction(0)
        for i, (x, e, t) in enumerate(zip(high.ravel(), low.ravel(), radius.ravel(), strict=True)):
            truth += weights[i][o] * (Fraction(float(x)) + Fraction(float(e)))
            spread += abs(weights[i][o]) * Fraction(float(t))
        assert abs(truth - Fraction(float(h)) - Fraction(float(l))) + spread <= Fraction(float(r)) * (1 + Fraction(1, 10**9))


def exact_matrix(path: LinearMap) -> list[list[Fraction]]:
    """Of a sum, the sum in fractions: its dense matrix is rounded."""
    terms = path.terms if isinstance(path, Sum) else (path,)
    rows = [[[Fraction(float(w)) for w in row] for row in term.dense()] for term in terms]
    return [[sum(ws, Fraction(0)) for ws in zip(*same, strict=True)] for same in zip(*rows, strict=True)]


def averages() -> list[list[Fraction]]:
    """The exact matrix of the composition, which no product of doubles is."""
    sample = [[Fraction(w) for w in row] for row in ([1.0, 0.0], [1.0, 0.1], [1.0, 0.3])]
    third, zero = Fraction(1 / 3), [Fraction(0)] * 2
    scaled = [[third * w for w in row] for row in sample]
    return [[*row, *zero] for row in scaled] + [[*zero, *row] for row in scaled]


def test_movement_and_powers_of_two_cost_nothing() -> None:
    rng = np.random.default_rng(3)
    value = Near(rng.standard_normal((2, 3)), rng.standard_normal((2, 3)) * 2.0**-60, np.zeros((2, 3)))
    path = Permute((2, 3), (1, 0)) @ Scale((2, 3), np.array([0.5, -4.0, 1.0]))
    near = through(path, value)
    assert not near.radius.any()
    assert near.finite
    np.testing.assert_array_equal(near.high, path.apply(value.high))
