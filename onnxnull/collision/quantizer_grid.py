"""Collisions behind a quantizer: changes in its whole steps that the integer layers cannot see, and changes that it hides.

With codes k₀ of x₀ and an integer kernel vector φ of the layers, x₁ has the centre scale·(k₀ + φ − zero point) of the cell of
k₀ + φ wherever φ is not 0, and x₀'s own entry elsewhere: x₀ need not lie on the grid. That no code saturates, and that the
codes of x₁ are k₀ + φ, is checked with the quantizer's own float32 arithmetic.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from onnxnull.collision.integer_windows import windows_of
from onnxnull.collision.perturb import Recipe, bounds
from onnxnull.errors import Code, OnnxnullError
from onnxnull.frontier import Frontier, Quantizer
from onnxnull.kernel.lattice.integer_kernel import along, inside, toward
from onnxnull.kernel.lattice.reduction import Integers
from onnxnull.kernel.maps.linear_map import Array
from onnxnull.kernel.maps.selection import NOTHING

_PLACES = 16
"""In which vectors are looked for in the middle of the range."""
_INSIDE = 0.98
"""Of half a cell: how far from its centre a change inside it goes at most."""


@dataclass(frozen=True, slots=True)
class Rounding:
    """The float32 arithmetic of a quantizer, at an input where its scale and zero point are these."""

    scale: np.float32
    zero_point: int
    low: int
    high: int

    @classmethod
    def at(cls, quantizer: Quantizer, x: Array) -> Rounding:
        """The one at the input `x` (float64 holding float32 numbers). DynamicQuantizeLinear as onnxruntime computes it."""
        low, high = quantizer.low, quantizer.high
        if quantizer.scale is not None and quantizer.zero_point is not None:
            return cls(np.float32(quantizer.scale), quantizer.zero_point, low, high)
        least, largest = (np.float32(end) for end in extremes(quantizer, x))
        scale = np.float32(1.0) if largest == least else (largest - least) / np.float32(high - low)
        zero = np.rint(np.clip(np.float32(low) - least / scale, low, high))
        return cls(np.float32(scale), int(zero), low, high)

    def codes(self, x: Array) -> Integers:
        """k = saturate(round(x / scale) + zero point), rounding half to even."""
        steps = np.rint(x.astype(np.float32) / self.scale).astype(np.float64) + self.zero_point
        return np.asarray(np.clip(steps, self.low, self.high).astype(np.int64))

    def centres(self, codes: Integers) -> Array:
        """scale·(k − zero point), float64 holding float32 numbers."""
        return np.asarray(((codes - self.zero_point).astype(np.float32) * self.scale).astype(np.float64))


def extremes(quantizer: Quantizer, x: Array) -> tuple[float, float]:
    """min(0, least) and max(0, largest) of what a dynamic quantizer rounds."""
    assert quantizer.path is not None, "a site's shapes are known"
    seen = quantizer.path.apply(x)
    return min(0.0, float(seen.min(initial=0.0))), max(0.0, float(seen.max(initial=0.0)))


@dataclass(frozen=True, slots=True, eq=False)
class Grid:
    """An input of a network on the grid of its quantizer.

    Attributes:
        start: x₀.
        codes: k₀ of every entry.
        low, high: by how many steps every entry may change: inside the range of codes, the box, ε, and the free entries; where
            the scale is dynamic, nothing passes the least and the largest entry, and one of each stays.
        lower, upper: the same as numbers, for changes inside a cell.
    """

    quantizer: Quantizer
    rounding: Rounding
    start: Array
    codes: Integers
    low: Integers
    high: Integers
    lower: Array
    upper: Array

    @classmethod
    def of(cls, quantizer: Quantizer, start: Array, recipe: Recipe) -> Grid:
        """Raises OnnxnullError `data` where the input leaves the box, or holds NaN or Inf."""
        if not np.all(np.isfinite(start)):
            raise OnnxnullError(Code.DATA, "the input holds NaN or Inf", "start from another input")
        rounding = Rounding.at(quantizer, start)
        codes = rounding.codes(start)
        lower, upper = bounds(start, recipe)
        if quantizer.dynamic:
            least, largest = extremes(quantizer, start)
            lower, upper = np.maximum(lower, least), np.minimum(upper, largest)
            held = np.zeros(start.shape, dtype=bool)
            for end in (least, largest):  # one entry is enough to hold it, and 0 holds itself
                if end != 0.0:
                    held.flat[int(np.argmax((start == end) & _read(quantizer, start)))] = True
            lower, upper = np.where(held, start, lower), np.where(held, start, upper)
        if recipe.free is not None:
            free = np.broadcast_to(recipe.free, start.shape)
            lower, upper = np.where(free, lower, start), np.where(free, upper, start)
        low, high = (_code(rounding, bound, inward) - codes for bound, inward in ((lower, 1), (upper, -1)))
        return cls(quantizer, rounding, start, codes, np.minimum(low, 0), np.maximum(high, 0), lower, upper)

    def moved(self, steps: Integers) -> Array:
        """x₀ changed by whole steps. The codes of the result are checked."""
        there = np.where(steps == 0, self.start, self.rounding.centres(self.codes + steps))
        again = Rounding.at(self.quantizer, there)
        if again != self.rounding or not np.array_equal(again.codes(there), self.codes + steps):
            raise AssertionError("the codes of a change in whole steps are not what was asked for")
        return there

    def length(self, steps: Integers) -> float:
        """‖x₁ − x₀‖₂ of a change in whole steps."""
        return float(np.linalg.norm(self.moved(steps) - self.start))


def kernel_steps(frontier: Frontier, grid: Grid, recipe: Recipe, progress: Callable[[str], None] = lambda _: None) -> Integers:
    """φ in whole steps, in the kernel of the frontier's layers, as the recipe wants it.

    "random": as far as basis vectors of the kernel lattice fit into the range, added up along a random direction; with β the
    longest of several tries with ‖Δ‖₂ ≤ β. "toward": near the difference to the other input.

    Raises:
        OnnxnullError: `not-found` where no vector was short enough; `data` for patterns that steps do not have.
    """
    if recipe.pattern not in ("random", "toward"):
        raise OnnxnullError(Code.DATA, "patterns of patches are for floats", "on the grid of a quantizer: random, or --toward")
    rng = np.random.default_rng([recipe.seed, 0])
    wish = rng.standard_normal(grid.start.shape)
    if recipe.toward is not None:
        factor = 1.0 if recipe.beta is None else recipe.beta
        wish = factor * (recipe.toward - grid.start) / float(grid.rounding.scale)
    parts: list[_Part] = []
    for number, window in enumerate(windows_of(frontier, grid.start.shape), start=1):
        progress(f"reducing the kernel lattice of window {number}")
        read = window.places != NOTHING
        low, high = (np.where(read, part.ravel()[window.places], 0) for part in (grid.low, grid.high))
        for rows, chosen, basis in window.lattices(low, high):
            at = np.ix_(rows, chosen)
            parts.append(_Part(window.places[at], low[at], high[at], basis))
    progress("putting integer vectors together")
    steps = _solved(parts, grid, wish, near=recipe.toward is not None)
    if not steps.any() and recipe.toward is None:
        progress("looking for integer vectors in the middle of the range")
        steps = _in_the_middle(parts, grid, rng)
    if recipe.beta is not None and recipe.toward is None and grid.length(steps) > recipe.beta:
        shorter = _solved(parts, grid, recipe.beta / grid.length(steps) * steps.astype(np.float64), near=True)
        tries = [_within(grid, each, recipe.beta) for each in (shorter, steps, _shortest(parts, grid))]
        steps = max(tries, key=grid.length)
    if not steps.any():
        sizes = [int(np.abs(part.basis).max(axis=1).min()) for part in parts if part.basis is not None]
        least = f"; the shortest have entries of {min(sizes)} steps and more" if sizes else ""
        seen = f"no integer kernel vector was found that fits between the input and the ends of the quantizer's range{least}"
        raise OnnxnullError(Code.NOT_FOUND, seen, "start from inputs in the middle of the range, or raise --beta, --epsilon")
    return steps


@dataclass(frozen=True, slots=True, eq=False)
class _Part:
    """Flat indices (L, n) of the same entries in L places, the steps that they may go, a basis; None: every step is unseen."""

    at: Integers
    low: Integers
    high: Integers
    basis: Integers | None


def _solved(parts: list[_Part], grid: Grid, wish: Array, *, near: bool) -> Integers:
    """Kernel vectors near the wish, or as far along it as they fit."""
    found = np.zeros(grid.start.size, dtype=np.int64)
    for part in parts:
        read = part.at != NOTHING
        wanted = np.where(read, wish.ravel()[part.at], 0.0)
        if part.basis is None:
            steps = np.clip(np.rint(wanted if near else np.copysign(np.inf, wanted)), part.low, part.high).astype(np.int64)
        else:
            steps = (toward if near else along)(part.basis, wanted, part.low, part.high)
        # a place that another lattice has changed at these entries stays: half of one vector and half of another are none
        still = read & ~np.any((found[part.at] != 0) & read, axis=1, keepdims=True)
        found[part.at[still]] = steps[still]
    return found.reshape(grid.start.shape)


def _in_the_middle(parts: list[_Part], grid: Grid, rng: np.random.Generator) -> Integers:
    """Kernel vectors far from 0, in the places with the most room, where none fits around the input's own codes."""
    found = np.zeros(grid.start.size, dtype=np.int64)
    for part in parts:
        if part.basis is None:
            continue
        rows = np.argsort(-np.log1p(part.high - part.low).sum(axis=1), kind="stable")[:_PLACES]
        at, low, high = part.at[rows], part.low[rows], part.high[rows]
        read = at != NOTHING
        still = read & ~np.any((found[at] != 0) & read, axis=1, keepdims=True)
        steps = inside(part.basis, low, high, rng)
        found[at[still]] = steps[still]
    return found.reshape(grid.start.shape)


