"""Adversarial examples, and others that collide with them: what the attacks find, and that ε and the range are kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import helper, numpy_helper
from PIL import Image

from onnxnull.attack import Asma, Attacked, AttackSearch, Ball, Norm, Pgd
from onnxnull.attack.asma import intersection_over_union
from onnxnull.collision.cases import Case, load_cases, pixel_box
from onnxnull.collision.results import RunVerdict
from onnxnull.collision.search import Execution
from onnxnull.errors import Code, OnnxnullError
from onnxnull.graph.model import open_model
from onnxnull.inputs import PRESETS, Preprocessing
from onnxnull.runtime.precision import Precision
from onnxnull.runtime.session import Runner
from tests.collision.searches import dense, saved
from tests.helpers import weight
from tests.shared import shared_file, shared_model

ROOT = Path(__file__).parents[2]
RGB = Preprocessing()


class Setting:
    """A model, prepared once, and pictures for it."""

    def __init__(self, model: str, size: int) -> None:
        self.path = ROOT / f"models/{model}.onnx"
        self.search = AttackSearch(open_model(self.path, input_shapes={"image": (1, 3, size, size)}), Execution())
        self.samples = ROOT / f"models/samples/{model}"
        self.box = pixel_box(self.search.search.input(), RGB)

    def case(self, name: str) -> Case:
        (found,) = load_cases(self.samples / name, self.search.search.model.inputs, RGB)
        return found


@pytest.fixture(scope="module")
def vit() -> Setting:
    return Setting("digits_vit", 64)


def check(found: Attacked, epsilon: float) -> None:
    """Everything collides, within ε and the range, apart from each other."""
    assert found.ball.length(found.found.x) <= epsilon * (1 + 1e-6)
    assert max(found.distances()) <= epsilon * (1 + 1e-6)
    for collision in found.collisions:
        assert np.array_equal(collision.original, found.found.x)
        assert {run.verdict for run in collision.runs} == {RunVerdict.ROUNDING}
        assert collision.colliding.min() >= 0.0
        assert collision.colliding.max() <= 1.0
        single = collision.colliding.astype(np.float32).astype(np.float64)
        assert found.ball.length(single) <= epsilon * (1 + 1e-6)
    assert found.apart() > 0.1


def test_any_other_class(vit: Setting) -> None:
    found = vit.search.run(vit.case("0.png"), vit.box, attack=Pgd(), epsilon=8 / 255, count=3)
    check(found, 8 / 255)
    assert found.clean.argmax() == 0
    assert found.adversarial.argmax() != 0
    assert all(scores.argmax() == found.adversarial.argmax() for scores in found.repeated)
    assert min(found.rms()) >= 0.25
    assert found.apart() >= 0.25
    outputs = [change for each in found.collisions for run in each.runs for change in run.outputs]
    assert all(change.top5 for change in outputs)


def test_a_chosen_class(vit: Setting) -> None:
    found = vit.search.run(vit.case("0.png"), vit.box, attack=Pgd(target=7), epsilon=16 / 255, count=2)
    check(found, 16 / 255)
    assert found.adversarial.argmax() == 7


def test_within_a_euclidean_ball(vit: Setting) -> None:
    found = vit.search.run(vit.case("0.png"), vit.box, attack=Pgd(), norm=Norm.L2, epsilon=2.0, count=2)
    check(found, 2.0)
    change = found.found.x - found.ball.centre
    assert float(np.linalg.norm(change)) <= 2.0
    assert float(np.abs(change).max()) > 2.0 / np.sqrt(change.size)


def test_an_example_made_elsewhere(vit: Setting) -> None:
    made = vit.search.run(vit.case("5.png"), vit.box, attack=Pgd(), epsilon=8 / 255, count=1)
    elsewhere = Case("elsewhere", {"image": made.found.x})
    found = vit.search.run(vit.case("5.png"), vit.box, attack=None, adversarial=elsewhere, epsilon=8 / 255, count=1)
    check(found, 8 / 255)
    assert found.method == "given"
    assert np.array_equal(found.found.x, made.found.x)
    with pytest.raises(OnnxnullError, match="more than ε") as caught:
        vit.search.run(vit.case("5.png"), vit.box, attack=None, adversarial=elsewhere, epsilon=4 / 255)
    assert caught.value.code is Code.DATA


def test_an_example_that_changes_nothing_is_not_adversarial(vit: Setting) -> None:
    case = vit.case("5.png")
    with pytest.raises(OnnxnullError, match="no adversarial example") as caught:
        vit.search.run(case, vit.box, attack=None, adversarial=case, epsilon=8 / 255, count=1)
    assert caught.value.code is Code.NOT_FOUND
    masks = Setting("digits_segmentation", 96)
    with pytest.raises(OnnxnullError, match="no adversarial example"):
        masks.search.run(masks.case("0.png"), masks.box, attack=None, adversarial=masks.case("0.png"), epsilon=0.1, count=1)


def test_the_seed_decides(vit: Setting) -> None:
    runs = [vit.search.run(vit.case("0.png"), vit.box, attack=Pgd(), epsilon=8 / 255, count=1, seed=seed) for seed in (1, 1, 2)]
    points = [run.collisions[0].colliding for run in runs]
    assert np.array_equal(points[0], points[1])
    assert not np.array_equal(points[0], points[2])


def test_an_attack_that_fails_says_so(vit: Setting) -> None:
    with pytest.raises(OnnxnullError) as caught:
        vit.search.run(vit.case("0.png"), vit.box, attack=Pgd(steps=2), epsilon=1 / 255)
    assert caught.value.code is Code.NOT_FOUND
    assert "2 steps" in caught.value.seen


def test_scores_that_are_no_numbers_are_not_attacked(tmp_path: Path) -> None:
    """√h of scores, of which some are negative."""
    proto = dense(weight(8, 4))
    proto.graph.node.append(helper.make_node("Sqrt", ["y"], ["s"]))
    proto.graph.output[0].name = "s"
    search = AttackSearch(open_model(saved(tmp_path, proto)), Execution())
    with pytest.raises(OnnxnullError) as caught:
        search.run(Case("random", {"x": weight(1, 8)}), (np.array(-9.0), np.array(9.0)), attack=Pgd(), epsilon=0.1)
    assert caught.value.code is Code.RUNTIME
    assert "'s' holds NaN or Inf for the clean input" in caught.value.seen


def test_a_network_without_kernel_has_no_colliding_examples() -> None:
    cnn = Setting("digits_cnn", 64)
    with pytest.raises(OnnxnullError) as caught:
        cnn.search.run(cnn.case("3.png"), cnn.box, attack=Pgd(), epsilon=16 / 255)
    assert caught.value.code is Code.INJECTIVE


def test_a_chosen_mask() -> None:
    """The colliding versions keep it pixel for pixel."""
    setting = Setting("digits_segmentation", 96)
    with Image.open(setting.samples / "masks/5.png") as image:
        target = (np.asarray(image) >= 128).astype(np.int64)
    found = setting.search.run(setting.case("0.png"), setting.box, attack=Asma(), target=target, epsilon=32 / 255, count=1)
    check_mask = found.adversarial[0].argmax(axis=0)
    assert intersection_over_union(check_mask, target) >= 0.9
    assert intersection_over_union(found.clean[0].argmax(axis=0), target) < 0.6
    assert np.array_equal(found.repeated[0][0].argmax(axis=0), check_mask)
    masks = [change.mask for each in found.collisions for run in each.runs for change in run.outputs]
    assert masks == [1.0] * len(masks)
    assert found.ball.length(found.collisions[0].colliding) <= 32 / 255 * (1 + 1e-6)
    own = found.clean[0].argmax(axis=0)
    with pytest.raises(OnnxnullError, match="what asma came to is no adversarial example"):
        setting.search.run(setting.case("0.png"), setting.box, attack=Asma(), target=own, epsilon=32 / 255, count=1)
    with pytest.raises(OnnxnullError, match="a target mask of shape"):
        setting.search.run(setting.case("0.png"), setting.box, attack=Asma(), target=target[:5], epsilon=0.1)


def test_pgd_steps_stay_in_the_ball() -> None:
    rng = np.random.default_rng(0)
    centre = rng.uniform(0.0, 1.0, (1, 3, 5, 5))
    box = np.array(0.0), np.array(1.0)
    for norm, epsilon in ((Norm.LINF, 0.1), (Norm.L2, 0.5)):
        ball = Ball.around(centre, norm, epsilon, box)
        for _ in range(20):
            x = ball.inside(centre + rng.standard_normal(centre.shape))
            assert ball.length(x) <= epsilon
            assert ball.length(ball.random(rng)) <= epsilon
            assert x.min() >= 0.0
            assert x.max() <= 1.0
            assert np.array_equal(x, x.astype(np.float32))
        step = ball.ascent(rng.standard_normal(centre.shape), 0.01)
        size = np.abs(step).max() if norm is Norm.LINF else np.linalg.norm(step)
        assert size == pytest.approx(0.01)


def test_units_are_those_of_the_picture() -> None:
    """ε is a share of the way from black to white, in every channel, whatever the model divides by."""
    x = np.zeros((1, 3, 2, 2))
    box = np.reshape([-2.0, -1.0, -4.0], (1, 3, 1, 1)), np.reshape([2.0, 1.0, 4.0], (1, 3, 1, 1))
    ball = Ball.around(x, Norm.LINF, 0.25, box)
    np.testing.assert_allclose(ball.upper[0, :, 0, 0], [1.0, 0.5, 2.0], rtol=1e-6)
    assert ball.length(ball.upper) == pytest.approx(0.25)


def test_intersection_over_union() -> None:
    one, other = np.array([[1, 1, 0, 0]]), np.array([[1, 0, 0, 0]])
    assert intersection_over_union(one, one) == 1.0
    assert intersection_over_union(one, other) == pytest.approx((1 / 2 + 2 / 3) / 2)


@pytest.mark.parametrize("count", [2, pytest.param(5, marks=pytest.mark.thorough)])
def test_a_real_vision_transformer(count: int) -> None:
    """One of seventeen photographs: another class within 8/255, and versions of it with the same top-5."""
    path = shared_model("vit_tiny_patch16_224.onnx")
    search = AttackSearch(open_model(path), Execution(), scores="logits")
    inputs = search.search.model.inputs
    (case,) = load_cases(shared_file("images/n02127052_10040.png"), inputs, PRESETS["half"])
    found = search.run(case, pixel_box(inputs[0], PRESETS["half"]), attack=Pgd(), epsilon=8 / 255, count=count)
    assert found.found.steps <= 40
    runner = Runner(open_model(path))
    clean = runner.run({"pixel_values": found.ball.centre})["logits"]
    after = [runner.run({"pixel_values": each.colliding})["logits"] for each in found.collisions]
    assert len(after) == count
    assert all(scores.argmax() != clean.argmax() for scores in after)
    assert min(found.rms()) >= 0.25
    assert found.apart() >= 0.25
    for collision in found.collisions:
        assert collision.holds
        assert all(change.top5 for run in collision.runs for change in run.outputs if change.name == "logits")


CLEAN = int((weight(1, 4) @ weight(4, 3)).argmax())
FAILURES: dict[str, tuple[int, dict[str, Any], Code, str, str]] = {
    # two corners of the ball lie on a line of kernel vectors: a third example would be one of them again
    "fewer than were wanted": (3, {"count": 3}, Code.NOT_FOUND, "2 of 3 different colliding examples", "--count"),
    "a class that is not there": (3, {"attack": Pgd(target=3)}, Code.DATA, "no class 3 among the 3 scores", "from 0 to 2"),
    "one score": (1, {}, Code.DATA, "has shape 1×1", "--scores"),
    "the class that it has": (3, {"attack": Pgd(target=CLEAN)}, Code.DATA, f"class {CLEAN} is the clean", "another --target"),
    "no kernel": (4, {}, Code.INJECTIVE, "is injective", "`onnxnull collide` looks further inside"),
    "too small an ε": (
        3,
        {"epsilon": 1e-9},
        Code.NOT_FOUND,
        "in 40 steps: the wanted class leads by -0.",
        "--epsilon or --steps",
    ),
}


@pytest.mark.parametrize("name", FAILURES)
def test_what_an_attack_cannot_do_is_said_in_its_own_options(name: str, tmp_path: Path) -> None:
    classes, settings, code, seen, remedy = FAILURES[name]
    search = AttackSearch(open_model(saved(tmp_path, dense(weight(4, classes)))), Execution())
    given: dict[str, Any] = {"attack": Pgd(), "epsilon": 9.0} | settings
    with pytest.raises(OnnxnullError) as caught:
        search.run(Case("random", {"x": weight(1, 4)}), None, **given)
    assert (caught.value.code, seen in caught.value.seen) == (code, True), caught.value
    assert remedy in caught.value.remedy


def test_examples_that_are_the_same_count_once(tmp_path: Path) -> None:
    search = AttackSearch(open_model(saved(tmp_path, dense(weight(4, 3)))), Execution())
    found = search.run(Case("random", {"x": weight(1, 4)}), None, attack=Pgd(), epsilon=9.0, count=2)
    assert found.apart() > 0.01


def test_scores_have_to_be_named_where_all_outputs_are_integers(tmp_path: Path) -> None:
    proto = dense(weight(8, 4))
    proto.graph.node.append(helper.make_node("ArgMax", ["y"], ["label"], axis=1))
    proto.graph.output[0].CopyFrom(helper.make_tensor_value_info("label", 7, None))
    model = open_model(saved(tmp_path, proto))
    with pytest.raises(OnnxnullError, match="no floating-point output") as caught:
        AttackSearch(model, Execution())
    assert caught.value.remedy == "name the class scores: --scores"
    found = AttackSearch(model, Execution(), scores="y").run(
        Case("random", {"x": weight(1, 8)}), None, attack=Pgd(), epsilon=9.0, count=1
    )
    assert found.clean.argmax() != found.adversarial.argmax()


@pytest.mark.parametrize("rows", [2, 4])
def test_pgd_attacks_one_sample(rows: int, tmp_path: Path) -> None:
    """The largest of several samples' scores is no class: another may be it, and every sample's class be what it was."""
    search = AttackSearch(open_model(saved(tmp_path, dense(weight(6, 3), rows=rows))), Execution())
    with pytest.raises(OnnxnullError, match=f"shape {rows}×3, and PGD takes a list") as caught:
        search.run(Case("random", {"x": weight(rows, 6)}), None, attack=Pgd(), epsilon=9.0)
    assert caught.value.code is Code.DATA


@pytest.mark.parametrize("axes", [[2], [0, 2]])
def test_a_list_of_scores_may_have_other_axes(axes: list[int], tmp_path: Path) -> None:
    """1×3 scores as 1×3×1 and 1×1×3×1: of one sample all the same."""
    proto = dense(weight(8, 3))
    proto.graph.initializer.append(numpy_helper.from_array(np.array(axes), "axes"))
    proto.graph.node.append(helper.make_node("Unsqueeze", ["y", "axes"], ["s"]))
    proto.graph.output[0].CopyFrom(helper.make_tensor_value_info("s", 1, None))
    search = AttackSearch(open_model(saved(tmp_path, proto)), Execution((Precision.FLOAT32,)))
    found = search.run(Case("random", {"x": weight(1, 8)}), None, attack=Pgd(), epsilon=9.0, count=1)
    assert found.clean.argmax() != found.adversarial.argmax()
