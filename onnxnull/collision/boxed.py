"""Changes of a tensor that its readers cannot see and that stay inside a box: convex programmes, never clipping.

The kernel is a linear space and the box is convex and holds 0, so what lies in both is convex. `solve` finds its point
nearest to a wish by the alternating direction method of multipliers (Boyd et al., *Distributed Optimization and Statistical
Learning via ADMM*, 2011, §5, over-relaxed, ρ by §3.4.1). What ADMM leaves violates the box a little, and no clipping would
leave it in the kernel.

1. A search in a box that is a little smaller on every side (also where there is no room: black pixels have to become
   lighter) gives a point strictly inside the true one. The search goes on in the true box, and the answer is the last point
   inside it on the line from the one to the other.
2. Where nothing is strictly inside (a white border that the kernel cannot darken), the search ends at the shortest way from
   the kernel to the smaller box (Banjac, Goulart, Stellato, Boyd, "Infeasibility detection in ADMM", 2019). It is orthogonal
   to the kernel, so where it only moves entries without room, these stay at their bound for every point that is in both
   (Farkas): they are held at 0 (`Kernel.within`), and it is tried again.
3. The multipliers bound how far the answer is from the nearest point: that ends the search (`Admm.distance`).

Of small tensors the multipliers are found directly (`small_boxes`), and the search is left to what that does not certify.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from onnxnull.collision.admm import Admm
from onnxnull.collision.kernel import Kernel
from onnxnull.collision.room import Room
from onnxnull.collision.small_boxes import MOST, multipliers
from onnxnull.kernel.maps.linear_map import Array
from onnxnull.kernel.project import NotConvergedError

Mask = NDArray[np.bool_]

_CLOSE = 0.005
"""Certified: the nearest point lies within this share of the answer's length."""
_STRICT, _FINISH, _PLAIN = 600, 40, 300
"""Most iterations at `Kernel.pace` 1: in a smaller box; then in the true one; there before that, where entries are held."""
_SLOWEST, _FASTEST = 0.2, 50.0
"""`Kernel.pace` counts between these."""
# So many iterations between two looks at where a search is.
_CHECK = 25
_MARGINS = (0.02, 0.003, 0.0003)
"""How much smaller the box is made on every side, in shares of its width."""
_INSIDE, _STUCK = 0.25, 0.5
"""In shares of the margin: a point so far inside is strictly inside; an entry that the shortest way moves so far is stuck."""
# Entries with less room than this share of the width have none.
_TIGHT = 0.0003
# Multipliers below this share of the wish hold nothing.
_LEAST = 1e-6
# What leaves a bound of 0 by less than this share of the wish leaves it by rounding.
_ROUNDING = 1e-12
_HOLDS = 6
"""Most times that more entries are held."""
# A search that gains less than this between two looks is given up.
_STALL = 0.97
# Changes that are shorter than this, relative to the wish clipped to the box, are looked at; off the kernel by as much, none.
_NOTHING = 1e-8
# An answer this near to a nearest point of 0, relative to the same, is certified as well.
_ZERO = 1e-6
# A far-away point: so many times the longest change that the box allows along the direction.
_FAR = 10.0


@dataclass(frozen=True, slots=True, eq=False)
class Nearest:
    """A change in kernel and box; the one nearest to the wish is no farther from it than `within` (L2; inf: not known)."""

    change: Array
    within: float


Close = Callable[[Nearest], bool]


