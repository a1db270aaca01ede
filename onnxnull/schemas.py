"""JSON Schemas (draft 2020-12) of all that onnxnull writes as JSON: a file in report/schemas is one, its stem is its name."""

from __future__ import annotations

from importlib import resources
from importlib.resources.abc import Traversable


def names() -> list[str]:
    """The schemas, in alphabetical order."""
    return sorted(entry.name.removesuffix(".json") for entry in _folder().iterdir() if entry.name.endswith(".json"))


def text(name: str) -> str:
    """A schema as its file has it. Raises KeyError for another name."""
    if name not in names():
        raise KeyError(name)
    return _folder().joinpath(f"{name}.json").read_text(encoding="utf-8")


def _folder() -> Traversable:
    return resources.files("onnxnull").joinpath("report", "schemas")
