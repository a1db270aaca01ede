"""Sizes at which a claim can hold: features at their own size, lost entries held, smaller where the size drowns the claim."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

from onnxnull.collision.claims import Reader, drowned
from onnxnull.collision.perturb import Recipe
from onnxnull.collision.results import Decision
from onnxnull.collision.search import Place
from onnxnull.collision.sizing import own_sizes
from onnxnull.errors import Code, OnnxnullError
from onnxnull.kernel.maps.primitives import Matrix
from onnxnull.kernel.maps.selection import identity
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
def test_a_length_that_was_asked_for_is_judged_and_another_one_said(beta: float, tmp_path: Path) -> None:
    path = saved(tmp_path, tabular(np.ones(16), np.zeros(16)))
    found = collision(path, {"x": weight(1, 16)}, Recipe(beta=beta))
    assert found.decision in (Decision.UNDECIDED, Decision.BROKEN)
    assert np.linalg.norm(found.colliding - found.original) == pytest.approx(beta)
    assert found.caveat is not None
    assert "--beta" in found.caveat
    length = float(found.caveat.split("length ")[1].split(" ")[0])
    again = collision(path, {"x": weight(1, 16)}, Recipe(beta=length))
    assert again.decision is Decision.HOLDS
    assert again.caveat is None


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
