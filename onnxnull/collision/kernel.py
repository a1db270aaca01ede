"""The changes of one tensor that the layers reading it cannot see, as a space to project on.

Two ways to it: patch by patch, where no entry lies in two patches (`PatchKernel`: a few matrix products), and through
conjugate gradients on the layers' maps for everything else (`FrontierKernel`). `kernel_of` chooses.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from onnxnull.collision.restriction import behind, bounding_box, window
from onnxnull.frontier import Frontier
from onnxnull.frontier.joining import merge
from onnxnull.frontier.projection import kernel_of_maps
from onnxnull.kernel.maps.linear_map import Array, Composition, LinearMap, Shape, size
from onnxnull.kernel.maps.patches import patches_of
from onnxnull.kernel.maps.selection import NOTHING, Selection, identity
from onnxnull.kernel.patch_projection import PatchProjection, columns
from onnxnull.kernel.project import KernelSpace, NotConvergedError, SolvedKernel
from onnxnull.kernel.rank import Notion

Mask = NDArray[np.bool_]

_ROUGH = 5e-6
# What an unfinished projection may leave, relative to the wish, before it is an error; and a rough one.
_LEFT, _ROUGHLY_LEFT = 1e-10, 1e-4
# Entries for which some hundred projections take about a second [measured: 4 ms and 10 ms each].
_PATCH_PACE, _FRONTIER_PACE = 150_000, 25_000
# Positions along an axis that a convolution's kernel vectors are taken to hang together over.
_NEAR = 4


class Kernel(KernelSpace, Protocol):
    """A `KernelSpace` in which collisions are sought: every reader of the tensor maps its vectors to 0 up to rounding."""

    @property
    def pace(self) -> float:
        """How many iterations a second can be afforded, roughly: 1 is some hundred. It depends on shapes only."""
        ...

    def rough(self, wish: Array) -> Array:
        """The projection to about 1e-5 of ‖wish‖: for iterations."""
        ...

    def within(self, free: Mask) -> Kernel:
        """Those of its vectors that are 0 where `free` (`shape`) is False."""
        ...

    def shared(self, share: Array) -> Array:
        """The least of `share` (`shape`) over every part of the tensor that may be scaled on its own, for its entries."""
        ...

    def around(self, values: Array) -> Array:
        """For every entry the largest of `values` (`shape`) among those that it closely hangs together with."""
        ...


class PatchKernel:
    """The kernel of layers with the same, independent patches, and the entries that none of them reads."""

    def __init__(
        self,
        shape: Shape,
        places: NDArray[np.int64],
        spans: Sequence[Array],
        factors: Array | None = None,
        free: Mask | None = None,
        known: PatchKernel | None = None,
    ) -> None:
        """Use `kernel_of` or `PatchKernel.of`.

        Args:
            places: (g, L, q), the flat index of every patch entry in the tensor, NOTHING where it is none; no index twice.
            spans: g arrays (q, r) as `patch_projection.columns` makes them.
            factors: (g, L, q), what the path multiplies every patch entry by; None for ones.
            free: of `shape`; None where every entry is.
            known: a kernel with the same places, spans and factors, whose work is used again.
        """
        self._shape = shape
        self._places, self._spans, self._factors = places, spans, factors
        self._free = np.ones(size(shape), dtype=bool) if free is None else np.array(free, dtype=bool).ravel()
        self._unread = self._free.copy()
        self._unread[places[places != NOTHING]] = False
        weights = np.append(self._free, False)[places].astype(np.float64)
        if factors is not None:
            weights *= factors
        before: Sequence[PatchProjection | None] = [None] * len(spans) if known is None else known._parts
        self._parts: list[PatchProjection] = [
            PatchProjection(span, None if np.all(weight == 1.0) else weight, len(weight), old)
            for span, weight, old in zip(spans, weights, before, strict=True)
        ]

    @classmethod
    def of(cls, linear_maps: Sequence[LinearMap], path: Selection | None = None) -> PatchKernel | None:
        """The kernel of layers on one activation, behind `path`; None where their patches differ or share entries.

        Every layer counts at its own float64 cut-off.
        """
        found: tuple[NDArray[np.int64], Array] | None = None
        spans: list[list[Array]] = []
        for one in linear_maps:
            patches = patches_of(one)
            if patches is None or not patches.independent:
                return None
            read = identity(one.input_shape) if path is None else path
            factors = np.where(read.indices == NOTHING, 0.0, read.factors)
            index = np.where(factors == 0.0, NOTHING, read.indices)
            unfold = patches.unfold
            mine = _grouped(unfold.apply(index + 1.0)).astype(np.int64) - 1, _grouped(unfold.apply(factors))
            if found is None:
                found = mine
            elif not all(np.array_equal(a, b) for a, b in zip(found, mine, strict=True)):
                return None
            spans.append(columns(patches.blocks))
        if found is None:
            return None
        places, factors = found
        if np.bincount(places[places != NOTHING], minlength=1).max() > 1:
            return None
        shape = linear_maps[0].input_shape if path is None else path.shape
        joined = spans[0] if len(spans) == 1 else [_joined(parts) for parts in zip(*spans, strict=True)]
        plain = bool(np.all((factors == 1.0) | (places == NOTHING)))
        largest = float(np.abs(factors).max(initial=0.0))
        return cls(shape, places, joined, None if plain else factors / largest)

    @property
    def shape(self) -> Shape:
        """Shape of the tensor."""
        return self._shape

    @property
    def pace(self) -> float:
        """1 for 150,000 entries."""
        return _PATCH_PACE / max(1, size(self._shape))

    def project(self, wish: Array, /) -> Array:
        """The orthogonal projection, to rounding."""
        return self._each(wish, PatchProjection.project)

    def rough(self, wish: Array) -> Array:
        """The projection in one pass."""
        return self._each(wish, PatchProjection.rough)

    def within(self, free: Mask) -> PatchKernel:
        """The kernel vectors that are 0 where `free` is False."""
        both = self._free & np.broadcast_to(free, self._shape).ravel()
        return PatchKernel(self._shape, self._places, self._spans, self._factors, both, self)

    def shared(self, share: Array) -> Array:
        """The least over every patch; entries that no patch reads stand alone."""
        flat = np.append(share.ravel(), np.inf)
        for places in self._places:
            flat[places] = np.broadcast_to(flat[places].min(axis=1, keepdims=True), places.shape)
            flat[-1] = np.inf
        return flat[:-1].reshape(self._shape)

    def around(self, values: Array) -> Array:
        """The largest of every patch."""
        return -self.shared(-values)

    def _each(self, wish: Array, project: _Project) -> Array:
        flat = np.asarray(wish, dtype=np.float64).reshape(size(self._shape))
        result = np.where(self._unread, flat, 0.0)
        padded, changed = np.append(flat, 0.0), np.append(result, 0.0)  # index NOTHING = -1 finds the last entry
        for part, places in zip(self._parts, self._places, strict=True):
            changed[places] = project(part, padded[places])
        return changed[:-1].reshape(self._shape)


class _Project(Protocol):
    def __call__(self, part: PatchProjection, x: Array, /) -> Array: ...


class FrontierKernel:
    """The joint kernel of layers at the end of any linear paths.

    Raises:
        NotConvergedError: by the projections, where more than 1e-10 of the wish is left.
    """

    def __init__(self, frontier: Frontier, *, free: Mask | None = None) -> None:
        """Prepares nothing before the first projection. Raises UnknownShapeError, EvaluationError."""
        self._maps = merge([layer.map() for layer in frontier.layers], Notion.FLOAT64)
        self._shape = self._maps[0].input_shape if self._maps else frontier.shape
        self._frontier = frontier
        self._free = None if free is None else np.broadcast_to(free, self._shape)
        self._box = bounding_box(self._free) if self._free is not None else None
        self._prepared: SolvedKernel | None = None

    @property
    def shape(self) -> Shape:
        """Shape of the tensor."""
        return self._shape

    @property
    def pace(self) -> float:
        """1 for 25,000 entries."""
        return _FRONTIER_PACE / max(1, size(self._shape))

    def project(self, wish: Array, /) -> Array:
        """The orthogonal projection, to rounding. Raises NotConvergedError."""
        return self._run(wish, 1e-13, polish=True)

    def rough(self, wish: Array) -> Array:
        """The projection to about 1e-5. Raises NotConvergedError."""
        return self._run(wish, _ROUGH, polish=False)

    def within(self, free: Mask) -> FrontierKernel:
        """The kernel vectors that are 0 where `free` is False."""
        free = np.broadcast_to(free, self._shape)
        return FrontierKernel(self._frontier, free=free if self._free is None else self._free & free)

    def shared(self, share: Array) -> Array:
        """The least of all."""
        return np.full(self._shape, share.min(initial=np.inf))

    def around(self, values: Array) -> Array:
        """The largest of all channels `_NEAR` positions around."""
        from scipy.ndimage import maximum_filter

        if len(self._shape) < 3:
            return np.full(self._shape, values.max(initial=-np.inf))
        channels = values.max(axis=1, keepdims=True)
        near = maximum_filter(channels, size=(1, 1, *(2 * _NEAR + 1 for _ in self._shape[2:])), mode="nearest")
        return np.broadcast_to(near, self._shape)

    def _run(self, wish: Array, tol: float, *, polish: bool) -> Array:
        wish = np.asarray(wish, dtype=np.float64).reshape(self._shape)
        if self._free is None:
            return self._through(wish, tol, polish)
        result = np.zeros(self._shape)
        if self._box is not None:
            inside = self._free[self._box]
            result[self._box] = np.where(inside, self._through(np.where(inside, wish[self._box], 0.0), tol, polish), 0.0)
        return result

    def _through(self, wish: Array, tol: float, polish: bool) -> Array:
        if self._prepared is None:
            self._prepared = kernel_of_maps(self._restricted(), wish.shape, many=True)
        try:
            found = self._prepared.solve(wish, tol=tol, polish=polish)
        except NotConvergedError as error:
            found = error.projection
            # `bound` is tol·‖A‖·‖wish‖
            if found.residual > (_LEFT if polish else _ROUGHLY_LEFT) / tol * found.bound:
                raise
        return found.vector

    def _restricted(self) -> list[LinearMap]:
        """The layers' maps of the box, entries that are not free left out."""
        if self._free is None or self._box is None:
            return self._maps
        ranges = [(int(part.start), int(part.stop)) for part in self._box]
        inside = self._free[self._box]
        maps = [window(one, ranges) for one in self._maps]
        if inside.all():
            return maps
        only = replace(identity(inside.shape), factors=inside.astype(np.float64))
        return [behind(one, only) for one in maps]


