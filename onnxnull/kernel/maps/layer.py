"""What convolutions and contractions share: unfold the input to patches, multiply each by a block, fold the products."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast

import numpy as np

from onnxnull.kernel.maps.linear_map import Array, LinearMap

# Patches are laid out for as many samples at once as fit into this many entries (128 MiB of float64).
_PATCH_ENTRIES = 16 << 20


class LayerMap(LinearMap):
    """fold ∘ (· blocks) ∘ unfold. A subclass is a frozen dataclass with a field `blocks`.

    Attributes:
        blocks: (g, q, p), rows inputs, columns outputs: patch l of group g is multiplied by block g.
    """

    blocks: Array

    @property
    @abstractmethod
    def unfold(self) -> LinearMap:
        """input_shape → (g, L, q): the patches. It moves entries and repeats some, and leaves out what no patch reads."""

    @property
    @abstractmethod
    def fold(self) -> LinearMap:
        """(g, L, p) → output_shape: it moves the products to their places, and adds up those that share one."""

    @property
    def reads_apart(self) -> bool:
        """Whether no entry of the input lies in two patches."""
        return True

    @property
    def writes_apart(self) -> bool:
        """Whether every product is an output of its own: then the layer sees of an input what its blocks see of the patches."""
        return True

    def with_blocks(self, blocks: Array) -> LayerMap:
        """The same layer with other blocks (g, q, p)."""
        return cast(LayerMap, replace(cast(Any, self), blocks=blocks))

    def _apply(self, x: Array) -> Array:
        unfold, fold = self.unfold, self.fold
        return self._few_at_once(lambda part: fold._apply(unfold._apply(part) @ self.blocks), x)

    def _adjoint(self, y: Array) -> Array:
        unfold, fold = self.unfold, self.fold
        return self._few_at_once(lambda part: unfold._adjoint(fold._adjoint(part) @ self.blocks.swapaxes(1, 2)), y)

    def _few_at_once(self, function: Callable[[Array], Array], x: Array) -> Array:
        """Apply to a few samples at a time, so that the patches of a large batch need not lie in memory at once."""
        step = max(1, _PATCH_ENTRIES // max(1, math.prod(self.unfold.output_shape)))
        if len(x) <= step:
            return function(x)
        first = function(x[:step])
        result = np.empty((len(x), *first.shape[1:]))
        result[:step] = first
        for start in range(step, len(x), step):
            result[start : start + step] = function(x[start : start + step])
        return result
