"""JSON: the contract of design §6, key by key."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from onnxnull.documents.base import number
from onnxnull.kernel.bounds import Bounds
from onnxnull.report import json as report_json
from tests.shared import matmul, random

from .batches import HOSTILE, batch, failure, frontier, hostile, operator, profile, report, unsupported, weight


def document(*args: Any, **kwargs: Any) -> Any:
    return json.loads(report_json.render(batch(*args, **kwargs)))


def test_keys() -> None:
    found = document(report(weight("w", stacked=profile(9, 8, 8, 8)), unsupported=(unsupported(),)), failures=(failure(),))
    assert list(found) == ["schema", "models", "errors"]
    assert found["schema"] == "onnxnull.analysis/1"
    (model,) = found["models"]
    assert list(model) == ["model", "summary", "weights", "tables", "nonfinite", "unusual", "claims", "frontier", "unsupported"]
    assert list(model["model"]) == ["file", "sha256", "producer", "ir_version", "opset", "inputs", "overridable"]
    assert list(model["model"]["inputs"][0]) == ["name", "dtype", "shape"]
    assert list(model["summary"]) == ["paper", "full"]
    paper = ["weights", "nu", "mu", "nu_percent", "mu_percent", "nullity", "first_nullity"]
    assert list(model["summary"]["paper"]) == paper
    assert list(model["summary"]["full"]) == ["weights", "rank_deficient", "nullity", "input_nullity"]
    (entry,) = model["weights"]
    assert list(entry) == [
        *("name", "op", "dtype", "inputs", "outputs", "rank", "nullity", "stacked", "sigma_max", "sigma_min"),
        *("dead_outputs", "nearly_dead_outputs", "unread_inputs", "duplicate_outputs", "in_paper", "quantization", "nodes"),
    ]
    assert list(entry["rank"]) == list(entry["nullity"]) == ["float32", "float64", "exact"]
    assert list(entry["rank"]["float32"]) == ["value", "certainty"]
    assert list(entry["stacked"]) == ["inputs", "outputs", "rank", "nullity"]
    assert list(entry["nodes"][0]) == ["name", "op", "groups", "operator", "condition"]
    assert list(model["unsupported"][0]) == ["node", "op", "code", "reason"]
    assert list(found["errors"][0]) == ["file", "code", "seen", "remedy"]


def test_what_is_not_computed_is_null() -> None:
    (model,) = document(report(weight("w")))["models"]
    entry = model["weights"][0]
    assert model["frontier"] == []
    assert model["summary"]["full"]["input_nullity"] is None
    assert entry["rank"]["exact"] is entry["nullity"]["exact"] is entry["stacked"] is entry["nodes"][0]["operator"] is None
    assert [i["shape"] for i in model["model"]["inputs"]] == [[None, 3, 224, 224], None]
    assert document(report())["models"][0]["summary"]["paper"]["first_nullity"] is None


def test_operators_and_frontier() -> None:
    told = report(weight("w"))
    node = replace(told.weights[0].nodes[0], operator=operator())
    found = (frontier("x", nullity=Bounds(7, 9, proved=True)), frontier("y", reason="a Relu reads it first"))
    told = replace(told, weights=(replace(told.weights[0], nodes=(node,)),), frontier=found)
    (model,) = document(told)["models"]
    assert model["weights"][0]["nodes"][0]["operator"] == {
        "input_shape": [3, 8, 8],
        "unread": 5,
        "float64": [7, 9],
        "exact": [0, 0],
        "proved": {"float64": False, "exact": True},
    }
    read, refused = model["frontier"]
    assert {"input": "x", "weights": ["x"], "guaranteed": True, "reason": None, "input_nullity": [7, 9]}.items() <= read.items()
    assert read["data"] == [{"file": "x.npy", "kernel_share": 0.123457}]
    assert (refused["guaranteed"], refused["reason"], refused["input_nullity"]) == (False, "a Relu reads it first", None)


def test_numbers() -> None:
    entry = document(report(weight("w", profile(27, 8, 6, 7, 8))))["models"][0]["weights"][0]
    assert (entry["sigma_max"], entry["sigma_min"]) == (1.23457, 0.000123457)
    assert entry["nullity"] == {"float32": 21, "float64": 20, "exact": 19}
    assert entry["rank"]["exact"] == {"value": 8, "certainty": "exact"}


@pytest.mark.parametrize(
    ("value", "expected"), [(0.0, 0.0), (1e-300, 1e-300), (123456789.0, 123457000.0), (float("inf"), None)]
)
def test_six_significant_digits(value: float, expected: float | None) -> None:
    assert number(value) == expected


def test_overflow_is_null_and_not_invalid_json() -> None:
    ranks = replace(profile(2, 2, 2, 2), sigma_max=float("inf"))
    assert document(report(weight("w", ranks)))["models"][0]["weights"][0]["sigma_max"] is None


@pytest.mark.parametrize("name", HOSTILE.values(), ids=HOSTILE)
def test_names_survive_whole_in_plain_ascii(name: str) -> None:
    text = report_json.render(batch(hostile(name)))
    assert text.isascii()
    assert all(line.isprintable() for line in text.splitlines())
    assert json.loads(text)["models"][0]["weights"][0]["name"] == name


def test_byte_identical_between_processes_and_folders(tmp_path: Path) -> None:
    path = matmul(tmp_path / "here" / "m.onnx", random(6, 4))
    (tmp_path / "elsewhere").mkdir()

    def run(argument: str, folder: str, seed: str) -> bytes:
        command = [sys.executable, "-m", "onnxnull", "analyze", argument, "--format", "json"]
        env = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(Path(__file__).parents[2])}
        return subprocess.run(command, cwd=tmp_path / folder, env=env, capture_output=True, check=True).stdout

    first = run("m.onnx", "here", "1")
    assert first == run("m.onnx", "here", "2")
    assert first == run(str(path), "elsewhere", "3")
