"""`onnxnull replay`: what is true is confirmed, what was forged never is, and nothing ends in a traceback."""

from __future__ import annotations

import contextlib
import copy
import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from onnxnull.collision.results import RunVerdict
from onnxnull.collision.search import Place
from onnxnull.errors import Code, ExitCode, OnnxnullError
from onnxnull.evidence.replay import Replayed, replay
from onnxnull.runtime.precision import Precision
from tests import helpers
from tests.collision.bundles import bundled, document_of, forge, near_model, patch_model, rewrite, two_input_model
from tests.collision.searches import dense, saved
from tests.helpers import weight

from .console import ROOT, onnxnull

Change = Callable[[dict[str, Any]], object]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """m.onnx; near.onnx; two.onnx; bundles of them: one, layers, head, near, two."""
    folder = tmp_path_factory.mktemp("replay")
    model = patch_model(folder / "m.onnx")
    patch_model(folder / "other.onnx", seed=7)
    bundled(folder / "one", model)
    bundled(folder / "layers", model, Place(layer="all"))
    bundled(folder / "head", model, Place(layer="head"))
    bundled(folder / "near", near_model(folder / "near.onnx"), near=True)
    bundled(folder / "two", two_input_model(folder / "two.onnx"), cases=2)
    return folder


@pytest.fixture
def bundle(made: Path, tmp_path: Path) -> Path:
    """A copy of the bundle of one collision, its model beside it."""
    shutil.copy(made / "m.onnx", tmp_path)
    return Path(shutil.copytree(made / "one", tmp_path / "one"))


def code(folder: Path, model: Path | None = None, **options: Any) -> int:
    """The exit code of the command."""
    try:
        return int(ExitCode.worst([each.decision.exit_code for each in replay(folder, model, **options)]))
    except OnnxnullError as error:
        return int(error.exit_code)


def evidence_error(folder: Path, model: Path | None = None) -> str:
    with pytest.raises(OnnxnullError) as caught:
        replay(folder, model)
    assert caught.value.code is Code.EVIDENCE
    return caught.value.seen


@pytest.mark.parametrize("name", ["one", "layers", "head", "near", "two"])
def test_true_bundles_are_confirmed(name: str, made: Path) -> None:
    model = {"near": "near.onnx", "two": "two.onnx"}.get(name, "m.onnx")
    found = replay(made / name, made / model)
    assert len(found) == {"layers": 2, "two": 2}.get(name, 1)
    for each in found:
        assert each.confirmed, each.objections
        assert [said.verdict for _, said in each.pairs if said] == [run.verdict for run, _ in each.pairs]
        assert all(run.outputs[0].max_abs < run.control[0].max_abs for run, _ in each.pairs)


def test_the_console(made: Path) -> None:
    done = onnxnull("replay", "one", cwd=made)
    assert done.returncode == 0
    assert "error" not in done.stderr  # a slow machine has progress there
    lines = done.stdout.splitlines()
    assert len(lines) == 4
    assert "recorded rounding" in lines[1]
    assert "here rounding" in lines[1]
    assert lines[-1] == "1 of 1 collision confirmed here"


def test_json_repeats_and_says_the_same(made: Path) -> None:
    command = ("replay", made / "one", made / "m.onnx", "--format", "json")
    texts = [onnxnull(*command, fresh=fresh).stdout for fresh in (False, True)]
    assert texts[0] == texts[1]
    document = json.loads(texts[0])
    assert (document["schema"], document["bundle"], document["confirmed"]) == ("onnxnull.replay/1", "one", True)
    (each,) = document["collisions"]
    assert [run["verdict"] for run in each["runs"]] == ["rounding", "rounding"]
    recorded = document_of(made / "one")["collisions"][0]
    assert each["collision"]["runs"][0]["layers"] == recorded["runs"][0]["layers"]


def test_numbers_beyond_float32_are_an_error(bundle: Path) -> None:
    forge(bundle, lambda a: a.update({name: array + 1e60 for name, array in a.items()}))
    assert onnxnull("replay", bundle).returncode == 2


