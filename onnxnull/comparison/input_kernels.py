"""What two networks cannot see of an input: the joint kernels of the layers that read it, and the angle between them."""

from __future__ import annotations

import math

import numpy as np

from onnxnull.comparison.angles import dense_angle, kernel_angle, operator_angle
from onnxnull.comparison.input_links import Link, carried
from onnxnull.comparison.results import InputPair, KernelAngle
from onnxnull.frontier import Frontier, joint_nullity
from onnxnull.frontier.joining import canonical, merge
from onnxnull.frontier.projection import kernel_of_maps
from onnxnull.graph.constants import EvaluationError
from onnxnull.kernel.bounds import Bounds
from onnxnull.kernel.maps.batched import Batched
from onnxnull.kernel.maps.convolution import Convolution
from onnxnull.kernel.maps.im2col import ConvGeometry
from onnxnull.kernel.maps.linear_map import Array, LinearMap, Stack
from onnxnull.kernel.maps.selection import Selection
from onnxnull.kernel.nullity import is_small
from onnxnull.kernel.orthonormal import orthonormal
from onnxnull.kernel.project import NotConvergedError
from onnxnull.kernel.rank import Notion
from onnxnull.operators.steps import UnknownShapeError

_TOLERANCE = 1e-9
"""Of the projections in the iteration."""


def input_pair(link: Link, a: Frontier, b: Frontier) -> InputPair:
    """The kernels of both, and the angle between them in the coordinates of a."""
    bounds: list[Bounds | None] = []
    reason = None
    for front in (a, b):
        try:
            found = joint_nullity(front, Notion.FLOAT64) if front.guaranteed else None
            if found is None:
                reason = reason or front.obstacle
        except (UnknownShapeError, EvaluationError) as error:
            found, reason = None, reason or str(error)
        bounds.append(found)
    angle = _angle(link, a, b, bounds[0], bounds[1], reason)
    return InputPair(link.a.name, link.b.name, link.mapped, bounds[0], bounds[1], angle, link.reason)


def _angle(
    link: Link, a: Frontier, b: Frontier, first: Bounds | None, second: Bounds | None, reason: str | None
) -> KernelAngle:
    if first is None or second is None:
        return KernelAngle(None, reason=reason)
    if link.linear is None:
        return KernelAngle(None, reason=f"no way is known from one input to the other: {link.reason}")
    if 0 in (first.upper, second.upper):
        neither = first.upper == second.upper == 0
        return KernelAngle(None, reason="neither has a kernel" if neither else "only one of them has a kernel")
    try:
        ours = merge([layer.map() for layer in a.layers], Notion.FLOAT64)
        theirs = merge([layer.map() for layer in carried(b, link.linear, link.a).layers], Notion.FLOAT64)
    except (UnknownShapeError, EvaluationError) as error:
        return KernelAngle(None, reason=str(error))
    if not ours or not theirs:
        same = not ours and not theirs
        return KernelAngle(0.0) if same else KernelAngle(None, reason="only one of the networks reads this input")
    one, other = (maps[0] if len(maps) == 1 else Stack(tuple(maps)) for maps in (ours, theirs))
    if _is_same(one, other):
        return KernelAngle(0.0)
    if is_small(one) and is_small(other):
        return dense_angle(orthonormal(one).dense(), orthonormal(other).dense())
    patches = _patch_angle(one, other)
    if patches is not None:
        return patches
    kernels = [kernel_of_maps(maps, one.input_shape, many=True) for maps in (ours, theirs)]
    try:
        return operator_angle(
            lambda x: kernels[0].solve(x, tol=_TOLERANCE).vector,
            lambda x: kernels[1].solve(x, tol=_TOLERANCE).vector,
            one.input_shape,
            a_is_smaller=first.upper <= second.upper,
        )
    except NotConvergedError as error:
        return KernelAngle(None, reason=str(error))


def _is_same(a: LinearMap, b: LinearMap) -> bool:
    """Whether both make the same of a random input, to the bit; with its entries independent, no two maps do by chance."""
    if a.output_shape != b.output_shape:
        return False
    x = np.random.default_rng(0).standard_normal(a.input_shape)
    return bool(np.array_equal(a.apply(x), b.apply(x)))


def _patch_angle(a: LinearMap, b: LinearMap) -> KernelAngle | None:
    """Where both are the same convolution on the same patches that do not overlap: that of the patches' kernels."""
    (first, path), (second, other) = canonical(a), canonical(b)
    one, two = _separate(first), _separate(second)
    if one is None or two is None or one[0] != two[0] or not _same_path(path, other):
        return None
    return kernel_angle(one[1], two[1])


def _separate(core: LinearMap) -> tuple[ConvGeometry, Array] | None:
    """Geometry and blocks of a convolution whose patches share no input entry and lie in the image; None for another map."""
    if not (isinstance(core, Batched) and isinstance(core.sample, Convolution)):
        return None
    geometry = core.sample.geometry
    apart = all(stride >= extent for stride, extent in zip(geometry.strides, geometry.extent, strict=True))
    return (geometry, core.sample.blocks) if apart and not any((*geometry.pads_begin, *geometry.pads_end)) else None


def _same_path(a: Selection | None, b: Selection | None) -> bool:
    """Whether two paths move entries alike, by factors that are the same up to a common one, and stretch all entries alike."""
    if a is None or b is None:
        return all(path is None or (_stretch(path) and _moves_nothing(path)) for path in (a, b))
    return a.shape == b.shape and np.array_equal(a.indices, b.indices) and _stretch(a) and _stretch(b)


def _stretch(path: Selection) -> bool:
    sizes = np.abs(np.broadcast_to(path.factors, path.indices.shape))
    return path.rank == path.inputs and math.isclose(float(sizes.min()), float(sizes.max()), rel_tol=1e-12)


def _moves_nothing(path: Selection) -> bool:
    return path.shape == path.indices.shape and np.array_equal(path.indices.ravel(), np.arange(path.inputs))
