"""Changes of a tensor that its readers cannot see and that stay inside a box: convex programmes, never clipping.

The kernel is a linear space and the box is convex and holds 0, so what lies in both is convex. `nearest` finds its point
nearest to a wish by the alternating direction method of multipliers (Boyd et al., *Distributed Optimization and Statistical
Learning via ADMM*, 2011, §5, over-relaxed, ρ by §3.4.1); Dykstra's alternating projections (Boyle, Dykstra 1986)
go the same way with a fixed step. What ADMM leaves violates the box a little, and no clipping would leave it in the kernel.

1. A search in a box that is a little smaller on every side (also where there is no room: black pixels have to become
   lighter) ends strictly inside the true one. The search goes on in the true box, and the answer is the last point inside it
   on the line from the one to the other.
2. Where nothing is strictly inside (a white border that the kernel cannot darken), the entries that stay at their bound are
   held at 0 (`Kernel.within`, the active sets of Hintermüller, Ito, Kunisch 2002 at the bound 0), and it is tried again.
   What is left after all is scaled back along the line to 0.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from onnxnull.collision.kernel import Kernel
from onnxnull.kernel.linear_map import Array
from onnxnull.kernel.project import NotConvergedError

Mask = NDArray[np.bool_]
Progress = Callable[[int, float], None]
"""(iterations so far, how far from the tolerance: 1 is reached)"""

_RELAXATION = 1.7
_ITERATIONS, _FINISH = 300, 40
"""Of the search where nothing is strictly inside, and of its end in the true box elsewhere; times `Kernel.pace`, up to 5 times
as many and down to a fifth."""
# ρ is adapted this often, and until then.
_ADAPT_EVERY, _ADAPT_UNTIL = 10, 100
# The search in the true box goes on for so long: the tolerance is the whole tensor's, and what is outside is a few entries.
_LEAST = 8
# Scaling back may cost this share of the length.
_LOSS = 0.01
_MARGINS = (0.02, 0.003)
"""How much smaller the box is made on every side, in shares of its width."""
_HOLDS = 6
"""Most times that more entries are held."""
_STRICT = 600
"""Most iterations in a smaller box, times `Kernel.pace` as above; `_CHECK` of them at a time."""
_CHECK = 25
# A search that gains less than this in so many iterations is given up.
_STALL = 0.97
# Changes that are shorter than this, relative to the wish clipped to the box, are none.
_NOTHING = 1e-8
# A far-away point: so many times the longest change that the box allows along the direction.
_FAR = 10.0


@dataclass(frozen=True, slots=True, eq=False)
class _Room:
    """What the box leaves: low ≤ δ ≤ high with low ≤ 0 ≤ high, of the tensor's shape."""

    start: Array
    lower: Array
    upper: Array
    low: Array
    high: Array

    @classmethod
    def of(cls, start: Array, lower: ArrayLike, upper: ArrayLike) -> _Room:
        bounds = [np.broadcast_to(np.asarray(bound, dtype=np.float64), start.shape) for bound in (lower, upper)]
        if not (np.all(np.isfinite(start)) and np.all(bounds[0] <= start) and np.all(start <= bounds[1])):
            raise ValueError("the starting point is not in the box")
        return cls(start, bounds[0], bounds[1], bounds[0] - start, bounds[1] - start)

    def holds(self, change: Array) -> bool:
        """Whether start + change, rounded to float64, lies in the box."""
        moved = self.start + change
        return bool(np.all(moved >= self.lower) and np.all(moved <= self.upper))

    def clip(self, change: Array) -> Array:
        return np.clip(change, self.low, self.high)

    def share(self, change: Array) -> Array:
        """For every entry the largest t for which t·change has room; inf where the change is 0."""
        room = np.where(change > 0, self.high, -self.low)
        with np.errstate(divide="ignore", over="ignore"):
            return np.where(change == 0, np.inf, room / np.abs(np.where(change == 0, 1.0, change)))

    def excess(self, change: Array) -> Array:
        """How far the change leaves the box; negative inside."""
        return np.maximum(change - self.high, self.low - change)

    def scaled(self, kernel: Kernel, change: Array) -> Array:
        """`change`, every part of it that may be scaled on its own by the largest t ≤ 1 that the box allows, to rounding."""
        t = np.minimum(1.0, kernel.shared(self.share(change)))
        for exponent in range(52, 0, -4):
            scaled = t * change
            if self.holds(scaled):
                return scaled
            t *= 1.0 - 2.0**-exponent
        return np.zeros_like(change)


