"""Back to the fibre: Gauss-Newton with minimum-norm corrections, the residual taken in float64.

With few rows the Jacobian is taken anew for every correction. With many that is what costs most (one vector-Jacobian product a
row), so:
1. a point far from the fibre first comes near by L-BFGS on ‖g(x) − g(x₀)‖², which takes one product an evaluation: across the
   kinks of piecewise linear networks Newton's steps would mislead anyway;
2. near it one Jacobian serves several corrections, by conjugate gradients with its factor as the preconditioner; it is taken
   anew where they no longer get far.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from onnxnull.fiber.normal import Normal, by_gradients
from onnxnull.fiber.problem import TOLERANCE, Fiber
from onnxnull.kernel.linear_map import Array

FEW = 64
"""Rows up to which a Jacobian is cheap."""
_NEAR = 3e-3
"""Relative residual below which corrections are small enough for the kinks to stay where they are."""
_CORRECTIONS = 30
_STALLED = 0.7
"""A correction that leaves more of the residual than this got nowhere."""
_FRESH = 0.1
"""Conjugate gradients that leave more than this need a new factor."""
_GRADIENTS = 40
_EVALUATIONS = 600


@dataclass(slots=True)
class Corrector:
    """Corrections of one walk; it keeps the last factor.

    Attributes:
        check: called now and then, raises when the walk has to end.
        tell: called with what is being done.
        rank: of the last Jacobian.
    """

    fiber: Fiber
    check: Callable[[], None]
    tell: Callable[[str], None]
    rank: int | None = None
    _factor: Normal | None = field(default=None)

    def back(self, x: Array) -> Array | None:
        """A point of the fibre near x, inside the box; None where none was found."""
        fiber = self.fiber
        x = fiber.inside(x)
        residual = fiber.residual(x)
        if fiber.rows > FEW and fiber.relative(residual) > _NEAR:
            x = self._near(x)
            residual = fiber.residual(x)
            self._factor = None
        stalls = 0
        for _ in range(_CORRECTIONS):
            size = fiber.relative(residual)
            if size <= TOLERANCE:
                break
            self.check()
            self.tell(f"residual {size:.1e}")
            moved = fiber.inside(x - self._correction(x, residual))
            found = fiber.residual(moved)
            if fiber.relative(found) > _STALLED * size:
                stalls += 1
                self._factor = None
                if stalls > 2 or not fiber.relative(found) < 2.0 * size:
                    break
            x, residual = moved, found
        return x if fiber.relative(residual) <= 10.0 * TOLERANCE else None

    def normal(self, x: Array) -> Normal:
        """The Jacobian at x, over the entries that are free there."""
        jacobian = self.fiber.jacobian(x, self._row)
        found = Normal.of(jacobian, self.fiber.free(x))
        self.rank = found.rank
        return found

    def _correction(self, x: Array, residual: Array) -> Array:
        fiber = self.fiber
        if fiber.rows <= FEW:
            return self.normal(x).correction(residual).reshape(x.shape)
        if self._factor is not None:
            found = by_gradients(fiber, x, residual, self._factor, 1e-2, _GRADIENTS)
            if found.left <= _FRESH:
                return found.correction
        self._factor = self.normal(x)
        return by_gradients(fiber, x, residual, self._factor, 1e-3, _GRADIENTS).correction

    def _near(self, x: Array) -> Array:
        """L-BFGS within the box until the residual is `_NEAR`, or for so many evaluations."""
        from scipy.optimize import Bounds, minimize

        fiber, count, best = self.fiber, 0, (np.inf, x)
        target = _NEAR * float(np.abs(fiber.value).max(initial=0.0))

        class _Near(Exception):
            pass

        def energy(flat: Array) -> tuple[float, Array]:
            nonlocal count, best
            self.check()
            count += 1
            point = flat.reshape(x.shape)
            residual = fiber.quick.value(point).ravel() - fiber.value.ravel()
            worst = float(np.abs(residual).max())
            if worst < best[0]:
                best = worst, point.copy()
            if count % 10 == 0:
                self.tell(f"coming near, residual {worst:.1e}")
            if worst <= target:
                raise _Near
            return 0.5 * float(residual @ residual), fiber.pull(point, residual).ravel()

        bounds = Bounds(fiber.lower.ravel(), fiber.upper.ravel())
        options = {"maxfun": _EVALUATIONS, "maxiter": _EVALUATIONS, "maxcor": 20, "ftol": 0.0, "gtol": 0.0}
        with contextlib.suppress(_Near):
            minimize(energy, x.ravel(), jac=True, method="L-BFGS-B", bounds=bounds, options=options)
        return fiber.inside(best[1])

    def _row(self, done: int) -> None:
        if done % 25 == 0:
            self.check()
            self.tell(f"Jacobian, {done} of {self.fiber.rows} rows")
