"""Checks the recorded settings of a perturbation: their names and types only.

All of it is the bundle's own word: `replay` repeats it, and holds only `epsilon`, `free` and `box` against the arrays.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from onnxnull.collision.perturb import PATTERNS
from onnxnull.evidence.untrusted_json import refuse
from onnxnull.evidence.write_bundle import DOCUMENT
from onnxnull.fiber.walk import Stop

Holds = Callable[[Any], bool]
_LARGEST = 1e300
_ROUNDED = 2e-5


def check_pattern(found: object) -> None:
    """Raise `OnnxnullError` (`evidence`) where it names none."""
    if found not in (*PATTERNS, "toward"):
        refuse(f"{DOCUMENT} has no valid 'pattern'")


def read_parameters(found: Mapping[str, Any], *, fiber: bool) -> dict[str, Any]:
    """Those that this version knows.

    Raises:
        OnnxnullError: `evidence`, one is absent or of another type, or an attack leaves its own ε.
    """
    known = _EVERY | (_FIBER if fiber else {}) | (_ATTACK if _ATTACK.keys() & found.keys() else {})
    for name, holds in known.items():
        if name not in found or not holds(found[name]):
            refuse(f"{DOCUMENT} has no valid parameter {name!r}")
    if "attack" in known and found["attack_length"] > found["attack_epsilon"] * (1 + _ROUNDED):
        refuse(
            f"{DOCUMENT} contradicts itself: an attack came {found['attack_length']:g} far, within {found['attack_epsilon']:g}"
        )
    return {name: found[name] for name in known}


def _number(value: Any) -> bool:
    return type(value) in (int, float) and abs(value) < _LARGEST


def _measured(value: Any) -> bool:
    """As `collision_document.number` writes it."""
    return _number(value) or value in ("nan", "inf", "-inf")


def _whole(value: Any) -> bool:
    return type(value) is int and value >= 0


def _positive(value: Any) -> bool:
    return _number(value) and value > 0


def _text(value: Any) -> bool:
    return type(value) is str


def _truth(value: Any) -> bool:
    return type(value) is bool


def _pair(value: Any) -> bool:
    return type(value) is list and len(value) == 2 and all(map(_measured, value))


def _or_none(holds: Holds) -> Holds:
    return lambda value: value is None or holds(value)


def _one_of(*values: str) -> Holds:
    return lambda value: value in values


_EVERY: dict[str, Holds] = {
    "toward": _or_none(_text),
    "seed": _whole,
    "beta": _or_none(_number),
    "epsilon": _or_none(_number),
    "largest": _truth,
    "box": _or_none(_pair),
    "free": _or_none(_whole),
}
_FIBER: dict[str, Holds] = {
    "method": _one_of("fiber"),
    "stop": _one_of(*(stop.label for stop in Stop)),
    "share": _or_none(_measured),
    "residual": _or_none(_measured),
    "rank": _or_none(_whole),
    "rows": _whole,
    "steps": _whole,
}
_ATTACK: dict[str, Holds] = {
    "attack": _one_of("pgd", "asma", "given"),
    "norm": _one_of("linf", "l2"),
    "attack_epsilon": _positive,
    "attack_length": _number,
}
