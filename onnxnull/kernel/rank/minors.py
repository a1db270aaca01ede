"""Upper bound over ℚ: rank ≤ r modulo primes whose product exceeds every minor of order r + 1 makes all of them zero.

A minor of order r + 1 is at most the product of the r + 1 largest 2-norms of rows, or of columns (Hadamard). Each prime
costs one elimination; prefer it for small or narrow integer matrices.
"""

from __future__ import annotations

import numpy as np

from onnxnull.kernel.rank import modular
from onnxnull.kernel.rank.evidence import Bracket, Cutoff, ProvedBound
from onnxnull.kernel.rank.integers import IntegerMatrix, primes
from onnxnull.kernel.rank.problem import Block


def vanish(block: Block, cutoff: Cutoff, known: Bracket) -> tuple[ProvedBound | None, ProvedBound | None]:
    """Prove that the rank is what it is modulo a prime; where one of the primes sees more of it, prove that."""
    matrix, r = block.integers, known.lower.count
    more: ProvedBound | None = None
    needed = list(primes(count_primes(matrix, r)))
    checked = 0
    while checked < len(needed) and r < known.upper.count:
        cutoff.tick()
        prime = needed[checked]
        residues = matrix.modulo(prime)
        if modular.rank_modulo(residues, prime) > r:
            more = modular.minor(block, residues, modular.echelon(residues.T, prime)[1], prime)
            # the primes before saw less than this, which does not speak against it; those after it may see still more
            r, needed = more.count, list(primes(count_primes(matrix, more.count)))
        checked += 1
    return more, ProvedBound("minors", r, {"primes": needed}) if r < known.upper.count else None


def cost(block: Block, known: Bracket) -> float:
    """Seconds for all primes, roughly."""
    return count_primes(block.integers, known.lower.count) * modular.cost(block, known)


def count_primes(matrix: IntegerMatrix, r: int) -> int:
    """How many primes above 2³⁰ have a product above twice every minor of order r + 1."""
    bits = min(float(np.sort(norms)[::-1][: r + 1].sum()) for norms in matrix.log2_norms)
    return max(1, int(np.ceil((bits + 2) / 30)))
