"""Baselines: real models changed in one weight fail with exactly that weight; files that are no baselines are told of."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from onnxnull.analysis.results import ModelReport, WeightReport
from onnxnull.documents.base import plain, text_of
from onnxnull.errors import Code, ExitCode, OnnxnullError
from onnxnull.policy import baseline, gate
from onnxnull.policy.baseline import Baseline
from onnxnull.policy.config import Policy
from onnxnull.policy.results import CheckReport
from onnxnull.policy.targets import Target
from onnxnull.report import json as analysis_json
from onnxnull.runtime.loading import Loader
from tests.report import batches

from .gates import LOADS, clean, model, reading

MODELS = Path(__file__).resolve().parents[2] / "models"
Change = Callable[[np.ndarray], None]


def entry_of(report: ModelReport) -> dict[str, Any]:
    return plain(analysis_json.model(report))


def check(path: Path, old: Baseline | None = None) -> CheckReport:
    return gate.check([Target(str(path), path.name)], Policy(), today=date.min, baseline=old)


def parsed(document: dict[str, Any]) -> Baseline:
    return baseline.parse("base.json", json.loads(text_of(document)))


@pytest.fixture(scope="module")
def before() -> Callable[[str], Baseline]:
    """The baseline of a model of models/."""
    known: dict[str, Baseline] = {}

    def of(name: str) -> Baseline:
        if name not in known:
            report = check(MODELS / name).models[0].report
            known[name] = parsed(baseline.updated(None, [entry_of(report)]))
        return known[name]

    return of


def changed(name: str, weight: str, change: Change, folder: Path) -> Path:
    """A copy of a model in which one initializer was changed; `change` sees its outputs as rows."""
    proto = onnx.load(MODELS / name)
    (tensor,) = (t for t in proto.graph.initializer if t.name == weight)
    array = numpy_helper.to_array(tensor).copy()
    matmul = any(weight in node.input and node.op_type == "MatMul" for node in proto.graph.node)
    change(array.T if matmul else array)
    tensor.CopyFrom(numpy_helper.from_array(array, weight))
    onnx.save(proto, folder / name)
    return folder / name


def zeroed(outputs: np.ndarray) -> None:
    outputs[3] = 0


def duplicated(outputs: np.ndarray) -> None:
    outputs[5] = outputs[2]


def one_rank_less(outputs: np.ndarray) -> None:
    """One output is twice another one: no duplicate, and one dimension less in every notion."""
    outputs[5] = 2 * outputs[2]


def one_rank_less_in_float32(outputs: np.ndarray) -> None:
    """The smallest singular value is taken out, and what is left of it is the rounding to float32."""
    matrix = outputs.reshape(len(outputs), -1).astype(np.float64)
    u, s, v = np.linalg.svd(matrix, full_matrices=False)
    s[-1] = 0
    outputs[...] = ((u * s) @ v).reshape(outputs.shape).astype(np.float32)


PLACES = [
    ("digits_cnn.onnx", "stem.weight"),
    ("digits_mlp.onnx", "hidden2.weight"),
    ("digits_segmentation.onnx", "encode2.conv.weight"),
    ("digits_vit.onnx", "patch_embedding.weight"),
]


@pytest.mark.parametrize(("name", "weight"), PLACES)
@pytest.mark.parametrize(
    ("change", "says"),
    [
        (zeroed, "dead outputs 0 → 1"),
        (duplicated, "duplicate outputs 0 → 1"),
        (one_rank_less, "(float32, float64, exact)"),
        (one_rank_less_in_float32, "(float32)"),
    ],
)
def test_one_changed_weight_is_the_one_that_is_named(
    name: str, weight: str, change: Change, says: str, before: Callable[[str], Baseline], tmp_path: Path
) -> None:
    report = check(changed(name, weight, change, tmp_path), before(name))
    errors = [finding for finding in report.all_findings if finding.severity.value == "error"]
    named = [finding for finding in errors if finding.subject.kind == "weight"]
    assert [(finding.rule, finding.subject.name) for finding in named] == [("regression", weight)]
    assert says in named[0].message
    assert "rank " in named[0].message
    # a first layer's kernel is the network's: then the input is named beside the weight, and nothing else
    assert {(finding.rule, finding.subject.kind) for finding in errors} - {("regression", "weight")} <= {
        ("regression", "input")
    }
    assert report.exit_code is ExitCode.VIOLATED


@pytest.mark.parametrize("name", sorted({name for name, _ in PLACES}))
def test_the_unchanged_model_passes(name: str, before: Callable[[str], Baseline]) -> None:
    report = check(MODELS / name, before(name))
    assert report.exit_code is ExitCode.PASS
    assert {"regression", "baseline-mismatch"} <= report.policy.rules.keys()
    assert not [f for f in report.all_findings if f.rule in ("regression", "baseline-mismatch")]


def test_a_renamed_weight_is_a_mismatch_on_both_sides(before: Callable[[str], Baseline], tmp_path: Path) -> None:
    proto = onnx.load(MODELS / "digits_mlp.onnx")
    for tensor in proto.graph.initializer:
        tensor.name = tensor.name.replace("hidden2.weight", "renamed")
    for node in proto.graph.node:
        node.input[:] = [name.replace("hidden2.weight", "renamed") for name in node.input]
    onnx.save(proto, tmp_path / "digits_mlp.onnx")
    found = check(tmp_path / "digits_mlp.onnx", before("digits_mlp.onnx")).all_findings
    assert [(f.subject.name) for f in found if f.rule == "baseline-mismatch"] == ["renamed", "hidden2.weight"]


def analysed(monkeypatch: pytest.MonkeyPatch, report: ModelReport) -> None:
    """Whatever is checked, this comes of it."""
    monkeypatch.setattr(gate, "open_model", lambda *_, **__: None)
    monkeypatch.setattr(gate, "analyze_model", lambda *_, **__: report)
    monkeypatch.setattr(Loader, "load", lambda *_: LOADS)


def test_exact_ranks_that_were_not_computed_are_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    old = parsed(baseline.updated(None, [entry_of(model())]))
    for ranks, told in ((batches.profile(27, 8, 8, 8), True), (batches.profile(27, 8, 8, 8, 8), False)):
        report = model(clean(ranks=ranks))
        analysed(monkeypatch, report)
        found = gate.check([Target("net.onnx", "net.onnx")], Policy(), today=date.min, baseline=old)
        assert any("nor compared (see --exact): 1" in text for text in found.notes) is told


def entries(*files: str) -> list[dict[str, Any]]:
    found = []
    for file in files:
        entry = entry_of(model())
        entry["model"]["file"] = file
        found.append(entry)
    return found


@pytest.mark.parametrize(
    ("known", "asked", "alone", "found"),
    [
        (["a.onnx", "b.onnx"], "a.onnx", False, "a.onnx"),
        (["x/a.onnx", "y/b.onnx"], "/elsewhere/a.onnx", False, "x/a.onnx"),
        (["x/a.onnx", "y/a.onnx"], "y/a.onnx", False, "y/a.onnx"),
        (["x/a.onnx", "y/a.onnx"], "z/a.onnx", False, None),
        (["v1.onnx"], "v2.onnx", True, "v1.onnx"),
        (["v1.onnx"], "v2.onnx", False, None),
        (["v1.onnx", "w.onnx"], "v2.onnx", True, None),
        ([], "a.onnx", True, None),
    ],
)
def test_which_model_is_compared_with_which(known: list[str], asked: str, alone: bool, found: str | None) -> None:
    old = parsed(baseline.updated(None, entries(*known)))
    matched = old.model(asked, alone=alone)
    assert (None if matched is None else matched.file) == found


def test_an_update_replaces_what_was_checked_and_keeps_the_rest() -> None:
    old = parsed(baseline.updated(None, entries("x/a.onnx", "b.onnx")))
    (fresh,) = entries("a.onnx")
    fresh["model"]["sha256"] = "cd" * 32
    document = baseline.updated(old, [fresh, *entries("c.onnx")])
    assert [(m["model"]["file"], m["model"]["sha256"][:2]) for m in document["models"]] == [
        ("a.onnx", "cd"),
        ("b.onnx", "ab"),
        ("c.onnx", "ab"),
    ]


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [path] if path else []
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        found += places(inner, (*path, key))
    return found


HOSTILE: list[Any] = [None, 3, -1, 2.5, "text", [], [[]], {}, [1, "2"], True, ...]
"""`...`: taken out."""


def accepted(document: Any) -> Baseline | None:
    """The baseline; None where it was refused as one. Any other error is the test's."""
    try:
        return baseline.parse("base.json", document)
    except OnnxnullError as error:
        return None if error.code is Code.BASELINE else pytest.fail(str(error))


