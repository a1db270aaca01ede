"""Bundles that somebody edited: what follows from model, arrays or record is noticed, the rest is called the bundle's word."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from onnxnull.attack import AttackSearch, Pgd
from onnxnull.collision.cases import Case
from onnxnull.collision.perturb import Recipe
from onnxnull.collision.results import Collision, Kind
from onnxnull.collision.search import Execution, Place, Search
from onnxnull.collision.strategies.strategy import Method
from onnxnull.errors import Code, OnnxnullError
from onnxnull.evidence.read_bundle import read_record
from onnxnull.evidence.replay import UNVERIFIED, replay
from onnxnull.evidence.write_bundle import Bundle
from onnxnull.graph.model import open_model
from onnxnull.inputs import Preprocessing
from onnxnull.report import replay as report
from onnxnull.runtime.precision import Precision
from tests.collision.bundles import bundled, document_of, near_model, rewrite, two_input_model
from tests.collision.quantized import codes, grey, mlp
from tests.collision.searches import dense, saved
from tests.helpers import weight
from tests.schemas import conforms

Change = Callable[[dict[str, Any]], object]
ROOT = Path(__file__).parents[2]


def kept(folder: Path, search: Search, *collisions: Collision) -> None:
    with Bundle(folder, search, Preprocessing()) as bundle:
        for each in collisions:
            bundle.add(each)
    conforms((folder / "collision.json").read_text())


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Bundles "plain", "near", "grid", "fiber" and "attack", each with model.onnx in a folder of its name."""
    folder = tmp_path_factory.mktemp("edited")
    for name in ("plain", "near", "grid", "fiber", "attack"):
        (folder / name).mkdir()
    bundled(folder / "plain/bundle", two_input_model(folder / "plain/model.onnx"))
    bundled(folder / "near/bundle", near_model(folder / "near/model.onnx"), near=True)
    grid = Search(open_model(saved(folder / "grid", mlp(codes(12, 4)))), Place(), Execution())
    kept(folder / "grid/bundle", grid, *grid.run(Case("random", {"x": grey(2, 12)}), Recipe()))
    model = open_model(saved(folder / "fiber", dense(weight(8, 3))))
    fiber = Search(model, Place(), Execution(), method=Method(Kind.FIBER))
    kept(folder / "fiber/bundle", fiber, *fiber.run(Case("random", {"x": weight(1, 8)}), Recipe()))
    attack = AttackSearch(open_model(saved(folder / "attack", dense(weight(8, 3)))), Execution())
    found = attack.run(Case("random", {"x": weight(1, 8)}), None, attack=Pgd(), epsilon=3.0, count=2)
    kept(folder / "attack/bundle", attack.search, *found.collisions)
    return folder


