"""Upper bound over ℚ: rank ≤ r modulo primes whose product exceeds every minor of order r + 1 makes all of them zero.

A minor of order r + 1 is at most the product of the r + 1 largest 2-norms of rows, or of columns (Hadamard). Each prime
costs one elimination; prefer it for small or narrow integer matrices.
"""

from __future__ import annotations

import numpy as np

from onnxnull.kernel.rank import modular
from onnxnull.kernel.rank.evidence import Bracket, Cutoff, Evidence
from onnxnull.kernel.rank.integers import IntegerMatrix, primes
from onnxnull.kernel.rank.problem import Block


def vanish(block: Block, cutoff: Cutoff, known: Bracket) -> tuple[None, Evidence | None]:
    """Prove that the rank is what it is modulo a prime."""
    matrix, r = block.integers, known.lower.count
    if matrix is None:
        return None, None
    needed = list(primes(count_primes(matrix, r)))
    for prime in needed:
        cutoff.tick()
        if modular.rank_modulo(matrix.modulo(prime), prime) > r:
            return None, None
    return None, Evidence("minors", r, {"primes": needed})


def cost(block: Block, known: Bracket) -> float:
    """Seconds for all primes, roughly."""
    if block.integers is None:
        return 0.0
    return count_primes(block.integers, known.lower.count) * modular.cost(block, known)


def count_primes(matrix: IntegerMatrix, r: int) -> int:
    """How many primes above 2³⁰ have a product above twice every minor of order r + 1."""
    bits = min(float(np.sort(norms)[::-1][: r + 1].sum()) for norms in matrix.log2_norms)
    return max(1, int(np.ceil((bits + 2) / 30)))
