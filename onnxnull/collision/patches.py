"""The patches of an activation: which entries meet the blocks (g, q, p) of a layer, rows being inputs, columns outputs.

A layer is `unfold`, then one product per patch, then putting the outputs in place. Where no entry lies in two patches the
kernel of the layer is the patches' kernel, patch by patch, beside the entries that it does not read.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from onnxnull.kernel.maps.batched import Batched
from onnxnull.kernel.maps.convolution import Convolution, TransposedConvolution
from onnxnull.kernel.maps.im2col import ConvGeometry, Im2col
from onnxnull.kernel.maps.linear_map import Array, LinearMap, Shape
from onnxnull.kernel.maps.primitives import BlockMatrix, Identity, Matrix, Permute, Reshape, stripped
from onnxnull.operators.contraction.maps import ContractionMap, rearranged


@dataclass(frozen=True, eq=False)
class Rows(LinearMap):
    """The rows of a contraction: activation → (g, patches, q). Entries off a repeated axis' diagonal are left out."""

    of: ContractionMap

    @property
    def input_shape(self) -> Shape:
        """Shape of the activation."""
        return self.of.activation

    @property
    def output_shape(self) -> Shape:
        """(blocks, patches, rows of a block)."""
        groups, q, _ = self.of.blocks.shape
        return (groups, math.prod(self._sizes()[: len(self.of.contraction.patches)]), q)

    def _sizes(self) -> Shape:
        contraction = self.of.contraction
        sizes = dict(zip(contraction.activation, self.of.activation, strict=True))
        return tuple(sizes[label] for label in self._labels()[1:])

    def _labels(self) -> tuple[int, ...]:
        """The batch's, then those of `_sizes`."""
        c = self.of.contraction
        batch = max((*c.constant, *c.activation), default=-1) + 1
        return (batch, *c.patches, *c.block, *c.contracted, *c.alone)

    def _apply(self, x: Array) -> Array:
        groups, patches, q = self.output_shape
        labels = self._labels()
        rows = rearranged(x, (labels[0], *self.of.contraction.activation), labels)
        return rows.reshape(len(x), patches, groups, q).swapaxes(1, 2)

    def _adjoint(self, y: Array) -> Array:
        labels = self._labels()
        x = np.zeros((len(y), *self.input_shape))
        # without sums the rearrangement is a view of x
        view = rearranged(x, (labels[0], *self.of.contraction.activation), labels)
        view[...] = y.swapaxes(1, 2).reshape(len(y), *self._sizes())
        return x


def unfold(linear_map: LinearMap) -> LinearMap | None:
    """The map from a layer's activation to its patches, (..., g, L, q): patch l of group g is what block g multiplies.

    `linear_map` is a layer on its own activation, as `LinearUse.linear_map` makes it. None for anything else.
    """
    core, entering = stripped(linear_map)
    if core is not linear_map:
        patches = unfold(core)
        return patches if patches is None or entering is None else patches @ entering
    match linear_map:
        case Batched(sample=sample, count=count):
            patches = unfold(sample)
            return None if patches is None else Batched(patches, count)
        case Convolution(geometry=geometry):
            return Im2col(geometry)
        case TransposedConvolution(blocks=blocks):
            groups, q, _ = blocks.shape
            split = (groups, q, linear_map.inputs // max(1, groups * q))
            return Permute(split, (0, 2, 1)) @ Reshape(linear_map.input_shape, split)
        case ContractionMap():
            return Rows(linear_map)
        case Matrix(weight=weight, leading=leading):
            return Reshape(linear_map.input_shape, (1, math.prod(leading), weight.shape[0]))
        case BlockMatrix(blocks=blocks, leading=leading):
            split = (math.prod(leading), *blocks.shape[:2])
            return Permute(split, (1, 0, 2)) @ Reshape(linear_map.input_shape, split)
        case Identity(shape=shape):
            return Reshape(shape, (linear_map.inputs, 1, 1))
    return None


def blocks_of(linear_map: LinearMap) -> Array:
    """The matrix of a layer that `unfold` knows, (g, q, p), float64. ValueError for anything else."""
    linear_map, _ = stripped(linear_map)
    match linear_map:
        case Batched(sample=sample):
            return blocks_of(sample)
        case Convolution(blocks=blocks) | TransposedConvolution(blocks=blocks) | BlockMatrix(blocks=blocks):
            return blocks
        case ContractionMap(blocks=blocks):
            return np.asarray(blocks, dtype=np.float64)
        case Matrix(weight=weight):
            return weight[None]
        case Identity():
            return np.ones((linear_map.inputs, 1, 1))
    raise ValueError(f"{type(linear_map).__name__} is no layer that patches are known of")


def independent(linear_map: LinearMap) -> bool:
    """Whether no entry of the activation lies in two patches, so that the layer's kernel is found patch by patch.

    False for what `unfold` does not know.
    """
    linear_map, _ = stripped(linear_map)
    match linear_map:
        case Batched(sample=sample):
            return independent(sample)
        case Convolution(geometry=geometry):
            return not _overlap(geometry)
    return unfold(linear_map) is not None


def separate(linear_map: LinearMap) -> bool:
    """Whether `independent`, and no output reads two patches: then the layer's kernel is that of the patches, one by one."""
    linear_map, _ = stripped(linear_map)
    match linear_map:
        case Batched(sample=sample):
            return separate(sample)
        case TransposedConvolution(geometry=geometry):
            cropped = any(pad > 0 for pad in (*geometry.pads_begin, *geometry.pads_end))
            return not cropped and not _overlap(geometry)
    return independent(linear_map)


def _overlap(geometry: ConvGeometry) -> bool:
    """Whether two patches share an entry of the image: patches are boxes, so along each axis on its own."""
    shared, empty = False, False
    axes = zip(
        geometry.spatial,
        geometry.kernel,
        geometry.strides,
        geometry.dilations,
        geometry.pads_begin,
        geometry.output_spatial,
        strict=True,
    )
    for length, kernel, stride, dilation, begin, count in axes:
        read = np.add.outer(np.arange(count) * stride - begin, np.arange(kernel) * dilation).ravel()
        uses = np.bincount(read[(read >= 0) & (read < length)], minlength=1)
        shared = shared or int(uses.max()) > 1
        empty = empty or int(uses.max()) == 0
    return shared and not empty
