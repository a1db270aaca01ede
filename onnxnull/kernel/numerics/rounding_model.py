"""What error bounds need of a linear map: the map with its entries' magnitudes, and how many roundings one output costs.

Together they bound an evaluation in floating point, whatever the order of its sums: |fl(A·x) − A·x| ≤ γ_k·|A|·|x| with
k = `roundings(A)`, γ_k = k·u/(1 − k·u) (Higham, *Accuracy and Stability of Numerical Algorithms*, 2nd ed., §3.1, §3.5), as long
as nothing underflows. Both are open to maps of other packages: a class registers itself beside its definition
(`magnitude.register`, `roundings.register`).
"""

from __future__ import annotations

import functools
import math
from dataclasses import replace

import numpy as np

from onnxnull.kernel.maps.batched import Batched
from onnxnull.kernel.maps.convolution import TransposedConvolution
from onnxnull.kernel.maps.im2col import ConvGeometry, Im2col
from onnxnull.kernel.maps.layer import LayerMap
from onnxnull.kernel.maps.linear_map import Adjoint, Array, Composition, Embed, LinearMap, Stack, Sum
from onnxnull.kernel.maps.primitives import Identity, Permute, Reshape, Scale
from onnxnull.kernel.maps.selection import Selection


@functools.singledispatch
def magnitude(linear_map: LinearMap) -> LinearMap:
    """A map whose matrix entries are at least the absolute values of the given one's; nowhere negative.

    They are equal for every class but compositions and sums, of which it is the product and the sum of the magnitudes.
    Raises TypeError for a class that nobody has registered.
    """
    raise TypeError(f"no magnitude is known for {type(linear_map).__name__}")


@functools.singledispatch
def roundings(linear_map: LinearMap) -> int:
    """k such that evaluating the map commits a relative error of at most γ_k in every product of the sum that an output is.

    For one matrix it is its number of terms per output (products that are zero commit no error); 0 for maps that only move
    entries or scale them by powers of two. Raises TypeError for a class that nobody has registered.
    """
    raise TypeError(f"no number of roundings is known for {type(linear_map).__name__}")


def nonzero_terms(blocks: Array) -> int:
    """Of matrices (..., q, p): the largest number of entries of a column that are not zero."""
    return int(np.count_nonzero(blocks, axis=-2).max(initial=0))


def powers_of_two(factors: Array) -> bool:
    """Whether multiplying by these numbers is exact: each is ±2ᵏ or 0."""
    return bool(np.all((factors == 0) | (np.abs(np.frexp(factors)[0]) == 0.5)))


# Magnitudes.


@magnitude.register(Identity)
@magnitude.register(Reshape)
@magnitude.register(Permute)
@magnitude.register(Embed)
@magnitude.register(Im2col)
def _moved(linear_map: LinearMap) -> LinearMap:
    return linear_map


@magnitude.register
def _scale(linear_map: Scale) -> LinearMap:
    return replace(linear_map, diagonal=np.abs(linear_map.diagonal))


@magnitude.register
def _layer(linear_map: LayerMap) -> LinearMap:
    return linear_map.with_blocks(np.abs(linear_map.blocks))


@magnitude.register
def _batched(linear_map: Batched) -> LinearMap:
    return Batched(magnitude(linear_map.sample), linear_map.count)


@magnitude.register
def _selection(linear_map: Selection) -> LinearMap:
    return replace(linear_map, factors=np.abs(linear_map.factors))


@magnitude.register
def _composition(linear_map: Composition) -> LinearMap:
    return Composition(magnitude(linear_map.second), magnitude(linear_map.first))


@magnitude.register
def _sum(linear_map: Sum) -> LinearMap:
    return Sum(tuple(magnitude(term) for term in linear_map.terms))


@magnitude.register
def _stack(linear_map: Stack) -> LinearMap:
    return Stack(tuple(magnitude(part) for part in linear_map.parts))


@magnitude.register
def _adjoint(linear_map: Adjoint) -> LinearMap:
    return Adjoint(magnitude(linear_map.of))


# Roundings.


@roundings.register(Identity)
@roundings.register(Reshape)
@roundings.register(Permute)
@roundings.register(Embed)
@roundings.register(Im2col)
def _no_roundings(linear_map: LinearMap) -> int:
    return 0


@roundings.register
def _scale_roundings(linear_map: Scale) -> int:
    return 0 if powers_of_two(linear_map.diagonal) else 1


@roundings.register
def _layer_roundings(linear_map: LayerMap) -> int:
    return nonzero_terms(linear_map.blocks)


@roundings.register
def _transposed_convolution_roundings(linear_map: TransposedConvolution) -> int:
    return nonzero_terms(linear_map.blocks) * _taps(linear_map.geometry)


@roundings.register
def _batched_roundings(linear_map: Batched) -> int:
    return roundings(linear_map.sample)


@roundings.register
def _selection_roundings(linear_map: Selection) -> int:
    return 0 if powers_of_two(linear_map.factors) else 1


@roundings.register
def _composition_roundings(linear_map: Composition) -> int:
    return roundings(linear_map.second) + roundings(linear_map.first)


@roundings.register
def _sum_roundings(linear_map: Sum) -> int:
    return max(roundings(term) for term in linear_map.terms) + len(linear_map.terms) - 1


@roundings.register
def _stack_roundings(linear_map: Stack) -> int:
    return max(roundings(part) for part in linear_map.parts)


@roundings.register
def _adjoint_roundings(linear_map: Adjoint) -> int:
    of = linear_map.of
    if isinstance(of, Composition):
        return roundings(Adjoint(of.second)) + roundings(Adjoint(of.first))
    if isinstance(of, Batched):
        return roundings(Adjoint(of.sample))
    if isinstance(of, Sum | Stack):
        parts = of.terms if isinstance(of, Sum) else of.parts
        return max(roundings(Adjoint(part)) for part in parts) + len(parts)
    roundings(of)  # refuses what nobody knows
    return of.outputs + 1  # one matrix: an output of the adjoint sums at most all the outputs, each of them scaled


def _taps(geometry: ConvGeometry) -> int:
    """The largest number of filter taps that meet in one position of the image.

    Tap t of an output o lies at o·stride + t·dilation: two taps meet where they differ by a multiple of stride/gcd.
    """
    axes = zip(geometry.kernel, geometry.strides, geometry.dilations, strict=True)
    return math.prod(-(-k // (s // math.gcd(s, d))) for k, s, d in axes)
