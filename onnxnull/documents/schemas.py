"""JSON Schemas (draft 2020-12) of all that onnxnull writes as JSON: made of a document's type, or a file in report/schemas."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib import import_module, resources
from importlib.resources.abc import Traversable

from onnxnull.documents.base import schema_of

_TYPES: Mapping[str, str] = {
    "analysis": "AnalysisDocument",
    "check": "CheckDocument",
    "doctor": "DoctorDocument",
    "proofs": "ProofsDocument",
}
"""Module of this package → the type of its document."""


def names() -> list[str]:
    """The schemas, in alphabetical order."""
    stored = (entry.name.removesuffix(".json") for entry in _folder().iterdir() if entry.name.endswith(".json"))
    return sorted({*_TYPES, *stored})


def text(name: str) -> str:
    """A schema as text. Raises KeyError for another name."""
    if name in _TYPES:
        kind = getattr(import_module(f"onnxnull.documents.{name}"), _TYPES[name])
        return json.dumps(schema_of(kind), indent=1, ensure_ascii=False) + "\n"
    if name not in names():
        raise KeyError(name)
    return _folder().joinpath(f"{name}.json").read_text(encoding="utf-8")


def _folder() -> Traversable:
    return resources.files("onnxnull").joinpath("report", "schemas")
