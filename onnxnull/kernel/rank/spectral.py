"""Proofs from approximate singular vectors, good down to σ/σ_max of about 2⁻⁵³.

- At least r: any X (n, r) of full rank has σ_r(W) ≥ σ_min(W·X)/‖X‖₂. With X = V₁·diag(1/σ) the columns of W·X are nearly
  orthonormal, so the Cholesky of their Gram matrix succeeds with a wide margin.
- At most r: σ_{r+1}(W) ≤ ‖W·V₂‖₂/σ_min(V₂) for any V₂ (n, n − r) (Courant–Fischer).

No property of the vectors is assumed: products are accurate with bounded error, norms are proved by Cholesky.
"""

from __future__ import annotations

import math

import numpy as np

from onnxnull.kernel.numerics.rounding import UNIT, Array, down, gamma, gram_of, up
from onnxnull.kernel.rank.definite import largest_below, smallest_above
from onnxnull.kernel.rank.evidence import Bracket, Cutoff, ProvedBound
from onnxnull.kernel.rank.problem import Block
from onnxnull.kernel.rank.spectrum import Spectrum, apply

_MARGIN = 1e-3
_DIRECT = 1e-3
"""Plain products are accurate enough for columns scaled by 1/σ with σ above this share of σ_max."""


def enclosed(block: Block, cutoff: Cutoff, known: Bracket) -> tuple[ProvedBound | None, ProvedBound | None]:
    """Prove what the approximate singular values say; next to the cut-off, what they say a little further off."""
    sigma = block.spectrum.sigma
    lower = upper = None
    # Vectors rounded to doubles move σ by about u·√n·σ_max. A checker's are rounded differently: leave it some room.
    room = min(0.05, 2 * _MARGIN + 4 * UNIT * math.sqrt(block.n) * float(sigma[0]) / cutoff.low) if cutoff.low else 0.05
    for factor in (1 + room + 2 * _MARGIN, 1.2, 2.0, 8.0):
        r = int(np.count_nonzero(sigma > factor * cutoff.high))
        if r <= known.lower.count or lower is not None:
            break
        if at_least(block, block.spectrum, r) * (1 - room) > cutoff.high:
            lower = ProvedBound("spectral", r)
    for factor in (1 + room + 2 * _MARGIN, 1.2, 2.0, 8.0):
        r = int(np.count_nonzero(sigma > cutoff.low / factor))
        if r >= known.upper.count or upper is not None:
            break
        if at_most(block, block.spectrum, r) <= (1 - room) * cutoff.low:
            upper = ProvedBound("spectral", r)
    return lower, upper


def at_least(block: Block, found: Spectrum, r: int) -> float:
    """A proved lower bound of σ_r (0.0 where none was found), r ≥ 1."""
    scaled = found.vectors[:, :r] / found.sigma[:r]
    direct = int(np.count_nonzero(found.sigma[:r] > _DIRECT * found.sigma[0]))
    image, error = _image(block, scaled, direct)
    gram = gram_of(image, error)
    smallest = float(np.linalg.eigvalsh(gram.matrix)[0])
    proved = smallest_above(gram, (1 - _MARGIN) * smallest) if smallest > 0 else None
    norm = _norm(scaled)
    if proved is None or not math.isfinite(norm):
        return 0.0
    return down(math.sqrt(proved) / norm)


def at_most(block: Block, found: Spectrum, r: int) -> float:
    """A proved upper bound of σ_{r+1} (infinite where none was found), r < n."""
    rest = found.vectors[:, r:]
    image, error = apply(block, rest)
    basis = gram_of(rest)
    proved = smallest_above(basis, 1 - _MARGIN)
    if proved is None:
        return math.inf
    return up((_norm(image) + error) / math.sqrt(proved))


def _image(block: Block, x: Array, direct: int) -> tuple[Array, float]:
    """W·x and its error bound; the first `direct` columns by plain arithmetic, |fl(WX) − WX| ≤ γ_n·|W||X|."""
    image = np.concatenate([piece @ x[:, :direct] for piece in block.pieces(2048)])
    error = gamma(block.n + 2) * math.sqrt(block.gram.trace) * float(np.linalg.norm(x[:, :direct]))
    if direct == x.shape[1]:
        return image, up(error)
    accurate, more = apply(block, x[:, direct:])
    return np.hstack([image, accurate]), up(math.hypot(error, more))


def _norm(a: Array) -> float:
    """A proved upper bound of ‖a‖₂ (infinite where none was found)."""
    largest = float(np.abs(a).max(initial=0.0))
    if largest == 0.0:
        return 0.0
    scale = 2.0 ** math.frexp(largest)[1]  # so that squares neither overflow nor underflow
    gram = gram_of(a / scale)
    estimate = float(np.linalg.eigvalsh(gram.matrix)[-1])
    proved = largest_below(gram, (1 + _MARGIN) * estimate + gram.error)
    return math.inf if proved is None else up(scale * math.sqrt(proved))