def test_a_control_that_is_the_original_is_none(bundle: Path) -> None:
    forge(bundle, lambda a: a.update(control=a["original"]))
    assert onnxnull("replay", bundle).returncode == 2


def test_a_forged_bundle_on_the_console(bundle: Path) -> None:
    forge(bundle, lambda a: a.update(colliding=a["control"]))
    done = onnxnull("replay", bundle)
    assert done.returncode == 1
    assert "here broken" in done.stdout
    assert "NOT CONFIRMED" in done.stdout
    assert "0 of 1 collision confirmed" in done.stdout


@pytest.mark.parametrize("where", [[5], [5, 1], [0]])
def test_a_number_that_nothing_reads_allows_nothing(where: list[int], tmp_path: Path) -> None:
    """The colliding input becomes any other one, with 2⁵⁷ in entries of which the layer reads the first two."""
    w = weight(8, 3).astype(np.float64)
    w[5] = 0.0
    path = saved(tmp_path, dense(w, kind=TensorProto.DOUBLE))
    folder = bundled(tmp_path / "one", path)
    assert code(folder) == 0

    def unrelated(arrays: dict[str, np.ndarray]) -> None:
        arrays["colliding"] = np.random.default_rng(7).standard_normal(arrays["colliding"].shape)
        arrays["colliding"][0, where] = 2.0**57

    forge(folder, unrelated)
    assert code(folder) != 0


def test_a_wrong_hash_on_the_console(bundle: Path, made: Path) -> None:
    done = onnxnull("replay", bundle, made / "other.onnx")
    assert (done.returncode, done.stdout) == (2, "")
    assert "error[evidence]" in done.stderr
    assert "not the model" in done.stderr
    assert done.stderr.count("\n") == 1


def test_the_report_does_not_replace_the_evidence(bundle: Path) -> None:
    before = (bundle / "collision.json").read_bytes()
    assert onnxnull("replay", bundle, "-o", bundle / "collision.json").returncode == 4
    assert (bundle / "collision.json").read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "exit_code", "seen"),
    [
        (["absent"], 2, "file-not-found"),
        (["m.onnx"], 2, "evidence"),
        (["one", "absent.onnx"], 2, "file-not-found"),
        ([], 4, ""),
    ],
)
def test_mistyped(arguments: list[str], exit_code: int, seen: str, made: Path) -> None:
    done = onnxnull("replay", *arguments, cwd=made)
    assert done.returncode == exit_code
    assert seen in done.stderr
    assert "Traceback" not in done.stderr


# What was forged, as a forger would who keeps hashes and numbers consistent → exit 1, the measurement says so.

ARRAYS: dict[str, Callable[[dict[str, np.ndarray]], object]] = {
    "the same twice": lambda a: a.update(colliding=a["original"].copy()),
    "not in the kernel": lambda a: a.update(
        colliding=a["original"] + 0.01 * np.random.default_rng(0).random(a["original"].shape)
    ),
    "one entry of it": lambda a: a["colliding"].__setitem__((0, 0, 0, 0), 5.0),
    "float32 noise": lambda a: a.update(colliding=a["colliding"] + 1e-6 * np.random.default_rng(0).random(a["original"].shape)),
    "the control as the collision": lambda a: a.update(colliding=a["control"], control=a["colliding"]),
    "the control as the original": lambda a: a.update(original=a["control"], control=a["original"]),
    "lost in rounding": lambda a: a.update(colliding=a["original"] + 1e-30),
}


@pytest.mark.filterwarnings("ignore:overflow encountered in cast:RuntimeWarning")
@pytest.mark.parametrize("name", ARRAYS)
def test_forged_arrays_do_not_hold(name: str, bundle: Path) -> None:
    forge(bundle, ARRAYS[name])
    (found,) = replay(bundle)
    assert not found.confirmed
    assert any(run.verdict is RunVerdict.BROKEN for run, _ in found.pairs)


