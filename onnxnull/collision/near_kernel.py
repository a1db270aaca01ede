"""Near-kernels: directions whose singular values lie between the float64 and the float32 cut-off. They are no collisions."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from onnxnull.collision.tensors import PerturbedTensor, carry_back
from onnxnull.errors import Code, OnnxnullError
from onnxnull.kernel.maps.linear_map import Array, Shape
from onnxnull.kernel.maps.patches import patches_of
from onnxnull.kernel.maps.selection import Selection
from onnxnull.kernel.nullspace import null_space
from onnxnull.kernel.rank import Notion
from onnxnull.kernel.span import column_span


class NearKernel:
    """What one layer with independent patches sees so weakly that the float32 cut-off drops it, and float64's does not.

    Attributes:
        sigma: the largest singular value of these directions.
    """

    def __init__(self, site: PerturbedTensor) -> None:
        """Use `of`."""
        (layer,) = site.frontier.layers
        assert isinstance(layer.path, Selection)
        own = layer.use.linear_map(layer.use.matrix(), layer.path.output_shape)
        patches = patches_of(own)
        assert patches is not None
        self._patches, self._path, self._shape = patches.unfold, layer.path, site.shape
        blocks = patches.blocks
        self._wide, self._narrow = null_space(blocks, Notion.FLOAT32), null_space(blocks)
        if self._wide.dimension == self._narrow.dimension:
            seen = f"no singular value of {layer.node!r} lies between the two cut-offs"
            raise OnnxnullError(Code.NOT_FOUND, seen, "there is no near-kernel")
        self.sigma = column_span(blocks, Notion.FLOAT32).dropped

    @classmethod
    def of(cls, site: PerturbedTensor) -> NearKernel:
        """The near-kernel of a site.

        Raises:
            OnnxnullError: `not-found` where there is none; `data` where several layers read the tensor, or patches overlap.
        """
        layers = site.frontier.layers
        if len(layers) == 1 and isinstance(layers[0].path, Selection):
            path = layers[0].path
            own = layers[0].use.linear_map(layers[0].use.matrix(), path.output_shape)
            patches = patches_of(own)
            if patches is not None and patches.independent and np.all(np.isin(path.factors, (0.0, 1.0))):
                return cls(site)
        seen = f"patches of {site.where!r} overlap or are mixed, and near-kernels are found patch by patch"
        raise OnnxnullError(Code.DATA, seen, "use --space patches")

    @property
    def shape(self) -> Shape:
        """Shape of the tensor."""
        return self._shape

    def project(self, wish: Array, /) -> Array:
        """The orthogonal projection of `wish`."""
        patches = np.moveaxis(self._patches.apply(self._path.apply(wish)), -3, -2)  # (..., L, g, q)
        rows = patches.reshape(*patches.shape[:-2], -1)
        found = (self._wide.project(rows) - self._narrow.project(rows)).reshape(patches.shape)
        return carry_back(self._path, self._patches.adjoint(np.moveaxis(found, -2, -3)))

    def rough(self, wish: Array) -> Array:
        """The same."""
        return self.project(wish)

    def within(self, free: NDArray[np.bool_]) -> NearKernel:
        """Not for near-kernels. Raises `OnnxnullError`."""
        raise OnnxnullError(Code.DATA, "near-kernel directions fill whole patches", "leave out --region and --mask")
