"""Coordinates z = δ/size, in which a wished-for change is as large in every entry as the entry's own feature is.

One feature of 10⁹ among others of 1 would otherwise be moved by nothing, or the others by 10⁸. The kernel is taken in these
coordinates, so that a projection mixes no sizes. Sizes are powers of two: changing coordinates rounds nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from onnxnull.collision.kernel import Kernel
from onnxnull.collision.near_kernel import NearKernel
from onnxnull.collision.perturb import Recipe, bounds, control, perturbation
from onnxnull.collision.room import Room
from onnxnull.collision.tensors import PerturbedTensor
from onnxnull.kernel.maps.linear_map import Array, LinearMap
from onnxnull.kernel.maps.primitives import Scale
from onnxnull.kernel.maps.selection import Selection, identity
from onnxnull.kernel.numerics.rounding_model import magnitude

_STEP = 10
"""Sizes are powers of 2¹⁰ of the typical one: what differs by less than a factor of 32 is of one size."""
_FAR = 2.0**20
"""Of the largest entry in these coordinates: at single precision no claim holds for a change that is so much longer."""
_NOTHING = 1e-9
"""A projection shorter than this share of what was projected is rounding."""


@dataclass(frozen=True, slots=True, eq=False)
class Coordinates:
    """A site and its kernel in z = δ/sizes.

    Attributes:
        sizes: of the tensor's shape; None where all are 1.
    """

    site: PerturbedTensor
    kernel: Kernel | NearKernel
    sizes: Array | None = None

    @classmethod
    def of(cls, site: PerturbedTensor, start: Array) -> Coordinates | None:
        """Those of the features' own sizes; None where all have one. Raises as `PerturbedTensor.kernel`."""
        sizes = own_sizes(start, _factors(site))
        if sizes is None:
            return None
        there = _rescaled(site, sizes)
        return cls(there, there.kernel(balanced=there.has_balanced_kernel()), sizes)

    def length(self, change: Array) -> float:
        """‖z‖₂ of a change, or of a tensor."""
        return float(np.linalg.norm(self._scaled(change)))

    def perturbation(self, start: Array, recipe: Recipe, progress: Callable[[str], None] = lambda _: None) -> Array:
        """δ as `onnxnull.collision.perturb.perturbation` makes it here; β is the length of δ itself. Raises as it does."""
        if self.sizes is None:
            return perturbation(self.site, self.kernel, start, recipe, progress)
        own = self._recipe(start, recipe)
        with np.errstate(under="ignore"):
            found = self.sizes * perturbation(self.site, self.kernel, self._scaled(start), own, progress)
        if recipe.beta is None or recipe.pattern == "toward":
            return found
        factor = recipe.beta / float(np.linalg.norm(found))
        return found * (factor if recipe.box is None and recipe.epsilon is None else min(1.0, factor))

    def only(self, change: Array, free: NDArray[np.bool_], start: Array, recipe: Recipe) -> Array:
        """What is nearest to a change in the kernel's vectors that are 0 where nothing is free: as long, or in the box.

        Raises:
            NotConvergedError: the projection failed.
        """
        assert not isinstance(self.kernel, NearKernel), "near-kernels fill whole patches"
        kernel = self.kernel.within(np.broadcast_to(free, start.shape))
        before, begin, own = self._scaled(change), self._scaled(start), self._recipe(start, recipe)
        found = kernel.project(before)
        length = float(np.linalg.norm(found))
        if not length > _NOTHING * float(np.linalg.norm(before)):
            return np.zeros_like(change)
        if recipe.pattern != "toward":
            found = (float(np.linalg.norm(before)) / length) * found
        if own.box is not None or own.epsilon is not None:
            found = Room.of(begin, *bounds(begin, own)).scaled(kernel, found)
        with np.errstate(under="ignore"):
            return found if self.sizes is None else self.sizes * found

    def control(self, start: Array, colliding: Array, recipe: Recipe) -> Array:
        """x₀ and a change that the layers see, as `onnxnull.collision.perturb.control` makes it here."""
        if self.sizes is None:
            return control(self.kernel, start, colliding, recipe)
        begin = self._scaled(start)
        with np.errstate(under="ignore"):
            seen = control(self.kernel, begin, self._scaled(colliding), self._recipe(start, recipe))
            beside: Array = start + self.sizes * (seen - begin)
        return beside

    def _scaled(self, x: Array) -> Array:
        with np.errstate(under="ignore"):
            return x if self.sizes is None else x / self.sizes

    def _recipe(self, start: Array, recipe: Recipe) -> Recipe:
        """In z."""
        toward = None if recipe.toward is None else self._scaled(recipe.toward)
        beta = recipe.beta if recipe.pattern == "toward" else None
        if recipe.box is None and recipe.epsilon is None:
            return replace(recipe, toward=toward, beta=beta)
        begin = self._scaled(start)
        far = _FAR * float(np.abs(begin).max(initial=0.0))
        lower, upper = (np.clip(self._scaled(bound), begin - far, begin + far) for bound in bounds(start, recipe))
        return replace(recipe, toward=toward, beta=beta, box=(lower, upper), epsilon=None)


def own_sizes(x: Array, factors: Array | None = None) -> Array | None:
    """The size of every entry's feature, a power of two; None where all have one size.

    A feature is what an index along an axis but the first (the samples) names, and its size the root mean square of its
    entries; the least of what the axes give counts, as for the channels of an output. One without a size has that which
    gives it a typical part in what the layers read.

    Args:
        factors: what an entry is multiplied by on its way to the layers, at most; 0 where nothing reads it. Ones if not given.
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
    sized = found > 0
    if not sized.any():
        return None
    with np.errstate(divide="ignore"):
        exponents, read = np.log2(found), np.log2(np.ones(x.shape) if factors is None else factors)
    typical = np.median(exponents[sized])
    parts = exponents + read
    known = sized & np.isfinite(parts)
    typical_part = np.median(parts[known]) if known.any() else 0.0
    exponents = np.where(sized, exponents, np.where(np.isfinite(read) & known.any(), typical_part - read, typical)) - typical
    exponents = _STEP * np.rint(exponents / _STEP)
    if np.all(exponents == exponents.flat[0]):
        return None
    result: Array = np.ldexp(1.0, np.clip(exponents, -900, 900).astype(int))
    return result


def _factors(site: PerturbedTensor) -> Array:
    """What every entry of the tensor is multiplied by on its way to the layers, at most."""
    found = np.zeros(site.shape)
    for layer in site.frontier.layers:
        assert layer.path is not None, "a site's shapes are known"
        path = layer.path
        if isinstance(path, Selection):
            read = path.indices >= 0
            factors = np.abs(np.broadcast_to(path.factors, path.indices.shape))
            np.maximum.at(found.reshape(-1), path.indices[read], factors[read])
        else:
            found = np.maximum(found, magnitude(path).adjoint(np.ones(path.output_shape)))
    return found


def _rescaled(site: PerturbedTensor, sizes: Array) -> PerturbedTensor:
    def path(one: LinearMap | None) -> LinearMap | None:
        if isinstance(one, Selection):
            return one.after(replace(identity(sizes.shape), factors=sizes))
        return None if one is None else one @ Scale(sizes.shape, sizes)

    layers = tuple(replace(layer, path=path(layer.path)) for layer in site.frontier.layers)
    return replace(site, frontier=replace(site.frontier, layers=layers))
