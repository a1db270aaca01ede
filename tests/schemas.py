"""Whether JSON that the tool wrote follows its schema: what the tests of every command ask of it."""

from __future__ import annotations

import functools
import json
from typing import Any

import jsonschema

from onnxnull.documents import schemas


@functools.cache
def validator(name: str) -> Any:
    """Of the schema `name`."""
    return jsonschema.Draft202012Validator(json.loads(schemas.text(name)))


def conforms(written: str) -> Any:
    """The document, after it was checked against the schema that it names. Raises where it breaks it, or names none."""
    document = json.loads(written)
    name, version = document["schema"].removeprefix("onnxnull.").split("/")
    assert version == "1"
    validator(name).validate(document)
    return document


def check_output(written: str) -> None:
    """`conforms`, if what a command wrote is JSON of ours."""
    if written.startswith(('{\n "schema": "onnxnull.', '{"schema":"onnxnull.')):
        conforms(written)
