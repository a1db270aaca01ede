"""Fields of a collision.json that comes from a stranger: each of the type and the size that it should have, or refused."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Never, TypeVar

from onnxnull import strict_json
from onnxnull.errors import Code, OnnxnullError, one_line
from onnxnull.evidence.write_bundle import DOCUMENT

T = TypeVar("T")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_NO_NUMBERS = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}
_MOST = 100_000
"""Entries of any list or object that are looked at."""


def refuse(seen: str) -> Never:
    """Raise the error for evidence that is not to be trusted."""
    raise OnnxnullError(Code.EVIDENCE, seen)


def read_bytes(folder: Path, name: str, largest: int) -> bytes:
    """A plain file inside the folder, read once, so that what is hashed is what is parsed."""
    path = folder / name
    real, inside = Path(os.path.realpath(path)), Path(os.path.realpath(folder))
    if not real.is_relative_to(inside):
        refuse(f"{name!r} leads out of the bundle")
    if not real.is_file():
        refuse(f"{str(folder)!r} has no file {name!r}")
    try:
        size = real.stat().st_size
        if size > largest:
            raise OnnxnullError(Code.TOO_LARGE, f"{name!r} has {size} bytes, more than {largest}")
        with real.open("rb") as file:
            return file.read(size + 1)  # a larger number would be set aside as memory at once
    except OSError as error:
        raise OnnxnullError(Code.UNREADABLE, f"{name!r}: {error.strerror}") from None


def parse(data: bytes) -> Any:
    """The document. Raises `OnnxnullError` where it is no JSON that reads one way only."""
    try:
        return strict_json.loads(data)
    except ValueError as error:
        refuse(f"{DOCUMENT} is not JSON as onnxnull writes it: {one_line(error, 120)}")


def get(where: Mapping[str, Any], key: str, kind: type[T] | tuple[type[T], ...]) -> T:
    """An entry of exactly this type (True is no number)."""
    found = where.get(key)
    kinds = kind if isinstance(kind, tuple) else (kind,)
    if type(found) not in kinds or (isinstance(found, list | dict) and len(found) > _MOST):
        refuse(f"{DOCUMENT} has no valid {key!r}")
    return found  # type: ignore[return-value]


def objects(where: Mapping[str, Any], key: str) -> list[dict[str, Any]]:
    """A list of objects."""
    found: list[Any] = get(where, key, list)
    if any(type(each) is not dict for each in found):
        refuse(f"{DOCUMENT} has no valid {key!r}")
    return found


def texts(where: Mapping[str, Any], key: str) -> tuple[str, ...]:
    """A list of texts."""
    found: list[Any] = get(where, key, list)
    if any(type(each) is not str for each in found):
        refuse(f"{DOCUMENT} has no valid {key!r}")
    return tuple(found)


def sizes(found: Any, key: str) -> tuple[int, ...]:
    """A list of whole numbers that are not negative, as dimensions are."""
    if type(found) is not list or len(found) > 64 or any(type(n) is not int or not 0 <= n < 1 << 62 for n in found):
        refuse(f"{DOCUMENT} has no valid {key!r}")
    return tuple(found)


def finite(where: Mapping[str, Any], key: str) -> float:
    """A finite number."""
    found = where.get(key)
    if type(found) is int and abs(found) < 1 << 62:
        found = float(found)
    if type(found) is not float or not math.isfinite(found):
        refuse(f"{DOCUMENT} has no valid {key!r}")
    return found


def measured(where: Mapping[str, Any], key: str) -> float | None:
    """A number as a collision's document writes it: NaN and infinities as texts, null where there is none."""
    if key in where and where[key] is None:
        return None
    return _NO_NUMBERS[where[key]] if where.get(key) in ("nan", "inf", "-inf") else finite(where, key)


def digest_of(found: Any, key: str) -> str:
    """A SHA-256 in hex."""
    if type(found) is not str or not _SHA256.fullmatch(found):
        refuse(f"{DOCUMENT} has no valid SHA-256 of {key!r}")
    return found


def one_of(kind: type[T], found: Any, key: str) -> T:
    """A member of an enumeration, by its value."""
    try:
        return kind(found)  # type: ignore[call-arg]
    except (ValueError, TypeError):
        refuse(f"{DOCUMENT} has no valid {key!r}")
