"""The nullity of a linear map on its whole input tensor, bounded from both sides."""

from __future__ import annotations

import functools

import numpy as np

from onnxnull.kernel.bounds import Bounds
from onnxnull.kernel.images.input_nullity import DENSE_LIMIT, image_nullities
from onnxnull.kernel.maps.batched import Batched
from onnxnull.kernel.maps.convolution import Convolution, TransposedConvolution
from onnxnull.kernel.maps.layer import LayerMap
from onnxnull.kernel.maps.linear_map import Composition, LinearMap, Stack, Sum
from onnxnull.kernel.maps.patches import stripped
from onnxnull.kernel.numerics.arithmetic import PRIME, FieldArray, Prime, residues
from onnxnull.kernel.orthonormal import orthonormal
from onnxnull.kernel.rank import ExactPolicy, Notion, rank

_DENSE_ENTRIES = 6_000_000


@functools.singledispatch
def nullity(linear_map: LinearMap, notion: Notion) -> Bounds:
    """Bounds on the dimension of {x : A·x = 0}, x of the map's input shape, at the float64 cut-off or over ℚ.

    Raises:
        ValueError: a weight holds NaN or Inf.
    """
    if is_small(linear_map):
        return dense_nullity(linear_map, notion)
    return _by_size(linear_map)


@nullity.register
def _composition(linear_map: Composition, notion: Notion) -> Bounds:
    core, _ = stripped(linear_map)
    if core is not linear_map:
        return nullity(core, notion)
    return dense_nullity(linear_map, notion) if is_small(linear_map) else _by_size(linear_map)


@nullity.register
def _batched(linear_map: Batched, notion: Notion) -> Bounds:
    found = nullity(linear_map.sample, notion)
    return Bounds(found.lower * linear_map.count, found.upper * linear_map.count, found.proved)


@nullity.register(Convolution)
@nullity.register(TransposedConvolution)
def _convolution(linear_map: Convolution | TransposedConvolution, notion: Notion) -> Bounds:
    float64, exact = image_nullities(linear_map)
    return (exact if notion is Notion.EXACT else float64).bounds


@nullity.register
def _layer(linear_map: LayerMap, notion: Notion) -> Bounds:
    """Every patch meets its block on its own; what no patch reads is in the kernel."""
    _, patches, _ = linear_map.unfold.output_shape
    found = rank(linear_map.blocks, notion, exact=ExactPolicy.CHEAP)
    lower, upper = (linear_map.inputs - patches * bound for bound in (found.upper, found.lower))
    return Bounds(lower, upper, found.certainty.is_proved)


def _by_size(linear_map: LinearMap) -> Bounds:
    """Nothing is known of the map but its size: that is a theorem, if a weak one."""
    return Bounds(max(0, linear_map.inputs - linear_map.outputs), linear_map.inputs, True)


def is_small(linear_map: LinearMap) -> bool:
    """Whether its dense matrix is cheap."""
    return linear_map.inputs <= DENSE_LIMIT and linear_map.inputs * linear_map.outputs <= _DENSE_ENTRIES


def dense_nullity(linear_map: LinearMap, notion: Notion) -> Bounds:
    """By the dense matrix, without proof: a path that scales or mixes rounds its entries.

    Over ℚ rounded entries would be independent where the true ones are not, so the product is formed modulo a prime.
    """
    if notion is Notion.EXACT:
        if not _can_be_written_down(linear_map):
            return _by_size(linear_map)
        field = Prime()
        found = linear_map.inputs - field.rank(_residues(linear_map, field))
        return Bounds(found, found, False)
    counted = rank(orthonormal(linear_map).dense(), notion)
    return Bounds(linear_map.inputs - counted.upper, linear_map.inputs - counted.lower, False)


def _can_be_written_down(linear_map: LinearMap) -> bool:
    """Whether the matrices of all parts of a map are small."""
    if linear_map.components:
        return all(map(_can_be_written_down, linear_map.components))
    return linear_map.inputs * linear_map.outputs <= _DENSE_ENTRIES


@functools.singledispatch
def _residues(linear_map: LinearMap, field: Prime) -> FieldArray:
    """The matrix (inputs, outputs) of a map modulo the prime, of its parts as they are stored."""
    return residues(linear_map.dense())


@_residues.register
def _composition_residues(linear_map: Composition, field: Prime) -> FieldArray:
    return field.multiply(_residues(linear_map.first, field), _residues(linear_map.second, field))


@_residues.register
def _stack_residues(linear_map: Stack, field: Prime) -> FieldArray:
    return np.hstack([_residues(part, field) for part in linear_map.parts])


@_residues.register
def _sum_residues(linear_map: Sum, field: Prime) -> FieldArray:
    return np.asarray(sum(_residues(term, field) for term in linear_map.terms) % PRIME)