UNREADABLE: dict[str, Callable[[dict[str, np.ndarray]], object]] = {
    "another shape": lambda a: a.update({name: array[:, :2] for name, array in a.items()}),
    "another shape of one": lambda a: a.update(colliding=a["colliding"][:, :2]),
    "two samples": lambda a: a.update({name: np.concatenate([array, array]) for name, array in a.items()}),
    "float32": lambda a: a.update(colliding=a["colliding"].astype(np.float32)),
    "NaN": lambda a: a["colliding"].__setitem__((0, 0, 0, 0), np.nan),
    "Inf": lambda a: a["control"].__setitem__((0, 0, 0, 0), np.inf),
    "no entry": lambda a: a.update({name: array[:, :0] for name, array in a.items()}),
    "scalars": lambda a: a.update({name: np.array(1.0) for name in a}),
}


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # the forger's own arithmetic
@pytest.mark.parametrize("name", UNREADABLE)
def test_arrays_that_are_no_evidence(name: str, bundle: Path) -> None:
    def change(arrays: dict[str, np.ndarray]) -> None:
        UNREADABLE[name](arrays)

    with contextlib.suppress(ValueError):  # NumPy has no maximum of nothing: the forger stops earlier
        forge(bundle, change)
    evidence_error(bundle)


def entry(document: dict[str, Any]) -> dict[str, Any]:
    found = document["collisions"][0]
    assert isinstance(found, dict)
    return found


def run(document: dict[str, Any], number: int = 0) -> dict[str, Any]:
    found = entry(document)["runs"][number]
    assert isinstance(found, dict)
    return found


def make_bitwise(document: dict[str, Any]) -> None:
    """The verdict and everything in the record that it follows from."""
    for each in entry(document)["runs"]:
        each["verdict"] = "bitwise"
        for output in (*each["outputs"], *each["judged"]):
            output |= {"bitwise": True, "max_abs": 0.0}


def make_broken(document: dict[str, Any]) -> None:
    run(document)["verdict"] = "broken"
    entry(document).update(decision="broken", holds=False)


def swap(document: dict[str, Any], key: str) -> None:
    arrays = entry(document)["arrays"]
    arrays["colliding"][key], arrays["original"][key] = arrays["original"][key], arrays["colliding"][key]


def swap_whole(document: dict[str, Any]) -> None:
    arrays = entry(document)["arrays"]
    arrays["colliding"], arrays["control"] = arrays["control"], arrays["colliding"]


