"""Constants of a normal form: lazy numbers with the rounding that folding them costs.

Two exporters fold one constant in float32, in other orders; the numbers that come out differ by roundings. A `Const`
therefore knows, entry by entry, its value (in float64), its *slack*, how far an exporter's own rounding may have moved it,
and its *step*, that of a quantizer's grid, 0 where it lies on none. Slack follows from the operations (running error
analysis): a product of a and b has |a|·slack(b) + |b|·slack(a) + 2u·|ab|, with u the unit roundoff of the coarser type. What
is stored has no slack.

Nothing is computed before it is asked for: constants with equal keys are equal, and most of them are never evaluated.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from onnxnull.comparison.numbering import content, digest

UNITS = {"float64": 2.0**-53, "float32": 2.0**-24, "float16": 2.0**-11, "bfloat16": 2.0**-8}
"""Type → unit roundoff; finest first."""
_MOVED = 1.2e-7
ENOUGH = 64
"""Entries of which it is no chance that all of them are numbers of a narrower type."""
SMALL = 1 << 16
"""Entries of constants that are looked at to find that they are 0, 1 or all the same."""
Array = np.ndarray


@dataclass(frozen=True, slots=True)
class Numbers:
    """The entries of a constant; `slack` and `step` are arrays that broadcast to `value`."""

    value: Array
    slack: Array
    step: Array


@dataclass(frozen=True, eq=False)
class Const:
    """A constant.

    Attributes:
        key: equal for constants that are made alike of equal numbers.
        kind: NumPy's letter: "f", "i" (all integers), "b", "O".
        dtype: of the coarsest type behind it.
        roots: names of the stored tensors behind it.
        made: whether it was computed here, and has slack.
    """

    key: bytes
    shape: tuple[int, ...]
    kind: str
    dtype: str
    roots: tuple[str, ...]
    made: bool
    thunk: Callable[[], Numbers] = field(repr=False)

    @functools.cached_property
    def numbers(self) -> Numbers:
        """Evaluated once. Raises `EvaluationError`."""
        return self.thunk()

    @property
    def value(self) -> Array:
        """The entries, float64 where they are floats."""
        return self.numbers.value

    @property
    def size(self) -> int:
        """Number of entries."""
        return math.prod(self.shape)

    def is_all(self, number: float) -> bool:
        """Whether every entry is this number, up to slack; False where there are too many to look at."""
        if self.kind != "f" or self.size > SMALL or not self.size:
            return False
        with np.errstate(invalid="ignore"):
            return bool(np.all(np.abs(self.value - number) <= self.numbers.slack))


_NONE = np.zeros(())


def const(array: Array, *, dtype: str | None = None, roots: tuple[str, ...] = (), step: Array = _NONE) -> Const:
    """A constant whose numbers are known."""
    array = np.asarray(array)
    kind = _kind(array)
    name = dtype or ("float32" if kind == "f" else str(array.dtype))
    wide = array.astype(np.float64) if kind == "f" else array.astype(np.int64) if kind == "i" else array
    return Const(content(wide), array.shape, kind, name, roots, False, lambda: Numbers(wide, _NONE, step))


def _kind(array: Array) -> str:
    letter = array.dtype.kind
    if letter in "iu":
        return "i"
    return "f" if letter in "fV" or array.dtype.name in UNITS else letter


def holds_float16(array: Array) -> bool:
    """Whether floats are all numbers of float16, and so many that this is no chance."""
    if array.size < ENOUGH or array.dtype.kind != "f":
        return False
    with np.errstate(over="ignore"):
        return all(np.array_equal(part.astype(np.float16).astype(part.dtype), part) for part in (array.flat[:ENOUGH], array))


def narrow(array: Array, dtype: str) -> Numbers:
    """The entries of a stored constant of floats; those of 16 bits may have been rounded from wider ones.

    Converters to float16 also move what is smaller than 1e-7 there, which is less than the rounding of entries above 2.5e-4.
    """
    value = array.astype(np.float64)
    if dtype not in ("float16", "bfloat16"):
        return Numbers(value, _NONE, _NONE)
    least = 2.0**-25 if dtype == "float16" else 2.0**-134
    if dtype == "float16" and np.max(np.abs(value), initial=0.0) >= _MOVED / UNITS["float16"]:
        least = _MOVED
    return Numbers(value, UNITS[dtype] * np.abs(value) + least, _NONE)


def scalar(number: float) -> Const:
    """An exact number."""
    return const(np.array(float(number)), dtype="float64")


def _derive(
    label: str, operands: Sequence[Const], shape: tuple[int, ...], thunk: Callable[[], Numbers], *, exact: bool
) -> Const:
    coarse = max((c.dtype for c in operands if c.dtype in UNITS), key=list(UNITS).index, default="float32")
    roots = tuple(dict.fromkeys(name for c in operands for name in c.roots))
    key = digest("made", label, *(c.key for c in operands))
    kind = operands[0].kind
    return Const(key, shape, kind, coarse if kind == "f" else operands[0].dtype, roots, not exact or operands[0].made, thunk)


def _unit(*operands: Const) -> float:
    names = [c.dtype for c in operands if c.dtype in UNITS]
    return max((UNITS[name] for name in names), default=UNITS["float32"])


def times(a: Const, b: Const) -> Const:
    """a·b, broadcast."""
    if a.is_all(1.0) and not a.shape:
        return b
    if b.is_all(1.0) and not b.shape:
        return a
    unit, shape = _unit(a, b), np.broadcast_shapes(a.shape, b.shape)

    def thunk() -> Numbers:
        x, y = a.numbers, b.numbers
        with np.errstate(all="ignore"):
            value = x.value * y.value
            one, other = np.abs(x.value), np.abs(y.value)
            slack = one * y.slack + other * x.slack + 2.0 * unit * np.abs(value)
            return Numbers(value, slack, one * y.step + other * x.step + x.step * y.step)

    first, second = sorted((a, b), key=lambda c: c.key)
    return _derive("times", (first, second), shape, thunk, exact=False)


def plus(a: Const, b: Const) -> Const:
    """a + b, broadcast."""
    if a.is_all(0.0) and not a.shape:
        return b
    if b.is_all(0.0) and not b.shape:
        return a
    unit, shape = _unit(a, b), np.broadcast_shapes(a.shape, b.shape)

    def thunk() -> Numbers:
        x, y = a.numbers, b.numbers
        with np.errstate(all="ignore"):
            slack = x.slack + y.slack + 2.0 * unit * np.maximum(np.abs(x.value), np.abs(y.value))
            return Numbers(x.value + y.value, slack, x.step + y.step)

    first, second = sorted((a, b), key=lambda c: c.key)
    return _derive("plus", (first, second), shape, thunk, exact=False)


def power(a: Const, exponent: float) -> Const:
    """a ** exponent; its error is |exponent|·value/a times that of a."""
    if exponent == 1.0:
        return a
    unit = _unit(a)

    def thunk() -> Numbers:
        x = a.numbers
        with np.errstate(all="ignore"):
            value = x.value**exponent
            slope = np.where(x.value == 0.0, 0.0, np.abs(exponent * value / x.value))
            return Numbers(value, slope * x.slack + 4.0 * unit * np.abs(value), slope * x.step)

    return _derive(f"power {exponent!r}", (a,), a.shape, thunk, exact=False)


def product(a: Const, b: Const) -> Const:
    """The matrix product a @ b of a vector or matrix by a matrix; sums are in an order that is not known."""
    unit = _unit(a, b)
    shape = (*a.shape[:-1], b.shape[-1])

    def thunk() -> Numbers:
        x, y = a.numbers, b.numbers
        one, other = np.abs(x.value), np.abs(y.value)
        slack = one @ np.broadcast_to(y.slack, y.value.shape) + np.broadcast_to(x.slack, x.value.shape) @ other
        step = one @ np.broadcast_to(y.step, y.value.shape) + np.broadcast_to(x.step, x.value.shape) @ other
        return Numbers(x.value @ y.value, slack + 16.0 * unit * (one @ other), step)

    return _derive("product", (a, b), shape, thunk, exact=False)


def summed(a: Const, axes: tuple[int, ...]) -> Const:
    """The sum over axes, which are dropped."""
    unit = _unit(a)
    shape = tuple(size for axis, size in enumerate(a.shape) if axis not in axes)

    def thunk() -> Numbers:
        x = a.numbers
        slack = np.broadcast_to(x.slack, x.value.shape).sum(axis=axes)
        step = np.broadcast_to(x.step, x.value.shape).sum(axis=axes)
        return Numbers(x.value.sum(axis=axes), slack + 16.0 * unit * np.abs(x.value).sum(axis=axes), step)

    return _derive(f"sum {axes}", (a,), shape, thunk, exact=False)


def moved(a: Const, label: str, shape: tuple[int, ...], move: Callable[[Array], Array]) -> Const:
    """Entries in other places: `move` is what `label` says, and copies entries only."""
    if a.shape == shape and label.startswith("reshape"):
        return a

    def thunk() -> Numbers:
        x = a.numbers
        slack, step = (
            move(np.broadcast_to(part, x.value.shape)) if part.ndim or part != 0.0 else part for part in (x.slack, x.step)
        )
        return Numbers(move(x.value), slack, step)

    return _derive(label, (a,), shape, thunk, exact=True)


def reshaped(a: Const, shape: tuple[int, ...]) -> Const:
    """Entries in order."""
    return moved(a, f"reshape {shape}", shape, lambda x: x.reshape(shape))


def spread(a: Const, shape: tuple[int, ...]) -> Const:
    """Entries repeated, by the rules of broadcasting."""
    return a if a.shape == shape else moved(a, f"spread {shape}", shape, lambda x: np.broadcast_to(x, shape))


def transposed(a: Const, perm: tuple[int, ...]) -> Const:
    """Axes exchanged."""
    if perm == tuple(range(len(perm))):
        return a
    return moved(a, f"transpose {perm}", tuple(a.shape[i] for i in perm), lambda x: x.transpose(perm))


def sliced(a: Const, axis: int, start: int, stop: int) -> Const:
    """Entries start to stop of an axis."""
    if (start, stop) == (0, a.shape[axis]):
        return a
    shape = tuple(stop - start if i == axis else size for i, size in enumerate(a.shape))
    return moved(a, f"slice {axis} {start} {stop}", shape, lambda x: np.take(x, np.arange(start, stop), axis=axis))


def compressed(a: Const) -> Const:
    """Axes along which all entries are equal with size 1, and no axis of size 1 in front: how it broadcasts stays."""
    if 1 < a.size <= SMALL and a.kind == "f":
        value, lengths = a.value, []
        for axis, size in enumerate(a.shape):
            first = np.take(value, [0], axis=axis)
            lengths.append(1 if size and np.array_equal(np.broadcast_to(first, value.shape), value) else size)
        if tuple(lengths) != a.shape:
            index = tuple(slice(0, length) for length in lengths)
            a = moved(a, f"corner {lengths}", tuple(lengths), lambda x: x[index])
    leading = next((axis for axis, size in enumerate(a.shape) if size != 1), len(a.shape))
    return reshaped(a, a.shape[leading:]) if leading else a
