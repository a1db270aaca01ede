"""The patches of a layer on whatever it is made of: one sample or a batch, between reshapes and transpositions.

Where no entry lies in two patches the kernel of the layer is the patches' kernel, patch by patch, beside the entries that it
does not read.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace

import numpy as np

from onnxnull.kernel.maps.batched import Batched
from onnxnull.kernel.maps.layer import LayerMap
from onnxnull.kernel.maps.linear_map import Array, Composition, LinearMap
from onnxnull.kernel.maps.primitives import Permute, Reshape


@dataclass(frozen=True, slots=True, eq=False)
class Patches:
    """A layer and the way to its patches.

    Attributes:
        unfold: from the input to (..., g, L, q): patch l of group g is what block g multiplies.
        layer: of one sample, without what only rearranges entries.
    """

    unfold: LinearMap
    layer: LayerMap

    @property
    def blocks(self) -> Array:
        """The matrices, (g, q, p), float64."""
        return np.asarray(self.layer.blocks, dtype=np.float64)

    @property
    def independent(self) -> bool:
        """Whether no entry of the input lies in two patches, so that the layer's kernel is found patch by patch."""
        return self.layer.reads_apart

    @property
    def separate(self) -> bool:
        """Whether, besides, no output reads two patches: then the layer's kernel is that of the patches, one by one."""
        return self.independent and self.layer.writes_apart


@functools.singledispatch
def patches_of(linear_map: LinearMap) -> Patches | None:
    """The patches of a layer on its own activation, as `LinearUse.linear_map` makes it; None for anything else."""
    return None


@patches_of.register
def _layer(linear_map: LayerMap) -> Patches | None:
    return Patches(linear_map.unfold, linear_map)


@patches_of.register
def _batched(linear_map: Batched) -> Patches | None:
    found = patches_of(linear_map.sample)
    return None if found is None else replace(found, unfold=Batched(found.unfold, linear_map.count))


@patches_of.register
def _composition(linear_map: Composition) -> Patches | None:
    core, entering = stripped(linear_map)
    if core is linear_map:
        return None
    found = patches_of(core)
    return found if found is None or entering is None else replace(found, unfold=found.unfold @ entering)


def stripped(linear_map: LinearMap) -> tuple[LinearMap, LinearMap | None]:
    """(core, entering): the map without the reshapes and transpositions around it, and those that come before it.

    They only rearrange entries: core∘entering is the map up to the order of its outputs. `entering` is None where there are
    none.
    """
    if not isinstance(linear_map, Composition) or rearranges(linear_map):
        return linear_map, None
    if rearranges(linear_map.second):
        return stripped(linear_map.first)
    if not rearranges(linear_map.first):
        return linear_map, None
    core, entering = stripped(linear_map.second)
    return core, linear_map.first if entering is None else entering @ linear_map.first


def rearranges(linear_map: LinearMap) -> bool:
    """Whether a map only reshapes and transposes."""
    if isinstance(linear_map, Composition):
        return rearranges(linear_map.second) and rearranges(linear_map.first)
    return isinstance(linear_map, Permute | Reshape)
