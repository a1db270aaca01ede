"""Back to the fibre: Gauss-Newton with minimum-norm corrections, the residual taken in float64.

With few rows the Jacobian is taken anew for every correction. With many (the logits of ImageNet: 1000 rows, a Jacobian costs a
thousand products) kinks of the network between here and the fibre mislead Newton's steps, and minimising ‖r‖ leaves what is in
small singular values of J. So far from the fibre ‖r‖ is made smaller by L-BFGS, and then a round is:
1. the Jacobian J, and corrections by it for as long as each halves the residual;
2. where they do not, L-BFGS inside the box on rᵀ(JJᵀ)⁻¹r, the squared length of the correction that is left, at one
   vector-Jacobian product an evaluation.
Near the fibre J changes less from round to round, and the first part reaches the tolerance.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from onnxnull.fiber.normal import Normal
from onnxnull.fiber.problem import TOLERANCE, Fiber
from onnxnull.kernel.maps.linear_map import Array

FEW = 64
"""Rows up to which a Jacobian is cheap."""
_CORRECTIONS, _ROUNDS, _CHORD = 30, 12, 40
_STALLED = 0.7
"""With few rows, a correction that leaves more of the residual than this got nowhere."""
_HALVED = 0.5
_FAR = 0.02
"""Relative residual above which no Jacobian is worth its cost."""
_EVALUATIONS, _ENOUGH = 120, 1e-6
"""Of L-BFGS in a round: at most so many, or until so little is left of where it began."""
_PROGRESS = 0.95
"""A round that shortens the correction that is left by less than this ends the search."""


@dataclass(slots=True)
class Corrector:
    """Corrections of one walk.

    Attributes:
        check: called now and then, raises when the walk has to end.
        tell: called with what is being done.
        rank: of the last Jacobian.
    """

    fiber: Fiber
    check: Callable[[], None]
    tell: Callable[[str], None]
    rank: int | None = None

    def back(self, x: Array) -> Array | None:
        """A point of the fibre near x, inside the box; None where none was found."""
        x = self.fiber.inside(x)
        x = self._by_newton(x) if self.fiber.rows <= FEW else self._in_rounds(x)
        return x if self.fiber.relative(self.fiber.residual(x)) <= 10.0 * TOLERANCE else None

    def normal(self, x: Array) -> Normal:
        """The Jacobian at x, over the entries that are free there."""
        found = Normal.of(self.fiber.jacobian(x, self._row), self.fiber.free(x))
        self.rank = found.rank
        return found

    def _by_newton(self, x: Array) -> Array:
        fiber, stalls = self.fiber, 0
        residual = fiber.residual(x)
        for _ in range(_CORRECTIONS):
            size = fiber.relative(residual)
            if size <= TOLERANCE or stalls > 2:
                break
            self.check()
            self.tell(f"residual {size:.1e}")
            moved = fiber.inside(x - self.normal(x).correction(residual).reshape(x.shape))
            found = fiber.residual(moved)
            if fiber.relative(found) > _STALLED * size:
                stalls += 1
                if not fiber.relative(found) < 2.0 * size:
                    break
            x, residual = moved, found
        return x

    def _in_rounds(self, x: Array) -> Array:
        fiber = self.fiber
        if fiber.relative(fiber.residual(x)) > _FAR:
            x = self._near(None, x)
        before = np.inf
        for _ in range(_ROUNDS):
            factor = self.normal(x)
            x, residual = self._by(factor, x)
            left = factor.length(residual)
            if fiber.relative(residual) <= TOLERANCE or left > _PROGRESS * before:
                break
            before = left
            x = self._near(factor, x)
        return x

    def _by(self, factor: Normal, x: Array) -> tuple[Array, Array]:
        """Corrections by one Jacobian, while each halves the residual: (where they lead, the residual there)."""
        fiber = self.fiber
        residual = fiber.residual(x)
        size = fiber.relative(residual)
        for _ in range(_CHORD):
            self.check()
            self.tell(f"residual {size:.1e}")
            moved = fiber.inside(x - factor.correction(residual).reshape(x.shape))
            found = fiber.residual(moved)
            after = fiber.relative(found)
            if not after <= _HALVED * size:
                break
            x, residual, size = moved, found, after
            if size <= TOLERANCE:
                break
        return x, residual

    def _near(self, factor: Normal | None, x: Array) -> Array:
        """L-BFGS within the box; the point with the least correction left, or without a factor with the least residual."""
        from scipy.optimize import Bounds, minimize

        fiber, count, best, first = self.fiber, 0, (np.inf, x), 0.0

        class _EnoughError(Exception):
            pass

        def energy(flat: Array) -> tuple[float, Array]:
            nonlocal count, best, first
            self.check()
            count += 1
            point = flat.reshape(x.shape)
            residual = fiber.quick.value(point).ravel() - fiber.value.ravel()
            weighted = residual if factor is None else factor.inverse(residual)
            value = 0.5 * float(residual @ weighted)
            if value < best[0]:
                best = value, point.copy()
            first = first or value
            if count % 10 == 0:
                self.tell(f"coming near, residual {fiber.relative(residual):.1e}")
            if value <= _ENOUGH * first:
                raise _EnoughError
            return value, fiber.quick.pull(point, weighted.reshape(fiber.value.shape))[1].ravel()

        bounds = Bounds(fiber.lower.ravel(), fiber.upper.ravel())
        options = {"maxfun": _EVALUATIONS, "maxiter": _EVALUATIONS, "maxcor": 20, "ftol": 0.0, "gtol": 0.0}
        with contextlib.suppress(_EnoughError):
            minimize(energy, x.ravel(), jac=True, method="L-BFGS-B", bounds=bounds, options=options)  # type: ignore[call-overload]
        return fiber.inside(best[1])

    def _row(self, done: int) -> None:
        if done % 25 == 0:
            self.check()
            self.tell(f"Jacobian, {done} of {self.fiber.rows} rows")
