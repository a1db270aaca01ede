"""The largest principal angle between two kernels, at the float64 cut-off.

The principal angles between two subspaces other than 0 are those between their orthogonal complements (Björck, Golub,
*Numerical methods for computing angles between linear subspaces*, 1973). The complement of a kernel {φ : φᵀW = 0} is the
column space of W, which is the smaller one where weights are tall. So with orthonormal bases U, V of the column spaces, V the
larger one, sin θ = ‖(I − VVᵀ)U‖₂, and nothing of size q×q is formed. The sine, and not the cosine, is accurate near 0.

Between kernels of different dimensions θ says how far the smaller one is from lying in the larger one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from onnxnull.comparison.results import KernelAngle
from onnxnull.kernel.maps.linear_map import Array
from onnxnull.kernel.span import column_span

_WORK = 1e11
"""Multiply-adds that one weight may cost: about half a minute on one core."""
_STEPS = 12
_SETTLED = 1e-3

Projection = Callable[[Array], Array]
"""x → its orthogonal projection on a kernel."""


def kernel_angle(a: Array, b: Array) -> KernelAngle:
    """Between the kernels of two block-diagonal weights, blocks (g, q, p), their inputs in one order."""
    g, q, p = a.shape
    if b.shape[:2] != (g, q):
        return KernelAngle(None, reason="their inputs are different spaces")
    if 2.0 * g * q * min(q, max(p, b.shape[2])) ** 2 > _WORK:
        return KernelAngle(None, reason="the weight is too large for it")
    smaller, larger = sorted([column_span(a), column_span(b)], key=lambda span: span.dimension)
    if larger.dimension == g * q:
        none = "neither has a kernel" if smaller.dimension == g * q else "only one of them has a kernel"
        return KernelAngle(None, reason=none)
    return KernelAngle(_degrees(max(map(_sine, smaller.bases, larger.bases), default=0.0)))


def dense_angle(a: Array, b: Array) -> KernelAngle:
    """Between the kernels of two operators given as matrices (inputs, outputs)."""
    return kernel_angle(a[None], b[None])


def operator_angle(a: Projection, b: Projection, shape: Sequence[int], *, a_is_smaller: bool) -> KernelAngle:
    """Between two kernels that are known by their projections: a lower bound, by power iteration from a fixed start.

    sin²θ is the largest eigenvalue of P(I − Q)P, P on the smaller kernel and Q on the larger.
    """
    onto, larger = (a, b) if a_is_smaller else (b, a)
    x = onto(np.random.default_rng(0).standard_normal(tuple(shape)))
    sine = 0.0
    for _ in range(_STEPS):
        length = float(np.linalg.norm(x))
        if length == 0.0:
            break
        x = x / length
        outside = x - larger(x)
        before, sine = sine, max(sine, float(np.linalg.norm(outside)))
        if sine < 1e-12 or sine - before < _SETTLED * sine:
            break
        x = onto(outside)
    return KernelAngle(_degrees(sine), at_least=True)


def _sine(inner: Array, outer: Array) -> float:
    """‖(I − VVᵀ)U‖₂ for orthonormal columns U `inner`, V `outer`."""
    if inner.shape[1] == 0:
        return 0.0
    rest = inner
    for _ in range(2):  # what rounding leaves of the first projection, the second takes out
        rest = rest - outer @ (outer.T @ rest)
    return float(np.sqrt(max(0.0, np.linalg.eigvalsh(rest.T @ rest)[-1])))


def _degrees(sine: float) -> float:
    return math.degrees(math.asin(min(1.0, sine)))
