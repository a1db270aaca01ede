"""The one protocol for projecting on a kernel, and the orthogonal projection on that of any linear map, matrix-free.

The projection of a wish d is d − Aᵀ(AAᵀ)⁺A d (design §2). Three things make it fast and accurate:

1. Filters are replaced by an orthonormal basis of their numerical span at the float64 cut-off (`orthonormal`): the kernel at
   that notion stays, what is numerically dead is gone, and AAᵀ has unit diagonal blocks.
2. AAᵀ y = A d is solved by conjugate gradients. Their residual *is* A times the projection, so they stop on the number that
   is promised. For a convolution they are preconditioned by the circulant matrix of the same stencil (Chan, "An optimal
   circulant preconditioner for Toeplitz systems", 1988; here Strang's variant, inverted frequency by frequency).
3. The result is projected again: the second pass removes what rounding left of the first ("twice is enough", Parlett).

The residual that is returned is that of the map as given, with its own filters.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import numpy as np

from onnxnull.kernel.maps.convolution import Convolution
from onnxnull.kernel.maps.im2col import ConvGeometry
from onnxnull.kernel.maps.linear_map import Array, Composition, LinearMap, Shape
from onnxnull.kernel.maps.selection import Selection
from onnxnull.kernel.orthonormal import norm_estimate, orthonormal
from onnxnull.kernel.preconditioner import Solve, circulant, factorised
from onnxnull.kernel.sparse_preconditioner import factorised_behind

TOLERANCE = 1e-13
"""Of a projection: the share of ‖A‖·‖wish‖ that its image may have."""
MOST_ITERATIONS = 3000
# Preconditioned iterations are given up when this many of them have not gained this factor.
_PATIENCE, _GAIN = 200, 1e3
# Filters that fill more than this share of a cell of the stride are factorised at once.
_FULL = 0.8
# "Twice is enough" (Parlett); a third pass where the second was cut short.
_PASSES = 3
# A pass of polishing gains this factor, or stops after so many iterations.
_POLISH, _POLISH_ITERATIONS = 1e-3, 300


@dataclass(frozen=True, eq=False)
class Projection:
    """The projection of a wish on a kernel.

    `vector` has the map's input shape. `residual` is ‖A·vector‖₂ of the map as given; `bound` what it was allowed to be,
    tol·‖A‖·‖wish‖ with ‖A‖ estimated from below; `converged` says whether it is. `iterations` counts both passes.
    """

    vector: Array
    residual: float
    bound: float
    iterations: int
    method: str

    @property
    def converged(self) -> bool:
        """Whether the residual is within its bound."""
        return self.residual <= self.bound


class NotConvergedError(ArithmeticError):
    """The projection did not reach its tolerance; `projection` holds what was reached."""

    def __init__(self, projection: Projection) -> None:
        super().__init__(
            f"after {projection.iterations} iterations the residual is {projection.residual:.1e}, not {projection.bound:.1e}"
        )
        self.projection = projection


class KernelSpace(Protocol):
    """A linear space of changes of a tensor that something does not see: what projects on it orthogonally.

    Implemented by `nullspace.NullSpace` (a weight), `Projector` (any linear map), `frontier.JointKernel` (the layers that read
    an input) and the spaces in which collisions are sought. What is known of the dimension is `nullity`'s to say.
    """

    @property
    def shape(self) -> Shape:
        """Shape of the tensor."""
        ...

    def project(self, wish: Array, /) -> Array:
        """The orthogonal projection of `wish` (`shape`), to rounding. Raises NotConvergedError where it was not reached."""
        ...


class SolvedKernel(ABC):
    """A `KernelSpace` whose projections are solved for, and tell what they leave."""

    @property
    @abstractmethod
    def shape(self) -> Shape:
        """Shape of the tensor."""

    @abstractmethod
    def solve(self, wish: Array, *, tol: float = TOLERANCE, polish: bool = False) -> Projection:
        """The projection of `wish` (`shape`), residual ≤ tol·‖A‖·‖wish‖.

        `polish` goes on from there for as long as it helps: down to the rounding of A applied to the projection.

        Raises:
            NotConvergedError: with the best that was reached.
        """

    def project(self, wish: Array, /) -> Array:
        """The orthogonal projection of `wish`. Raises NotConvergedError."""
        return self.solve(wish).vector


class Projector(SolvedKernel):
    """The kernel of a linear map, prepared once for many wishes."""

    def __init__(self, linear_map: LinearMap, *, many: bool = False, operator: LinearMap | None = None) -> None:
        """Use a map as it is.

        Args:
            many: hundreds of wishes will come, so that preparing pays which makes each of them cheap.
            operator: `orthonormal(linear_map)`, where it is known.
        """
        self.map = linear_map
        self._many = many
        self._operator = orthonormal(linear_map) if operator is None else operator
        self._norm = norm_estimate(linear_map)
        # the iteration sees the replaced filters, whose norm differs
        self._operator_norm = self._norm if self._operator is linear_map else norm_estimate(self._operator)
        self._preconditioners: dict[str, Solve | None] = {}

    @property
    def shape(self) -> Shape:
        """The map's input shape."""
        return self.map.input_shape

    def solve(
        self, wish: Array, *, tol: float = TOLERANCE, polish: bool = False, max_iterations: int = MOST_ITERATIONS
    ) -> Projection:
        """As promised; where the kernel is {0} the result is 0 up to the residual."""
        wish = np.asarray(wish, dtype=np.float64)
        operator = self._operator
        if wish.shape != operator.input_shape:
            raise ValueError(f"the wish has shape {wish.shape}, the map takes {operator.input_shape}")
        length = float(np.linalg.norm(wish))
        bound = tol * self._norm * length
        target = 0.1 * tol * self._operator_norm * length
        vector, iterations, method = wish, 0, ""
        left = float(np.linalg.norm(operator.apply(wish)))
        solve: Solve | None = None
        for name, prepare, patience in _strategies(operator, self._many):
            if left <= target:
                break
            if name not in self._preconditioners:
                self._preconditioners[name] = prepare()
            preconditioner = self._preconditioners[name]
            if preconditioner is None and name:
                continue
            solve = preconditioner
            method = "conjugate gradients" + (f", {name}" if name else "")
            for _ in range(_PASSES):
                further, count = _one_pass(operator, vector, target, max_iterations - iterations, preconditioner, patience)
                iterations += count
                remaining = float(np.linalg.norm(operator.apply(further)))
                if not remaining < left:
                    break
                vector, left = further, remaining
                if left <= target:
                    break
        if polish and method:
            for _ in range(_PASSES):
                further, count = _one_pass(operator, vector, _POLISH * left, _POLISH_ITERATIONS, solve)
                iterations += count
                remaining = float(np.linalg.norm(operator.apply(further)))
                if not remaining < left:
                    break
                enough = remaining > 0.5 * left
                vector, left = further, remaining
                if enough:
                    break
        residual = float(np.linalg.norm(self.map.apply(vector)))
        result = Projection(vector, residual, bound, iterations, method)
        if not result.converged:
            raise NotConvergedError(result)
        return result


