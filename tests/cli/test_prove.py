"""`onnxnull prove`: proofs are written, hold, and fail when they should, through the real console entry."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import helper, numpy_helper

from tests.schemas import conforms
from tests.shared import random, save, shared_model

from .console import onnxnull


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """model.onnx of two weights, proofs.json about it, flipped.onnx that differs by one bit of one weight."""
    path = tmp_path_factory.mktemp("prove")
    nodes = [helper.make_node("MatMul", ["x", "a"], ["h"], name="m1"), helper.make_node("MatMul", ["h", "b"], ["y"], name="m2")]
    save(path / "model.onnx", nodes, {"a": random(12, 8), "b": random(8, 3, seed=1)})
    flipped = random(8, 3, seed=1)
    flipped.view(np.uint32)[4, 1] ^= 1
    save(path / "flipped.onnx", nodes, {"a": random(12, 8), "b": flipped})
    done = onnxnull("prove", "model.onnx", "-o", "proofs.json", cwd=path)
    assert (done.returncode, done.stdout) == (0, "")
    assert "6 of 6 ranks of 2 weights proved" in done.stderr
    conforms((path / "proofs.json").read_text())
    return path


def changed(folder: Path, change: Callable[[dict[str, Any]], object], name: str) -> str:
    document = json.loads((folder / "proofs.json").read_text())
    change(document)
    (folder / name).write_text(json.dumps(document))
    return name


def test_proofs_hold(folder: Path) -> None:
    done = onnxnull("prove", "model.onnx", "--check", "proofs.json", cwd=folder)
    assert (done.returncode, done.stdout, done.stderr) == (0, "6 of 6 ranks: the proof holds\n", "")


def test_bytes_repeat(folder: Path) -> None:
    again = onnxnull("prove", "model.onnx", cwd=folder, fresh=True)
    assert again.stdout == (folder / "proofs.json").read_text(encoding="utf-8")


def test_another_model_fails(folder: Path) -> None:
    done = onnxnull("prove", "flipped.onnx", "--check", "proofs.json", cwd=folder)
    assert done.returncode == 1
    assert "FAILED: the proofs are about another file (SHA-256 differs)" in done.stdout
    assert "FAILED: b (float64)" in done.stdout
    assert "FAILED: a" not in done.stdout


def one(document: dict[str, Any], notion: str = "float64") -> dict[str, Any]:
    claim = document["weights"][0]["ranks"][notion]
    assert isinstance(claim, dict)
    return claim


def set_in(path: list[Any], to: Any) -> Callable[[dict[str, Any]], object]:
    """Sets one place of the document."""

    def change(document: dict[str, Any]) -> None:
        place: Any = document
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = to

    return change


RANKS: list[Any] = ["weights", 0, "ranks"]
PROOF = [*RANKS, "float64", "proof"]


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda d: one(d).update(value=7), 1),
        (lambda d: one(d)["proof"].update(rank=7), 1),
        (lambda d: one(d).update(proof=None), 2),
        (lambda d: one(d).pop("proof"), 2),
        (lambda d: d["weights"][0]["ranks"].pop("float32"), 2),
        (lambda d: d["weights"][0]["ranks"].pop("exact"), 0),
        (lambda d: d["weights"].pop(), 2),
        (lambda d: d["weights"].append({"name": "c", "nodes": ["m3"], "ranks": {}}), 1),
        (lambda d: d["weights"].append(copy.deepcopy(d["weights"][0])), 1),
        (lambda d: one(d).update(one(d, "exact")), 1),
        (lambda d: d["weights"][0]["ranks"].update(float128=one(d)), 1),
        (lambda d: one(d).update(value=True), 1),
        (lambda d: d["model"].update(sha256="0" * 64), 1),
    ],
    ids=range(13),
)
def test_tampered(change: Callable[[dict[str, Any]], object], code: int, folder: Path, tmp_path: Path) -> None:
    name = changed(folder, change, "tampered.json")
    done = onnxnull("prove", "model.onnx", "--check", name, cwd=folder)
    assert done.returncode == code, done.stdout
    assert "Traceback" not in done.stderr


HOSTILE: list[Any] = [None, 3, -1, 2.5, 10**400, "text", "0x1p-5000", [], [[]], {}, [0, 10**12], True]


@pytest.mark.parametrize("notion", ["float64", "exact"])
def test_hostile_values_never_end_in_a_traceback(notion: str, folder: Path) -> None:
    """In process: every field of a proof, and of the document around it, replaced by what it is not."""
    from onnxnull import OnnxnullError
    from onnxnull.analysis import proofs

    document = json.loads((folder / "proofs.json").read_text())
    places: list[list[Any]] = []

    def collect(value: Any, path: list[Any]) -> None:
        if path:
            places.append(path)
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
            if key not in {"float32", "float64", "exact"} - {notion} and [*path, key] != ["weights", 1]:
                collect(inner, [*path, key])

    collect(document, [])
    assert len(places) > 20
    for path in places:
        for value in HOSTILE:
            other = copy.deepcopy(document)
            set_in(path, value)(other)
            try:
                verdict = proofs.verify(folder / "model.onnx", other)
            except OnnxnullError:
                continue
            if path[:4] == [*RANKS, notion] and path[4:] and path[4] == "proof" and len(path) > 5:
                before = document
                for key in path:
                    before = before[key]
                assert verdict.exit_code in (0, 1, 2)
                if path[5] in {"rank", "notion", "weight", "groups", "inputs", "outputs", "format"} and value != before:
                    assert verdict.exit_code == 1


@pytest.mark.parametrize(
    "text",
    [
        "no JSON",
        "",
        "[]",
        "3",
        "null",
        '"text"',
        "{}",
        '{"schema": "onnxnull.proofs/2", "model": {}, "weights": []}',
        '{"schema": "onnxnull.proofs/1", "model": [], "weights": []}',
        '{"schema": "onnxnull.proofs/1", "model": {"sha256": ""}, "weights": [3]}',
        '{"schema": "onnxnull.proofs/1", "model": {"sha256": ""}, "weights": [{"name": [], "nodes": [], "ranks": {}}]}',
        '{"schema": "onnxnull.proofs/1", "model": {"sha256": ""}, "weights": [{"name": "a", "nodes": [[]], "ranks": {}}]}',
        '{"schema": "onnxnull.proofs/1", "model": {"sha256": ""}, "weights": [{"name": "a", "nodes": ["m1"], "ranks": 3}]}',
        "[" * 100_000,
        "9" * 10_000,
        "\udc80",
    ],
    ids=range(16),
)
def test_no_proofs(text: str, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "p.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    done = onnxnull("prove", "model.onnx", "--check", tmp_path / "p.json", cwd=folder)
    assert done.returncode == 2
    assert "error[proofs]" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(("file", "code"), [("absent.json", "file-not-found"), (".", "unreadable")])
def test_unreadable_proofs(file: str, code: str, folder: Path) -> None:
    done = onnxnull("prove", "model.onnx", "--check", file, cwd=folder)
    assert done.returncode == 2
    assert f"error[{code}]" in done.stderr


def test_the_report_does_not_replace_the_proofs(folder: Path) -> None:
    done = onnxnull("prove", "model.onnx", "--check", "proofs.json", "-o", "proofs.json", cwd=folder)
    assert done.returncode == 4
    assert json.loads((folder / "proofs.json").read_text())["schema"] == "onnxnull.proofs/1"


def test_weights_that_are_not_analysed_are_listed(tmp_path: Path) -> None:
    node = helper.make_node("GridSample", ["w", "x"], ["y"], name="sampling")
    path = save(tmp_path / "q.onnx", [node], {"w": np.ones((1, 1, 4, 3), np.float32)}, inputs={"x": (1, 2, 2, 2)}, opset=20)
    done = onnxnull("prove", path, "-o", tmp_path / "p.json")
    assert done.returncode == 2
    assert "not analysed: sampling (GridSample)" in done.stderr
    assert onnxnull("prove", path, "--check", tmp_path / "p.json").returncode == 2


def test_a_real_quantized_model(tmp_path: Path) -> None:
    path, proofs = shared_model("anomaly_int8.onnx"), tmp_path / "proofs.json"
    done = onnxnull("prove", path, "-o", proofs)
    assert (done.returncode, done.stderr.splitlines()[-1]) == (0, "30 of 30 ranks of 10 weights proved")
    assert onnxnull("prove", path, "--check", proofs).returncode == 0


def test_a_weight_with_nan(tmp_path: Path) -> None:
    node = helper.make_node("MatMul", ["x", "w"], ["y"], name="m")
    path = save(tmp_path / "nan.onnx", [node], {"w": np.full((4, 3), np.nan, np.float32)})
    done = onnxnull("prove", path, "-o", tmp_path / "p.json")
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_input_shapes_reach_the_model(tmp_path: Path) -> None:
    """A constant with batch axes is a weight only where the activation's shape is known."""
    node = helper.make_node("MatMul", ["x", "w"], ["y"], name="m")
    path = save(tmp_path / "m.onnx", [node], {"w": random(2, 4, 3)}, inputs={"x": (None, None, 4)})
    shape = ("--input-shape", "x:2,5,4")
    assert onnxnull("prove", path, "-o", tmp_path / "p.json").returncode == 2
    assert onnxnull("prove", path, "-o", tmp_path / "p.json", *shape).returncode == 0
    assert onnxnull("prove", path, "--check", tmp_path / "p.json", *shape).returncode == 0


def test_nodes_of_one_name(tmp_path: Path) -> None:
    """Careless exporters repeat names: each weight still finds its own proofs."""
    nodes = [helper.make_node("MatMul", ["x", "a"], ["h"], name="m"), helper.make_node("MatMul", ["h", "b"], ["y"], name="m")]
    constants = [numpy_helper.from_array(random(6, 6, seed=seed), "w") for seed in (1, 2)]
    nodes = [
        helper.make_node("Constant", [], ["a"], value=constants[0]),
        helper.make_node("Constant", [], ["b"], value=constants[1]),
        *nodes,
    ]
    path = save(tmp_path / "m.onnx", nodes, {})
    assert onnxnull("prove", path, "-o", tmp_path / "p.json").returncode == 0
    assert onnxnull("prove", path, "--check", tmp_path / "p.json").returncode == 0