def solve(
    kernel: Kernel, start: Array, wish: Array, lower: ArrayLike, upper: ArrayLike, *, tolerance: float = _CLOSE
) -> Nearest:
    """The δ nearest to `wish` with δ in the kernel and lower ≤ start + δ ≤ upper.

    Exact: start + δ, rounded to float64, lies in the box, and δ is a vector of the kernel to rounding, whatever the number of
    iterations. Certified: how near it is. The search ends where that is `tolerance` of ‖δ‖, or when as many iterations are
    done as the size of the tensor allows (`Kernel.pace`).

    Args:
        start, wish: of the kernel's shape; `start` lies in the box.
        lower, upper: broadcastable to it; ±inf for no bound.

    Raises:
        ValueError: `start` is not in the box, or not finite.
        NotConvergedError: a projection on the kernel failed.
    """
    start = np.asarray(start, dtype=np.float64)
    wish = np.asarray(wish, dtype=np.float64)
    room = Room.of(start, lower, upper)
    inside = kernel.project(wish)
    if room.holds(inside):
        return Nearest(inside, 0.0)
    nothing = np.zeros_like(start)
    clipped = float(np.linalg.norm(room.clip(inside)))
    if clipped == 0.0:  # the wish is in the normal cone of the box at 0
        return Nearest(nothing, 0.0)

    def close(found: Nearest) -> bool:
        return found.within <= max(tolerance * float(np.linalg.norm(found.change)), _ZERO * clipped)

    found = _solved(kernel, room, inside, close)
    length = float(np.linalg.norm(found.change))
    # what is so short is a vector of the kernel, or rounding, which is none
    if length > _NOTHING * clipped or np.linalg.norm(kernel.project(found.change) - found.change) <= _NOTHING * length:
        return found
    return Nearest(nothing, found.within + length)


def nearest(
    kernel: Kernel, start: Array, wish: Array, lower: ArrayLike, upper: ArrayLike, *, tolerance: float = _CLOSE
) -> Array:
    """The change that `solve` finds."""
    return solve(kernel, start, wish, lower, upper, tolerance=tolerance).change


