"""Sizes at which a claim can hold: features at their own size, lost entries held, smaller where the size drowns the claim."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

from onnxnull.collision.claims import Reader, drowned
from onnxnull.collision.coordinates import own_sizes
from onnxnull.collision.perturb import Recipe
from onnxnull.collision.results import Decision
from onnxnull.collision.search import Place
from onnxnull.errors import Code, OnnxnullError
from onnxnull.kernel.maps.primitives import Matrix
from onnxnull.kernel.maps.selection import identity
from onnxnull.kernel.patch_projection import PatchProjection, columns
from onnxnull.operators import lowering
from onnxnull.runtime.precision import Precision
from tests.collision.searches import between, collision, saved
from tests.helpers import model, value, weight

node = helper.make_node


def tabular(sizes: np.ndarray, offsets: np.ndarray, seed: int = 0) -> onnx.ModelProto:
    """(x − offset)/size, then two layers."""
    constants = {
        "offset": offsets.astype(np.float32),
        "size": sizes.astype(np.float32),
        "w": weight(sizes.size, 8, seed=seed),
        "b": weight(8, seed=seed + 1),
        "v": weight(8, 3, seed=seed + 2),
    }
    nodes = [
        node("Sub", ["x", "offset"], ["a"]),
        node("Div", ["a", "size"], ["n"]),
        node("Gemm", ["n", "w", "b"], ["h"], name="first"),
        node("Relu", ["h"], ["r"]),
        node("MatMul", ["r", "v"], ["y"]),
    ]
    return model(nodes, constants, inputs=[value("x", [1, sizes.size])])


FEATURES = {
    "one of 1.7e9": (np.r_[1e7, np.ones(15)], np.r_[1.7e9, np.zeros(15)]),
    "one of 1e-9": (np.r_[1e-9, np.ones(15)], np.r_[5e-9, np.zeros(15)]),
    "a year, a price, a share": (np.r_[10, 1e5, 1e-3, np.ones(13)], np.r_[2000, 3e5, 0, np.zeros(13)]),
    "of all sizes": (10.0 ** np.arange(-24, 24, 3), np.zeros(16)),
}


@pytest.mark.parametrize("name", FEATURES)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_features_of_all_sizes_collide_at_their_own(name: str, seed: int, tmp_path: Path) -> None:
    sizes, offsets = FEATURES[name]
    x = (offsets + sizes * np.random.default_rng(seed).standard_normal(16)).astype(np.float32)[None]
    found = collision(saved(tmp_path, tabular(sizes, offsets, 10 * seed)), {"x": x}, Recipe())
    assert found.decision is Decision.HOLDS
    normalised = np.abs(found.colliding - found.original)[0] / sizes
    assert np.all(normalised < 1e3)
    assert np.count_nonzero(normalised > 1e-4) > 8
    assert np.abs(found.control - found.original).max() > 0
    for run in found.runs:
        before, after, _ = run.arrays["y"]
        assert np.abs(after - before).max() <= 1e-4 * np.abs(before).max()


def test_own_sizes() -> None:
    rng = np.random.default_rng(0)
    assert own_sizes(rng.standard_normal((1, 3, 8, 8))) is None
    assert own_sizes(np.where(rng.random((1, 1, 28, 28)) < 0.8, 0.0, 255.0)) is None
    assert own_sizes(np.zeros((1, 5))) is None
    assert own_sizes(np.zeros((0, 5))) is None
    found = own_sizes(np.array([[1e9, 1.0, -2.0, 0.0, 1e-9, 1e300, 1e-320]]))
    assert found is not None
    assert found.shape == (1, 7)
    assert list(np.log2(found[0] / found[0, 1])) == [30, 0, 0, 0, -30, 1000, -1060] or np.all(np.isfinite(found))
    read = np.array([[1e-6, 1.0, 1.0, 1e-9, 1.0]])
    found = own_sizes(np.array([[1e6, 1.0, 2.0, 0.0, 0.0]]), read)
    assert found is not None
    assert list(np.log2(found[0])) == [20, 0, 0, 30, 0]
    sequence = rng.standard_normal((2, 4, 6)) * np.array([1, 1, 1, 1e6, 1, 1])
    found = own_sizes(sequence)
    assert found is not None
    assert np.all(found[..., 3] == 2.0**20 * found[..., 0])


def test_a_box_that_drowns_the_claim_makes_it_smaller(tmp_path: Path) -> None:
    path = saved(tmp_path, tabular(np.ones(16), np.zeros(16)))
    found = collision(path, {"x": weight(1, 16)}, Recipe(box=between(-1e12, 1e12)))
    assert found.decision is Decision.HOLDS
    assert found.caveat is not None
    assert "times smaller" in found.caveat
    assert "float32" in found.caveat
    assert np.abs(found.colliding - found.original).max() < 1e6
    alone = collision(path, {"x": weight(1, 16)}, Recipe(box=between(-1e3, 1e3)))
    assert alone.caveat is None


@pytest.mark.parametrize("beta", [1e8, 1e18])
def test_a_length_at_which_nothing_can_hold_is_reduced_and_that_is_said(beta: float, tmp_path: Path) -> None:
    path = saved(tmp_path, tabular(np.ones(16), np.zeros(16)))
    found = collision(path, {"x": weight(1, 16)}, Recipe(beta=beta))
    assert found.decision is Decision.HOLDS
    length = float(np.linalg.norm(found.colliding - found.original))
    assert length < 1e6
    assert found.caveat is not None
    assert f"to a length of {length:.2g}" in found.caveat
    again = collision(path, {"x": weight(1, 16)}, Recipe(beta=length))
    assert again.caveat is None
    np.testing.assert_allclose(np.linalg.norm(again.colliding - again.original), length)


MIXED = np.array([1e12, 1e9, 1e6, 1e3, 1, 1, 1, 1e-3, 1e-6, 1e-9, 1e-12, 1, 1, 1, 1, 1])
GRADED: dict[str, tuple[np.ndarray, np.ndarray, Recipe]] = {
    # sizes in the graph, sizes of the input, what is asked for
    "normalised, in a wide box": (MIXED, MIXED, Recipe(box=between(-1e15, 1e15))),
    "normalised, a bound": (MIXED, MIXED, Recipe(epsilon=1e3)),
    "normalised, too long": (MIXED, MIXED, Recipe(beta=1e18)),
    "not normalised": (np.ones(16), MIXED, Recipe()),
    "not normalised, in a box": (np.ones(16), MIXED, Recipe(box=between(-1e14, 1e14))),
    "normalised though all of one size": (MIXED, np.ones(16), Recipe()),
    "a feature of 1e12 that is 0": (MIXED, MIXED * np.r_[0.0, np.ones(15)], Recipe()),
    "subnormal": (1e-38 * np.ones(16), 1e-38 * np.ones(16), Recipe()),
}


@pytest.mark.parametrize("name", GRADED)
def test_what_is_found_can_hold_at_every_precision(name: str, tmp_path: Path) -> None:
    """Whatever the sizes are: a claim that fails at one of the precisions would be the search's own fault."""
    divided, sizes, recipe = GRADED[name]
    for seed in (0, 1):
        x = (sizes * np.random.default_rng(seed).standard_normal(16)).astype(np.float32)[None]
        found = collision(saved(tmp_path, tabular(divided, np.zeros(16), 10 * seed)), {"x": x}, recipe)
        assert found.decision is not Decision.BROKEN, [run.why for run in found.runs]
        assert all(run.layers[0].kernel.holds is not False for run in found.runs)


