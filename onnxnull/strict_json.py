"""JSON from a file that a stranger may have written, read one way or not at all (I-JSON, RFC 7493); paths as texts of it."""

from __future__ import annotations

import json
import math
from typing import Any

_DIGITS = 400
"""Of a whole number: none that onnxnull writes has more."""


def loads(data: bytes) -> Any:
    """The value of a JSON text.

    Raises:
        ValueError: it is not UTF-8 without a byte order mark, no JSON, names a key twice in one object, holds NaN, Infinity, a
            number beyond double precision or half a surrogate pair, or is nested too deep; the message says which.
    """
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"byte {error.start} is not UTF-8") from None
    if text.startswith("\ufeff"):
        raise ValueError("it begins with a byte order mark")
    try:
        found = json.loads(text, parse_constant=_finite, parse_float=_finite, parse_int=_whole, object_pairs_hook=_distinct)
    except RecursionError:
        raise ValueError("it is nested too deep") from None
    if "\\ud" in text or "\\uD" in text:
        try:
            json.dumps(found, ensure_ascii=False).encode("utf-8")
        except UnicodeEncodeError:
            raise ValueError("a text holds half a surrogate pair") from None
    return found


def path_text(path: str) -> str:
    """A path as a document can hold it, whatever the locale: what is not UTF-8 becomes U+FFFD."""
    return path.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text[:40]} is no finite number")
    return number


def _whole(text: str) -> int:
    if len(text) > _DIGITS:
        raise ValueError(f"a whole number has {len(text):,} digits")
    return int(text)


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key comes twice in one object")
    return found
