"""Sets of numbers, entry by entry: an interval of finite ones, and whether NaN, +Inf and −Inf belong to it.

A set says what an entry may be; it *must* be something where nothing else is left (no finite number: the interval is empty).
Whether an entry is the same for every input is kept beside its set: what a network computes of constants need not be evaluated
to be constant. −0 and 0 are one number here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import onnx_ir as ir

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
INF = np.inf

LARGEST = 1 << 16
"""Most entries that are told apart; of larger tensors the union of all entries' sets is kept."""

SHARP = 2.0**-40
"""What a number loses in arithmetic that hardly rounds: less than any float32 does, more than float64 loses in bounds."""
_AT_A_TIME = 1 << 21
"""Most entries of an operation on sets."""
_BITS = {"FLOAT16": 10, "BFLOAT16": 7, "FLOAT": 23, "DOUBLE": 52}
"""Bits of the fraction."""
_SINGLE, _DOUBLE = float(np.finfo(np.float32).max), float(np.finfo(np.float64).max)
_MOST = {"FLOAT16": _SINGLE, "BFLOAT16": _SINGLE, "FLOAT": _SINGLE}
"""Largest number; float16 and bfloat16 may run through float32."""
_OVERFLOW = {"FLOAT16": 65504.0, "BFLOAT16": 3.38e38, "FLOAT": 1.01 * _SINGLE, "DOUBLE": _DOUBLE}
"""Above that, infinite at once."""
_LEAST = {"FLOAT16": 2.0**-14, "DOUBLE": 2.0**-1022}
"""Least normal number; that of float32 for the others."""
_NOTHING = {"FLOAT": 2.0**-160}
"""Below that, 0 whatever the rounding."""