def test_a_change_that_no_precision_can_tell_is_none(tmp_path: Path) -> None:
    path = saved(tmp_path, tabular(np.ones(16), np.zeros(16)))
    with pytest.raises(OnnxnullError, match="rounding the input to float32") as raised:
        collision(path, {"x": 1e6 * np.ones((1, 16))}, Recipe(beta=1e-6))
    assert raised.value.code is Code.NOT_FOUND
    alone = collision(path, {"x": 1e6 * np.ones((1, 16))}, Recipe(beta=1e-6), precisions=(Precision.FLOAT64,))
    assert alone.runs[0].layers[0].kernel.holds


@pytest.mark.parametrize("decades", [0, 4, 12, 24])
def test_small_rows_are_projected_as_accurately_as_large_ones(decades: int) -> None:
    """Every output of weights of all sizes is 0 up to the rounding of its own terms."""
    rng = np.random.default_rng(decades)
    for _ in range(20):
        q, r = 14, int(rng.integers(1, 12))
        (span,) = columns(rng.standard_normal((1, q, r)))
        weights = 10.0 ** rng.uniform(-decades / 2, decades / 2, (1, q))
        found = PatchProjection(span, weights, 1).project(rng.standard_normal((1, q)))
        assert np.linalg.norm(found) > 0.0
        left = np.abs((found * weights) @ span)
        assert np.all(left <= 64 * 2.0**-53 * np.linalg.norm(weights.T * span, axis=0))


def test_entries_that_rounding_leaves_where_they_were_are_held(tmp_path: Path) -> None:
    """Within ε = 1 nothing of 2³⁰ moves at float32: the claim may not count on it."""
    x = np.r_[2.0**30, np.ones(15)].astype(np.float32)[None]
    found = collision(saved(tmp_path, tabular(np.ones(16), np.zeros(16))), {"x": x}, Recipe(epsilon=1.0))
    assert all(run.layers[0].kernel.holds for run in found.runs)  # though no control of that length moves anything
    moved = found.colliding - found.original
    assert moved[0, 0] == 0.0
    assert np.count_nonzero(moved) >= 8


