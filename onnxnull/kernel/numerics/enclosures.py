"""Enclosures: a linear map applied to an exact difference, with a radius that holds every error.

`enclose` splits weights and change into slices of so few bits that every product of two slices is exact in double arithmetic,
whatever the order of its sums (Ozaki, Ogita, Oishi, Rump, *Error-free transformations of matrix multiplication by using fast
routines of matrix multiplication and its applications*, Numer. Algorithms 59 (2012)), and adds these products with their
errors. `through` carries an enclosure along a path.

Everything is IEEE double, rounded to nearest. Blocks are (g, q, p): rows inputs, columns outputs.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from onnxnull.kernel.maps.batched import Batched
from onnxnull.kernel.maps.linear_map import Array, Composition, LinearMap, Sum
from onnxnull.kernel.maps.primitives import Scale
from onnxnull.kernel.maps.selection import NOTHING, Selection
from onnxnull.kernel.numerics.error_free import two_product, two_sum
from onnxnull.kernel.numerics.rounding import gamma, up
from onnxnull.kernel.numerics.rounding_model import magnitude, powers_of_two, roundings

Make = Callable[[Array], LinearMap]

_BITS = 53
_MOST_SLICES = 8
_SLICED_DOWN_TO = 2.0**-300
"""Of the largest entry. A slice's unit is then above 2⁻³⁶⁰, so that no product of two slices comes near underflow."""
_NEGLIGIBLE = 2.0**-500
"""Of the largest entry: what is smaller is bounded by it. Products of two such numbers do not underflow either."""
_TINY = float(np.finfo(np.float64).tiny)


@dataclass(frozen=True, slots=True, eq=False)
class Near:
    """A tensor known up to a radius: |true − (high + low)| ≤ radius, entry by entry; high + low is not evaluated."""

    high: Array
    low: Array
    radius: Array

    @property
    def finite(self) -> bool:
        """Whether every number is: nothing overflowed."""
        return all(bool(np.all(np.isfinite(part))) for part in (self.high, self.low, self.radius))


