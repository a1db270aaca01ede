"""Checking a file of proofs: what it says beside the proofs has to follow from them, and what is asked for has to be there."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

from onnxnull import OnnxnullError
from onnxnull.analysis import proofs
from onnxnull.errors import Code
from tests.shared import random, save

NODES = [helper.make_node("MatMul", ["x", "a"], ["h"], name="m1"), helper.make_node("MatMul", ["h", "b"], ["y"], name="m2")]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A model of a weight of full rank and one of zeros, and its proofs."""
    path = tmp_path_factory.mktemp("proofs") / "m.onnx"
    save(path, NODES, {"a": random(9, 4), "b": np.zeros((4, 3), np.float32)})
    return path, proofs.collect(path)


def claim(document: dict[str, Any], notion: str, weight: int = 0) -> dict[str, Any]:
    found: dict[str, Any] = document["weights"][weight]["ranks"][notion]
    return found


Change = Callable[[dict[str, Any]], object]
EDITS: dict[str, tuple[Change, bool, int, str]] = {
    "nothing": (lambda d: None, True, 0, ""),
    "the order of weights": (lambda d: d["weights"].reverse(), True, 0, ""),
    "a proved rank called numerical": (lambda d: claim(d, "float32").update(certainty="numerical"), False, 1, "certified"),
    "a counted rank called exact": (lambda d: claim(d, "float64").update(certainty="exact"), False, 1, "certified"),
    "an exact rank called certified": (lambda d: claim(d, "exact").update(certainty="certified"), False, 1, "'exact'"),
    "zeros called certified": (lambda d: claim(d, "float64", 1).update(certainty="certified"), False, 1, "'exact'"),
    "no certainty": (lambda d: claim(d, "float64").pop("certainty"), False, 1, "None"),
    "a certainty of another type": (lambda d: claim(d, "float64").update(certainty=["certified"]), False, 1, "certified"),
    "no exact rank, none asked for": (lambda d: d["weights"][0]["ranks"].pop("exact"), False, 0, ""),
    "no exact rank, asked for": (lambda d: d["weights"][0]["ranks"].pop("exact"), True, 2, ""),
    "an exact rank of null": (lambda d: d["weights"][0]["ranks"].update(exact=None), False, 2, ""),
    "an exact rank without proof": (lambda d: claim(d, "exact").update(proof=None), True, 2, ""),
    "a weight twice": (lambda d: d["weights"].append(copy.deepcopy(d["weights"][0])), False, 1, "more often"),
    "names exchanged": (lambda d: (d["weights"][0].update(name="b"), d["weights"][1].update(name="a")), False, 1, "none of"),
    "another node": (lambda d: d["weights"][0].update(nodes=["m2"]), False, 1, "read by 'm2', is none of"),
    "no node": (lambda d: d["weights"][0].update(nodes=[]), False, 1, "read by nothing"),
    "a count no block can have": (
        lambda d: [part.update(count=10**9) for part in claim(d, "float64")["proof"]["lower"]],
        False,
        1,
        "more than a block can have",
    ),
}


@pytest.mark.parametrize("name", EDITS)
def test_what_a_file_says_follows_from_its_proofs(name: str, made: tuple[Path, dict[str, Any]]) -> None:
    path, document = made
    change, exact, code, seen = EDITS[name]
    document = copy.deepcopy(document)
    change(document)
    found = proofs.verify(path, document, exact=exact)
    assert found.exit_code == code
    assert seen in " ".join([*found.failures, *(verdict.failure or "" for verdict in found.verdicts)])


SHAPES: dict[str, tuple[Any, str]] = {
    "null": (None, "'schema' is missing or no text"),
    "a list": ([], "'schema' is missing or no text"),
    "another schema": ({"schema": "onnxnull.proofs/2"}, "its schema is not"),
    "no weights": ({"schema": proofs.SCHEMA, "model": {"sha256": ""}}, "'weights' is missing or no list"),
    "weights as an object": ({"schema": proofs.SCHEMA, "model": {"sha256": ""}, "weights": {}}, "'weights'"),
    "no model": ({"schema": proofs.SCHEMA, "weights": []}, "'model' is missing or no object"),
    "a weight that is none": ({"schema": proofs.SCHEMA, "weights": [3]}, "weights[0].'nodes'"),
    "no names": ({"schema": proofs.SCHEMA, "weights": [{"nodes": [[]]}]}, "holds no names"),
}


@pytest.mark.parametrize("name", SHAPES)
def test_what_is_no_document_is_said_in_words(name: str, made: tuple[Path, dict[str, Any]]) -> None:
    document, seen = SHAPES[name]
    with pytest.raises(OnnxnullError) as caught:
        proofs.verify(made[0], document)
    assert caught.value.code is Code.PROOFS
    assert seen in caught.value.seen
    assert "Error(" not in caught.value.seen


def test_constants_that_a_caller_may_replace_are_named(tmp_path: Path) -> None:
    path = save(tmp_path / "m.onnx", NODES[:1], {"a": random(4, 3)}, output="h")
    model = onnx.load(path)
    model.graph.input.append(helper.make_tensor_value_info("a", 1, [4, 3]))
    onnx.save(model, path)
    found = proofs.verify(path, proofs.collect(path))
    assert (found.exit_code, found.overridable) == (0, ("a",))