def copy(made: Path, name: str, tmp_path: Path, change: Change) -> Path:
    shutil.copytree(made / name, tmp_path / name)
    rewrite(tmp_path / name / "bundle", change)
    return tmp_path / name / "bundle"


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def entry(document: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = document["collisions"][0]
    return found


def run(document: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = entry(document)["runs"][0]
    return found


def parameters(document: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = entry(document)["perturbation"]["parameters"]
    return found


def layer(document: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = run(document)["layers"][0]
    return found


ITSELF: dict[str, tuple[str, Change]] = {
    "a decision that its runs do not give": ("plain", lambda d: entry(d).update(decision="broken")),
    "a decision that is none": ("plain", lambda d: entry(d).update(decision="proved")),
    "no decision": ("plain", lambda d: entry(d).pop("decision")),
    "holds of another decision": ("plain", lambda d: entry(d).update(holds=False)),
    "a smaller residual": ("plain", lambda d: entry(d)["claim"].update(residual=0.0)),
    "no residual": ("plain", lambda d: entry(d)["claim"].update(residual=None)),
    "a residual of a run that was left out": ("plain", lambda d: entry(d)["runs"].pop(0)),
    "a singular value of a kernel": ("plain", lambda d: entry(d)["claim"].update(sigma=0.25)),
    "a singular value of a fibre": ("fiber", lambda d: entry(d)["claim"].update(sigma=0.25)),
    "a proof of another name": ("grid", lambda d: entry(d)["claim"].update(proof="")),
    "two runs at one precision": ("plain", lambda d: entry(d)["runs"].append(run(d))),
    "a precision that is none": ("plain", lambda d: run(d).update(precision="float65")),
    "a provider that is none": ("plain", lambda d: run(d)["session"].update(provider="cpu")),
    "no tolerance": ("plain", lambda d: run(d).update(tolerance=None)),
    "a tolerance of 0": ("plain", lambda d: run(d).update(tolerance=0.0)),
    "a claim beyond its bound that holds": ("plain", lambda d: layer(d)["kernel"].update(ratio=1.5)),
    "a claim within its bound that fails": ("plain", lambda d: layer(d)["runtime"].update(holds=False)),
    "a claim without a bound that holds": ("plain", lambda d: layer(d)["kernel"].update(ratio=None)),
    "a claim's number that is none": ("plain", lambda d: layer(d)["kernel"].update(value="small")),
    "an output judged broken": ("plain", lambda d: run(d)["judged"][0].update(decision="broken", why="it moves")),
    "an output judged undecided": ("plain", lambda d: run(d)["judged"][0].update(decision="undecided", why="rounding")),
    "a reason why something holds": ("plain", lambda d: run(d)["judged"][0].update(why="it moves")),
    "an output judged equal that is not": ("plain", lambda d: run(d)["judged"][0].update(bitwise=True)),
    "an output that moves otherwise than it is judged": ("plain", lambda d: run(d)["outputs"][0].update(max_abs=0.25)),
    "a control that nobody saw": ("plain", lambda d: run(d)["judged"][0]["control"].update(seen=False)),
    "nothing judged": ("plain", lambda d: run(d).update(judged=[])),
    "a pattern that is none": ("plain", lambda d: entry(d)["perturbation"].update(pattern="randomly")),
    "no seed": ("plain", lambda d: parameters(d).pop("seed")),
    "a seed that is no number": ("plain", lambda d: parameters(d).update(seed="0")),
    "an epsilon of another type": ("plain", lambda d: parameters(d).update(epsilon="0.1")),
    "a box of one bound": ("plain", lambda d: parameters(d).update(box=[0.0])),
    "a mask of another type": ("plain", lambda d: parameters(d).update(free=0.5)),
    "a truth value that is a number": ("plain", lambda d: parameters(d).update(largest=1)),
    "a kernel's perturbation with an attack's name alone": ("plain", lambda d: parameters(d).update(attack="pgd")),
    "a walk that ended for no known reason": ("fiber", lambda d: parameters(d).update(stop="tired")),
    "a walk without its steps": ("fiber", lambda d: parameters(d).pop("steps")),
    "an attack of another name": ("attack", lambda d: parameters(d).update(attack="cw")),
    "an attack in another norm": ("attack", lambda d: parameters(d).update(norm="l1")),
    "an attack's ε below what it took": ("attack", lambda d: parameters(d).update(attack_epsilon=1e-3)),
    "an attack's ε of 0": ("attack", lambda d: parameters(d).update(attack_epsilon=0)),
    "an attack without its ε": ("attack", lambda d: parameters(d).pop("attack_epsilon")),
}


@pytest.mark.parametrize("name", ITSELF)
def test_a_record_that_contradicts_itself_is_refused(name: str, made: Path, tmp_path: Path) -> None:
    which, change = ITSELF[name]
    read_record(made / which / "bundle")
    with pytest.raises(OnnxnullError) as caught:
        read_record(copy(made, which, tmp_path, change))
    assert caught.value.code is Code.EVIDENCE


ENCODED: dict[str, Callable[[str], bytes]] = {
    "UTF-16": lambda text: text.encode("utf-16"),
    "a byte order mark": lambda text: text.encode("utf-8-sig"),
    "half a surrogate pair in a key": lambda text: text.replace('"versions": {', r'"versions": {"\ud800": "",').encode(),
    "half a surrogate pair in a text": lambda text: text.replace('"random"', r'"\udcff"').encode(),
    "half a surrogate pair in a parameter": lambda text: text.replace('"toward": null', r'"toward": "\ud83d"').encode(),
    "a key twice": lambda text: text.replace('"source":', '"source": "another", "source":').encode(),
    "a number beyond doubles": lambda text: text.replace('"beta": 0.5', '"beta": 1e999').encode(),
}


@pytest.mark.parametrize("name", ENCODED)
def test_a_text_that_can_be_read_two_ways_is_refused(name: str, made: Path, tmp_path: Path) -> None:
    folder = copy(made, "plain", tmp_path, lambda d: None)
    text = json.dumps(document_of(folder))
    edited = ENCODED[name](text)
    assert edited != text.encode()
    (folder / "collision.json").write_bytes(edited)
    with pytest.raises(OnnxnullError) as caught:
        read_record(folder)
    assert caught.value.code is Code.EVIDENCE


NOT_THE_MODELS: dict[str, tuple[str, Change, str]] = {
    "a weight of an input": ("plain", lambda d: entry(d).update(weight="w"), "weight 'w', and it is ''"),
    "an operator of an input": ("plain", lambda d: entry(d).update(op="Conv"), "op 'Conv', and it is ''"),
    "a claim of another layer": ("plain", lambda d: layer(d).update(node="stem"), "claims of stem, and they are of mm"),
    "one claim more": ("plain", lambda d: run(d)["layers"].append(layer(d)), "claims of mm, mm, and"),
    "an output of another name": (
        "plain",
        lambda d: (run(d)["outputs"][0].update(name="z"), run(d)["judged"][0].update(name="z")),
        "outputs 'z'",
    ),
    "an output of another shape": ("plain", lambda d: run(d)["outputs"][0].update(shape=[3, 1]), "'y' 3×1 float64"),
    "an output of another type": ("plain", lambda d: run(d)["outputs"][0].update(dtype="float16"), "float16"),
    "a proof of floats": ("plain", lambda d: entry(d)["claim"].update(proof="integers"), "proof 'integers', and it is None"),
    "no proof of integers": ("grid", lambda d: entry(d)["claim"].update(proof=None), "proof None, and it is 'integers'"),
    "longer steps": ("grid", lambda d: entry(d)["quantizer"].update(largest=1000), "largest 1000"),
    "other steps changed": ("grid", lambda d: entry(d)["quantizer"].update(changed=1), "changed 1"),
    "no quantizer": ("grid", lambda d: entry(d).update(quantizer=None), "scale None"),
    "a field that a quantizer has not": ("grid", lambda d: entry(d)["quantizer"].update(axis=1), "axis 1, and it is None"),
    "another tensor that stays equal": ("fiber", lambda d: entry(d).update(readers=["x"]), "claims of y, and they are of x"),
    "another singular value": ("near", lambda d: entry(d)["claim"].update(sigma=0.5), "σ 0.5"),
}


@pytest.mark.parametrize("name", NOT_THE_MODELS)
def test_what_the_model_and_the_arrays_give_otherwise_is_not_confirmed(name: str, made: Path, tmp_path: Path) -> None:
    which, change, seen = NOT_THE_MODELS[name]
    folder = copy(made, which, tmp_path, change)
    (found,) = replay(folder)
    assert not found.confirmed
    assert seen in " ".join(found.objections)
    conforms(report.render_json("bundle", [found]))


ARRAYS: dict[str, Change] = {
    "another shape": lambda d: entry(d).update(shape=[2, 4]),
    "a shape that is none": lambda d: entry(d).update(shape=[-1, 8]),
    "a shorter change": lambda d: entry(d)["perturbation"].update(l2=1e-3),
    "a box that it leaves": lambda d: parameters(d).update(box=[0.4, 0.6]),
}


@pytest.mark.parametrize("name", ARRAYS)
def test_what_the_arrays_give_otherwise_is_refused(name: str, made: Path, tmp_path: Path) -> None:
    with pytest.raises(OnnxnullError) as caught:
        replay(copy(made, "plain", tmp_path, ARRAYS[name]))
    assert caught.value.code is Code.EVIDENCE
    assert "'the bundle'" not in caught.value.seen


@pytest.mark.filterwarnings("error")
def test_lengths_beyond_doubles_are_refused(made: Path, tmp_path: Path) -> None:
    folder = copy(made, "plain", tmp_path, lambda d: None)
    with (folder / "colliding.npy").open("wb") as file:
        np.save(file, np.full((1, 8), 1.7e308))
    rewrite(folder, lambda d: entry(d)["arrays"]["colliding"].update(sha256=digest(folder / "colliding.npy")))
    with pytest.raises(OnnxnullError, match="have inf"):
        replay(folder)


ITS_WORD: dict[str, tuple[str, Change]] = {
    "where the original is from": ("plain", lambda d: entry(d).update(source="elsewhere.png")),
    "the seed": ("plain", lambda d: parameters(d).update(seed=10**30)),
    "a length that was wished": ("plain", lambda d: parameters(d).update(beta=77.0)),
    "a parameter of a later version": ("plain", lambda d: parameters(d).update(later={})),
    "how far a walk came": ("fiber", lambda d: parameters(d).update(share=1.0, rank=1, rows=99, steps=3)),
    "an attack's name and size": ("attack", lambda d: parameters(d).update(attack="given", norm="l2", attack_epsilon=77.0)),
}


@pytest.mark.parametrize("name", ITS_WORD)
def test_what_only_the_bundle_knows_is_called_its_word(name: str, made: Path, tmp_path: Path) -> None:
    which, change = ITS_WORD[name]
    found = replay(copy(made, which, tmp_path, change), precisions=[Precision.FLOAT32])
    assert all(each.confirmed for each in found)
    text = report.render_text(found)
    for each in conforms(report.render_json("bundle", found))["collisions"]:
        assert each["unverified"] == list(UNVERIFIED)
        for path in each["unverified"]:
            value = each["collision"]
            for key in path.split("."):
                value = value[key]
    if which == "attack":
        assert "the bundle says, and nothing here measures: attack given, within 77 (l2)" in text
    else:
        assert "the bundle says" not in text
        assert "77" not in text


@pytest.mark.parametrize("decision", ["undecided", "broken"])
def test_a_run_that_did_not_hold_is_not_passed_over(decision: str, made: Path, tmp_path: Path) -> None:
    """Of float64, where float32 alone is asked for."""

    def change(document: dict[str, Any]) -> None:
        run(document).update(verdict=decision)
        run(document)["judged"][0].update(decision=decision, why="rounding drowns it")
        entry(document).update(decision=decision, holds=False)

    (found,) = replay(copy(made, "plain", tmp_path, change), precisions=[Precision.FLOAT32])
    assert (found.decision.label, found.confirmed) == ("undecided", False)
    assert found.doubts == (f"float64 on CPUExecutionProvider: recorded as {decision}, and it did not run here",)


def test_near_kernels_are_counted_as_pairs(made: Path) -> None:
    assert report.render_text(replay(made / "near/bundle")).endswith("1 of 1 pair confirmed here\n")


PLACES: dict[str, tuple[Change, tuple[str, ...], tuple[str, ...]]] = {
    "in the bundle": (lambda d: None, ("bundle/model.onnx",), ()),
    "beside it": (lambda d: None, ("model.onnx",), ()),
    "where it was": (lambda d: d["model"].update(file="sub/model.onnx"), ("sub/model.onnx",), ()),
    "beside it, another file where it was": (
        lambda d: d["model"].update(file="sub/model.onnx"),
        ("model.onnx",),
        ("sub/model.onnx",),
    ),
    "in the bundle, other files elsewhere": (
        lambda d: d["model"].update(file="sub/model.onnx"),
        ("bundle/model.onnx",),
        ("sub/model.onnx", "model.onnx"),
    ),
    "nowhere, other files everywhere": (lambda d: None, (), ("model.onnx", "bundle/model.onnx")),
}


@pytest.mark.parametrize("name", PLACES)
def test_the_model_is_found_by_its_hash(name: str, made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    change, right, wrong = PLACES[name]
    folder = copy(made, "plain", tmp_path, change)
    home = folder.parent
    (home / "sub").mkdir()
    true = (home / "model.onnx").read_bytes()
    (home / "model.onnx").unlink()
    for where, data in [(where, true) for where in right] + [(where, b"another") for where in wrong]:
        (home / where).write_bytes(data)
    monkeypatch.chdir(home)
    if right:
        (found,) = replay(folder, precisions=[Precision.FLOAT32])
        assert found.confirmed
    else:
        with pytest.raises(OnnxnullError, match="not the model that the bundle was made of") as caught:
            replay(folder)
        assert caught.value.code is Code.EVIDENCE


@pytest.mark.skipif(os.name != "posix", reason="paths are bytes on POSIX")
def test_names_of_files_do_not_depend_on_the_locale(made: Path, tmp_path: Path) -> None:
    """Written in one locale, found in one whose file names Python decodes as ASCII."""
    (tmp_path / "ü").mkdir()
    shutil.copy(made / "plain/model.onnx", tmp_path / "ü/ж.onnx")
    folder = copy(made, "plain", tmp_path, lambda d: d["model"].update(file="ü/ж.onnx"))
    (folder.parent / "model.onnx").unlink()
    ascii_only = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "onnxnull", "replay", str(folder), "--precision", "float32"]
    done = subprocess.run(command, cwd=tmp_path, env=ascii_only, capture_output=True, encoding="utf-8", check=False)
    assert (done.returncode, done.stdout.splitlines()[-1:]) == (0, ["1 of 1 collision confirmed here"]), done.stderr


def test_bytes_that_are_no_text_are_written_as_such(made: Path, tmp_path: Path) -> None:
    """Of a folder with the name ÿ in Latin-1."""
    home = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff"))
    home.mkdir()
    shutil.copy(made / "plain/model.onnx", home / "model.onnx")
    search = Search(open_model(home / "model.onnx"), Place(), Execution((Precision.FLOAT32,)))
    shapes = {described.name: [size or 1 for size in described.shape or ()] for described in search.model.inputs}
    case = Case(str(home / "x.npy"), {name: np.ones(shape) for name, shape in shapes.items()})
    kept(tmp_path / "bundle", search, *search.run(case, Recipe(beta=0.5)))
    assert "\ufffd/x.npy" in entry(document_of(tmp_path / "bundle"))["source"]
    assert replay(tmp_path / "bundle", home / "model.onnx")[0].confirmed
