"""The patches of an image: the geometry of a convolution and im2col, in one to three (any number of) spatial dimensions.

A patch is a column of q = C/g · k₁·k₂·… entries ordered (C/g, *kernel), as in `W.reshape(C_out, -1).T` of an ONNX Conv.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.lib.stride_tricks import as_strided

from onnxnull.kernel.maps.linear_map import Array, LinearMap, Ranges, Shape

_MOST_POSITIONS, _LONGEST_AXIS, _LONGEST_STEP = 1 << 24, 1 << 17, 1 << 31
"""Of an image with its padding: those of 4096×4096; outputs along an axis; strides and dilations: bounds on memory and time."""


class TooLargeError(ValueError):
    """An image that is not looked at position by position."""


@dataclass(frozen=True)
class ConvGeometry:
    """Where a convolution looks: ONNX Conv's attributes (opset 1 to 22) and the input's size, one entry per spatial axis.

    Output position o reads input positions o·stride − pad_begin + tap·dilation; what falls outside reads zero.
    Negative pads crop, as PyTorch's and ONNX Pad's do. `channels` counts the input's channels, all groups together.
    """

    spatial: Shape
    kernel: Shape
    strides: Shape
    dilations: Shape
    pads_begin: Shape
    pads_end: Shape
    channels: int
    groups: int = 1

    def __post_init__(self) -> None:
        axes = len(self.spatial)
        for name in ("kernel", "strides", "dilations", "pads_begin", "pads_end"):
            value = tuple(int(v) for v in getattr(self, name))
            object.__setattr__(self, name, value)
            if len(value) != axes:
                raise ValueError(f"{name} has {len(value)} entries for {axes} spatial axes")
        object.__setattr__(self, "spatial", tuple(int(v) for v in self.spatial))
        if min((*self.kernel, *self.strides, *self.dilations, self.channels, self.groups), default=1) < 1:
            raise ValueError(f"kernel, strides, dilations, channels and groups are at least 1: {self}")
        if min(self.spatial, default=0) < 0:
            raise ValueError(f"the input's size cannot be negative: {self.spatial}")
        if self.channels % self.groups:
            raise ValueError(f"{self.channels} channels do not divide into {self.groups} groups")
        if max((*self.strides, *self.dilations), default=1) > _LONGEST_STEP:
            raise TooLargeError("strides or dilations beyond any image")
        if self.padded > _MOST_POSITIONS or max(self.output_spatial, default=0) > _LONGEST_AXIS:
            raise TooLargeError(f"an image of {self.padded} positions with its padding: more than are looked at one by one")

    @classmethod
    def of(
        cls,
        spatial: Shape,
        kernel: Shape,
        *,
        channels: int,
        strides: Shape | int = 1,
        dilations: Shape | int = 1,
        pads: Shape | int = 0,
        groups: int = 1,
    ) -> ConvGeometry:
        """The geometry with ONNX's defaults; `pads` is one number or ONNX's list (all begins, then all ends)."""
        axes = len(spatial)

        def spread(value: Shape | int, count: int) -> Shape:
            return (value,) * count if isinstance(value, int) else tuple(value)

        both = spread(pads, 2 * axes)
        return cls(spatial, kernel, spread(strides, axes), spread(dilations, axes), both[:axes], both[axes:], channels, groups)

    @property
    def extent(self) -> Shape:
        """How far a filter reaches along each axis: (kernel − 1)·dilation + 1."""
        return tuple((k - 1) * d + 1 for k, d in zip(self.kernel, self.dilations, strict=True))

    @property
    def output_spatial(self) -> Shape:
        """Output positions per axis: ⌊(size + pads − extent)/stride⌋ + 1, or 0 where the filter does not fit."""
        axes = zip(self.spatial, self.pads_begin, self.pads_end, self.extent, self.strides, strict=True)
        return tuple(max(0, (n + begin + end - extent) // stride + 1) for n, begin, end, extent, stride in axes)

    @property
    def positions(self) -> int:
        """L, the number of output positions."""
        return math.prod(self.output_spatial)

    @property
    def padded(self) -> int:
        """Positions of the image with its padding, as far as filters reach: arrays of that size are made."""
        axes = zip(self.spatial, self.pads_begin, self.pads_end, self.output_spatial, self.strides, self.extent, strict=True)
        return math.prod(
            max(n + max(0, begin) + max(0, end), (count - 1) * stride + extent) for n, begin, end, count, stride, extent in axes
        )

    @property
    def patch_size(self) -> int:
        """q = channels/groups · ∏ kernel."""
        return self.channels // self.groups * math.prod(self.kernel)

    @property
    def input_shape(self) -> Shape:
        """(channels, *spatial)."""
        return (self.channels, *self.spatial)

    @property
    def overlaps(self) -> bool:
        """Whether two patches share an entry of the image: patches are boxes, so along each axis on its own."""
        shared = False
        axes = zip(self.spatial, self.kernel, self.strides, self.dilations, self.pads_begin, self.output_spatial, strict=True)
        for length, kernel, stride, dilation, begin, count in axes:
            read = np.add.outer(np.arange(count) * stride - begin, np.arange(kernel) * dilation).ravel()
            most = int(np.bincount(read[(read >= 0) & (read < length)], minlength=1).max())
            if most == 0:
                return False
            shared = shared or most > 1
        return shared

    def window(self, ranges: Ranges) -> ConvGeometry:
        """The geometry on the box `ranges` of spatial positions, with all output positions that reach into it.

        Along each axis these are the positions o with o·stride − pad_begin + [0, extent) meeting [start, stop).
        """
        begins, ends, lengths = [], [], []
        for axis, (start, stop) in enumerate(ranges):
            if not 0 <= start <= stop <= self.spatial[axis]:
                raise ValueError(f"the window {ranges} does not lie in {self.spatial}")
            stride, extent, pad = self.strides[axis], self.extent[axis], self.pads_begin[axis]
            first = max(0, -((extent - 1 - pad - start) // stride))
            last = min(self.output_spatial[axis] - 1, (stop - 1 + pad) // stride)
            count = max(0, last - first + 1)
            begin = pad + start - first * stride
            begins.append(begin)
            ends.append((count - 1) * stride + extent - (stop - start) - begin)
            lengths.append(stop - start)
        return ConvGeometry(
            tuple(lengths),
            self.kernel,
            self.strides,
            self.dilations,
            tuple(begins),
            tuple(ends),
            self.channels,
            self.groups,
        )


@dataclass(frozen=True, eq=False)
class Im2col(LinearMap):
    """(C, *spatial) → (g, L, q): the patches that a convolution reads, in raster order; the adjoint is col2im."""

    geometry: ConvGeometry

    @property
    def input_shape(self) -> Shape:
        """(C, *spatial)."""
        return self.geometry.input_shape

    @property
    def output_shape(self) -> Shape:
        """(groups, positions, patch size)."""
        return (self.geometry.groups, self.geometry.positions, self.geometry.patch_size)

    def _apply(self, x: Array) -> Array:
        geometry = self.geometry
        if geometry.positions == 0:
            return np.zeros((len(x), *self.output_shape))
        padded = _pad(x, geometry)
        axes = len(geometry.spatial)
        channels = geometry.channels // geometry.groups
        batch_stride, channel_stride, *steps = padded.strides
        windows = as_strided(
            padded,
            (len(x), geometry.groups, *geometry.output_spatial, channels, *geometry.kernel),
            (
                batch_stride,
                channel_stride * channels,
                *(step * stride for step, stride in zip(steps, geometry.strides, strict=True)),
                channel_stride,
                *(step * dilation for step, dilation in zip(steps, geometry.dilations, strict=True)),
            ),
            writeable=False,
        )
        assert windows.ndim == 3 + 2 * axes
        return windows.reshape((len(x), *self.output_shape))

    def _adjoint(self, y: Array) -> Array:
        geometry = self.geometry
        if geometry.positions == 0:
            return np.zeros((len(y), *self.input_shape))
        channels = geometry.channels // geometry.groups
        patches = y.reshape((len(y), geometry.groups, *geometry.output_spatial, channels, *geometry.kernel))
        padded = np.zeros((len(y), geometry.groups, channels, *_padded_size(geometry)))
        for tap in product(*(range(k) for k in geometry.kernel)):
            # (n, g, *out, C/g) of one tap, channels first
            padded[(slice(None), slice(None), slice(None), *tap_slices(geometry, tap))] += np.moveaxis(
                patches.reshape((*patches.shape[: -len(tap)], -1))[..., np.ravel_multi_index(tap, geometry.kernel)],
                -1,
                2,
            )
        return _unpad(padded.reshape((len(y), geometry.channels, *_padded_size(geometry))), geometry)


def tap_slices(geometry: ConvGeometry, tap: Shape) -> tuple[slice, ...]:
    """Which padded positions one tap of the filter reads, as slices along the spatial axes."""
    axes = zip(tap, geometry.dilations, geometry.strides, geometry.output_spatial, strict=True)
    return tuple(slice(t * d, t * d + (count - 1) * s + 1, s) for t, d, s, count in axes)


def _padded_size(geometry: ConvGeometry) -> Shape:
    """The padded size, trimmed to what the last output position reads."""
    axes = zip(geometry.output_spatial, geometry.strides, geometry.extent, strict=True)
    return tuple((count - 1) * stride + extent for count, stride, extent in axes)


def _pad(x: Array, geometry: ConvGeometry) -> Array:
    """(n, C, *spatial) → (n, C, *padded size), zeros outside, cropped where pads are negative."""
    target = _padded_size(geometry)
    padded = np.zeros((*x.shape[:2], *target))
    inside, outside = _overlap(geometry, target)
    padded[(slice(None), slice(None), *outside)] = x[(slice(None), slice(None), *inside)]
    return padded


def _unpad(padded: Array, geometry: ConvGeometry) -> Array:
    """The adjoint of `_pad`."""
    x = np.zeros((*padded.shape[:2], *geometry.spatial))
    inside, outside = _overlap(geometry, padded.shape[2:])
    x[(slice(None), slice(None), *inside)] = padded[(slice(None), slice(None), *outside)]
    return x


def _overlap(geometry: ConvGeometry, target: Shape) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """Where input and padded tensor overlap, as slices of the one and of the other."""
    inside, outside = [], []
    for length, begin, wide in zip(geometry.spatial, geometry.pads_begin, target, strict=True):
        start = max(0, -begin)
        stop = max(start, min(length, wide - begin))
        inside.append(slice(start, stop))
        outside.append(slice(start + begin, stop + begin) if stop > start else slice(0, 0))
    return tuple(inside), tuple(outside)
