"""What must be true at the end, on trained networks: images that differ and collide, and Lemma 1 for weights of every kind.

Lemma 1 is about weights, so the networks run on smaller images where their graphs allow it: that changes no weight.
`scripts/test -m thorough` does the same for every weight of every network, and for every photograph.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from onnxnull import analyze, frontier
from onnxnull.collision.cases import Case, load_cases, pixel_box, region
from onnxnull.collision.perturb import Recipe
from onnxnull.collision.results import Collision, Decision, Space
from onnxnull.collision.search import Execution, Place, Search
from onnxnull.collision.tensors import cuts, input_site
from onnxnull.errors import Code, OnnxnullError
from onnxnull.graph.flow import Flow
from onnxnull.graph.model import open_model
from onnxnull.inputs import PRESETS, Preprocessing
from onnxnull.kernel.maps.linear_map import Array
from tests.collision.searches import between, collision, collisions, labels, largest_move, with_kernel
from tests.runtime.test_models import FLOATS, SHAPES, feeds_for, located
from tests.shared import report_of, shared_file, shared_model

ROOT = Path(__file__).resolve().parents[2]
IMAGES = 17
SOME = [0, 8, *(pytest.param(number, marks=pytest.mark.thorough) for number in range(IMAGES) if number not in (0, 8))]
"""Photographs: two, and the others thoroughly."""
HALF = PRESETS["half"]


def assert_holds(found: Collision, *, float32: float, float64: float) -> None:
    """Both claims at both precisions, outputs within these differences, the control at least 1,000 times as far."""
    assert set(labels(found)) == {"float64", "float32"}
    for run in found.runs:
        assert run.verdict.label in ("bitwise", "rounding")
        assert all(check.kernel.holds and check.runtime.holds for check in run.layers)
        moved, control = largest_move(run)
        assert moved <= {"float32": float32, "float64": float64}[run.precision]
        assert control >= 1000 * moved


@dataclass(frozen=True)
class Photographs:
    """vit_tiny, prepared once, and the photographs as its inputs."""

    search: Search
    cases: list[Case]
    box: tuple[Array, Array]

    def collide(self, number: int, recipe: Recipe, toward: Case | None = None) -> Collision:
        (found,) = self.search.run(self.cases[number], recipe, toward)
        return found


@pytest.fixture(scope="module")
def photographs() -> Photographs:
    folder = shared_file("images")
    search = Search(open_model(shared_model("vit_tiny_patch16_224.onnx")), Place(), Execution())
    box = pixel_box(search.model.inputs[0], HALF)
    assert box is not None
    return Photographs(search, load_cases(folder, search.model.inputs, HALF), box)


def assert_same_classes(found: Collision) -> None:
    """Top-1 and top-5 at every precision."""
    for run in found.runs:
        assert [(change.top1, change.top5) for change in run.outputs if change.name == "logits"] == [(True, True)]


def assert_vit(found: Collision, *, l2: float) -> None:
    assert_holds(found, float32=1e-4, float64=1e-11)
    assert found.perturbation.l2 >= l2
    assert_same_classes(found)
    for each in (found.colliding, found.colliding.astype(np.float32)):
        assert -1.0 <= each.min() <= each.max() <= 1.0


def test_there_are_as_many_photographs_as_numbers(photographs: Photographs) -> None:
    assert len(photographs.cases) == IMAGES


@pytest.mark.parametrize("number", SOME)
def test_vit_confuses_a_photograph_with_itself_moved_toward_another(number: int, photographs: Photographs) -> None:
    other = photographs.cases[(number + 1) % IMAGES]
    found = photographs.collide(number, Recipe(pattern="toward", box=photographs.box), other)
    assert_vit(found, l2=16)
    before, after = (np.linalg.norm(other.arrays[found.where] - each) for each in (found.original, found.colliding))
    assert after < 0.97 * before  # some of the way between the two pictures is gone


@pytest.mark.parametrize("number", SOME)
def test_vit_cannot_see_the_largest_random_change(number: int, photographs: Photographs) -> None:
    found = photographs.collide(number, Recipe(largest=True, box=photographs.box, seed=number))
    kernel = input_site(frontier.find(Flow(photographs.search.model)), None).kernel()
    direction = kernel.project(np.random.default_rng([number, 0]).standard_normal(found.original.shape))
    lower, upper = (np.broadcast_to(bound, direction.shape) for bound in photographs.box)
    room = np.where(direction > 0, upper - found.original, found.original - lower)
    plain = max(0.0, float((room / np.abs(direction)).min())) * float(np.linalg.norm(direction))
    assert_vit(found, l2=max(16.0, 2 * plain))


def test_vit_cannot_see_a_random_change_of_a_given_length(photographs: Photographs) -> None:
    found = photographs.collide(0, Recipe(beta=16.0))
    np.testing.assert_allclose(found.perturbation.l2, 16.0, rtol=1e-12)
    assert_holds(found, float32=1e-4, float64=1e-11)
    assert_same_classes(found)


def test_eight_bits_are_told_honestly(photographs: Photographs) -> None:
    """Rounding to 8 bits leaves the kernel: the difference is small, but it is no collision any more."""
    found = photographs.collide(1, Recipe(pattern="toward", box=photographs.box), photographs.cases[2])
    assert found.eight_bit is not None
    assert found.eight_bit.rounded <= 0.5
    (change,) = (each for each in found.eight_bit.outputs if each.name == "logits")
    assert largest_move(found.runs[-1])[0] * 100 < change.max_abs < largest_move(found.runs[-1])[1]


def uniform(search_shape: tuple[int, ...], low: float, high: float) -> np.ndarray:
    return np.random.default_rng(0).uniform(low, high, search_shape).astype(np.float32)


def test_ppocr_ignores_a_third_of_its_image(tmp_path: Path) -> None:
    """Overlapping patches; a third of 3×32×96 is the kernel."""
    shape = (1, 3, 32, 96)
    size = int(np.prod(shape))
    length = 0.3 * float(np.sqrt(size))
    path = shrunk(located("ppocr_v2_cls"), SMALLER["ppocr_v2_cls"], tmp_path)
    found = collision(path, {"x": uniform(shape, -1, 1)}, Recipe(beta=length))
    assert_holds(found, float32=1e-5, float64=1e-12)
    assert found.nullity == (size // 3, size // 3)
    np.testing.assert_allclose(found.perturbation.l2, length, rtol=1e-9)


@pytest.mark.parametrize("boxed", [False, True])
def test_metaroom_images_collide(boxed: bool) -> None:
    path = shared_model("metaroom_4cnn.onnx")
    (name,) = feeds_for(path)
    recipe = Recipe(largest=True, box=between(0.0, 1.0)) if boxed else Recipe(beta=20.0)
    found = collision(path, {name: uniform((1, 3, 32, 56), 0, 1)}, recipe)
    assert_holds(found, float32=1e-4, float64=1e-11)
    assert found.perturbation.l2 >= 20.0 * (1 - 1e-12)
    assert not boxed or 0.0 <= found.colliding.min() <= found.colliding.max() <= 1.0


def test_the_segmentation_network_gives_the_same_mask_for_another_picture() -> None:
    """A square of the picture changed as far as black and white allow: anyone can see it, and no pixel changes its label."""
    path = ROOT / "models/digits_segmentation.onnx"
    search = Search(open_model(path, input_shapes={"image": (1, 3, 96, 96)}), Place(), Execution())
    (case,) = load_cases(ROOT / "models/samples/digits_segmentation/3.png", search.model.inputs, Preprocessing())
    box = pixel_box(search.model.inputs[0], Preprocessing())
    free = region((1, 3, 96, 96), None, (20, 20), (32, 32))
    (found,) = search.run(case, Recipe(largest=True, box=box, free=free))
    assert_holds(found, float32=1e-4, float64=1e-12)
    assert found.perturbation.linf > 0.3
    for run in found.runs:
        assert [change.mask for change in run.outputs] == [1.0]
        assert all(change.mask is not None and change.mask < 1.0 for change in run.control)


@pytest.mark.parametrize(("name", "shape"), [("squeezenet_v1.0", (1, 3, 67, 67)), ("resnet20_cifar10", (1, 3, 32, 32))])
def test_injective_stems_are_told_and_their_patches_collide(name: str, shape: tuple[int, ...], tmp_path: Path) -> None:
    path = located(name)
    if name in SMALLER:
        path = shrunk(path, SMALLER[name], tmp_path)
    (given,) = feeds_for(path)
    arrays = {given: uniform(shape, -1, 1)}
    with pytest.raises(OnnxnullError) as refused:
        collision(path, arrays)
    assert refused.value.code is Code.INJECTIVE
    assert refused.value.exit_code == 3
    assert "(proved " in str(refused.value)
    assert "--space patches" in str(refused.value)
    found = collision(path, arrays, Recipe(beta=5.0), place=Place(patches=True))
    assert_holds(found, float32=1e-4, float64=1e-11)


@dataclass(frozen=True)
class Smaller:
    """How a network's file is made to take smaller images.

    Attributes:
        inputs: the new shape of every input of images.
        sizes: what becomes of the last two numbers in the targets of its Reshapes.
    """

    inputs: Mapping[str, tuple[int, ...]]
    sizes: Mapping[int, int] = field(default_factory=dict)


SMALLER = {
    "densenet_stem": Smaller({"data_0": (1, 3, 64, 64)}),
    "mobilenetv2_mxnet": Smaller({"data": (1, 3, 64, 64)}),
    "picodet_s_320_coco": Smaller({"image": (1, 3, 96, 96)}, {40: 12, 20: 6, 10: 3}),
    "ppocr_v2_cls": Smaller({"x": (1, 3, 32, 96)}),
    "ppocr_v4_det": Smaller({"x": (1, 3, 32, 32)}),
    "resnet18_upto_layer3": Smaller({"input": (1, 3, 64, 64)}),
    "rivagan_decoder": Smaller({"frame": (1, 3, 1, 16, 24)}),
    "squeezenet_fp16": Smaller({"data_0": (1, 3, 64, 64)}),
    "squeezenet_v1.0": Smaller({"data": (1, 3, 67, 67)}),
    "super_resolution": Smaller({"input": (1, 1, 24, 24)}, {224: 24, 672: 72}),
}


def shrunk(path: Path, how: Smaller, folder: Path) -> Path:
    """A copy of the model that takes smaller images, every weight as it is."""
    proto = onnx.load(path)
    for given in proto.graph.input:
        if given.name in how.inputs:
            for dim, size in zip(given.type.tensor_type.shape.dim, how.inputs[given.name], strict=True):
                dim.Clear()
                dim.dim_value = size
    del proto.graph.value_info[:]
    for output in proto.graph.output:
        output.type.tensor_type.ClearField("shape")
    targets = {node.input[1] for node in proto.graph.node if node.op_type == "Reshape"}
    for tensor in _constants(proto):
        if tensor.name in targets:
            shape = numpy_helper.to_array(tensor).copy()
            shape[-2:] = [how.sizes.get(int(size), int(size)) for size in shape[-2:]]
            tensor.CopyFrom(numpy_helper.from_array(shape, tensor.name))
    onnx.save(proto, folder / path.name)
    return folder / path.name


def _constants(proto: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    """Initializers and the values of Constant nodes, named as what they are read by."""
    yield from proto.graph.initializer
    for node in proto.graph.node:
        if node.op_type == "Constant" and node.attribute[0].HasField("t"):
            node.attribute[0].t.name = node.output[0]
            yield node.attribute[0].t


Shapes = dict[str, tuple[int, ...]]


def small(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, dict[str, Any], Shapes]:
    """The model on images as small as its graph allows, its feeds, and their shapes."""
    path = located(name)
    if name in SMALLER:
        path = shrunk(path, SMALLER[name], folder)
        for given, shape in SMALLER[name].inputs.items():
            monkeypatch.setitem(SHAPES, (name, given), shape)
    feeds = feeds_for(path)
    return path, feeds, {given: np.shape(array) for given, array in feeds.items()}


def spread(path: Path, shapes: Shapes) -> list[Place]:
    """The first weight with a kernel of each kind (operator, part, groups, overlapping patches, strides): at most three."""
    first: dict[tuple[object, ...], Place] = {}
    for cut in cuts(Flow(open_model(path, input_shapes=shapes)), None, Space.PATCHES):
        strides = cut.view.attribute("strides", [1])
        kind = (cut.view.op_type, cut.use.part, cut.use.shape[0] > 1, cut.use.on_images, max(strides) > 1)
        first.setdefault(kind, Place(layer=cut.view.name, weight=cut.weight, patches=True))
    kinds = list(first.values())
    return kinds if len(kinds) <= 3 else [kinds[0], kinds[len(kinds) // 2], kinds[-1]]


def assert_lemma_1(found: Sequence[Collision]) -> None:
    """Confirmed at both precisions, and as the file is where it computes in 16 bits, layer by layer in the running network."""
    for each in found:
        assert [run.precision for run in each.runs][:2] == ["float64", "float32"]
        assert np.any(each.colliding != each.original)
        for run in each.runs:
            assert all(check.kernel.holds is not False and check.runtime.holds for check in run.layers)
            assert all((judged.noise_ratio or 0.0) <= 16.0 for judged in run.judged), each.where
            # at float32 scores of 0.5 ± 1e-5 are drowned by their own rounding, at float64 a numerically dead channel may be;
            # an output that counts pixels shows nothing of one layer
            silent = run.precision != "float64" or not any(judged.seen for judged in run.judged)
            silent = silent or any(check.kernel.ratio is None for check in run.layers)
            # and what saturated, or is numerically dead, moves less than that for any input
            undecided = [judged for judged in run.judged if judged.decision is Decision.UNDECIDED]
            silent = silent or (bool(undecided) and all(0 < (judged.scale or 0) < 1e-8 for judged in undecided))
            assert run.verdict.label in {"bitwise", "rounding", *(["undecided"] if silent else [])}, each.where


@pytest.mark.parametrize("name", ["resnet20_cifar10", "silero_vad_if", "vit_cifar_pgd_2_3_16", "wakeword_embedding"])
def test_no_weight_with_a_kernel_is_left_out(name: str) -> None:
    path = located(name)
    shapes = {given: np.shape(array) for given, array in feeds_for(path).items()}
    known = {weight for _, weight in with_kernel(path, shapes)}
    assert {cut.weight for cut in cuts(Flow(open_model(path, input_shapes=shapes)), None, Space.PATCHES)} == known
    assert {weight.name for weight in report_of(path).weights if weight.ranks.float64.lower < weight.inputs} == known


@pytest.mark.parametrize("name", FLOATS)
def test_lemma_1_holds_for_weights_of_every_kind(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, feeds, shapes = small(name, tmp_path, monkeypatch)
    places = spread(path, shapes)
    if not places:
        with pytest.raises(OnnxnullError) as refused:
            collisions(path, feeds, place=Place(layer="all"))
        assert refused.value.code is Code.NOT_FOUND
        return
    search = Search(open_model(path, input_shapes=shapes), places[0], Execution())
    found: list[Collision] = []
    for place in places:
        search.place = place  # one search: the model's twins are made once
        found += search.run(Case("random", feeds), Recipe(beta=1.0))
    assert [each.weight for each in found] == [place.weight for place in places]
    assert_lemma_1(found)
    assert {len(each.runs) for each in found} == {3 if name == "squeezenet_fp16" else 2}
    assert any(check.kernel.ratio is not None for each in found for check in each.runs[0].layers), "all drowned"


@pytest.mark.thorough
@pytest.mark.parametrize("name", FLOATS)
def test_lemma_1_holds_for_every_weight_with_a_kernel(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And no such weight is left out."""
    path, feeds, shapes = small(name, tmp_path, monkeypatch)
    known = {weight.name for weight in analyze(path, input_shapes=shapes).weights if weight.ranks.float64.lower < weight.inputs}
    assert known == {weight for _, weight in with_kernel(path, shapes)}
    if not known:
        return
    found = collisions(path, feeds, Recipe(beta=1.0), place=Place(layer="all"))
    assert len(found) == len(known)
    assert {each.weight for each in found} == known
    assert_lemma_1(found)
    drowned = [each for each in found if any(check.kernel.ratio is None for check in each.runs[0].layers)]
    assert len(drowned) <= len(found) // 4
