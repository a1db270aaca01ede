"""Lower bound by shifted Cholesky of the Gram matrix: the rank is full, whatever decomposition would say.

Equal columns are left out first: taking columns away only lowers singular values. Prefer it to everything else: it costs one
syrk and one Cholesky, and most trained weights have full rank.
"""

from __future__ import annotations

from onnxnull.kernel.numerics.rounding import Gram, gamma
from onnxnull.kernel.rank.definite import smallest_above
from onnxnull.kernel.rank.evidence import Bracket, Cutoff, ProvedBound
from onnxnull.kernel.rank.problem import Block


def full_rank(block: Block, cutoff: Cutoff, known: Bracket) -> tuple[ProvedBound | None, None]:
    """At least as many as there are different columns, if Cholesky succeeds."""
    count = len(block.distinct)
    if count > known.upper.count:
        return None, None
    gram = block.gram.restricted(block.distinct)
    shift = roomy_shift(gram, cutoff.high**2)
    proved = smallest_above(gram, shift)
    if proved is None or not proved > cutoff.high**2:
        return None, None
    return ProvedBound("gram", count, {"shift": shift.hex()}), None


def roomy_shift(gram: Gram, target: float) -> float:
    """A shift that proves `target` with room to spare, so that a checker with coarser bounds succeeds too."""
    return 1.25 * target + 1.5 * (gram.error + gamma(gram.n + 10) * gram.trace)