@dataclass(frozen=True, slots=True, eq=False)
class Range:
    """The sets of a tensor's entries. All arrays have one shape, which NumPy broadcasts to the tensor's.

    Attributes:
        lo, hi: of the finite numbers; lo > hi where there are none. Infinite where nothing bounds them.
        nan, pinf, ninf: whether NaN, +Inf, −Inf belong to the set.
        fixed: whether the entry is the same for all inputs of the same shapes.
        sized: whether the tensor's shape is the same for all inputs of the same shapes.
        members: of a sequence: the sets of its tensors, one by one, where they are known; the arrays are of all entries of all.
    """

    lo: Floats
    hi: Floats
    nan: Bools
    pinf: Bools
    ninf: Bools
    fixed: Bools
    sized: bool = True
    members: tuple[Member, ...] | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the arrays, not of the tensor."""
        return self.lo.shape

    @property
    def parts(self) -> tuple[np.ndarray, ...]:
        """The arrays, in the order of the attributes."""
        return self.lo, self.hi, self.nan, self.pinf, self.ninf, self.fixed

    @property
    def empty(self) -> Bools:
        """Where no finite number belongs to the set."""
        return self.lo > self.hi

    @property
    def only_nan(self) -> Bools:
        """Where the entry must be NaN."""
        return self.empty & self.nan & ~self.pinf & ~self.ninf

    @property
    def infinite(self) -> Bools:
        """Where an infinity belongs to the set."""
        return self.pinf | self.ninf

    @property
    def may_be_positive(self) -> Bools:
        """Where a number above 0 belongs to the set."""
        return self.pinf | (~self.empty & (self.hi > 0))

    @property
    def may_be_negative(self) -> Bools:
        """Where a number below 0 belongs to the set."""
        return self.ninf | (~self.empty & (self.lo < 0))

    @property
    def may_be_zero(self) -> Bools:
        """Where 0 belongs to the set."""
        return self.contains(0.0)

    def contains(self, number: float) -> Bools:
        """Where a finite number belongs to the set."""
        return (self.lo <= number) & (number <= self.hi)

    @property
    def tame(self) -> bool:
        """Whether every entry must be finite."""
        return not bool(np.any(self.nan | self.pinf | self.ninf))

    def varies(self) -> Range:
        """The same sets, of entries that may depend on the input where the set has more than one number."""
        return made(self.lo, self.hi, self.nan, self.pinf, self.ninf, sized=self.sized)


@dataclass(frozen=True, slots=True, eq=False)
class Member:
    """A tensor of a sequence; its shape as far as it is known."""

    range: Range
    shape: tuple[int | None, ...] | None


def assembled(parts: Sequence[np.ndarray], sized: bool) -> Range:
    """A range of these arrays of one shape, in the order of `Range.parts`."""
    lo, hi, nan, pinf, ninf, fixed = parts
    return Range(lo, hi, nan, pinf, ninf, fixed, sized)


def some(flag: np.ndarray, axes: tuple[int, ...], *, keep: bool = True) -> Bools:
    """Where a flag is met anywhere along `axes`."""
    found: Bools = np.any(flag, axis=axes, keepdims=keep)
    return found


def made(
    lo: object,
    hi: object,
    nan: object = False,
    pinf: object = False,
    ninf: object = False,
    fixed: object = False,
    sized: bool = True,
) -> Range:
    """A `Range` of broadcast parts; entries of a single number (or only NaN, only one infinity) are fixed."""
    low, high = np.asarray(lo, np.float64), np.asarray(hi, np.float64)
    flags: list[Bools] = [np.asarray(flag, np.bool_) for flag in (nan, pinf, ninf, fixed)]
    if any(array.shape != low.shape for array in (high, *flags)):
        low, high, *flags = np.broadcast_arrays(low, high, *flags)
    empty = low > high
    low, high = np.where(empty, INF, low), np.where(empty, -INF, high)
    kinds = flags[0].astype(np.int8) + flags[1] + flags[2]
    single = np.where(empty, kinds == 1, (low == high) & np.isfinite(low) & (kinds == 0))
    return Range(low, high, flags[0], flags[1], flags[2], flags[3] | single, sized)


def constant(array: np.ndarray) -> Range:
    """The sets of a constant: each entry is its own."""
    whole = np.asarray(array)
    if whole.dtype.kind in "iub":
        numbers = whole.astype(np.float64)
        exact = np.abs(numbers) <= 2.0**53
        low, high = np.where(exact, numbers, np.nextafter(numbers, -INF)), np.where(exact, numbers, np.nextafter(numbers, INF))
        return made(low, high, fixed=True)
    numbers = whole.astype(np.float64)
    finite = np.isfinite(numbers)
    return made(
        np.where(finite, numbers, INF),
        np.where(finite, numbers, -INF),
        np.isnan(numbers),
        numbers == INF,
        numbers == -INF,
        fixed=True,
    )


def summary(array: np.ndarray) -> Range:
    """The set of all entries of a large constant together."""
    numbers = array.astype(np.float32) if array.dtype.kind == "V" else array
    if numbers.dtype.kind != "f":
        ends = constant(np.asarray([numbers.min(), numbers.max()]))
        return collapsed(ends)
    finite = np.isfinite(numbers)
    entries: list[float] = []
    if finite.any():
        entries += [float(numbers.min(where=finite, initial=np.inf)), float(numbers.max(where=finite, initial=-np.inf))]
    tests = ((np.nan, np.isnan(numbers)), (np.inf, numbers == np.inf), (-np.inf, numbers == -np.inf))
    entries += [odd for odd, test in tests if test.any()]
    return collapsed(constant(np.asarray(entries, np.float64)))


def number(value: float) -> Range:
    """The set of one number, NaN and the infinities among them."""
    return constant(np.asarray(value, np.float64))


def between(lo: float, hi: float) -> Range:
    """Any finite number from `lo` to `hi`."""
    return made(lo, hi)


def anything(dtype: ir.DataType | None, *, finite: bool = False, sized: bool = True) -> Range:
    """All numbers of a type; without NaN and infinities where `finite`."""
    lo, hi = bounds(dtype)
    wild = not finite and (dtype is None or not _whole(dtype))
    return made(lo, hi, wild, wild, wild, sized=sized)


def bounds(dtype: ir.DataType | None) -> tuple[float, float]:
    """The least and the largest finite number of a type."""
    if dtype is None:
        return -_DOUBLE, _DOUBLE
    name = dtype.name
    if name == "BOOL":
        return 0.0, 1.0
    if _whole(dtype):
        bits = int(dtype.bitwidth)
        return (
            (0.0, 2.0**bits - 1)
            if name.startswith("U")
            else (-(2.0 ** (bits - 1)), 2.0 ** (bits - 1) - (1 if bits < 54 else 0))
        )
    most = _MOST.get(name, _DOUBLE)
    return -most, most


def _whole(dtype: ir.DataType) -> bool:
    return dtype.name == "BOOL" or bool(dtype.is_integer())


def aligned(*ranges: Range) -> tuple[Range, ...]:
    """The ranges, each of one set alone where their shapes do not fit each other or have too many entries together."""
    try:
        shape = np.broadcast_shapes(*(each.shape for each in ranges))
    except ValueError:
        return tuple(collapsed(each) for each in ranges)
    if np.prod(shape, dtype=np.float64) > _AT_A_TIME:
        return tuple(collapsed(each) for each in ranges)
    return ranges


def collapsed(found: Range, axes: Sequence[int] | None = None) -> Range:
    """The union of the sets along `axes` (kept with length 1); of all of them, as a scalar, where none are given."""
    if found.lo.size == 0:
        return replace(anything(None), sized=found.sized)
    if axes is None and not found.shape:
        return found
    if axes is None:
        found, axes = reshaped(found, (-1,)), (0,)
        return reshaped(collapsed(found, axes), ())
    along = tuple(axes)
    return made(
        np.min(found.lo, axis=along, keepdims=True),
        np.max(found.hi, axis=along, keepdims=True),
        some(found.nan, along),
        some(found.pinf, along),
        some(found.ninf, along),
        np.all(found.fixed, axis=along, keepdims=True),
        found.sized,
    )


def mapped(found: Range, function: Callable[[np.ndarray], np.ndarray]) -> Range:
    """The same entries in another arrangement, whatever `function` does to arrays."""
    return assembled([function(part) for part in found.parts], found.sized)


def reshaped(found: Range, shape: tuple[int, ...]) -> Range:
    """The arrays in another shape of as many entries."""
    return mapped(found, lambda array: array.reshape(shape))


def union(*ranges: Range) -> Range:
    """What may be one or the other; the same for every input only where that is a single number."""
    ranges = aligned(*ranges)
    first = ranges[0]
    lo, hi, nan, pinf, ninf = first.lo, first.hi, first.nan, first.pinf, first.ninf
    for other in ranges[1:]:
        lo, hi = np.minimum(lo, other.lo), np.maximum(hi, other.hi)
        nan, pinf, ninf = nan | other.nan, pinf | other.pinf, ninf | other.ninf
    return made(lo, hi, nan, pinf, ninf, sized=all(each.sized for each in ranges))


def chosen(where: Bools, one: Range, other: Range) -> Range:
    """`one` where the condition is met, `other` elsewhere."""
    one, other = aligned(one, other)
    lo, hi, nan, pinf, ninf, fixed = (np.where(where, a, b) for a, b in zip(one.parts, other.parts, strict=True))
    return made(lo, hi, nan, pinf, ninf, fixed, one.sized and other.sized)


def simplified(found: Range) -> Range:
    """One set instead of many where they differ in their bounds only."""
    if found.lo.size <= 1:
        return found
    for flag in (found.nan, found.pinf, found.ninf, found.fixed, found.empty):
        if flag.any() != flag.all():
            return found if found.lo.size <= LARGEST else collapsed(found)
    return collapsed(found)


def loosened(found: Range, relative: float = 1e-3, absolute: float = 1e-5) -> Range:
    """Wider intervals, for functions that a runtime approximates. What is fixed stays so."""
    low = np.where(np.isinf(found.lo), found.lo, found.lo - relative * np.abs(found.lo) - absolute)
    high = np.where(np.isinf(found.hi), found.hi, found.hi + relative * np.abs(found.hi) + absolute)
    return Range(
        np.where(found.empty, INF, low),
        np.where(found.empty, -INF, high),
        found.nan,
        found.pinf,
        found.ninf,
        found.fixed,
        found.sized,
    )


def rounded(found: Range, dtype: ir.DataType | None, *, within: bool = False, sharp: bool = False) -> Range:
    """The sets after rounding to a type: bounds that the type has stay, others move outward.

    `within` an operator, a result beyond the largest number may also be kept, where a runtime fuses what comes next. A `sharp`
    one loses `SHARP` of itself, whatever the type.

    Finite numbers stay finite, except where all of them lie beyond the largest of float32 or float64: there they must be
    infinite. float16 and bfloat16 may run through float32, so there they only may. Integers that may wrap may be any.
    """
    if dtype is not None and _whole(dtype):
        least, most = bounds(dtype)
        outside = ~found.empty & ((found.lo < least) | (found.hi > most))
        lost = outside | found.nan | found.pinf | found.ninf
        return made(np.where(lost, least, found.lo), np.where(lost, most, found.hi), fixed=found.fixed, sized=found.sized)
    name = "" if dtype is None else dtype.name
    least, most = bounds(dtype)
    empty = found.empty
    ulp, tiny = SHARP if sharp else 2.0 ** -(_BITS.get(name, 7) - 1), _LEAST.get(name, 2.0**-126)
    known = {"FLOAT": np.float32, "FLOAT16": np.float16, "DOUBLE": np.float64}.get(name)

    nothing = 0.0 if within else _NOTHING.get(name, 0.0)

    def outward(bound: Floats, sign: float) -> Floats:
        bound = np.where(np.abs(bound) < nothing, 0.0, bound)
        kept = bound == (np.clip(np.round(bound), -128, 128) if known is None else bound.astype(known))
        moved = np.where(kept, bound, bound + sign * ulp * np.abs(bound))
        flushed = (np.abs(bound) < tiny) & (sign * bound < 0)  # towards 0 or beyond
        return np.where(flushed, 0.0, np.where(~kept & (np.abs(bound) < tiny) & (bound != 0), sign * tiny, moved))

    low, high = outward(found.lo, -1.0), outward(found.hi, 1.0)
    overflow = _OVERFLOW.get(name, INF)
    above, below = ~empty & (low > overflow), ~empty & (high < -overflow)
    must = name in ("FLOAT", "DOUBLE")
    if not within:
        low, high = np.clip(low, least, most), np.clip(high, least, most)
    gone = empty | ((above | below) if must else np.False_)
    return made(
        np.where(gone, INF, low),
        np.where(gone, -INF, high),
        found.nan,
        found.pinf | above,
        found.ninf | below,
        found.fixed,
        found.sized,
    )
