"""JSON of strangers is read one way or not at all."""

from __future__ import annotations

import json

import pytest

from onnxnull import strict_json

TEXT = '{"a": [1, -2.5e3, true, null, "\\u00fc\\ud83d\\ude00 ü"]}'


def test_what_json_says() -> None:
    assert strict_json.loads(TEXT.encode()) == json.loads(TEXT) == {"a": [1, -2500.0, True, None, "ü😀 ü"]}
    assert strict_json.loads(b"-" + b"9" * 300) == -int("9" * 300)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "line 1"),
        (b"{]", "line 1"),
        (b"{} {}", "Extra data"),
        (TEXT.encode("utf-16"), "not UTF-8"),
        (TEXT.encode("utf-16-le"), "not UTF-8"),
        ('{"a": 1}'.encode("utf-16-le"), "line 1"),
        ('{"a": 1}'.encode("utf-32-be"), "line 1"),
        (TEXT.encode("utf-8-sig"), "byte order mark"),
        (TEXT.encode("latin-1", "replace"), "not UTF-8"),
        (b'{"a": "\xed\xa0\x80"}', "not UTF-8"),
        (rb'{"a": "\ud800"}', "surrogate"),
        (rb'{"a": "\uDC00x"}', "surrogate"),
        (rb'{"\udfff": 1}', "surrogate"),
        (rb'[[{"a": ["\ude00\ud83d"]}]]', "surrogate"),
        (b'{"a": 1, "a": 1}', "twice"),
        (b'[{"b": {"a": 1, "b": 2, "a": 3}}]', "twice"),
        (b"[NaN]", "no finite number"),
        (b"[-Infinity]", "no finite number"),
        (b"1e999", "no finite number"),
        (b"9" * 5000, "5,000 digits"),
        (b"[" * 100_000, "nested too deep"),
        (b'{"a":' * 100_000, "nested too deep"),
    ],
    ids=range(22),
)
def test_refused(data: bytes, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        strict_json.loads(data)