def nearest(
    kernel: Kernel,
    start: Array,
    wish: Array,
    lower: ArrayLike,
    upper: ArrayLike,
    *,
    tolerance: float = 1e-4,
    iterations: int | None = None,
    progress: Progress | None = None,
) -> Array:
    """The δ nearest to `wish` with δ in the kernel and lower ≤ start + δ ≤ upper.

    Exact: start + δ, rounded to float64, lies in the box, and δ is a vector of the kernel to rounding, whatever the number of
    iterations. Approximate: that none is nearer; `tolerance` bounds what ADMM leaves of either condition, relative to δ and to
    the wish.

    Args:
        start, wish: of the kernel's shape; `start` lies in the box.
        lower, upper: broadcastable to it; ±inf for no bound.
        iterations: of the first search; None chooses by the size of the tensor.
        progress: called from time to time.

    Raises:
        ValueError: `start` is not in the box, or not finite.
        NotConvergedError: a projection on the kernel failed.
    """
    start = np.asarray(start, dtype=np.float64)
    wish = np.asarray(wish, dtype=np.float64)
    room = _Room.of(start, lower, upper)
    inside = kernel.project(wish)
    if room.holds(inside):
        return inside
    if not np.any(room.clip(inside)):  # the wish is in the normal cone of the box at 0
        return np.zeros_like(start)
    share = min(5.0, max(0.2, kernel.pace))
    found = _strictly_inside(kernel, room, inside, tolerance, share, progress)
    if found is None:
        search = _Search(kernel, room, inside, tolerance, progress)
        search.run(iterations if iterations is not None else round(share * _ITERATIONS))
        found = room.scaled(kernel, kernel.project(search.x))
    energy = float(np.vdot(found, found))
    # rounding is no vector of the kernel
    if not np.sqrt(energy) > _NOTHING * np.linalg.norm(room.clip(inside)):
        return np.zeros_like(start)
    # 0 is inside too, so nothing of the line to it is farther from the wish than the answer
    shorter = float(np.vdot(inside, found)) / energy
    return found if shorter >= 1.0 else max(0.0, shorter) * found


def largest(
    kernel: Kernel,
    start: Array,
    direction: Array,
    lower: ArrayLike,
    upper: ArrayLike,
    *,
    tolerance: float = 1e-4,
    iterations: int | None = None,
    progress: Progress | None = None,
) -> Array:
    """A δ of the kernel, inside the box, that goes as far along `direction` d as the box allows.

    The largest ⟨d, δ⟩ is a linear programme. This is the point nearest to a far multiple c·d, with c‖d‖ of `_FAR` times the
    length of the corner of the box that d points to; the ⟨d, δ⟩ of that point is below the largest by ‖δ*‖²/(2c) at most,
    δ* being a solution of the programme, and by what `nearest` leaves. Guaranteed: ⟨d, δ⟩ and ‖δ‖₂ are no less than those
    of d projected on the kernel and scaled to the box. The rest is as for `nearest`.

    Raises:
        ValueError: as `nearest`; or the box does not bound the direction.
    """
    start = np.asarray(start, dtype=np.float64)
    room = _Room.of(start, lower, upper)
    inside = kernel.project(np.asarray(direction, dtype=np.float64))
    length = float(np.linalg.norm(inside))
    if length == 0.0:
        return inside
    t = float(room.share(inside).min())
    if not np.isfinite(t):
        raise ValueError("nothing bounds this direction")
    plain = room.scaled(kernel, t * inside)
    corner = np.where(inside > 0, room.high, np.where(inside < 0, room.low, 0.0))
    corner = np.where(np.isfinite(corner), corner, t * inside)
    span = max(float(np.linalg.norm(corner)), float(np.linalg.norm(plain)))
    if span == 0.0:
        return plain
    found = plain
    for far in (_FAR, 1.0):  # nearer wishes have fewer entries at their bounds, which is easier
        wish = (far * span / length) * inside
        try:
            found = nearest(kernel, start, wish, lower, upper, tolerance=tolerance, iterations=iterations, progress=progress)
        except NotConvergedError:
            if far == 1.0 and not plain.any():
                raise
        if np.any(found):
            break
    better = np.vdot(inside, found) >= np.vdot(inside, plain) and np.linalg.norm(found) >= np.linalg.norm(plain)
    return found if better else plain


