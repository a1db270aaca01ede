"""Lower bound from a subset of the longer side: σ_n(W) ≥ σ_n(W restricted to some rows), so some rows may be enough.

Prefer it where only one rank is asked for and the matrix is long: the Gram matrix of twice as many rows as columns often
proves full rank (of the different columns), and the rest of the weight is read once, for a bound of its norm.
"""

from __future__ import annotations

from onnxnull.kernel.rank.cholesky import roomy_shift
from onnxnull.kernel.rank.definite import smallest_above
from onnxnull.kernel.rank.evidence import Bracket, Cutoff, ProvedBound
from onnxnull.kernel.rank.problem import Block

_WORTHWHILE = 512


def applies(block: Block) -> bool:
    """Whether the block is long enough for a subset to be much cheaper than the whole."""
    return block.n >= _WORTHWHILE and block.m >= 4 * block.n


def full_rank(block: Block, cutoff: Cutoff, known: Bracket) -> tuple[ProvedBound | None, None]:
    """Full rank from the first 1.5·n, then 3·n rows of the tall matrix."""
    if not applies(block) or len(block.distinct) > known.upper.count:
        return None, None
    for count in (block.n + block.n // 2, 3 * block.n):
        cutoff.tick()
        gram = block.gram_of_rows(count).restricted(block.distinct)
        # The checker uses the whole block's Gram matrix, whose errors are larger in proportion to its trace.
        whole = roomy_shift(gram, 0.0) * 1.5 * block.m / count
        shift = roomy_shift(gram, cutoff.high**2) + whole
        proved = smallest_above(gram, shift)
        if proved is not None and proved > cutoff.high**2:
            return ProvedBound("gram", len(block.distinct), {"shift": shift.hex()}), None
    return None, None