def largest(
    kernel: Kernel,
    start: Array,
    direction: Array,
    lower: ArrayLike,
    upper: ArrayLike,
    *,
    tolerance: float = _CLOSE,
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
    room = Room.of(start, lower, upper)
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
            found = nearest(kernel, start, wish, lower, upper, tolerance=tolerance)
        except NotConvergedError:
            if far == 1.0 and not plain.any():
                raise
        if np.any(found):
            break
    better = np.vdot(inside, found) >= np.vdot(inside, plain) and np.linalg.norm(found) >= np.linalg.norm(plain)
    return found if better else plain


def _solved(kernel: Kernel, room: Room, wish: Array, close: Close) -> Nearest:
    """The point of kernel and box nearest to a wish of the kernel, where the wish is not it."""
    fixed = room.low == room.high
    if fixed.any():
        kernel = kernel.within(~fixed)
        wish = kernel.project(wish)
        if not np.any(wish):
            return Nearest(wish, 0.0)
    known = _by_active_sets(kernel, room, wish, fixed) if wish.size <= MOST else None
    if known is not None and close(known):
        return known
    share = min(_FASTEST, max(_SLOWEST, kernel.pace)) if known is None else 1.0  # a long search would not know more
    found = _with_stuck_parts_held(kernel, room, wish, fixed, share, close)
    if not close(found):
        found = _with_entries_held(kernel, room, wish, fixed, share, close, found)
    return found if known is None else min(known, found, key=lambda one: one.within)


def _by_active_sets(kernel: Kernel, room: Room, wish: Array, fixed: Mask) -> Nearest | None:
    """The nearest point as its multipliers give it; what they hold at a bound of 0, or only rounding puts beyond one, is 0."""
    held_by = multipliers(kernel, wish, room.low, room.high)
    if held_by is None:
        return None
    search = Admm(kernel, wish, room.low, room.high)
    search.settle(held_by)
    held, rounding = fixed | _without_room(search, room, 0.0), _ROUNDING * float(np.linalg.norm(wish))
    for _ in range(_HOLDS):
        part = kernel.within(~held)
        point = part.project(search.x)
        beyond = ((room.low == 0.0) & (point < 0.0)) | ((room.high == 0.0) & (point > 0.0))
        beyond &= ~held & (np.abs(point) < rounding)
        if not beyond.any():
            break
        held = held | beyond
    change = room.scaled(part, point)
    return Nearest(change, search.distance(change))


def _with_stuck_parts_held(kernel: Kernel, room: Room, wish: Array, fixed: Mask, share: float, close: Close) -> Nearest:
    """Hold whole neighbourhoods of stuck entries: soon done, and near, but the certificate is for the programme without."""
    held = fixed
    for _ in range(_HOLDS):
        part = kernel.within(~held) if held.any() else kernel
        tries = _strictly_inside(part, room, wish, held, round(share * _STRICT), _MARGINS[:2])
        if tries.point is not None:
            search = tries.search
            search.low, search.high = np.where(held, 0.0, room.low), np.where(held, 0.0, room.high)
            found = _outermost(search, part, room, tries.point, close, round(share * _FINISH))
            return found if held is fixed else replace(found, within=np.inf)
        stuck = tries.tight & ~held & (kernel.around(tries.stuck.astype(np.float64)) > 0.0)
        if not stuck.any():
            break
        held = held | stuck
    search = Admm(kernel, wish, room.low, room.high)
    return _outermost(search, kernel, room, np.zeros_like(wish), close, round(share * _PLAIN))


def _with_entries_held(
    kernel: Kernel, room: Room, wish: Array, fixed: Mask, share: float, close: Close, best: Nearest
) -> Nearest:
    """Hold what the multipliers of the nearest point hold at a bound of 0, while the size of the tensor allows it."""
    search = Admm(kernel, wish, room.low, room.high)
    stuck, left, turn = fixed, round((share - 1.0) * _PLAIN), _PLAIN // _HOLDS
    while left > 0 and not close(best):
        search.run(min(turn, left))
        left, turn = left - turn, 2 * turn
        held = stuck | _without_room(search, room, _LEAST * float(np.linalg.norm(wish)))
        part = kernel.within(~held)
        point: Array | None = part.project(search.x)
        assert point is not None
        if not room.holds(point):
            tries = _strictly_inside(part, room, point, held, round(share * _STRICT), _MARGINS)
            point, stuck = tries.point, stuck | (tries.stuck & tries.tight)
        found = [replace(best, within=search.distance(best.change))]
        if point is not None:
            found.append(_outermost(search, part, room, point, close, round(share * _FINISH)))
        best = min(found, key=lambda one: one.within)
    return best


def _without_room(search: Admm, room: Room, least: float) -> Mask:
    """Entries that multipliers above `least` hold at a bound of 0."""
    force = search.multipliers
    held: Mask = ((room.low == 0.0) & (force < -least)) | ((room.high == 0.0) & (force > least))
    return held


@dataclass(frozen=True, slots=True, eq=False)
class _Try:
    """What searches in smaller boxes found: a point strictly inside, or entries that do not come inside.

    `tight` are all without room; of these, the stuck ones cannot leave their bound.
    """

    search: Admm
    point: Array | None
    stuck: Mask
    tight: Mask


def _strictly_inside(kernel: Kernel, room: Room, wish: Array, held: Mask, iterations: int, margins: tuple[float, ...]) -> _Try:
    """Look for a point of the kernel, near the wish, that is strictly inside the box but for the entries held at 0."""
    width = np.where(np.isfinite(room.high - room.low), room.high - room.low, float(np.abs(wish).max()))
    tight = np.minimum(room.high, -room.low) <= _TIGHT * width
    for margin in margins:
        rim = np.where(held, 0.0, margin * width)
        search = Admm(kernel, wish, np.where(held, 0.0, room.low + rim), np.where(held, 0.0, room.high - rim))
        point = _reached(search, room, _INSIDE * rim, iterations)
        moved = ~held & (np.abs(search.displacement) > _STUCK * rim)
        if point is not None:
            break
    return _Try(search, point, moved, tight)


def _reached(search: Admm, room: Room, rim: Array, iterations: int) -> Array | None:
    """Search until the point is inside the true box by `rim` everywhere; None where it comes no nearer."""
    before = np.inf
    for _ in range(0, iterations, _CHECK):
        search.run(_CHECK)
        short = float(np.linalg.norm(np.maximum(room.excess(search.x) + rim, 0.0)))
        if short == 0.0:
            change = search.kernel.project(search.x)
            if room.holds(change):
                return change
        if short > _STALL * before:
            return None
        before = short
    return None


def _outermost(search: Admm, part: Kernel, room: Room, anchor: Array, close: Close, iterations: int) -> Nearest:
    """Search on in the true box; the last point inside it on the line from `anchor`, inside as well, to where that ends.

    `part` holds the anchor and what the search finds.
    """
    around = Room.of(room.start + anchor, room.lower, room.upper)
    best = Nearest(anchor, search.distance(anchor))
    for done in range(0, iterations, _CHECK):
        search.run(min(_CHECK, iterations - done))
        change = anchor + around.scaled(part, part.project(search.x) - anchor)
        if room.holds(change):
            best = min(best, Nearest(change, search.distance(change)), key=lambda one: one.within)
        if close(best):
            break
    return best