def enclose(make: Make, blocks: Array, change: tuple[Array, Array]) -> tuple[Array, Array]:
    """A(blocks)·(hi + lo) as (centre, radius): |true − centre| ≤ radius, entry by entry, every rounding counted.

    `make(blocks)` is the map: the entries of its matrix are entries of `blocks` (g, q, p), or zero. `change` is (hi, lo), both
    in the map's input shape. The radius is about half an ulp of the centre and 2⁻⁹⁵ of the largest term. It grows, and stays
    true, where exponents are so wild that eight slices do not hold them, and is infinite where the product overflows.

    Raises ValueError where a number is not finite, or the change is not of the map's input shape.
    """
    if not all(bool(np.all(np.isfinite(part))) for part in (blocks, *change)):
        raise ValueError("weights and change must be finite")
    whole = make(blocks)
    if not change[0].shape == change[1].shape == whole.input_shape:
        raise ValueError(f"the map's input shape is {whole.input_shape}, got {change[0].shape} and {change[1].shape}")
    terms = max(1, roundings(whole))
    # n products of at most 2^(a+b) units each: every partial sum is a whole number of units, at most 2⁵³
    budget = _BITS - (terms - 1).bit_length()
    values = _Slicing(change, budget // 2)
    pieces = np.array(list(values))
    weights = _Slicing((blocks,), (budget + 1) // 2)
    held = None if values.rest is None else np.zeros_like(blocks)
    shape = whole.output_shape
    total, error, spread, count = np.zeros(shape), np.zeros(shape), np.zeros(shape), 0
    for part in weights:
        if held is not None:
            held += np.abs(part)
        for image in make(part).apply(pieces) if len(pieces) else ():
            total, lost = two_sum(total, image)
            error += lost
            spread += np.abs(lost)
            count += 1
    centre, last = two_sum(total, error)
    radius = np.abs(last) + gamma(2 * count + 2) * spread
    # what the slices leave out: |W·d − ΣΣ Wᵢ·dⱼ| ≤ |R_W|·(Σ|dⱼ| + |R_d|) + Σ|Wᵢ|·|R_d|
    if weights.rest is not None:
        size = np.abs(pieces).sum(axis=0) if len(pieces) else np.zeros(change[0].shape)
        if values.rest is not None:
            size = size + values.rest
        radius = radius + magnitude(make(weights.rest)).apply(size) * up(1 + gamma(terms + 16))
    if held is not None and values.rest is not None:
        radius = radius + magnitude(make(held)).apply(values.rest) * up(1 + gamma(terms + 16))
    return _scaled_back(centre, radius * (1 + 2.0**-40), weights.exponent + values.exponent)


@functools.singledispatch
def through(path: LinearMap, value: Near) -> Near:
    """The image of a tensor under a path of linear steps, with all that evaluating it may have lost.

    Selections and scalings keep twice the precision; any other step that is not pure movement adds γ_k·|step|·|x|,
    k = `roundings(step)`, and 8·(k + 1) numbers of the size where underflow starts. `value` may carry leading batch axes.
    """
    return _evaluated(path, value)


def _evaluated(path: LinearMap, value: Near) -> Near:
    k, size = roundings(path), magnitude(path)
    radius = size.apply(value.radius) * up(1 + gamma(k + 2))
    if k:
        radius = radius + gamma(2 * k + 4) * size.apply(np.abs(value.high) + np.abs(value.low)) + 8 * (k + 1) * _TINY
    return Near(path.apply(value.high), path.apply(value.low), radius)


@through.register
def _composition(path: Composition, value: Near) -> Near:
    return through(path.second, through(path.first, value))


@through.register
def _batched(path: Batched, value: Near) -> Near:
    return through(path.sample, value)


@through.register
def _selection(path: Selection, value: Near) -> Near:
    if powers_of_two(path.factors):
        return _evaluated(path, value)
    move = replace(path, factors=np.ones(()))
    moved = Near(*(move.apply(part) for part in (value.high, value.low, value.radius)))
    return _times(moved, np.where(path.indices == NOTHING, 0.0, path.factors))


@through.register
def _scale(path: Scale, value: Near) -> Near:
    return _times(value, np.broadcast_to(path.diagonal, path.shape))


@through.register
def _sum(path: Sum, value: Near) -> Near:
    first, *others = (through(term, value) for term in path.terms)
    return functools.reduce(_plus, others, first)


def _plus(first: Near, second: Near) -> Near:
    high, error = two_sum(first.high, second.high)
    low, more = two_sum(first.low, second.low)
    low, last = two_sum(low, error)
    return Near(high, low, up(1.0) * (first.radius + second.radius + np.abs(more) + np.abs(last)))


def _times(value: Near, factors: Array) -> Near:
    """Entry by entry, with the errors of both products kept."""
    high, error = two_product(value.high, factors)
    low, dropped = two_product(value.low, factors)
    low, more = two_sum(error, low)
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        radius = up(1.0) * (np.abs(dropped) + np.abs(more) + np.abs(factors) * value.radius)
        # below 2⁻⁹⁰⁰ the error of a product may itself be lost
        for part, product in ((value.high, high), (value.low, value.low * factors), (value.radius, value.radius * factors)):
            radius = radius + np.where((part != 0) & (factors != 0) & (np.abs(product) < 2.0**-900), 2.0**-960, 0.0)
    return Near(high, low, radius)


class _Slicing:
    """x = Σ parts (one or two arrays) in slices, one at a time: x = 2^exponent·(Σ slices + r).

    A slice consists of multiples of a power of two, none above 2^bits of it. What it leaves is exact: a double minus its
    rounding to a multiple of a power of two is a double.

    The slices can be iterated over once.

    Attributes:
        exponent: so that x·2^−exponent is below 1 in every part.
        rest: after that, a bound of |r|, entry by entry; None where nothing is left.
    """

    def __init__(self, parts: tuple[Array, ...], bits: int) -> None:
        top = max(float(np.max(np.abs(part), initial=0.0)) for part in parts)
        self.exponent = math.frexp(top)[1]
        self.rest: Array | None = None
        self._bits = bits
        self._high, self._small = _normalised(parts[0], self.exponent)
        self._low: Array | None = None
        if len(parts) > 1 and np.any(parts[1]):
            low, small = _normalised(parts[1], self.exponent)
            self._high, self._low = two_sum(self._high, low)
            self._small = self._small | small

    def __iter__(self) -> Iterator[Array]:
        for _ in range(_MOST_SLICES):
            top = max(float(np.max(self._high, initial=0.0)), -float(np.min(self._high, initial=0.0)))
            if top < _SLICED_DOWN_TO:
                break
            unit = math.ldexp(1.0, math.frexp(top)[1] - self._bits)
            part = self._high / unit
            np.rint(part, out=part)
            part *= unit
            self._high -= part
            if self._low is not None:
                self._high, self._low = two_sum(self._high, self._low)
            yield part
        left = np.abs(self._high)
        if self._low is not None:
            left += np.abs(self._low)
        left[self._small] += 2 * _NEGLIGIBLE
        if np.any(left):
            self.rest = np.where(left > 0, np.maximum(left, _NEGLIGIBLE) * (1 + 2.0**-40), 0.0)


def _normalised(x: Array, exponent: int) -> tuple[Array, NDArray[np.bool_]]:
    """x·2^−exponent, below 1, and where entries below `_NEGLIGIBLE` were left out."""
    with np.errstate(under="ignore"):
        scaled = np.ldexp(x, -exponent)
    small = (np.abs(scaled) < _NEGLIGIBLE) & (x != 0)
    scaled[small] = 0.0
    return scaled, small


def _scaled_back(centre: Array, radius: Array, exponent: int) -> tuple[Array, Array]:
    """Both times 2^exponent; what underflow loses, and overflow, goes to the radius."""
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        moved, wide = np.ldexp(centre, exponent), np.ldexp(radius, exponent)
        wide = np.where((centre != 0) | (radius != 0), wide + _TINY, 0.0)
    over = ~np.isfinite(moved)
    return np.where(over, 0.0, moved), np.where(over, np.inf, wide)
