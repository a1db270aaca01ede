"""The HTML pages of collisions and of replayed evidence."""

from __future__ import annotations

import base64
import io
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from onnxnull import drawing, replay
from onnxnull.collision.results import Collision, RunVerdict
from onnxnull.collision.search import Place
from onnxnull.evidence.pictures import for_page
from onnxnull.evidence.provenance import model_facts
from onnxnull.report.html import collision as collision_page
from onnxnull.report.html.markup import MOST_BYTES
from tests.cli.console import ROOT, onnxnull
from tests.collision.bundles import bundled, near_model, patch_model, searched

from .batches import HOSTILE
from .test_html import Page

VIT, SAMPLES = ROOT / "models/digits_vit.onnx", ROOT / "models/samples/digits_vit"


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Collision]:
    """The facts of a search and what it found."""
    search, (collision,) = searched(patch_model(tmp_path_factory.mktemp("page") / "m.onnx"))
    return model_facts(search), collision


def rendered(facts: Any, *collisions: Collision) -> Page:
    return Page(collision_page.render(facts, [collision_page.section(each, for_page(each)) for each in collisions]))


def test_collide_and_replay_show_the_pictures(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    done = onnxnull(
        *("collide", VIT, "--input", SAMPLES / "0.png", "--box", "none", "--beta", "30", "--provider", "cpu"),
        *("--trace", "--format", "html", "-o", tmp_path / "evidence"),
    )
    assert done.returncode == 0, done.stderr
    ours = Page(done.stdout)
    again = onnxnull("replay", tmp_path / "evidence", VIT, "--format", "html", "-o", page)
    assert (again.returncode, again.stdout) == (0, "")
    theirs = Page(page.read_text(encoding="utf-8"))
    for shown in (ours, theirs):
        assert "The network cannot tell these two apart, but for rounding." in shown.text
        assert "class 0 98.4 %" in shown.text
        assert "10,752 of 12,288 dimensions" in shown.text
        pictures = [decoded(image) for image in shown.all("img")]
        assert [picture.shape for picture in pictures] == [(64, 64, 3)] * 4
        original, _, colliding, _ = pictures
        assert np.array_equal(original, np.asarray(Image.open(SAMPLES / "0.png").convert("RGB")))
        assert np.abs(colliding.astype(int) - original).max() > 100
    assert "Pairs that hold on this machine: 1 of 1." in ours.text
    assert "How the difference grows" in ours.text
    assert "1 of 1 collision confirmed here." in theirs.text


def decoded(image: dict[str, str | None]) -> np.ndarray:
    source = image["src"]
    assert source is not None
    data = base64.b64decode(source.removeprefix("data:image/png;base64,"))
    return np.asarray(Image.open(io.BytesIO(data)))


def test_pictures_come_from_the_arrays_that_were_verified(tmp_path: Path) -> None:
    """Who exchanges the picture files of a bundle, which no hash protects, changes nothing on the page."""
    bundled(tmp_path / "one", patch_model(tmp_path / "m.onnx"))
    (each,) = replay(tmp_path / "one")
    before = collision_page.render_replay("one", [collision_page.section_of(each, for_page(each.collision))])  # type: ignore[arg-type]
    for path in (tmp_path / "one").glob("*.png"):
        drawing.save_image(path, np.zeros((8, 8)))
    (each,) = replay(tmp_path / "one")
    after = collision_page.render_replay("one", [collision_page.section_of(each, for_page(each.collision))])  # type: ignore[arg-type]
    assert before == after
    assert len(Page(after).all("img")) == 4


@pytest.mark.parametrize("name", [*HOSTILE.values(), '"><script>alert(1)</script>'])
def test_names_are_text_whatever_they_hold(name: str, found: tuple[Any, Collision]) -> None:
    facts, collision = found
    runs = tuple(
        replace(
            run,
            layers=tuple(replace(check, node=name) for check in run.layers),
            outputs=tuple(replace(change, name=name) for change in run.outputs),
            arrays=dict.fromkeys([name], next(iter(run.arrays.values()))),
        )
        for run in collision.runs
    )
    bad = replace(collision, source=name, where=name, readers=(name,), runs=runs, caveat=name)
    page, plain = rendered(replace(facts, file=name), bad), rendered(facts, replace(collision, caveat="x"))
    assert [tag for tag, _ in page.elements] == [tag for tag, _ in plain.elements]
    assert all(character.isprintable() for character in page.text)


@pytest.mark.parametrize(
    ("verdict", "told"),
    [
        (RunVerdict.BITWISE, "cannot tell these two apart: every output is the same to the last bit."),
        (RunVerdict.ROUNDING, "cannot tell these two apart, but for rounding."),
        (RunVerdict.UNBOUNDED, "how far rounding moves it is not bounded here."),
        (RunVerdict.BROKEN, "A claim does not hold here: do not rely on this pair."),
    ],
)
def test_verdicts(verdict: RunVerdict, told: str, found: tuple[Any, Collision]) -> None:
    facts, collision = found
    page = rendered(facts, replace(collision, runs=tuple(replace(run, verdict=verdict) for run in collision.runs)))
    assert told in page.text
    assert f"hold on this machine: {int(verdict is not RunVerdict.BROKEN)} of 1." in page.text
    assert ("no later layer can tell them apart" in page.text) == (verdict is not RunVerdict.BROKEN)
    assert ("Broken A claim" in page.text) == (verdict is RunVerdict.BROKEN) != ("Collision The network" in page.text)


def test_a_near_kernel_is_never_sold_as_a_collision(tmp_path: Path) -> None:
    search, (collision,) = searched(near_model(tmp_path / "near.onnx"), near=True)
    page = rendered(model_facts(search), collision)
    assert "The network all but ignores this change. That is no collision." in page.text
    assert "cannot tell" not in page.text


def test_a_layer_is_not_the_network(tmp_path: Path) -> None:
    search, collisions = searched(patch_model(tmp_path / "m.onnx"), Place(layer="all"))
    page = rendered(model_facts(search), *collisions)
    assert page.text.count("This layer cannot tell these two apart") == len(collisions) > 1
    assert "The network cannot" not in page.text
    assert "not that an input of the network is affected" in page.text


def test_why_there_is_no_pair_is_on_the_page(found: tuple[Any, Collision]) -> None:
    facts, _ = found
    page = Page(collision_page.render(facts, [], missing=["m.onnx: error[injective]: <proved>"] * 400))
    assert "Pairs that hold on this machine: 0 of 0." in page.text
    assert "m.onnx: error[injective]: <proved>" in page.text
    assert "and 100 more" in page.text


def test_long_tables_are_cut_and_say_so(found: tuple[Any, Collision]) -> None:
    facts, collision = found
    runs = tuple(replace(run, outputs=run.outputs * 60, control=run.control * 60) for run in collision.runs)
    page = rendered(facts, replace(collision, runs=runs))
    assert f"; the first 100 of {60 * len(runs)}, --format json lists all" in page.text


def test_what_the_model_refutes_is_told(tmp_path: Path) -> None:
    bundled(tmp_path / "one", patch_model(tmp_path / "m.onnx"))
    (each,) = replay(tmp_path / "one")
    refuted = replace(each, collision=None, pairs=(), objections=("[injective] <b>no</b>",))
    page = Page(collision_page.render_replay("one", [collision_page.section_of(refuted, {})]))
    assert "0 of 1 collision confirmed here." in page.text
    assert "Not confirmed: [injective] <b>no</b>" in page.text


def test_many_and_large_pictures_stay_below_two_megabytes(found: tuple[Any, Collision]) -> None:
    facts, collision = found
    rng = np.random.default_rng(0)
    large = {name: rng.standard_normal((1, 3, 700, 900)) for name in ("original", "colliding", "control")}
    wide = replace(collision, **large)  # type: ignore[arg-type]
    pictures = for_page(wide)
    assert all(len(shown.png) <= 300_000 and shown.shrink in (4, 8) for shown in pictures.values())
    sections = [collision_page.section(wide, pictures)] * 9
    text = collision_page.render(facts, sections)
    assert len(text.encode()) < MOST_BYTES
    page = Page(text)
    (left,) = re.findall(r"No room on this page for the details of (\d) pairs", page.text)
    assert len(page.all("img")) == 4 * (9 - int(left)) > 0
    assert f"shown at 1/{pictures['original'].shrink} of its size" in page.text
