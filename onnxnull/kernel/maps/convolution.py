"""Convolutions and transposed convolutions as linear maps on whole images. Blocks are (g, q, p): (inputs, outputs)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from onnxnull.kernel.maps.im2col import ConvGeometry, Im2col
from onnxnull.kernel.maps.layer import LayerMap
from onnxnull.kernel.maps.linear_map import Array, LinearMap, Ranges, Shape
from onnxnull.kernel.maps.primitives import Permute, Reshape


@dataclass(frozen=True, eq=False)
class Convolution(LayerMap):
    """ONNX Conv (without bias): (C_in, *spatial) → (C_out, *output_spatial), blocks (g, C_in/g·∏k, C_out/g).

    The blocks of an ONNX weight `W` (C_out, C_in/g, *kernel) are `W.reshape(g, C_out // g, -1).transpose(0, 2, 1)`;
    `conv_blocks` does it.
    """

    geometry: ConvGeometry
    blocks: Array

    def __post_init__(self) -> None:
        blocks = np.asarray(self.blocks, dtype=np.float64)
        object.__setattr__(self, "blocks", blocks)
        if blocks.ndim != 3 or blocks.shape[:2] != (self.geometry.groups, self.geometry.patch_size):
            raise ValueError(
                f"blocks of shape {blocks.shape} do not fit {self.geometry.groups} groups of "
                f"{self.geometry.patch_size}-entry patches"
            )

    @property
    def input_shape(self) -> Shape:
        """(C_in, *spatial)."""
        return self.geometry.input_shape

    @property
    def output_shape(self) -> Shape:
        """(C_out, *output_spatial)."""
        return (self.blocks.shape[0] * self.blocks.shape[2], *self.geometry.output_spatial)

    @property
    def unfold(self) -> LinearMap:
        """im2col."""
        return Im2col(self.geometry)

    @property
    def fold(self) -> LinearMap:
        """(g, L, C_out/g) → (C_out, *output_spatial)."""
        groups, _, columns = self.blocks.shape
        turned = Permute((groups, self.geometry.positions, columns), (0, 2, 1))
        return Reshape(turned.output_shape, self.output_shape) @ turned

    @property
    def reads_apart(self) -> bool:
        """Whether no entry of the image lies in two patches."""
        return not self.geometry.overlaps

    def window(self, ranges: Ranges) -> LinearMap:
        """The convolution on a box, (start, stop) of the channels and of each spatial axis.

        All channels: a smaller Convolution with the outputs that reach the box. Some of them: those of its inputs.
        """
        channels, *spatial = ranges
        smaller = Convolution(self.geometry.window(spatial), self.blocks)
        if tuple(channels) == (0, self.geometry.channels):
            return smaller
        return LinearMap.window(smaller, [channels, *((0, stop - start) for start, stop in spatial)])


@dataclass(frozen=True, eq=False)
class TransposedConvolution(LayerMap):
    """ONNX ConvTranspose (without bias): (C_in, *spatial) → (C_out, *output_spatial), blocks (g, C_in/g, C_out/g·∏k).

    It is the adjoint of the convolution that `geometry` describes: that one reads this one's output. Use `transposed` to
    build it from ONNX's attributes.
    """

    geometry: ConvGeometry
    blocks: Array

    def __post_init__(self) -> None:
        blocks = np.asarray(self.blocks, dtype=np.float64)
        object.__setattr__(self, "blocks", blocks)
        if blocks.ndim != 3 or blocks.shape[0] != self.geometry.groups or blocks.shape[2] != self.geometry.patch_size:
            raise ValueError(
                f"blocks of shape {blocks.shape} do not fit {self.geometry.groups} groups of "
                f"{self.geometry.patch_size}-entry patches"
            )

    @property
    def forward(self) -> Convolution:
        """The convolution whose adjoint this is."""
        return Convolution(self.geometry, self.blocks.swapaxes(1, 2))

    @property
    def input_shape(self) -> Shape:
        """(C_in, *spatial)."""
        return (self.blocks.shape[0] * self.blocks.shape[1], *self.geometry.output_spatial)

    @property
    def output_shape(self) -> Shape:
        """(C_out, *output_spatial)."""
        return self.geometry.input_shape

    @property
    def unfold(self) -> LinearMap:
        """(C_in, *spatial) → (g, L, C_in/g), L the positions of the input."""
        groups, rows, _ = self.blocks.shape
        split = (groups, rows, self.geometry.positions)
        return Permute(split, (0, 2, 1)) @ Reshape(self.input_shape, split)

    @property
    def fold(self) -> LinearMap:
        """col2im."""
        return Im2col(self.geometry).T

    @property
    def writes_apart(self) -> bool:
        """Whether the filters' products do not meet, and none is cropped."""
        return not any(pad > 0 for pad in (*self.geometry.pads_begin, *self.geometry.pads_end)) and not self.geometry.overlaps


def transposed(
    spatial: Shape,
    kernel: Shape,
    blocks: Array,
    *,
    strides: Shape,
    dilations: Shape,
    pads_begin: Shape,
    pads_end: Shape,
    output_padding: Shape | None = None,
) -> TransposedConvolution:
    """ConvTranspose with ONNX's attributes (opset 1 to 22) on an input of size `spatial`; blocks (g, C_in/g, C_out/g·∏k).

    output = stride·(input − 1) + output_padding + extent − pads; the last `output_padding` positions may lie beyond the
    reach of every input, which is a negative pad of the convolution underneath.
    """
    groups, _, columns = blocks.shape
    taps = int(np.prod(kernel))
    if columns % taps:
        raise ValueError(f"{columns} columns do not divide into kernels of {taps} taps")
    extra = output_padding or (0,) * len(spatial)
    ends = tuple(end - more for end, more in zip(pads_end, extra, strict=True))
    axes = zip(spatial, strides, kernel, dilations, pads_begin, ends, strict=True)
    output = tuple(s * (n - 1) + (k - 1) * d + 1 - begin - end for n, s, k, d, begin, end in axes)
    geometry = ConvGeometry(output, kernel, strides, dilations, pads_begin, ends, groups * (columns // taps), groups)
    return TransposedConvolution(geometry, blocks)


def conv_blocks(weight: Array, groups: int = 1) -> Array:
    """ONNX Conv's weight (C_out, C_in/g, *kernel) as blocks (g, C_in/g·∏k, C_out/g)."""
    return np.ascontiguousarray(
        np.asarray(weight, dtype=np.float64).reshape(groups, weight.shape[0] // groups, -1).swapaxes(1, 2)
    )


def transposed_blocks(weight: Array, groups: int = 1) -> Array:
    """ONNX ConvTranspose's weight (C_in, C_out/g, *kernel) as blocks (g, C_in/g, C_out/g·∏k)."""
    return np.asarray(weight, dtype=np.float64).reshape(groups, weight.shape[0] // groups, -1)
