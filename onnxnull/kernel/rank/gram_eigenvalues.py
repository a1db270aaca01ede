"""Bounds from both sides by the inertia of the shifted Gram matrix, at shifts placed in the gaps of its spectrum.

Resolves σ/σ_max down to about 10⁻⁷ (the Gram matrix squares it). Prefer it for matrices that lose rank at the float32 cut-off.
"""

from __future__ import annotations

import math

import numpy as np

from onnxnull.kernel.numerics.rounding import down, gamma, up
from onnxnull.kernel.rank.evidence import Bracket, Cutoff, ProvedBound
from onnxnull.kernel.rank.extremes import DENSE
from onnxnull.kernel.rank.inertia import inertia
from onnxnull.kernel.rank.problem import Block

_NARROW = 1e-4


def counted(block: Block, cutoff: Cutoff, known: Bracket) -> tuple[ProvedBound | None, ProvedBound | None]:
    """Count eigenvalues above a shift beyond the cut-off, and above a shift before it."""
    noise = 4 * block.gram.error
    above, below = up(cutoff.high**2), down(cutoff.low**2)
    if block.n > DENSE:
        # Right beside the cut-off: if no eigenvalue lies in between, nothing need be known about the others.
        lower = _evidence(block, above * (1 + _NARROW) + noise, above, math.inf)
        upper = _evidence(block, below * (1 - _NARROW) - noise, 0.0, below)
        if lower is not None and upper is not None and lower.count == upper.count:
            return lower, upper
    eigenvalues = block.eigenvalues
    lower = upper = None
    top = float(eigenvalues[0])
    if known.lower.count < np.count_nonzero(eigenvalues > above + noise):
        # In the middle, on a logarithmic scale, between what is needed and the next eigenvalue; then as low as possible.
        last = float(eigenvalues[eigenvalues > above + noise][-1])
        lower = _evidence(block, math.sqrt((above + noise) * last), above, math.inf) or _evidence(
            block, above + 2 * noise + 1e-13 * top, above, math.inf
        )
    if below > noise and known.upper.count > np.count_nonzero(eigenvalues > below - noise):
        first = max(float(eigenvalues[eigenvalues <= below - noise][0]), 1e-2 * (below - noise))
        upper = _evidence(block, math.sqrt((below - noise) * first), 0.0, below) or _evidence(
            block, below - 2 * noise - 1e-13 * top, 0.0, below
        )
    return lower, upper


def _evidence(block: Block, shift: float, above: float, below: float) -> ProvedBound | None:
    """The count at a shift, if all its uncertainty lies beyond `above` (a lower bound) and before `below` (an upper one)."""
    if shift <= 0:
        return None
    counted = inertia(block.gram, shift)
    if counted is None:
        return None
    count, delta = counted
    # A checker has eigenvectors, whose residual it bounds in the Frobenius norm: leave it room.
    delta += 1.25 * gamma(block.n + 4) * math.sqrt(block.n) * float(np.linalg.norm(block.gram.matrix))
    if not (shift - delta >= above and shift + delta <= below):  # δ may be NaN
        return None
    return ProvedBound("gram", count, {"shift": shift.hex()})
