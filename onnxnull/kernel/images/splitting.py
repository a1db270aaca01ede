"""A convolution taken apart into independent pieces, each as small as the geometry allows.

Three facts, all exact and independent of the notion of rank:

1. Groups never meet: the operator is block-diagonal over them (the caller passes one group at a time).
2. Along one axis with stride S and dilation D, let g = gcd(S, D). Output o reads o·S − begin + t·D, so all that it reads is
   ≡ −begin (mod g), and outputs of different residue modulo D/g read disjoint inputs. Each residue is a convolution of
   stride S/g and dilation 1. So dilation disappears: what is left are D/g undilated pieces per axis.
3. An axis whose outputs share no input (stride ≥ kernel, or a single output) is no axis at all: the operator is
   block-diagonal over its outputs, and its taps become channels. A ViT's patch embedding is one matrix, 196 times.

Weights are (channels, *kernel, columns): rows inputs, columns outputs, as everywhere.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onnxnull.kernel.maps.im2col import ConvGeometry

# float64, or residues modulo a prime as int64
Weight = NDArray[Any]


@dataclass(frozen=True)
class Axis:
    """One undilated axis: output o reads inputs o·stride − begin + tap, tap < kernel, as far as they lie in [0, inputs)."""

    inputs: int
    kernel: int
    stride: int
    begin: int
    outputs: int

    def reads(self, output: int) -> tuple[int, int]:
        """(first, last + 1) of the inputs that this output reads; empty where it reads padding only."""
        start = output * self.stride - self.begin
        first = min(max(0, start), self.inputs)
        return first, max(first, min(self.inputs, start + self.kernel))

    def flipped(self) -> Axis:
        """The same axis counted from the other end (taps are to be reversed too)."""
        begin = (self.outputs - 1) * self.stride + self.kernel - self.inputs - self.begin
        return Axis(self.inputs, self.kernel, self.stride, begin, self.outputs)

    @property
    def independent(self) -> bool:
        """Whether no two outputs share an input."""
        return self.stride >= self.kernel or self.outputs <= 1


@dataclass(frozen=True)
class ConvolutionPart:
    """A convolution that is left after the reductions: `axes` overlap truly; `weight` is (channels, *kernel, columns)."""

    axes: tuple[Axis, ...]
    weight: Weight

    @property
    def inputs(self) -> int:
        """Input entries that lie in this part."""
        return int(self.weight.shape[0]) * math.prod(axis.inputs for axis in self.axes)


def undilated_axes(inputs: int, kernel: int, stride: int, dilation: int, begin: int, outputs: int) -> list[Axis]:
    """The undilated pieces of one axis (fact 2). Inputs in no piece are read by no output."""
    common = math.gcd(stride, dilation)
    step, classes = stride // common, dilation // common
    pieces = []
    for residue in range(min(classes, outputs)):
        # input x = common·(classes·z + residue·step) − begin for integers z; z = output·step + tap
        offset, pitch = begin - common * residue * step, common * classes
        low, high = -(-offset // pitch), (inputs - 1 + offset) // pitch
        count = -((residue - outputs) // classes)
        pieces.append(Axis(max(0, high - low + 1), kernel, step, low, count))
    return pieces


def parts(geometry: ConvGeometry, weight: Weight) -> Iterator[tuple[int, ConvolutionPart]]:
    """The pieces of one group with their multiplicities; `weight` is (channels of the group, *kernel, columns).

    The operator's rank is Σ multiplicity · rank(part). Inputs in no part are read by no output.
    """
    per_axis = [
        Counter(undilated_axes(n, k, s, d, begin, m))
        for n, k, s, d, begin, m in zip(
            geometry.spatial,
            geometry.kernel,
            geometry.strides,
            geometry.dilations,
            geometry.pads_begin,
            geometry.output_spatial,
            strict=True,
        )
    ]
    for choice in product(*(counter.items() for counter in per_axis)):
        yield from _reduced(math.prod(count for _, count in choice), tuple(axis for axis, _ in choice), weight)


def _reduced(count: int, axes: tuple[Axis, ...], weight: Weight) -> Iterator[tuple[int, ConvolutionPart]]:
    """Trim zero taps, then turn independent axes into channels (fact 3), until none is left."""
    if any(axis.outputs == 0 or axis.inputs == 0 for axis in axes) or not weight.any():
        return
    axes, weight = _trimmed(axes, weight)
    for index, axis in enumerate(axes):
        if axis.independent:
            rest = axes[:index] + axes[index + 1 :]
            clips: Counter[tuple[int, int]] = Counter()
            for output in range(axis.outputs):
                first, stop = axis.reads(output)
                start = output * axis.stride - axis.begin
                clips[first - start, stop - start] += 1
            for (first, stop), times in clips.items():
                if stop > first:
                    taps = np.moveaxis(weight, index + 1, 0)[first:stop]
                    merged = taps.reshape(-1, *taps.shape[2:])
                    yield from _reduced(count * times, rest, merged)
            return
    yield count, ConvolutionPart(axes, weight)


def _trimmed(axes: tuple[Axis, ...], weight: Weight) -> tuple[tuple[Axis, ...], Weight]:
    """Drop channels without weights and the outer taps that are zero in every channel and column."""
    if np.count_nonzero(weight) == weight.size:
        return axes, weight
    everything = tuple(range(weight.ndim))
    weight = weight[weight.any(axis=everything[1:])]
    trimmed = []
    for index, axis in enumerate(axes):
        used = np.flatnonzero(weight.any(axis=(*everything[: index + 1], *everything[index + 2 :])))
        first, last = int(used[0]), int(used[-1])
        weight = np.take(weight, np.arange(first, last + 1), axis=index + 1)
        trimmed.append(Axis(axis.inputs, last - first + 1, axis.stride, axis.begin - first, axis.outputs))
    return tuple(trimmed), weight


def flip(part: ConvolutionPart, axis: int) -> ConvolutionPart:
    """The same operator with one axis counted from its other end: equal rank."""
    axes = (*part.axes[:axis], part.axes[axis].flipped(), *part.axes[axis + 1 :])
    return ConvolutionPart(axes, np.flip(part.weight, axis + 1))


def swap(part: ConvolutionPart, first: int) -> ConvolutionPart:
    """The same operator with axis `first` moved to the front: equal rank."""
    axes = (part.axes[first], *part.axes[:first], *part.axes[first + 1 :])
    return ConvolutionPart(axes, np.moveaxis(part.weight, first + 1, 1))


def unroll(weight: Weight, axis: Axis, inputs: tuple[int, int], outputs: tuple[int, int]) -> Weight:
    """Write the first axis out: inputs [a, b) become channels, outputs [c, d) become columns.

    (C, k, *rest, columns) → ((b − a)·C, *rest, (d − c)·columns): entry (x, c, …, o, f) = weight[c, x − o·stride + begin, …, f].
    """
    (a, b), (c, d) = inputs, outputs
    channels, kernel, *rest, columns = weight.shape
    result = np.zeros((b - a, channels, *rest, d - c, columns), dtype=weight.dtype)
    taps = np.moveaxis(weight, 1, 0)
    for output in range(c, d):
        start = output * axis.stride - axis.begin
        first, stop = max(a, start), min(b, start + kernel)
        if stop > first:
            result[first - a : stop - a, ..., output - c, :] = taps[first - start : stop - start]
    return result.reshape((b - a) * channels, *rest, (d - c) * columns)
