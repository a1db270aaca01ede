"""Whether a report of the gate is well-formed in every format."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import jsonschema

from onnxnull.documents import schemas
from onnxnull.policy.results import CheckReport
from onnxnull.report import check_json, check_markdown, junit, sarif


def _validator(schema: str) -> Any:
    """Of a schema, which is valid itself; SARIF's is of draft 4, ours of 2020-12. Formats are checked, too."""
    read = json.loads(schema)
    kind = jsonschema.validators.validator_for(read)
    kind.check_schema(read)
    return kind(read, format_checker=kind.FORMAT_CHECKER)


SARIF = _validator((Path(__file__).parent / "schemas" / "sarif-2.1.0-rtm.5.json").read_text(encoding="utf-8"))
OURS = _validator(schemas.text("check"))
COMMENT = 65_536
"""Characters that a comment on a pull request may have at GitHub."""


def problems(document: Any, validator: Any) -> list[str]:
    """What a schema has against a document."""
    return [f"{error.json_path}: {error.message[:200]}" for error in validator.iter_errors(document)]


def valid(found: CheckReport) -> dict[str, Any]:
    """All formats are well-formed; the SARIF run."""
    document = json.loads(sarif.render(found))
    assert problems(document, SARIF) == []
    assert problems(json.loads(check_json.render(found)), OURS) == []
    ET.fromstring(junit.render(found).encode())
    assert len(check_markdown.render(found)) < COMMENT
    (run,) = document["runs"]
    assert isinstance(run, dict)
    return run


def valid_and_whole(found: CheckReport) -> None:
    """All formats are well-formed, and SARIF has every model and every finding, each at a place of its own."""
    run = valid(found)
    assert len(run["artifacts"]) == len(found.models)
    assert len(run["results"]) == len(found.all_findings)
    names = {entry["name"] for result in run["results"] for entry in result["locations"][0]["logicalLocations"]}
    assert {finding.subject.name for finding in found.all_findings} <= names
    places = [
        (
            result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"],
            tuple(sorted(result["partialFingerprints"].items())),
        )
        for result in run["results"]
    ]
    assert len(set(places)) == len(places)