def project(linear_map: LinearMap, wish: Array, *, tol: float = TOLERANCE, max_iterations: int = MOST_ITERATIONS) -> Projection:
    """The orthogonal projection of one wish (input shape) on ker(map); see `Projector`."""
    return Projector(linear_map).solve(wish, tol=tol, max_iterations=max_iterations)


def _strategies(operator: LinearMap, many: bool = False) -> Iterator[tuple[str, Callable[[], Solve | None], int | None]]:
    """(name of the preconditioner, what makes it, patience), best first; each goes on from the best point of those before it.

    The preconditioners invert (nearly) AAᵀ. Where patches do not overlap it is the identity and needs none; where outputs
    outnumber inputs it is singular, and they lead astray.
    """
    if isinstance(operator, Convolution) and operator.outputs <= operator.inputs and _overlaps(operator.geometry):
        both = [("circulant preconditioner", circulant), ("sparse factorisation", factorised)]
        # filters that nearly fill the stride's cell leave modes at the border that no circulant sees
        cell = operator.geometry.channels // operator.geometry.groups * math.prod(operator.geometry.strides)
        if operator.blocks.shape[2] > _FULL * cell or many:
            both.reverse()
        for name, make in both:
            yield name, partial(make, operator), _PATIENCE
    elif many and isinstance(operator, Composition) and isinstance(operator.first, Selection):
        yield "sparse factorisation", partial(factorised_behind, operator.second, operator.first), _PATIENCE
    yield "", lambda: None, None


def _overlaps(geometry: ConvGeometry) -> bool:
    return any(extent > stride for extent, stride in zip(geometry.extent, geometry.strides, strict=True))


def _one_pass(
    operator: LinearMap,
    wish: Array,
    target: float,
    max_iterations: int,
    precondition: Solve | None,
    patience: int | None = None,
) -> tuple[Array, int]:
    """wish − Aᵀy with AAᵀy = A·wish by preconditioned conjugate gradients, until ‖A(wish − Aᵀy)‖ ≤ target.

    Gives up after `patience` iterations that gained less than `_GAIN`. Returns the vector and the iterations.
    """
    projected = wish.copy()
    residual = operator.apply(projected)
    milestone = float(np.linalg.norm(residual))
    if milestone <= target:
        return projected, 0
    direction = z = precondition(residual) if precondition else residual
    slope = float(np.vdot(residual, z))
    for iteration in range(1, max_iterations + 1):
        back = operator.adjoint(direction)
        curvature = float(np.vdot(back, back))
        if curvature <= 0.0 or slope <= 0.0:
            return projected, iteration
        step = slope / curvature
        # the projection is updated in place, so no y is needed
        projected -= step * back
        residual = residual - step * operator.apply(back)
        size = float(np.linalg.norm(residual))
        if size <= target:
            return projected, iteration
        if patience and iteration % patience == 0:
            if size > milestone / _GAIN:
                return projected, iteration
            milestone = size
        z = precondition(residual) if precondition else residual
        following = float(np.vdot(residual, z))
        direction = z + (following / slope) * direction
        slope = following
    return projected, max_iterations
