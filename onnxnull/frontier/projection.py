"""The projection on the joint kernel of a frontier, and the way back from a layer to the input."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from onnxnull.frontier.kernel import canonical, is_small, joint_nullity, merge, normalised
from onnxnull.frontier.walk import Frontier
from onnxnull.kernel.batched import Batched
from onnxnull.kernel.linear_map import Array, LinearMap, Stack
from onnxnull.kernel.project import NotConvergedError, Projection, Projector
from onnxnull.kernel.rank import Notion
from onnxnull.kernel.selection import Selection

Project = Callable[[Array], Projection]


class KernelProjector:
    """The orthogonal projection on a frontier's joint kernel at the float64 cut-off, prepared once for many wishes.

    Where the path only moves entries, the projection is done in front of the layer, where it is fast, and carried back.
    `residual` and `bound` are those of the layers with orthonormal filters, each of which counts as much as the others.

    Raises:
        UnknownShapeError: a shape on a path is not known.
    """

    def __init__(self, frontier: Frontier) -> None:
        maps = merge([layer.map() for layer in frontier.layers])
        self._project: Project
        if not maps:
            self._project = lambda wish: Projection(wish, 0.0, 0.0, 0, "nothing reads the input")
        elif joint_nullity(frontier, Notion.FLOAT64).upper == 0:
            self._project = lambda wish: Projection(np.zeros_like(wish), 0.0, 0.0, 0, "injective")
        else:
            self._project = _prepared(maps)

    def __call__(self, wish: Array) -> Projection:
        """The projection of `wish` (the input's shape). Raises NotConvergedError."""
        wish = np.asarray(wish, dtype=np.float64)
        return self._project(wish) if wish.size else Projection(wish, 0.0, 0.0, 0, "nothing to project")

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


def _prepared(maps: list[LinearMap]) -> Project:
    whole = normalised(maps[0] if len(maps) == 1 else Stack(tuple(maps)))
    if is_small(whole):
        return _dense_projection(whole)
    if len(maps) == 1:
        core, selection = canonical(maps[0])
        length = 1.0 if selection is None else _length(selection)
        if isinstance(core, Batched) and length is not None:
            return _through_samples(core, selection, length, whole)
    return Projector(whole)


def _through_samples(core: Batched, selection: Selection | None, length: float, whole: LinearMap) -> Project:
    """Sample by sample in front of the layer, behind a path that is a permutation times `length`."""
    sample = Projector(core.sample)

    def run(wish: Array) -> Projection:
        try:
            found = [sample(one) for one in (wish if selection is None else selection.apply(wish) / length)]
        except NotConvergedError:  # preconditioners can fail where the rows are dependent; without them it is slower
            return Projector(whole)(wish)
        vector = np.stack([one.vector for one in found])
        return Projection(
            vector if selection is None else selection.adjoint(vector) / length,
            math.hypot(*(one.residual for one in found)),
            math.hypot(*(one.bound for one in found)),
            sum(one.iterations for one in found),
            found[0].method,
        )

    return run


def _dense_projection(linear_map: LinearMap) -> Project:
    """By the singular vectors of the matrix."""
    vectors, sigma, _ = np.linalg.svd(linear_map.dense(), full_matrices=False)
    cutoff = sigma.max(initial=0.0) * max(linear_map.inputs, linear_map.outputs) * Notion.FLOAT64.eps
    span = vectors[:, sigma > cutoff]

    def run(wish: Array) -> Projection:
        flat = wish.ravel()
        for _ in range(2):
            flat = flat - span @ (span.T @ flat)
        vector = flat.reshape(wish.shape)
        residual = float(np.linalg.norm(linear_map.apply(vector)))
        return Projection(vector, residual, cutoff * float(np.linalg.norm(wish)), 0, "singular vectors")

    return run


def _length(selection: Selection) -> float | None:
    """The number by which it stretches, where it is a permutation times that: then it carries orthogonal projections over."""
    if not selection.inputs == selection.outputs == selection.rank:
        return None
    factors = np.abs(np.broadcast_to(selection.factors, selection.indices.shape))
    return float(factors.flat[0]) if np.all(factors == factors.flat[0]) else None