def _shortest(parts: list[_Part], grid: Grid) -> Integers:
    """The first basis vector that fits, in the first place where it does; nothing where none fits."""
    found = np.zeros(grid.start.size, dtype=np.int64)
    for part in parts:
        for vector in () if part.basis is None else part.basis:
            for signed in (vector, -vector):
                fits = np.flatnonzero(np.all((part.low <= signed) & (signed <= part.high), axis=1))
                if fits.size:
                    read = part.at[fits[0]] != NOTHING
                    found[part.at[fits[0]][read]] = signed[read]
                    return found.reshape(grid.start.shape)
    return found.reshape(grid.start.shape)


def _within(grid: Grid, steps: Integers, beta: float) -> Integers:
    """Of the samples' steps as many as keep ‖Δ‖₂ ≤ β, the shortest first."""
    samples = steps.reshape(len(steps), -1) if steps.ndim > 1 else steps[None]
    squares = np.square(grid.moved(steps) - grid.start).reshape(samples.shape).sum(axis=1)
    kept = np.zeros(len(samples), dtype=bool)
    order = np.argsort(squares, kind="stable")
    kept[order[np.cumsum(squares[order]) <= beta**2]] = True
    return np.asarray(np.where(kept[:, None], samples, 0).reshape(steps.shape))


