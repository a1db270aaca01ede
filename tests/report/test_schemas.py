"""The JSON Schemas are valid, strict and complete; what the tool writes for the shipped models follows them.

Tests of the commands check all other JSON that they meet (`tests.schemas`): collisions of every kind, shared models, errors.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from onnxnull import analyze, replay
from onnxnull.analysis import proofs
from onnxnull.collision.search import Place
from onnxnull.documents import schemas
from onnxnull.report import json as report_json
from onnxnull.report import replay as report_replay
from tests.cli.console import ROOT, onnxnull
from tests.collision.bundles import bundled, patch_model
from tests.schemas import conforms, validator

from .batches import HOSTILE, batch, failure, hostile, profile, report, unsupported, weight

SHIPPED = sorted(path.name for path in (ROOT / "models").glob("*.onnx"))
OPTIONAL = {("proofs", "exact")}
"""(schema, field): the only fields that may be absent."""
WORDLESS: frozenset[str] = frozenset()
"""Schemas whose fields need not be described."""


def objects(schema: Any) -> Iterator[dict[str, Any]]:
    """Every schema of an object inside a schema."""
    if isinstance(schema, dict):
        if "properties" in schema:
            yield schema
        for inner in schema.values():
            yield from objects(inner)
    elif isinstance(schema, list):
        for inner in schema:
            yield from objects(inner)


@pytest.mark.parametrize("name", schemas.names())
def test_a_schema_is_valid_and_strict_and_says_what_every_field_is(name: str) -> None:
    schema = json.loads(schemas.text(name))
    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    written = schema["properties"]["schema"]
    assert written.get("enum", [written.get("const")]) == [f"onnxnull.{name}/1"]
    assert schema.get("description") or name in WORDLESS
    for found in objects(schema):
        assert found["additionalProperties"] is False
        absent = set(found["properties"]) - set(found["required"])
        assert all((name, field) in OPTIONAL for field in absent), absent
        for field, described in found["properties"].items():
            assert described.get("description") or name in WORDLESS, field


def test_the_command_prints_the_files() -> None:
    assert {"analysis", "collision", "replay", "proofs", "doctor", "check"} <= set(schemas.names())
    done = onnxnull("schema", "analysis")
    assert (done.returncode, done.stdout) == (0, schemas.text("analysis"))
    wrong = onnxnull("schema", "nonsense")
    assert (wrong.returncode, wrong.stdout) == (4, "")
    assert "'analysis'" in wrong.stderr


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_models(name: str) -> None:
    told = conforms(report_json.render(batch(analyze(ROOT / "models" / name))))
    assert told["models"][0]["weights"]
    conforms(json.dumps(proofs.collect(ROOT / "models" / name)))


@pytest.mark.parametrize("name", [*HOSTILE.values(), "plain"], ids=[*HOSTILE, "plain"])
def test_hand_made_reports(name: str) -> None:
    grouped = weight("g", profile(54, 16, 14, 15, 16), stacked=profile(27, 16, 14, 14), groups=2)
    told = report(grouped, weight("w"), unsupported=(unsupported(name),))
    conforms(report_json.render(batch(told, hostile(name), report(), failures=(failure(name),))))


def test_a_replay_follows_its_schema(tmp_path: Path) -> None:
    bundled(tmp_path / "all", patch_model(tmp_path / "m.onnx"), Place(layer="all"))
    document = conforms(report_replay.render_json("all", replay(tmp_path / "all")))
    assert len(document["collisions"]) > 1
    assert document["confirmed"]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda document: document.update(extra=1),
        lambda document: document.pop("errors"),
        lambda document: document["models"][0]["weights"][0].update(inputs=-1),
        lambda document: document["models"][0]["weights"][0].update(inputs="27"),
        lambda document: document["models"][0]["weights"][0]["nodes"].clear(),
        lambda document: document["models"][0]["weights"][0]["rank"]["float32"].update(certainty="sure"),
        lambda document: document["models"][0]["model"].update(sha256="ab"),
        lambda document: document["errors"][0].update(code="No Code"),
        lambda document: document["models"][0]["summary"]["full"].update(input_nullity=[1]),
    ],
)
def test_what_breaks_a_schema_is_found(spoil: Callable[[Any], object]) -> None:
    document = json.loads(report_json.render(batch(report(weight("w")), failures=(failure(),))))
    validator("analysis").validate(document)
    spoiled = copy.deepcopy(document)
    spoil(spoiled)
    with pytest.raises(jsonschema.ValidationError):
        validator("analysis").validate(spoiled)