def test_hostile_baselines_are_told_of_or_harmless() -> None:
    """Every field replaced by what it is not, or taken out: `baseline`, or a baseline that can be compared with."""
    document = json.loads(text_of(baseline.updated(None, [entry_of(model(clean(), front=reading(1, 2)))])))
    report = model()
    refused = 0
    for path in places(document):
        for value in HOSTILE:
            other = copy.deepcopy(document)
            place: Any = other
            for key in path[:-1]:
                place = place[key]
            if value is ...:
                del place[path[-1]]
            else:
                place[path[-1]] = value
            old = accepted(other)
            if old is None:
                refused += 1
                continue
            found = old.model("models/net.onnx", alone=True)
            if found is not None:
                for key, weight in baseline.weights_by_key(report).items():
                    if key in found.weights:
                        baseline.worse_weight(found.weights[key], weight)
                baseline.worse_input(found.inputs.get("image"), report.frontier[0])
    assert refused > 200


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("weights", 0, "rank", "float32"), None),
        (("weights", 0, "rank", "float64"), None),
        (("weights", 0, "rank", "float32", "value"), -1),
        (("weights", 0, "rank", "exact", "value"), 9),
        (("weights", 0, "rank", "float64", "certainty"), "nonsense"),
        (("weights", 0, "dead_outputs"), 9),
        (("weights", 0, "unread_inputs"), 28),
        (("weights", 0, "nodes", 0, "operator", "float64"), [8, 7]),
        (("weights", 0, "nodes", 0, "operator", "float64"), [7, 193]),
        (("weights", 0, "nodes", 0, "operator", "float64"), None),
        (("frontier", 0, "input_nullity"), [2, 1]),
        (("frontier", 0, "input_nullity"), [0, 193]),
    ],
)
def test_numbers_that_cannot_be_are_no_baseline(path: tuple[Any, ...], value: Any) -> None:
    """A weight of 27 inputs and 8 outputs on 3×8×8 entries: nulls and nonsense would let everything pass."""
    entry = entry_of(model(_on_a_shape()))
    assert accepted(baseline.updated(None, [entry])) is not None
    place: Any = entry
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    assert accepted(baseline.updated(None, [entry])) is None