def inside_cells(grid: Grid, recipe: Recipe) -> Array:
    """x₁ in the same cells as x₀, nearly as far as they go along the wish. Raises OnnxnullError `not-found`."""
    rng = np.random.default_rng([recipe.seed, 0])
    wish = rng.standard_normal(grid.start.shape) if recipe.toward is None else recipe.toward - grid.start
    half = _INSIDE * 0.5 * float(grid.rounding.scale)
    centre = grid.rounding.centres(grid.codes)
    low, high = np.minimum(centre - half, grid.start), np.maximum(centre + half, grid.start)
    aim = grid.start + np.copysign(np.inf, wish) if recipe.toward is None else recipe.toward
    there = np.clip(np.where(wish == 0, grid.start, aim), np.maximum(low, grid.lower), np.minimum(high, grid.upper))
    length = float(np.linalg.norm(there - grid.start))
    if recipe.beta is not None and recipe.toward is None and length > recipe.beta:
        there = grid.start + (recipe.beta / length) * (there - grid.start)
    there = there.astype(np.float32).astype(np.float64)
    again = Rounding.at(grid.quantizer, there)
    there = np.where(again.codes(there) == grid.codes, there, grid.start)  # rounded to float32 out of its cell
    if np.array_equal(there, grid.start) or Rounding.at(grid.quantizer, there) != grid.rounding:
        raise OnnxnullError(Code.NOT_FOUND, "no other input was found in the same cells of the quantizer")
    return there


def control_on_grid(grid: Grid, length: float, recipe: Recipe) -> Array:
    """x₀ and random whole steps of the same entries, at most as long as the perturbation. Raises OnnxnullError `not-found`."""
    rng = np.random.default_rng([recipe.seed, 1])
    noise = rng.standard_normal(grid.start.shape)

    def at(factor: float) -> Array:
        return grid.moved(np.clip(np.rint(factor * noise), grid.low, grid.high).astype(np.int64))

    low, high = 0.0, float(grid.rounding.high - grid.rounding.low)
    for _ in range(50):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if np.linalg.norm(at(middle) - grid.start) <= length else (low, middle)
    found = at(low)
    if np.array_equal(found, grid.start):
        raise OnnxnullError(Code.NOT_FOUND, "a change so small that no whole step is as short: nothing to compare it with")
    return found


def _read(quantizer: Quantizer, x: Array) -> NDArray[np.bool_]:
    """Which entries the quantizer rounds."""
    assert quantizer.path is not None, "a site's shapes are known"
    return quantizer.path.read.reshape(x.shape)


def _code(rounding: Rounding, bound: Array, inward: int) -> Integers:
    """The last code whose centre is on the inner side of a bound, inside the range; `inward` is 1 for a lower bound."""
    ends = (rounding.low, rounding.high)
    guess = np.clip(
        np.nan_to_num(bound / float(rounding.scale), posinf=2.0**40, neginf=-(2.0**40)) + rounding.zero_point, *ends
    )
    codes = (np.floor(guess) if inward > 0 else np.ceil(guess)).astype(np.int64)
    for _ in range(2):
        outside = (rounding.centres(codes) - bound) * inward < 0
        codes = codes + inward * outside.astype(np.int64)
    return np.asarray(np.clip(codes, *ends))
