"""The projection on the joint kernel of a frontier, and the way back from a layer to the input."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from onnxnull.frontier.kernel import canonical, is_small, joint_nullity, merge, normalised
from onnxnull.frontier.walk import Frontier
from onnxnull.kernel.maps.batched import Batched
from onnxnull.kernel.maps.linear_map import Array, Composition, LinearMap, Stack
from onnxnull.kernel.maps.selection import Selection, identity
from onnxnull.kernel.nullspace import null_space
from onnxnull.kernel.project import NotConvergedError, Projection, Projector
from onnxnull.kernel.rank import Notion

Project = Callable[[Array, float, bool], Projection]
"""(wish, tolerance, polish) → projection, as `Projector.__call__` takes them. Raises NotConvergedError."""

_TOLERANCE = 1e-13


class KernelProjector:
    """The orthogonal projection on a frontier's joint kernel at the float64 cut-off, prepared once for many wishes.

    Where the path only moves entries, the projection is done in front of the layer, where it is fast, and carried back.
    `residual` and `bound` are those of the layers with orthonormal filters, each of which counts as much as the others.

    Raises:
        UnknownShapeError: a shape on a path is not known.
    """

    def __init__(self, frontier: Frontier) -> None:
        maps = merge([layer.map() for layer in frontier.distinct], Notion.FLOAT64)
        self._project: Project
        if maps and joint_nullity(frontier, Notion.FLOAT64).upper == 0:
            self._project = lambda wish, tol, polish: Projection(np.zeros_like(wish), 0.0, 0.0, 0, "injective")
        else:
            self._project = projection(maps)

    def __call__(self, wish: Array) -> Projection:
        """The projection of `wish` (the input's shape). Raises NotConvergedError."""
        wish = np.asarray(wish, dtype=np.float64)
        return self._project(wish, _TOLERANCE, False) if wish.size else Projection(wish, 0.0, 0.0, 0, "nothing to project")

    def share(self, x: Array) -> float:
        """The share of the energy ‖x‖² that lies in the kernel; 0 for x = 0. Raises NotConvergedError."""
        energy = float(np.vdot(x, x))
        inside = self(x).vector if energy else x
        return float(np.vdot(inside, inside)) / energy if energy else 0.0


def project_on_kernel(frontier: Frontier, wish: Array) -> Projection:
    """The projection of one wish; see `KernelProjector`."""
    return KernelProjector(frontier)(wish)


def kernel_share(frontier: Frontier, x: Array) -> float:
    """The share of the energy of one input that lies in the joint kernel; see `KernelProjector`."""
    return KernelProjector(frontier).share(x)


def pull_back(path: LinearMap, change: Array) -> Array:
    """The change of the input that makes `change` at the end of a path that is a bijection.

    Raises:
        ValueError: the path is not a bijection (it drops, repeats, mixes or adds entries).
    """
    if not isinstance(path, Selection) or path.inputs != path.outputs or path.rank != path.inputs:
        raise ValueError("the path from the input to this layer is not a bijection")
    factors = np.broadcast_to(path.factors, path.indices.shape)
    flat = np.zeros(path.inputs)
    flat[path.indices.ravel()] = np.asarray(change, dtype=np.float64).ravel() / factors.ravel()
    return flat.reshape(path.input_shape)


def projection(maps: Sequence[LinearMap], *, many: bool = False) -> Project:
    """The projection on the joint kernel of maps as `merge` returns them; `many` as in `Projector`."""
    if not maps:
        return lambda wish, tol, polish: Projection(wish, 0.0, 0.0, 0, "nothing reads the input")
    whole = normalised(maps[0] if len(maps) == 1 else Stack(tuple(maps)))
    if is_small(whole):
        return _dense_projection(whole)
    if len(maps) == 1:
        core, selection = canonical(maps[0])
        length = 1.0 if selection is None else _length(selection)
        if isinstance(core, Batched) and length is not None:
            return _through_samples([core.sample] * core.count, selection, length, whole, many)
        parts = _diagonal(selection) if isinstance(core, Batched) and selection is not None else None
        if isinstance(core, Batched) and parts is not None:
            return _through_samples([Composition(core.sample, part) for part in parts], None, 1.0, whole, many)
    return _whole(whole, many)


def _whole(linear_map: LinearMap, many: bool) -> Project:
    projector = Projector(linear_map, many=many)
    return lambda wish, tol, polish: projector(wish, tol=tol, polish=polish)


def _through_samples(
    samples: list[LinearMap], selection: Selection | None, length: float, whole: LinearMap, many: bool
) -> Project:
    """Sample by sample in front of the layer, behind a path that is a permutation times `length`."""
    prepared = {sample: Projector(sample, many=many) for sample in dict.fromkeys(samples)}
    projectors = [prepared[sample] for sample in samples]

    def run(wish: Array, tol: float, polish: bool) -> Projection:
        parts = wish if selection is None else selection.apply(wish) / length
        try:
            found = [project(one, tol=tol, polish=polish) for project, one in zip(projectors, parts, strict=True)]
        except NotConvergedError:  # preconditioners can fail where the rows are dependent; without them it is slower
            return Projector(whole)(wish, tol=tol, polish=polish)
        vector = np.stack([one.vector for one in found])
        return Projection(
            vector if selection is None else selection.adjoint(vector) / length,
            math.hypot(*(one.residual for one in found)),
            math.hypot(*(one.bound for one in found)),
            sum(one.iterations for one in found),
            found[0].method if found else "",
        )

    return run


def _dense_projection(linear_map: LinearMap) -> Project:
    """By the null space of the matrix, of as many dimensions as `joint_nullity` counts."""
    matrix = linear_map.dense()
    kernel = null_space(matrix)
    bound = float(np.linalg.norm(matrix, 2)) * max(matrix.shape) * Notion.FLOAT64.eps if matrix.size else 0.0

    def run(wish: Array, tol: float, polish: bool) -> Projection:
        vector = kernel.project(kernel.project(wish.ravel())).reshape(wish.shape)
        residual = float(np.linalg.norm(linear_map.apply(vector)))
        return Projection(vector, residual, bound * float(np.linalg.norm(wish)), 0, "null space")

    return run


def _diagonal(selection: Selection) -> list[Selection] | None:
    """One selection per sample, where it only multiplies every entry by a number (0 where the entry is left out)."""
    if selection.shape != selection.indices.shape or len(selection.shape) < 2:
        return None
    if not np.array_equal(selection.indices.ravel(), np.arange(selection.inputs)):
        return None
    one = identity(selection.shape[1:])
    return [replace(one, factors=factors) for factors in np.broadcast_to(selection.factors, selection.shape)]


def _length(selection: Selection) -> float | None:
    """The number by which it stretches, where it is a permutation times that: then it carries orthogonal projections over."""
    if not selection.inputs == selection.outputs == selection.rank:
        return None
    factors = np.abs(np.broadcast_to(selection.factors, selection.indices.shape))
    return float(factors.flat[0]) if np.all(factors == factors.flat[0]) else None
