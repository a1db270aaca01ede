"""Maps of the same kernel whose weights have orthonormal columns (design §2): what is numerically dead is gone.

At the float64 cut-off of each weight. What a weight's columns span is all that its kernel depends on, so long as every product
is an output of its own; the basis has as many columns as the certificate of the weight's rank counts.
"""

from __future__ import annotations

import functools

import numpy as np

from onnxnull.kernel.maps.batched import Batched
from onnxnull.kernel.maps.convolution import TransposedConvolution
from onnxnull.kernel.maps.layer import LayerMap
from onnxnull.kernel.maps.linear_map import Array, Composition, LinearMap, Stack
from onnxnull.kernel.maps.patches import rearranges
from onnxnull.kernel.maps.primitives import Scale
from onnxnull.kernel.span import column_span


@functools.singledispatch
def orthonormal(linear_map: LinearMap) -> LinearMap:
    """A map of the same kernel at the float64 cut-off of each weight, whose last weight has orthonormal columns.

    Maps that are stacked are brought to one size, each as a whole. A map without a weight is returned as it is.
    """
    return linear_map


@orthonormal.register
def _layer(linear_map: LayerMap) -> LinearMap:
    return linear_map.with_blocks(column_span(linear_map.blocks).stacked()) if linear_map.blocks.size else linear_map


@orthonormal.register
def _transposed(linear_map: TransposedConvolution) -> LinearMap:
    """Outputs add products up, so the columns stay; only their size changes."""
    return linear_map.with_blocks(to_unit(linear_map.blocks))


@orthonormal.register
def _batched(linear_map: Batched) -> LinearMap:
    return Batched(orthonormal(linear_map.sample), linear_map.count)


@orthonormal.register
def _composition(linear_map: Composition) -> LinearMap:
    if rearranges(linear_map.second):
        return Composition(linear_map.second, orthonormal(linear_map.first))
    return Composition(orthonormal(linear_map.second), linear_map.first)


@orthonormal.register
def _stack(linear_map: Stack) -> LinearMap:
    return Stack(tuple(_to_unit_norm(orthonormal(part)) for part in linear_map.parts))


def _to_unit_norm(linear_map: LinearMap) -> LinearMap:
    """Times the power of two that brings the norm to about 1: what a path scales down counts in full beside others."""
    exponent = int(np.frexp(norm_estimate(linear_map))[1])
    if exponent == 0:
        return linear_map
    return Composition(Scale(linear_map.output_shape, np.array(np.ldexp(1.0, -exponent))), linear_map)


def to_unit(blocks: Array) -> Array:
    """Times the power of two that brings the largest entry to [½, 1), unless one underflows: ranks do not feel it."""
    exponent = np.frexp(np.abs(blocks).max(initial=0.0))[1]
    scaled: Array = np.ldexp(blocks, -exponent)
    return scaled if np.array_equal(np.ldexp(scaled, exponent), blocks) else blocks


def norm_estimate(linear_map: LinearMap, steps: int = 12) -> float:
    """A lower estimate of ‖A‖₂ by power iteration from a fixed start."""
    x = np.random.default_rng(0).standard_normal(linear_map.input_shape)
    norm = 0.0
    for _ in range(steps):
        x /= max(float(np.linalg.norm(x)), np.finfo(float).tiny)
        y = linear_map.apply(x)
        norm = float(np.linalg.norm(y))
        if norm == 0.0:
            break
        x = linear_map.adjoint(y)
    return norm
