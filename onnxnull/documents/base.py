"""What all documents share: one encoder, one decoder, one maker of JSON Schemas (draft 2020-12).

A document is a tree of frozen structs; a field is described where it is declared. Byte-identical from run to run and from
folder to folder: no times, no absolute paths, floats with six significant digits; what was not computed is null, never 0.
"""

from __future__ import annotations

import enum
import json
import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Meta

from onnxnull.errors import OnnxnullError

T = TypeVar("T")


class Document(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An object of a document."""


def about(description: str) -> Meta:
    """What a field says, for its schema."""
    return Meta(description=description)


Count = Annotated[int, Meta(ge=0)]
Percent = Annotated[int, Meta(ge=0, le=100)]
Positive = Annotated[int, Meta(ge=1)]
Size = Annotated[float, Meta(ge=0)]
Bounds = tuple[Count, Count]
"""[lower, upper], both included, of a dimension."""
Number = float | Literal["nan", "inf", "-inf"]
"""A number with six significant digits, or the text of what is no finite number."""
Sha256 = Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
Slug = Annotated[str, Meta(pattern="^[a-z0-9]+(-[a-z0-9]+)*$")]
Certainty = Literal["exact", "certified", "numerical", "ambiguous"]
"""How sure a rank is."""
HexFloat = Annotated[str, Meta(pattern=r"^-?0x[01]\.[0-9a-f]+p[+-][0-9]+$")]


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """An object of a document as far as it is read back: what it holds beside is not looked at."""


class ErrorEntry(Document):
    """Why something was not done."""

    file: Annotated[
        str | None, about("The path as typed, only its last part where that was absolute; null where it is of no file.")
    ]
    code: Annotated[Slug, about("Stable code of the error; the list grows.")]
    seen: Annotated[str, about("What was found.")]
    remedy: Annotated[str, about("What to do about it.")]


def error_entry(error: OnnxnullError) -> ErrorEntry:
    """An error, of the file that it names."""
    return ErrorEntry(file=error.file, code=error.code.code, seen=error.seen, remedy=error.remedy)


def digits(value: float) -> float:
    """A float with six significant digits."""
    return float(f"{value:.6g}")


def number(value: float) -> float | None:
    """The same; None where it overflowed."""
    return digits(value) if math.isfinite(value) else None


def word(member: enum.Enum) -> Any:
    """The value of a member, where a document lists the same words."""
    return member.value


def plain(document: Document) -> dict[str, Any]:
    """The document in dictionaries and lists."""
    found: dict[str, Any] = msgspec.to_builtins(document)
    return found


def text_of(document: Mapping[str, Any]) -> str:
    """A plain document as text, in ASCII: names from outside reach neither a terminal nor an encoding raw."""
    return json.dumps(document, indent=1, allow_nan=False) + "\n"


def encode(document: Document) -> str:
    """The document as text."""
    return text_of(plain(document))


def read(value: Any, kind: type[T]) -> T:
    """Parsed JSON from outside as the type that it should be.

    Raises:
        ValueError: it is not; the message names the field.
    """
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        what, _, place = str(error).partition(" - at `$")
        raise ValueError(f"{place.strip('`.') or 'it'}: {what.lower().replace('`', '')}") from None


def schema_of(kind: type[Document]) -> dict[str, Any]:
    """The JSON Schema of a document with a field `schema`, by whose text it is called."""
    (root,), parts = msgspec.json.schema_components([kind], ref_template="#/$defs/{name}")
    own = parts.pop(root["$ref"].rsplit("/", 1)[1])
    for part in (own, *parts.values()):
        part["description"] = " ".join(part["description"].split())
        for described in part["properties"].values():
            described.setdefault("description", "Which of the alternatives it is.")  # of a tag, which is no field
    (name,) = own["properties"]["schema"]["enum"]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:{name.replace('.', ':').replace('/', ':')}",
        **own,
        "$defs": parts,
    }