CLAIMS: dict[str, tuple[Change, int]] = {
    "a better verdict": (lambda d: run(d).update(verdict="bitwise"), 2),
    "a better verdict with its numbers": (make_bitwise, 1),
    "a worse verdict": (lambda d: run(d).update(verdict="unbounded"), 2),
    "a verdict of broken": (make_broken, 1),
    "a verdict of broken alone": (lambda d: run(d).update(verdict="broken"), 2),
    "a verdict of undecided": (lambda d: run(d).update(verdict="undecided"), 2),
    "an unknown verdict": (lambda d: run(d).update(verdict="exact"), 2),
    "a weaker kind": (lambda d: entry(d)["claim"].update(kind="near-kernel"), 2),
    "an unknown kind": (lambda d: entry(d)["claim"].update(kind="fiber"), 2),
    "another layer's name": (lambda d: entry(d).update(where="stem", space="activation"), 1),
    "another space": (lambda d: entry(d).update(space="patches"), 1),
    "a layer that is not there": (lambda d: entry(d).update(where="nobody", space="activation"), 1),
    "an input that is not there": (lambda d: entry(d).update(where="nobody"), 2),
    "other readers": (lambda d: entry(d).update(readers=["head"]), 1),
    "no readers": (lambda d: entry(d).update(readers=[]), 1),
    "a larger kernel": (lambda d: entry(d).update(nullity=[190, 190]), 1),
    "no kernel": (lambda d: entry(d).update(nullity=None), 1),
    "a larger change": (lambda d: entry(d)["perturbation"].update(l2=5.0), 2),
    "fewer changed": (lambda d: entry(d)["perturbation"].update(changed=1), 2),
    "a smaller epsilon": (lambda d: entry(d)["perturbation"]["parameters"].update(epsilon=1e-3), 2),
    "a smaller box": (lambda d: entry(d)["perturbation"]["parameters"].update(box=[0.4, 0.6]), 2),
    "a smaller mask": (lambda d: entry(d)["perturbation"]["parameters"].update(free=3), 2),
    "a run that was not": (lambda d: entry(d)["runs"].append({**run(d), "precision": "float16"}), 1),
    "a run left out": (lambda d: entry(d)["runs"].pop(), 1),
    "another precision": (lambda d: run(d, 1).update(precision="float16"), 1),
    "files swapped": (lambda d: swap(d, "file"), 2),
    "hashes swapped": (lambda d: swap(d, "sha256"), 2),
    "both swapped": (swap_whole, 2),
    "no collision": (lambda d: d.update(collisions=[]), 2),
    "the same collision twice": (lambda d: d["collisions"].append(copy.deepcopy(entry(d))), 2),
    "another model": (lambda d: d["model"].update(sha256="0" * 64), 2),
    "external data that is not there": (lambda d: d["model"]["external_data"].update({"w.bin": "0" * 64}), 2),
    "another schema": (lambda d: d.update(schema="onnxnull.collision/2"), 2),
    "another shape of the input": (lambda d: d["setup"]["input_shapes"].update(x=[2, 3, 8, 8]), 2),
    "no precision": (lambda d: d["setup"].update(precisions=[]), 2),
    "inputs that the model has not": (
        lambda d: entry(d).update(inputs={"file": "inputs.npz", "sha256": "0" * 64, "names": ["z"]}),
        2,
    ),
}


@pytest.mark.parametrize("name", CLAIMS)
def test_forged_claims_are_never_confirmed(name: str, bundle: Path) -> None:
    change, expected = CLAIMS[name]
    rewrite(bundle, change)
    assert code(bundle) == expected


def paths(where: str) -> Change:
    def change(document: dict[str, Any]) -> None:
        for which, found in entry(document)["arrays"].items():
            found["file"] = where + f"{which}.npy"

    return change


@pytest.mark.parametrize(
    "where",
    ["../one/", "/tmp/", "./", "sub/../", "001-x/../", "001-x/", "..\\", "C:/", "\0", "001-x/001-y/", "//", "001-\u0661/"],
)
def test_paths_stay_inside(where: str, bundle: Path) -> None:
    rewrite(bundle, paths(where))
    evidence_error(bundle)


def test_links_stay_inside(bundle: Path, tmp_path: Path) -> None:
    (bundle / "original.npy").rename(tmp_path / "outside.npy")
    (bundle / "original.npy").symlink_to(tmp_path / "outside.npy")
    assert "leads out" in evidence_error(bundle)


def test_a_folder_linked_to_another_place_stays_inside(made: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(made / "two", tmp_path / "two"))
    (folder / "002-random").rename(tmp_path / "outside")
    (folder / "002-random").symlink_to(tmp_path / "outside")
    assert "leads out" in evidence_error(folder, made / "two.onnx")


def test_pipes_are_not_waited_for(bundle: Path) -> None:
    (bundle / "control.npy").unlink()
    os.mkfifo(bundle / "control.npy")
    assert "has no file" in evidence_error(bundle)


def test_one_bit_of_an_array(bundle: Path) -> None:
    data = bytearray((bundle / "colliding.npy").read_bytes())
    data[-1] ^= 1
    (bundle / "colliding.npy").write_bytes(data)
    assert "'colliding.npy'" in evidence_error(bundle)