def test_an_origin_that_gives_nothing_a_scale_is_no_green(tmp_path: Path) -> None:
    found = collision(saved(tmp_path, tabular(np.ones(16), np.zeros(16))), {"x": np.zeros((1, 16), np.float32)}, Recipe())
    assert found.decision is Decision.UNDECIDED


def test_rounding_on_the_way_to_the_layer_is_not_explained_away(tmp_path: Path) -> None:
    """x + 10⁸ − 10⁸ at float32 is a multiple of 8: the layer moves by what its input was rounded by."""
    nodes = [
        node("Add", ["x", "big"], ["a"]),
        node("Sub", ["a", "big"], ["n"]),
        node("MatMul", ["n", "w"], ["y"], name="first"),
    ]
    constants = {"big": np.float32(1e8), "w": weight(16, 4)}
    path = saved(tmp_path, model(nodes, constants, inputs=[value("x", [1, 16])]))
    found = collision(path, {"x": 100 * weight(1, 16)}, Recipe(beta=400.0))
    double, single = found.runs
    assert double.precision == "float64"
    assert single.verdict.decision is not Decision.HOLDS
    assert single.layers[0].kernel.holds is None
    assert "on the way" in str(single.layers[0].kernel.reason)
    assert double.layers[0].kernel.holds is True


def test_dequantising_is_not_explained_away() -> None:
    weights = np.array([[[1.0], [1.0]]])
    reader = Reader("layer", "MatMul", weights, lambda b: Matrix(b[0]), identity((2,)))
    before = np.array([1.0, 2.0], np.float32)
    assert drowned(reader, (before, np.array([2.0, 1.0], np.float32)), 1e-3) is None
    assert drowned(reader, (before, np.array([2.0, 1.000001], np.float32)), 1e-3) is None
    assert drowned(reader, (before, before), 1e-3) is None
    assert "on the way" in str(drowned(reader, (before, np.array([2.0, 1.01], np.float32)), 1e-3))


@pytest.mark.parametrize("place", [Place(), Place(layer="first")])
def test_every_twin_is_held_against_the_file(place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nodes = [
        node("MatMul", ["x", "w"], ["h"], name="first"),
        node("Softplus", ["h"], ["s"], name="curve"),
        node("MatMul", ["s", "v"], ["y"], name="second"),
    ]
    proto = model(nodes, {"w": weight(16, 4), "v": weight(4, 3)}, inputs=[value("x", [1, 16])])
    path = saved(tmp_path, proto)
    assert collision(path, {"x": weight(1, 16)}, Recipe(), place=place).decision is Decision.HOLDS
    monkeypatch.setitem(lowering._LOWERINGS, ("", "Softplus"), lambda site, emit: emit.op("Relu", site.inputs[0]))
    with pytest.raises(OnnxnullError, match="Softplus") as raised:
        collision(path, {"x": weight(1, 16)}, Recipe(), place=place)
    assert raised.value.code is Code.TWIN
    single = collision(path, {"x": weight(1, 16)}, Recipe(), place=place, precisions=(Precision.FLOAT32,))
    assert single.decision is Decision.HOLDS


@pytest.mark.parametrize("bias", [0.0, -3e-32])
def test_a_channel_that_the_cut_off_takes_for_zero_refuses_nothing(bias: float, tmp_path: Path) -> None:
    """1e-31 where a ReLU is off, 1e-37 elsewhere, as training leaves it: it asked for a far smaller change."""
    x, w, v = weight(1, 12, seed=2), weight(12, 20), weight(20, 6, seed=1)
    off = (x @ w)[0] <= 0
    assert 5 < off.sum() < 15
    v[:, 2] *= np.where(off, 1e-31, 1e-37)
    nodes = [
        node("MatMul", ["x", "w"], ["h"], name="first"),
        node("Relu", ["h"], ["r"]),
        node("Gemm", ["r", "v", "b"], ["s"], name="second"),
        node("Relu", ["s"], ["t"]),
        node("MatMul", ["t", "u"], ["y"], name="last"),
    ]
    constants = {"w": w, "v": v, "b": np.full(6, bias, np.float32), "u": weight(6, 3, seed=4)}
    proto = model(nodes, constants, inputs=[value("x", [1, 12])])
    found = collision(saved(tmp_path, proto), {"x": x}, Recipe(), place=Place(layer="second"))
    assert found.holds, [run.why for run in found.runs]
    assert found.caveat is None
    assert np.linalg.norm(found.colliding - found.original) > 1.0