class _Search:
    """ADMM for min ½‖x − wish‖² with x in the kernel and z = x in a box low ≤ z ≤ high; u are the scaled multipliers."""

    def __init__(self, kernel: Kernel, room: _Room, wish: Array, tolerance: float, progress: Progress | None) -> None:
        self.kernel, self.wish = kernel, wish
        self.low, self.high = room.low.copy(), room.high.copy()
        self.x = wish
        self._tolerance, self._progress = tolerance, progress
        self._length = float(np.linalg.norm(wish))
        self._z = room.clip(wish)
        self._u = np.zeros_like(wish)
        # multipliers are as long as the wish, and meet what is as long as the answer
        self._rho = 3.0 * self._length / float(np.linalg.norm(self._z))
        self._least = _NOTHING * float(np.linalg.norm(self._z))
        self._done = 0

    def run(self, iterations: int, least: int = 1) -> None:
        """Until the tolerance is reached, `least` iterations or more, or so many iterations."""
        for count in range(1, iterations + 1):
            rho = self._rho
            self.x = self.kernel.rough((self.wish + rho * (self._z - self._u)) / (1.0 + rho))
            relaxed = _RELAXATION * self.x + (1.0 - _RELAXATION) * self._z
            z = np.clip(relaxed + self._u, self.low, self.high)
            self._u += relaxed - z
            primal = float(np.linalg.norm(self.x - z)) / max(float(np.linalg.norm(z)), self._least)
            dual = rho * float(np.linalg.norm(z - self._z)) / self._length
            self._z = z
            self._done += 1
            left = max(primal, dual) / self._tolerance
            if self._progress and count % 10 == 0:
                self._progress(self._done, left)
            if left <= 1.0 and count >= least:
                return
            if count % _ADAPT_EVERY == 0 and self._done <= _ADAPT_UNTIL:
                self._adapt(primal, dual)

    def _adapt(self, primal: float, dual: float) -> None:
        """Residuals far apart ask for another ρ; after `_ADAPT_UNTIL` iterations it stays, which convergence needs."""
        if primal > 10.0 * dual or dual > 10.0 * primal:
            factor = 2.0 if primal > dual else 0.5
            self._rho *= factor
            self._u /= factor


def _strictly_inside(
    kernel: Kernel, room: _Room, wish: Array, tolerance: float, share: float, progress: Progress | None
) -> Array | None:
    """A point of kernel and box near the nearest one, by way of one that is strictly inside; None where none is found.

    Entries without room that cannot leave their bound are held at 0, with those like them around them, and it is tried again.
    """
    held = room.low == room.high
    width = np.where(np.isfinite(room.high - room.low), room.high - room.low, float(np.abs(wish).max()))
    tight = np.minimum(room.high, -room.low) <= _MARGINS[-1] * width
    for _ in range(_HOLDS):
        part = kernel.within(~held) if held.any() else kernel
        stuck = np.zeros_like(held)
        for margin in _MARGINS:
            search = _Search(part, room, wish, tolerance, progress)
            search.low, search.high = room.low + margin * width, room.high - margin * width
            search.low[held] = search.high[held] = 0.0
            inner = _reached(search, room, round(share * _STRICT))
            if inner is not None:
                return _outermost(search, room, inner, held, wish, round(share * _FINISH))
            short = np.maximum(search.low - search.x, search.x - search.high) > 0.5 * margin * width
            stuck = tight & ~held & (kernel.around(short.astype(np.float64)) > 0.0)
        if not stuck.any():
            break
        held = held | stuck
    return None


def _outermost(search: _Search, room: _Room, inner: Array, held: Mask, wish: Array, iterations: int) -> Array:
    """Search on in the true box, and take the last point inside it on the line from `inner` to where that ends."""
    search.low, search.high = np.where(held, 0.0, room.low), np.where(held, 0.0, room.high)
    search.run(iterations, _LEAST)
    around = _Room.of(room.start + inner, room.lower, room.upper)
    better = inner + around.scaled(search.kernel, search.kernel.project(search.x) - inner)
    closer = np.linalg.norm(better - wish) < np.linalg.norm(inner - wish)
    return better if closer and room.holds(better) else inner


def _reached(search: _Search, room: _Room, iterations: int) -> Array | None:
    """Search until scaling the point back into the true box costs next to nothing; None where it comes no nearer."""
    before = np.inf
    for _ in range(0, iterations, _CHECK):
        search.run(_CHECK, _CHECK)
        excess = float(np.linalg.norm(np.maximum(room.excess(search.x), 0.0)))
        if excess <= _LOSS * float(np.linalg.norm(search.x)):
            change = search.kernel.project(search.x)
            scaled = room.scaled(search.kernel, change)
            if np.linalg.norm(scaled - change) <= _LOSS * np.linalg.norm(change):
                return scaled
        if excess > _STALL * before:
            return None
        before = excess
    return None
