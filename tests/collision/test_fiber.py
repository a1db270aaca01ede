"""Collisions along a fibre: of the whole network, whatever its first layer, verified and bundled as any collision."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from onnxnull.collision.cases import Case, load_cases, pixel_box
from onnxnull.collision.fiber_claim import WITHIN
from onnxnull.collision.invariant_tensors import default_equal
from onnxnull.collision.perturb import Recipe
from onnxnull.collision.results import Collision, Kind, Perturbation, RunVerdict, Space
from onnxnull.collision.search import Execution, Place, Search
from onnxnull.collision.strategies.strategy import Method
from onnxnull.errors import Code, OnnxnullError
from onnxnull.evidence.replay import replay
from onnxnull.evidence.write_bundle import Bundle
from onnxnull.graph.model import Model, open_model
from onnxnull.inputs import Preprocessing
from onnxnull.runtime.precision import Precision
from onnxnull.runtime.session import Runner
from tests.helpers import model, value, weight
from tests.shared import shared_file, shared_model

ROOT = Path(__file__).parents[2]
CNN = ROOT / "models/digits_cnn.onnx"
SAMPLES = ROOT / "models/samples/digits_cnn"


def fiber_search(
    model: Model, place: Place, execution: Execution, equal: Sequence[str] = (), time_limit: float | None = None
) -> Search:
    return Search(model, place, execution, method=Method(Kind.FIBER, tuple(equal), time_limit))


def from_three_to_seven(search: Search, **settings: object) -> Collision:
    three, seven = (load_cases(SAMPLES / name, search.model.inputs, Preprocessing())[0] for name in ("3.png", "7.png"))
    box = pixel_box(search.input(), Preprocessing()) if search.place.space is Space.INPUT else None
    (found,) = search.run(three, Recipe(pattern="toward", box=box, **settings), seven)  # type: ignore[arg-type]
    return found


SHAPES = {"image": (1, 3, 64, 64)}


@pytest.fixture(scope="module")
def found() -> Collision:
    return from_three_to_seven(fiber_search(open_model(CNN, input_shapes=SHAPES), Place(), Execution()))


def test_an_injective_first_layer_does_not_matter(found: Collision) -> None:
    """Most of the way from one picture to another, with all logits equal."""
    moved = found.colliding - found.original
    assert found.kind is Kind.FIBER
    assert found.holds
    assert found.readers == ("logits",)
    assert found.perturbation.parameters["share"] > 0.9
    assert found.perturbation.l2 == pytest.approx(float(np.linalg.norm(moved)))
    assert found.colliding.min() >= 0.0
    assert found.colliding.max() <= 1.0
    for run, allowed in zip(found.runs, (WITHIN, 1e-4), strict=True):
        (check,), (logits,), (control,) = run.layers, run.outputs, run.control
        assert run.verdict is RunVerdict.EQUAL
        assert check.kernel.holds
        assert logits.relative is not None
        assert logits.relative < allowed
        assert logits.top5
        assert control.top1 is False


def test_the_network_says_the_same_when_somebody_else_runs_it(found: Collision) -> None:
    runner = Runner(open_model(CNN), Precision.FLOAT64)
    before, after = (runner.run({"image": x})["logits"] for x in (found.original, found.colliding))
    assert np.abs(after - before).max() <= WITHIN * np.abs(before).max()


def test_evidence_is_replayed(found: Collision, tmp_path: Path) -> None:
    search = fiber_search(open_model(CNN, input_shapes=SHAPES), Place(), Execution())
    with Bundle(tmp_path / "e", search, Preprocessing()) as kept:
        kept.add(found)
    (again,) = replay(tmp_path / "e", CNN)
    assert again.confirmed
    assert again.recorded.kind is Kind.FIBER
    document = json.loads((tmp_path / "e/collision.json").read_text())
    (entry,) = document["collisions"]
    assert entry["claim"]["kind"] == "fiber"
    assert entry["perturbation"]["parameters"]["rows"] == 10
    moved = np.load(tmp_path / "e/colliding.npy")
    moved[0, 0, 0, 0] += 0.25  # off the fibre: with its hash corrected, replay measures that it does not hold
    np.save(tmp_path / "e/colliding.npy", moved)
    entry["arrays"]["colliding"]["sha256"] = hashlib.sha256((tmp_path / "e/colliding.npy").read_bytes()).hexdigest()
    change = moved - found.original
    entry["perturbation"] |= {"l2": float(np.linalg.norm(change)), "linf": float(np.abs(change).max())}
    entry["perturbation"]["parameters"]["box"] = None  # which the moved point leaves
    (tmp_path / "e/collision.json").write_text(json.dumps(document))
    (again,) = replay(tmp_path / "e", CNN)
    assert not again.confirmed
    assert again.collision is not None
    assert {run.verdict for run in again.collision.runs} == {RunVerdict.BROKEN}


def test_from_a_layer() -> None:
    """What reaches a layer changes, with all logits equal."""
    layer = [n.name for n in onnx.load(CNN).graph.node if n.op_type == "Conv"][5]
    search = fiber_search(open_model(CNN, input_shapes=SHAPES), Place(layer=layer), Execution((Precision.FLOAT64,)))
    three, seven = (load_cases(SAMPLES / name, search.model.inputs, Preprocessing())[0] for name in ("3.png", "7.png"))
    (found,) = search.run(three, Recipe(pattern="toward"), seven)
    assert found.space is Space.ACTIVATION
    assert found.where == layer
    assert found.holds
    assert found.perturbation.parameters["share"] > 0.5
    assert search.verify_pair("x", (found.original, found.colliding, found.control), three.arrays, found.perturbation).holds


def test_bounds_and_a_region() -> None:
    free = np.zeros((1, 3, 64, 64), dtype=bool)
    free[..., 8:40, 8:40] = True
    search = fiber_search(open_model(CNN, input_shapes=SHAPES), Place(), Execution((Precision.FLOAT64,)))
    found = from_three_to_seven(search, epsilon=0.1, free=free)
    change = found.colliding - found.original
    assert found.holds
    assert np.abs(change).max() <= 0.1 * (1 + 1e-6)
    assert not np.any(change[~free])
    assert np.any(change)


def test_at_random() -> None:
    search = fiber_search(
        open_model(ROOT / "models/digits_mlp.onnx", input_shapes={"image": (1, 1, 8, 8)}),
        Place(),
        Execution((Precision.FLOAT64,)),
    )
    (three,) = load_cases(ROOT / "models/samples/digits_mlp/3.png", search.model.inputs, Preprocessing())
    box = np.array(0.0), np.array(1.0)
    one, again, other = (next(search.run(three, Recipe(seed=seed, box=box))) for seed in (1, 1, 2))
    assert one.holds
    assert np.array_equal(one.colliding, again.colliding)
    assert not np.array_equal(one.colliding, other.colliding)
    with pytest.raises(OnnxnullError, match="of kernels"):
        next(search.run(three, Recipe(pattern="repeat")))


def softmax_model(folder: Path) -> Path:
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["logits"], name="mm"),
        helper.make_node("Softmax", ["logits"], ["p"], axis=1),
        helper.make_node("Reshape", ["p", "s"], ["probabilities"]),
        helper.make_node("MatMul", ["x", "v"], ["caveat"], name="other"),
    ]
    outputs = [value("probabilities", None), value("caveat", None)]
    stored = {"w": weight(6, 4), "v": weight(6, 2), "s": np.array([-1], dtype=np.int64)}
    path = folder / "m.onnx"
    path.write_bytes(model(nodes, stored, inputs=[value("x", [1, 6])], outputs=outputs).SerializeToString())
    return path


def test_logits_stay_equal_where_a_softmax_follows(tmp_path: Path) -> None:
    path = softmax_model(tmp_path)
    names, why = default_equal(onnx.load(path))
    assert names == ("logits",)
    assert "the logits of 'probabilities'" in why
    start, wish = (Case("x", {"x": np.random.default_rng(seed).standard_normal((1, 6))}) for seed in (0, 1))
    (found,) = fiber_search(open_model(path), Place(), Execution()).run(start, Recipe(pattern="toward"), wish)
    assert found.holds
    assert found.caveat is not None
    changes = {change.name: change.max_abs for change in found.runs[0].outputs}
    assert changes["logits"] < 1e-10
    assert changes["caveat"] > 0.01
    assert found.perturbation.parameters["rank"] == 4


def test_several_tensors_stay_equal(tmp_path: Path) -> None:
    path = softmax_model(tmp_path)
    start, wish = (Case("x", {"x": np.random.default_rng(seed).standard_normal((1, 6))}) for seed in (0, 1))
    (found,) = fiber_search(open_model(path), Place(), Execution(), equal=["logits", "p"]).run(
        start, Recipe(pattern="toward"), wish
    )
    assert found.readers == ("logits", "p")
    assert found.perturbation.parameters["rows"] == 8
    assert found.perturbation.parameters["rank"] == 4
    with pytest.raises(OnnxnullError) as caught:  # six numbers of six stay equal: nothing is left
        next(
            fiber_search(open_model(path), Place(), Execution(), equal=["logits", "caveat"]).run(
                start, Recipe(pattern="toward"), wish
            )
        )
    assert caught.value.code is Code.NOT_FOUND
    with pytest.raises(OnnxnullError, match="no tensor 'nowhere'"):
        next(fiber_search(open_model(path), Place(), Execution(), equal=["nowhere"]).run(start, Recipe(pattern="toward"), wish))


def masked(folder: Path, entry: float) -> Path:
    """Five logits of 64 inputs through an injective layer and a Tanh, and a sixth that never moves."""
    rng = np.random.default_rng(3)
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["a"], name="wide"),
        helper.make_node("Tanh", ["a"], ["t"]),
        helper.make_node("MatMul", ["t", "v"], ["l"], name="narrow"),
        helper.make_node("Concat", ["l", "k"], ["y"], axis=1),
    ]
    w, v = (rng.standard_normal(shape) * size for shape, size in (((64, 96), 0.2), ((96, 5), 1.0)))
    stored = {"w": w.astype(np.float32), "v": v.astype(np.float32), "k": np.array([[entry]], dtype=np.float32)}
    path = folder / "masked.onnx"
    path.write_bytes(model(nodes, stored, inputs=[value("x", [1, 64])], outputs=[value("y", None)]).SerializeToString())
    return path


@pytest.mark.parametrize("entry", [-1e9, -1e30])
def test_a_masked_logit_is_no_measure_of_the_others(entry: float, tmp_path: Path) -> None:
    path = masked(tmp_path, entry)
    start, wish = (Case("x", {"x": 0.3 * np.random.default_rng(seed).standard_normal((1, 64))}) for seed in (5, 6))
    search = fiber_search(open_model(path), Place(), Execution())
    (found,) = search.run(start, Recipe(pattern="toward"), wish)
    assert found.holds
    assert found.perturbation.parameters["share"] > 0.5
    for run, allowed in zip(found.runs, (1e-9, 1e-3), strict=True):
        assert run.outputs[0].max_abs < allowed
        assert run.control[0].max_abs > 1.0
    beside = found.original + 0.01 * (wish.arrays["x"] - found.original)  # off the fibre by a hundredth of the way
    arrays = (found.original, beside, found.control)
    assert {run.verdict for run in search.verify_pair("x", arrays, {}, found.perturbation).runs} == {RunVerdict.BROKEN}


def test_what_stays_equal_is_finite(tmp_path: Path) -> None:
    path = masked(tmp_path, -np.inf)
    start, wish = (Case("x", {"x": np.random.default_rng(seed).standard_normal((1, 64))}) for seed in (5, 6))
    search = fiber_search(open_model(path), Place(), Execution())
    arrays = (start.arrays["x"], wish.arrays["x"], wish.arrays["x"])
    facts = Perturbation("toward", {}, 1.0, 1.0, 1.0, 64, 64, 0.0, 1.0)
    with pytest.raises(OnnxnullError, match="holds NaN or Inf") as caught:
        search.verify_pair("x", arrays, {}, facts)
    assert caught.value.code is Code.RUNTIME


def test_too_much_to_keep(tmp_path: Path) -> None:
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 9000]) for name in "xy")
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", [x], [y])
    path = tmp_path / "m.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    with pytest.raises(OnnxnullError, match="9,000 numbers"):
        next(fiber_search(open_model(path), Place(), Execution()).run(Case("x", {"x": np.ones((1, 9000))}), Recipe()))


def test_a_real_network_with_an_injective_stem() -> None:
    """ResNet-20 on two photographs scaled to its 32×32: nearly all of the way."""
    path = shared_model("resnet20_cifar10.onnx")
    search = fiber_search(open_model(path, input_shapes={"input": (1, 3, 32, 32)}), Place(), Execution())
    files = [shared_file(f"images/{name}") for name in ("n02127052_10040.png", "n03032252_101298.png")]
    start, wish = (load_cases(file, search.model.inputs, Preprocessing(size=(32, 32)))[0] for file in files)
    box = np.array(0.0), np.array(1.0)
    (found,) = search.run(start, Recipe(pattern="toward", box=box), wish)
    assert found.holds
    assert found.perturbation.parameters["share"] > 0.9
    assert found.runs[0].outputs[0].relative is not None
    assert found.runs[0].outputs[0].relative < WITHIN
