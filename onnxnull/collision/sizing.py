"""How a perturbation becomes one whose claims can hold at every precision that was asked for.

1. A wish is as large in every entry as the entry's own feature is (`coordinates`); where that gives nothing that can hold, all
   entries are wished one length.
2. What is found is looked at as every precision stores it. Entries that rounding leaves where they were are held, and the
   rest is made anew; where representing the colliding input costs too much of the layer's scale, it is made smaller, also
   where a length was asked for. The reader is told.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from onnxnull.collision.claims import Reader, kernel_claim
from onnxnull.collision.coordinates import Coordinates
from onnxnull.collision.perturb import Recipe
from onnxnull.collision.yardstick import Box
from onnxnull.errors import Code, OnnxnullError
from onnxnull.kernel.maps.linear_map import Array
from onnxnull.kernel.numerics.rounding_model import magnitude

_SMALLER, _TRIES, _HOLDS = 16.0, 10, 4


@dataclass(frozen=True, slots=True, eq=False)
class TargetPrecision:
    """A precision that runs.

    Attributes:
        name: of the type that takes the tensor.
        unit: its unit roundoff.
        tolerance: τ.
        stored: what it makes of a tensor.
    """

    name: str
    unit: float
    tolerance: float
    stored: Callable[[Array], np.ndarray]

    def moves(self, start: Array, change: Array) -> np.ndarray:
        """Which entries are other numbers here once they are changed."""
        return np.asarray(self.stored(start + change) != self.stored(start))


@dataclass(frozen=True, slots=True, eq=False)
class Fitted:
    """A perturbation, the coordinates that it was made in, and what the reader should know of its size."""

    change: Array
    coordinates: Coordinates
    told: str | None = None


def fitted(
    ways: Iterable[Coordinates],
    recipe: Recipe,
    start: Array,
    readers: Sequence[Reader],
    targets: Sequence[TargetPrecision],
    box: Box,
    progress: Callable[[str], None] = lambda _: None,
) -> Fitted:
    """A perturbation whose kernel claims hold at all targets, in the first coordinates that give one which a layer reads.

    Where none is read, the first that is not. Where all claims of a size are refused, it is as it was made first, and its
    verdicts will say so.

    Args:
        targets: the lowest precision first: there a claim has least room.

    Raises:
        OnnxnullError: what making it raises, in the first coordinates; `not-found` where the claims fail at every size.
    """
    trial = _SizeTrial(start, readers, targets, box)
    first: Fitted | None = None
    unread: Fitted | None = None
    for coordinates in ways:
        try:
            made = coordinates.perturbation(start, recipe, progress)
        except OnnxnullError:
            if first is None:
                raise
            continue
        first = first or Fitted(made, coordinates)
        for change in _changes(coordinates, made, recipe, trial):
            told = [
                "of one length in every entry, not of each feature's own size" if first.coordinates is not coordinates else "",
                _smaller(first.change, change, targets),
            ]
            found = Fitted(change, coordinates, "; ".join(filter(None, told)) or None)
            if trial.is_read(change):
                return found
            unread = unread or found
    if unread is not None:
        return unread
    assert first is not None, "there are coordinates"
    if trial.refused:
        names = " and ".join(dict.fromkeys(target.name for target in targets))
        return replace(first, told=f"no size was found at which the claims can hold at {names}: start from another input")
    seen = f"no change of this kernel, so long or shorter, can be told from rounding the input to {targets[0].name}"
    higher = ", or ask for a higher precision alone" if targets[0].name in ("float64", "float32") else ""
    raise OnnxnullError(Code.NOT_FOUND, seen, f"raise --beta or --epsilon{higher}")


def _smaller(first: Array, change: Array, targets: Sequence[TargetPrecision]) -> str | None:
    length = float(np.linalg.norm(change))
    times = float(np.linalg.norm(first)) / length
    if not times > 2.0:
        return None
    return f"made {times:.3g} times smaller, to a length of {length:.2g}, so that the claim can hold at {targets[0].name}"


def _changes(coordinates: Coordinates, made: Array, recipe: Recipe, trial: _SizeTrial) -> Iterator[Array]:
    """Those that can hold: as long as it was made, then smaller ones."""
    own, long = coordinates.length(trial.start), coordinates.length(made)
    factor = 1.0
    for _ in range(_TRIES):
        change = _held(coordinates, factor * made, recipe, trial)
        if change is not None:
            yield change
        if not any(target.moves(trial.start, factor * made).any() for target in trial.targets):
            return
        factor = min(factor / _SMALLER, own / long) if own > 0.0 else factor / _SMALLER


def _held(coordinates: Coordinates, change: Array, recipe: Recipe, trial: _SizeTrial) -> Array | None:
    """The change, projected on the kernel of those entries that rounding does not leave where they were; None if none holds."""
    for _ in range(_HOLDS):
        found = trial.can_hold(change)
        if found:
            return change
        lost = (change != 0) & ~np.logical_and.reduce([target.moves(trial.start, change) for target in trial.targets])
        free = ~lost & (True if recipe.free is None else recipe.free)
        if found is None or not lost.any() or not free.any():
            return None
        recipe = replace(recipe, free=np.broadcast_to(free, trial.start.shape))
        change = coordinates.only(change, free, trial.start, recipe)
    return None


@dataclass(slots=True, eq=False)
class _SizeTrial:
    """What perturbations are tried on.

    Attributes:
        refused: whether claims of one were refused where none failed.
    """

    start: Array
    readers: Sequence[Reader]
    targets: Sequence[TargetPrecision]
    box: Box
    refused: bool = False

    def can_hold(self, change: Array) -> bool | None:
        """Whether all claims hold at all targets; None where none fails and one is refused."""
        found: bool | None = True
        for target in self.targets:
            x0, x1 = (np.asarray(target.stored(x)).astype(np.float64) for x in (self.start, self.start + change))
            if not np.any(x0 != x1):
                return False
            for reader in self.readers:
                holds = kernel_claim(reader, x0, x1, target.unit, tolerance=target.tolerance, box=self.box).holds
                if holds is False:
                    return False
                found = None if holds is None else found
        self.refused = self.refused or found is None
        return found

    def is_read(self, change: Array) -> bool:
        """Whether a layer reads, by a weight other than 0, what changes; nothing does where there is no layer."""
        for reader in self.readers:
            moved = magnitude(reader.path).apply((change != 0).astype(np.float64))
            if np.any(magnitude(reader.make((reader.blocks != 0).astype(np.float64))).apply(moved)):
                return True
        return not self.readers
