"""How large a perturbation may be for its claim to hold at every precision that was asked for.

1. A wish is as large in every entry as the entry's own feature is: one feature of 10⁹ among others of 1 would otherwise be
   moved by nothing, or the others by 10⁸. The kernel is taken in coordinates z = δ/size, so that a projection mixes no sizes.
2. What is found is looked at as the lowest precision stores it. Entries that its rounding leaves where they were are held, and
   the rest is made anew; where representing the colliding input costs too much of the layer's scale, it is made smaller.

A length that the user asked for stays what it is; what could hold is said.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from onnxnull.collision.claims import Reader, kernel_claim
from onnxnull.collision.perturb import Recipe
from onnxnull.collision.tensors import Site
from onnxnull.collision.yardstick import Box
from onnxnull.errors import OnnxnullError
from onnxnull.kernel.maps.linear_map import Array, LinearMap
from onnxnull.kernel.maps.primitives import Scale
from onnxnull.kernel.maps.selection import Selection, identity

_STEP = 10
"""Sizes are powers of 2¹⁰ of the typical one: what differs by less than a factor of 32 is of one size."""
_SMALLER, _TRIES, _HOLDS = 16.0, 9, 4


def own_sizes(x: Array) -> Array | None:
    """The size of every entry's feature, a power of two; None where all have one size.

    A feature is what an index along an axis but the first (the samples) names, and its size the root mean square of its
    entries; the least of what the axes give counts, as for the channels of an output. One without a size has the typical one.
    """
    if not x.size:
        return None
    found = np.full(x.shape, np.inf)
    if x.ndim < 2:
        found = np.abs(x)
    for axis in range(1, x.ndim):
        others = tuple(i for i in range(x.ndim) if i != axis)
        largest = float(np.abs(x).max(initial=0.0)) or 1.0  # squares of small or large numbers leave the range of doubles
        sizes = np.abs(x).max(axis=others, keepdims=True, initial=0.0)
        with np.errstate(under="ignore"):
            share = np.sqrt(np.mean(np.square(x / np.where(sizes > 0, sizes, largest)), axis=others, keepdims=True))
        found = np.minimum(found, sizes * share)
    some = found[found > 0]
    if not some.size:
        return None
    typical = np.median(some)
    with np.errstate(divide="ignore"):
        exponents = _STEP * np.rint(np.where(found > 0, np.log2(found) - np.log2(typical), 0.0) / _STEP)
    if np.all(exponents == exponents.flat[0]):
        return None
    result: Array = np.ldexp(1.0, np.clip(exponents, -900, 900).astype(int))
    return result


def rescaled(site: Site, sizes: Array) -> Site:
    """The site in coordinates z = δ/sizes."""

    def path(one: LinearMap | None) -> LinearMap | None:
        if isinstance(one, Selection):
            return one.after(replace(identity(sizes.shape), factors=sizes))
        return None if one is None else one @ Scale(sizes.shape, sizes)

    layers = tuple(replace(layer, path=path(layer.path)) for layer in site.frontier.layers)
    return replace(site, frontier=replace(site.frontier, layers=layers))


@dataclass(frozen=True, slots=True, eq=False)
class Target:
    """The lowest precision that runs, where a claim has least room.

    Attributes:
        name: of the precision.
        unit: its unit roundoff.
        tolerance: τ.
        stored: what it makes of a tensor.
    """

    name: str
    unit: float
    tolerance: float
    stored: Callable[[Array], np.ndarray]


def fitted(
    make: Callable[[Recipe], Array], recipe: Recipe, start: Array, readers: Sequence[Reader], target: Target, box: Box
) -> tuple[Array, str | None]:
    """A perturbation whose kernel claims hold at the target, and what the reader should know of its size.

    Where none was found it is the first that was made, and its verdict will say so.

    Args:
        make: recipe → δ.

    Raises:
        OnnxnullError: what `make` raises at first.
    """
    first = change = make(recipe)
    for _ in range(_HOLDS):
        if _said(start, change, readers, target, box) is not False:
            break
        lost = (change != 0) & (target.stored(start + change) == target.stored(start))
        free = ~lost & (True if recipe.free is None else recipe.free)
        if not lost.any() or not free.any():
            break
        recipe = replace(recipe, free=np.broadcast_to(free, start.shape))
        try:
            change = make(recipe)
        except OnnxnullError:
            break
    told = _said(start, change, readers, target, box)
    if told:
        return change, None
    with np.errstate(over="ignore", invalid="ignore"):
        own = float(np.linalg.norm(start)) / float(np.linalg.norm(change))
    smaller = _SMALLER * (min(own, 1.0 / _SMALLER) if own > 0 else 1.0 / _SMALLER) * change
    for _ in range(_TRIES):
        smaller = smaller / _SMALLER
        if not np.any(target.stored(start + smaller) != target.stored(start)):
            break
        if _said(start, smaller, readers, target, box):
            length = float(np.linalg.norm(smaller))
            if recipe.beta is not None:
                return change, f"a change of length {length:.2g} (--beta) could hold at {target.name}"
            times = float(np.linalg.norm(change)) / length
            return (
                smaller,
                f"made {times:.3g} times smaller, to a length of {length:.2g}, so that the claim can hold at {target.name}",
            )
    if recipe.beta is not None:
        return change, f"no length was found that could hold at {target.name}: leave out --beta, or start from another input"
    return first, None


def _said(start: Array, change: Array, readers: Sequence[Reader], target: Target, box: Box) -> bool | None:
    """Whether all claims hold; None where none fails and one is refused."""
    x0, x1 = (np.asarray(target.stored(x)).astype(np.float64) for x in (start, start + change))
    claims = [kernel_claim(reader, x0, x1, target.unit, tolerance=target.tolerance, box=box).holds for reader in readers]
    return False if False in claims else None if None in claims else True