def test_nullities_that_the_baseline_does_not_know_are_mismatches(monkeypatch: pytest.MonkeyPatch) -> None:
    report = model(_on_a_shape())
    entry = entry_of(report)
    entry["weights"][0]["nodes"][0]["operator"] = entry["frontier"][0]["input_nullity"] = None
    entry["weights"][0]["rank"]["exact"] = None
    analysed(monkeypatch, report)
    found = gate.check(
        [Target("net.onnx", "net.onnx")], Policy(), today=date.min, baseline=parsed(baseline.updated(None, [entry]))
    )
    assert [(f.subject.kind, f.subject.name) for f in found.all_findings if f.rule == "baseline-mismatch"] == [
        ("weight", "w"),
        ("input", "image"),
    ]
    assert found.exit_code is ExitCode.VIOLATED
    assert found.notes == ("exact ranks that the baseline does not hold, so that they were not compared: 1",)


def _on_a_shape() -> WeightReport:
    return clean(nodes=(replace(clean().nodes[0], operator=batches.operator()),))


@pytest.mark.parametrize(
    "text", ["", "no JSON", "3", "[]", "{}", '{"schema": "onnxnull.analysis/2", "models": []}', "[" * 100_000]
)
def test_files_that_are_no_baselines(text: str, tmp_path: Path) -> None:
    (tmp_path / "base.json").write_text(text)
    with pytest.raises(OnnxnullError) as caught:
        baseline.load(tmp_path / "base.json")
    assert caught.value.code is Code.BASELINE
    assert str(tmp_path) not in str(caught.value)
