"""How near two constants in one place are: equal, equal within the folding's rounding, rounded to a type, on a quantizer's
grid.

1. *equal*: the same numbers, whatever their type.
2. *folded*: within the slack that folding leaves (see `constants`), where at least one was computed here.
3. *rounded*: within that and two units of roundoff of the coarser type of the two (or half its smallest number); or one is
   exactly the other rounded to float16 or bfloat16 although it is stored wider, and has at least 64 entries.
4. *quantized*: within that and half a step of the grid that one file's own scales give, with 2 % for the rounding of the
   step; the other one lies on none, and loses at most 70 % of its norm: on a grid that is coarse enough all is zero.
"""

from __future__ import annotations

import enum

import numpy as np

from onnxnull.comparison.graphs.constants import ENOUGH, UNITS, Const

_TINY = {"float64": 2.0**-1074, "float32": 2.0**-150, "float16": 2.0**-25, "bfloat16": 2.0**-134}
_HALF = 0.51
_LOST = 0.7


class Nearness(enum.IntEnum):
    """How near constants in one place are; smaller is nearer."""

    EQUAL = 0
    FOLDED = 1
    ROUNDED = 2
    QUANTIZED = 3


def nearness(a: Const | None, b: Const | None) -> Nearness | None:
    """How near two constants are; None where they differ. Raises `EvaluationError`."""
    if a is None or b is None:
        return Nearness.EQUAL if a is b else None
    if a.key == b.key:
        return Nearness.EQUAL
    if a.shape != b.shape or a.kind != b.kind:
        return None
    if a.kind != "f":
        return Nearness.EQUAL if np.array_equal(a.value, b.value) else None
    one, other = a.numbers, b.numbers
    if np.array_equal(one.value, other.value, equal_nan=True):
        return Nearness.EQUAL
    if not np.array_equal(np.isnan(one.value), np.isnan(other.value)):
        return None
    with np.errstate(invalid="ignore"):
        apart = np.abs(one.value - other.value)
    apart = np.where((one.value == other.value) | np.isnan(one.value), 0.0, apart)
    step = one.step + other.step
    if np.any(np.isinf(apart)):  # one is Inf where the other is not
        return None
    slack = one.slack + other.slack
    coarse = max((c.dtype for c in (a, b) if c.dtype in UNITS), key=list(UNITS).index, default="float32")
    if (a.made or b.made) and coarse in ("float32", "float64") and np.all(apart <= slack):
        return Nearness.FOLDED
    if a.dtype == b.dtype == "float16" and not (a.made or b.made):
        return None  # neither is the other rounded
    sizes = np.maximum(np.abs(one.value), np.abs(other.value))
    if np.all(apart <= slack + 2.0 * (UNITS[coarse] * sizes + _TINY[coarse])) or _is_rounded(one.value, other.value):
        return Nearness.ROUNDED
    on_grid = bool(np.any(one.step))
    if on_grid != bool(np.any(other.step)) and np.all(apart <= slack + _HALF * step):
        kept = other if on_grid else one
        if np.linalg.norm(apart) > _LOST * np.linalg.norm(kept.value):
            return None
        return Nearness.QUANTIZED
    return None


def _is_rounded(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether one is the other rounded to float16 or bfloat16, entry by entry."""
    import ml_dtypes

    if a.size < ENOUGH:
        return False
    with np.errstate(over="ignore"):
        return any(
            np.array_equal(wide.astype(np.float32).astype(kind).astype(np.float64), narrow)
            for kind in (np.float16, ml_dtypes.bfloat16)
            for wide, narrow in ((a, b), (b, a))
        )


def distance(a: Const, b: Const) -> float:
    """‖a − b‖/‖b‖, and the norm itself where b is zero; NaN where both hold infinities."""
    if a.shape != b.shape or a.kind != "f" or b.kind != "f":
        return float("nan")
    norm = float(np.linalg.norm(b.value))
    with np.errstate(invalid="ignore"):
        return float(np.linalg.norm(a.value - b.value)) / (norm or 1.0)


def may_be_rearranged(a: Const, b: Const) -> bool:
    """Whether they hold the same sizes in another order, or differ by factors: other constants may undo that."""
    from onnxnull.comparison.closeness import scaled_closeness
    from onnxnull.comparison.verdicts import Verdict

    if a.shape != b.shape or a.kind != "f" or b.kind != "f" or a.size < 2:
        return False
    if not (np.isfinite(a.value).all() and np.isfinite(b.value).all()):
        return False
    sizes = [np.sort(np.abs(k.value), axis=None) for k in (a, b)]
    if np.allclose(sizes[0], sizes[1], rtol=1e-2, atol=1e-3 * float(sizes[1][-1])):
        return True
    blocks = [k.value.reshape(1, k.shape[0], -1) for k in (a, b)]
    return scaled_closeness(blocks[0], blocks[1], ("float32", "float32")).verdict is not Verdict.DIFFERENT


_CLAMPS = ((1e-7, 1e4), (5.96e-8, 65504.0))
"""Between which sizes onnxconverter-common's and onnxruntime's converters to float16 keep numbers."""


def is_clamped(a: Const, b: Const) -> bool:
    """Whether one is the other in float16, sizes outside what a converter keeps moved to its ends."""
    if a.shape != b.shape or a.kind != "f" or b.kind != "f":
        return a.key == b.key
    x, y = np.abs(a.value), np.abs(b.value)
    kept = [x, *(np.where(x == 0.0, 0.0, np.clip(x, low, high)) for low, high in _CLAMPS)]
    off = np.min([np.abs(part - y) for part in kept], axis=0)
    return bool(np.all((off <= 2.0**-10 * y + 2.0**-24) & (np.sign(a.value) * np.sign(b.value) >= 0.0)))