def test_one_byte_of_external_data(tmp_path: Path) -> None:
    path = patch_model(tmp_path / "m.onnx")
    onnx.save(onnx.load(path), path, save_as_external_data=True, location="w.bin", size_threshold=0)
    folder = bundled(tmp_path / "out", path)
    assert code(folder, path) == 0
    data = bytearray((tmp_path / "w.bin").read_bytes())
    data[100] ^= 1
    (tmp_path / "w.bin").write_bytes(data)
    assert "'w.bin'" in evidence_error(folder, path)


def test_all_arrays_are_hashed_before_anything_runs(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = Path(shutil.copytree(made / "two", tmp_path / "two"))
    (folder / "002-random/control.npy").write_bytes(b"")
    monkeypatch.setattr("onnxnull.evidence.replay.Search", None)
    assert "'002-random/control.npy'" in evidence_error(folder, made / "two.onnx")


def test_other_inputs_count(made: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(made / "two", tmp_path / "two"))
    (folder / "001-random/inputs.npz").write_bytes((folder / "002-random/inputs.npz").read_bytes())
    assert "inputs.npz" in evidence_error(folder, made / "two.onnx")


def test_a_near_kernel_sold_as_a_kernel(made: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(made / "near", tmp_path / "near"))

    def change(document: dict[str, Any]) -> None:
        entry(document)["claim"].update(kind="kernel", sigma=0.0)
        entry(document)["nullity"] = [1, 1]
        for each in entry(document)["runs"]:
            each["verdict"] = "rounding"

    rewrite(folder, change)
    assert code(folder, made / "near.onnx") == 2  # its own judgements say broken

    def judged(document: dict[str, Any]) -> None:
        for each in entry(document)["runs"]:
            for output in each["judged"]:
                output.update(decision="holds", why=None)

    rewrite(folder, judged)
    assert code(folder, made / "near.onnx") == 1


def test_a_near_kernel_with_another_sigma(made: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(made / "near", tmp_path / "near"))
    rewrite(folder, lambda d: entry(d)["claim"].update(sigma=1e-12))
    assert code(folder, made / "near.onnx") == 1


def test_near_kernels_beyond_their_sigma(made: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(made / "near", tmp_path / "near"))
    forge(folder, lambda a: a.update(colliding=a["original"] + 1.0))
    rewrite(folder, lambda d: entry(d)["claim"].update(sigma=10.0))
    assert code(folder, made / "near.onnx") == 1


def test_only_some_precisions(made: Path) -> None:
    (found,) = replay(made / "one", made / "m.onnx", precisions=[Precision.FLOAT32])
    assert found.confirmed
    assert [each.precision for each, _ in found.pairs] == ["float32"]


def test_the_model_is_found_beside_the_bundle_or_where_it_was(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir("/")
    assert code(bundle) == 0
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "m.onnx").rename(tmp_path / "elsewhere/m.onnx")
    with pytest.raises(OnnxnullError) as caught:
        replay(bundle)
    assert caught.value.code is Code.FILE_NOT_FOUND
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert code(bundle) == 0


def test_large_files_are_refused_unless_wanted(bundle: Path) -> None:
    done = onnxnull("replay", bundle, "--max-constant-bytes", "1000")
    assert done.returncode == 2
    assert "error[too-large]" in done.stderr


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"null",
        b"[]",
        b"3",
        b"{}",
        b"[" * 100_000,
        b"9" * 10_000,
        b"\xff\xfe",
        b'{"schema": NaN}',
        b'{"schema": "onnxnull.collision/1"}',
        b'{"schema": "onnxnull.collision/1", "model": {}, "setup": {}, "collisions": [3]}',
        b'{"schema": "onnxnull.collision/1", "schema": "onnxnull.collision/1"}',
    ],
    ids=range(12),
)
def test_no_bundle(data: bytes, bundle: Path) -> None:
    (bundle / "collision.json").write_bytes(data)
    evidence_error(bundle)


HOSTILE: list[Any] = [None, True, -1, 10**400, "../x", [[]], {"a": 1}]
_MEASURED = {
    "versions",
    "pictures",
    "predictions",
    "trace",
    "bound",
    "ratio",
    "value",
    "reason",
    "control",
    "residual",
    "proof",
}


