"""The projection on the joint kernel of a frontier."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from onnxnull.frontier.joining import canonical, merge
from onnxnull.frontier.nullity import joint_nullity
from onnxnull.frontier.walk import Frontier
from onnxnull.kernel.maps.batched import Batched
from onnxnull.kernel.maps.linear_map import Array, Composition, LinearMap, Shape, Stack
from onnxnull.kernel.maps.selection import Selection, identity
from onnxnull.kernel.nullity import is_small
from onnxnull.kernel.nullspace import null_space
from onnxnull.kernel.orthonormal import orthonormal
from onnxnull.kernel.project import TOLERANCE, NotConvergedError, Projection, Projector, SolvedKernel
from onnxnull.kernel.rank import Notion


class JointKernel(SolvedKernel):
    """A frontier's joint kernel at the float64 cut-off, prepared once for many wishes.

    Where the path only moves entries, the projection is done in front of the layer, where it is fast, and carried back.
    `residual` and `bound` are those of the layers with orthonormal filters, each of which counts as much as the others.

    Raises:
        UnknownShapeError: a shape on a path is not known.
    """

    def __init__(self, frontier: Frontier) -> None:
        maps = merge([layer.map() for layer in frontier.distinct], Notion.FLOAT64)
        self._kernel: SolvedKernel
        if maps and joint_nullity(frontier, Notion.FLOAT64).upper == 0:
            self._kernel = _Zero(maps[0].input_shape)
        else:
            self._kernel = kernel_of_maps(maps, maps[0].input_shape if maps else frontier.shape)

    @property
    def shape(self) -> Shape:
        """The input's shape."""
        return self._kernel.shape

    def solve(self, wish: Array, *, tol: float = TOLERANCE, polish: bool = False) -> Projection:
        """The projection of `wish` (the input's shape). Raises NotConvergedError."""
        wish = np.asarray(wish, dtype=np.float64)
        if not wish.size:
            return Projection(wish, 0.0, 0.0, 0, "nothing to project")
        return self._kernel.solve(wish, tol=tol, polish=polish)

    def share(self, x: Array) -> float:
        """The share of the energy ‖x‖² that lies in the kernel; 0 for x = 0. Raises NotConvergedError."""
        energy = float(np.vdot(x, x))
        inside = self.project(x) if energy else x
        return float(np.vdot(inside, inside)) / energy if energy else 0.0


def kernel_of_maps(maps: Sequence[LinearMap], shape: Shape, *, many: bool = False) -> SolvedKernel:
    """The joint kernel of maps of inputs of `shape`, as `merge` returns them; `many` as in `Projector`."""
    if not maps:
        return _Everything(shape)
    whole = orthonormal(maps[0] if len(maps) == 1 else Stack(tuple(maps)))
    if is_small(whole):
        return _DenseKernel(whole)
    if len(maps) == 1:
        core, selection = canonical(maps[0])
        length = 1.0 if selection is None else _length(selection)
        if isinstance(core, Batched) and length is not None:
            return _SamplesKernel([core.sample] * core.count, selection, length, whole, many)
        parts = _diagonal(selection) if isinstance(core, Batched) and selection is not None else None
        if isinstance(core, Batched) and parts is not None:
            return _SamplesKernel([Composition(core.sample, part) for part in parts], None, 1.0, whole, many)
    return Projector(whole, many=many, operator=whole)


class _Everything(SolvedKernel):
    """The whole space: nothing reads the input."""

    def __init__(self, shape: Shape) -> None:
        self._shape = shape

    @property
    def shape(self) -> Shape:
        return self._shape

    def solve(self, wish: Array, *, tol: float = TOLERANCE, polish: bool = False) -> Projection:
        return Projection(wish, 0.0, 0.0, 0, "nothing reads the input")


class _Zero(_Everything):
    """{0}: the layers are injective."""

    def solve(self, wish: Array, *, tol: float = TOLERANCE, polish: bool = False) -> Projection:
        return Projection(np.zeros_like(wish), 0.0, 0.0, 0, "injective")


class _SamplesKernel(SolvedKernel):
    """Sample by sample in front of the layer, behind a path that is a permutation times `length`."""

    def __init__(
        self, samples: list[LinearMap], selection: Selection | None, length: float, whole: LinearMap, many: bool
    ) -> None:
        prepared = {sample: Projector(sample, many=many) for sample in dict.fromkeys(samples)}
        self._kernels = [prepared[sample] for sample in samples]
        self._selection, self._length, self._whole = selection, length, whole

    @property
    def shape(self) -> Shape:
        return self._whole.input_shape

    def solve(self, wish: Array, *, tol: float = TOLERANCE, polish: bool = False) -> Projection:
        selection = self._selection
        parts = wish if selection is None else selection.apply(wish) / self._length
        try:
            found = [kernel.solve(one, tol=tol, polish=polish) for kernel, one in zip(self._kernels, parts, strict=True)]
        except NotConvergedError:  # preconditioners can fail where the rows are dependent; without them it is slower
            return Projector(self._whole, operator=self._whole).solve(wish, tol=tol, polish=polish)
        vector = np.stack([one.vector for one in found])
        return Projection(
            vector if selection is None else selection.adjoint(vector) / self._length,
            math.hypot(*(one.residual for one in found)),
            math.hypot(*(one.bound for one in found)),
            sum(one.iterations for one in found),
            found[0].method if found else "",
        )


class _DenseKernel(SolvedKernel):
    """By the null space of the matrix, of as many dimensions as `joint_nullity` counts."""

    def __init__(self, linear_map: LinearMap) -> None:
        matrix = linear_map.dense()
        self._map, self._kernel = linear_map, null_space(matrix)
        self._bound = float(np.linalg.norm(matrix, 2)) * max(matrix.shape) * Notion.FLOAT64.eps if matrix.size else 0.0

    @property
    def shape(self) -> Shape:
        return self._map.input_shape

    def solve(self, wish: Array, *, tol: float = TOLERANCE, polish: bool = False) -> Projection:
        vector = self._kernel.project(self._kernel.project(wish.ravel())).reshape(wish.shape)
        residual = float(np.linalg.norm(self._map.apply(vector)))
        return Projection(vector, residual, self._bound * float(np.linalg.norm(wish)), 0, "null space")


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
