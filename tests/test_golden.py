"""What every command says of the shipped models is what it said: the golden files, written by scripts/write_golden.py.

Structure, verdicts and integers exactly; floats to 1e-3, and those below 1e-5 on both sides are equal: they are roundings.
A change that is meant is written anew with the script and listed in CHANGELOG.md.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from scripts.write_golden import COMMANDS, GOLDEN, answer

RELATIVE, ROUNDING = 1e-3, 1e-5


def differences(golden: Any, found: Any, place: str = "") -> Iterator[str]:
    """Where two documents part."""
    if isinstance(golden, dict) and isinstance(found, dict) and golden.keys() == found.keys():
        for key in golden:
            yield from differences(golden[key], found[key], f"{place}.{key}")
    elif isinstance(golden, list) and isinstance(found, list) and len(golden) == len(found):
        for index, (one, other) in enumerate(zip(golden, found, strict=True)):
            yield from differences(one, other, f"{place}[{index}]")
    elif isinstance(golden, float) and isinstance(found, float):
        largest = max(abs(golden), abs(found))
        if largest > ROUNDING and abs(golden - found) > RELATIVE * largest:
            yield f"{place}: {golden} was, {found} is"
    elif type(golden) is not type(found) or golden != found:
        yield f"{place}: {golden!r} was, {found!r} is"


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_says_what_it_said(name: str, tmp_path: Path) -> None:
    """JSON of one command on one shipped model, its exit code and the codes of its errors."""
    golden = json.loads((GOLDEN / f"{name}.json").read_text(encoding="utf-8"))
    assert list(differences(golden, answer(COMMANDS[name], tmp_path))) == []


def test_every_golden_file_belongs_to_a_command() -> None:
    """A file that nothing writes would never be looked at."""
    assert {path.stem for path in GOLDEN.glob("*.json")} == set(COMMANDS)


@pytest.mark.parametrize(
    ("golden", "found", "same"),
    [
        (1, 1.0, False),
        (1, True, False),
        (3, 4, False),
        ("holds", "broken", False),
        (None, 0, False),
        ({"a": 1}, {"a": 1, "b": None}, False),
        ([1.0], [1.0, 1.0], False),
        (1.0, 1.0009, True),
        (1.0, 1.0011, False),
        (1e-16, 3e-7, True),
        (1e-16, 2e-5, False),
        ({"a": [0.5, "x"]}, {"a": [0.5, "x"]}, True),
    ],
)
def test_what_counts_as_a_difference(golden: Any, found: Any, same: bool) -> None:
    """Types and integers exactly, floats nearly."""
    assert (list(differences(golden, found)) == []) is same