def test_hostile_values_never_end_in_a_traceback(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every field of collision.json replaced by what it is not. Nothing runs: reading it is what is tested."""

    class RanError(Exception):
        """The record was accepted."""

    def stop(*_: object, **__: object) -> list[Replayed]:
        raise RanError

    monkeypatch.setattr("onnxnull.evidence.replay.Search", stop)
    document = document_of(bundle)
    places: list[list[Any]] = []

    def collect(value: Any, path: list[Any]) -> None:
        places.append(path)
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
            if key not in _MEASURED and not (len(path) > 1 and path[-1] == "runs" and key == 1):
                collect(inner, [*path, key])

    collect(document, [])
    assert len(places) > 60
    for path in places[1:]:
        for value in HOSTILE:
            other = copy.deepcopy(document)
            place: Any = other
            for key in path[:-1]:
                place = place[key]
            place[path[-1]] = value
            (bundle / "collision.json").write_text(json.dumps(other))
            with pytest.raises((OnnxnullError, RanError)):
                replay(bundle)


def test_the_shipped_models(tmp_path: Path) -> None:
    folder = bundled(tmp_path / "out", ROOT / "models/digits_vit.onnx")
    assert code(folder, ROOT / "models/digits_vit.onnx") == 0
    assert hashlib.sha256((ROOT / "models/digits_vit.onnx").read_bytes()).hexdigest() == document_of(folder)["model"]["sha256"]


def far_off(tensors: dict[str, np.ndarray]) -> None:
    """So far along the kernel that rounding drowns everything."""
    tensors["colliding"] = tensors["original"] + 1e9 * (tensors["colliding"] - tensors["original"])
    tensors["control"] = tensors["original"] + 1e9 * (tensors["control"] - tensors["original"])


def test_what_rounding_drowns_is_undecided(bundle: Path) -> None:
    forge(bundle, far_off)
    rewrite(bundle, lambda d: [run.update(tolerance=1.0) for run in entry(d)["runs"]])
    (found,) = replay(bundle)
    assert found.decision.label != "holds"
    assert not found.confirmed
    done = onnxnull("replay", bundle)
    assert done.returncode == int(found.decision.exit_code) != 0
    assert "0 of 1 collision confirmed here" in done.stdout


def test_the_bundle_has_no_say_in_the_tolerance(bundle: Path) -> None:
    strict = dict.fromkeys(Precision, 1e-30)
    (found,) = replay(bundle, tolerances=strict)
    assert found.decision.label == "undecided"
    assert all("--tolerance" in doubt or "rounding drowns" in doubt for doubt in found.doubts)
    assert any("it was recorded at --tolerance float32=0.001" in doubt for doubt in found.doubts)
    assert code(bundle, tolerances=strict) == 2


def test_what_nothing_reads_hides_no_unrelated_vector(tmp_path: Path) -> None:
    """2⁵⁷ in an entry that no filter reads, all hashes and numbers made to fit."""
    conv = helper.make_node("Conv", ["x", "w"], ["h"], name="stem", kernel_shape=[3, 3], strides=[2, 2])
    relu = helper.make_node("Relu", ["h"], ["y"])
    proto = helpers.model([conv, relu], {"w": weight(2, 3, 3, 3)}, inputs=[helpers.value("x", [1, 3, 8, 8])])
    path = tmp_path / "conv.onnx"
    path.write_bytes(proto.SerializeToString())
    forged = bundled(tmp_path / "forged", path)

    def replace_it(tensors: dict[str, np.ndarray]) -> None:
        tensors["colliding"] = weight(1, 3, 8, 8, seed=5).astype(np.float64)
        tensors["colliding"][0, 0, 7, 7] = 2.0**57
        tensors["control"] = tensors["original"] + 2.0**57 / 20

    forge(forged, replace_it)
    rewrite(forged, lambda d: entry(d)["perturbation"]["parameters"].update(beta=None))
    assert code(forged) == 1