def kernel_of(frontier: Frontier, *, patchwise: bool = False) -> Kernel:
    """What the layers of a frontier cannot see, patch by patch where no entry lies in two patches.

    Args:
        patchwise: of a transposed convolution whose outputs overlap, only what no patch alone shows.

    Raises:
        UnknownShapeError: a shape on a path is not known.
    """
    paths = [layer.path for layer in frontier.layers]
    first = paths[0] if paths else None
    if isinstance(first, Selection) and all(isinstance(path, Selection) and path.equals(first) for path in paths):
        layers = [_core(layer.map()) for layer in frontier.layers]
        found = PatchKernel.of(layers, first) if patchwise or all(_separate(layer) for layer in layers) else None
        if found is not None:
            return found
    return FrontierKernel(frontier)


def _separate(layer: LinearMap) -> bool:
    patches = patches_of(layer)
    return patches is not None and patches.separate


def _core(linear_map: LinearMap) -> LinearMap:
    """The layer of `Layer.map()`, without its path."""
    assert isinstance(linear_map, Composition)
    return linear_map.second


def _grouped(patches: Array) -> Array:
    """(..., g, L, q) as (g, ...·L, q)."""
    groups, count, q = patches.shape[-3:]
    return np.ascontiguousarray(np.moveaxis(patches, -3, 0)).reshape(groups, size(patches.shape[:-3]) * count, q)


def _joined(parts: Sequence[Array]) -> Array:
    """Columns that span what the parts span together."""
    return columns(np.concatenate(parts, axis=1)[None])[0]
