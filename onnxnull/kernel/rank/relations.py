"""Upper bound over ℚ: integer kernel vectors with small entries, such as those of proportional columns.

Modulo a prime, the reduced echelon form gives every column as a combination of the pivot columns; where the coefficients are
small fractions they are reconstructed from the residues (von zur Gathen, Gerhard, *Modern Computer Algebra*, §5.10),
and the relation is then verified in integers.
"""

from __future__ import annotations

import math

import numpy as np

from onnxnull.kernel.rank import modular
from onnxnull.kernel.rank.evidence import Bracket, Cutoff, ProvedBound
from onnxnull.kernel.rank.integers import IntegerMatrix, primes
from onnxnull.kernel.rank.problem import Block

_MOST_COEFFICIENTS = 100_000
_PRIMES = (1, 4)
"""So many primes at a time: fractions up to 2¹⁵/2¹⁵, then 2⁶⁰/2⁶⁰."""


def kernel(block: Block, cutoff: Cutoff, known: Bracket) -> tuple[None, ProvedBound | None]:
    """Find one relation for every column that depends on earlier ones modulo a prime; verify them all."""
    matrix = block.integers
    best: list[dict[int, int]] = []
    for count in _PRIMES:
        cutoff.tick()
        best = max(best, _relations(matrix, block.drawn_primes(count)), key=len)
        if block.n - len(best) == known.lower.count:
            break
    if block.n - len(best) >= known.upper.count:
        return None, None
    names = block.rows if block.transposed else block.columns
    offset = int(matrix.columns.max())
    vectors = []
    for vector in best:
        common = math.lcm(*(int(matrix.factors[j]) for j in vector))
        scaled = {j: c * (common // int(matrix.factors[j])) << (offset - int(matrix.columns[j])) for j, c in vector.items()}
        vectors.append([[int(names[j]), hex(c)] for j, c in sorted(scaled.items())])
    side = "inputs" if block.transposed else "outputs"
    return None, ProvedBound("relations", block.n - len(best), {"side": side, "vectors": vectors})


def cost(block: Block, known: Bracket) -> float:
    """Seconds, roughly."""
    return 5 * modular.cost(block, known)


def _relations(matrix: IntegerMatrix, moduli: list[int]) -> list[dict[int, int]]:
    """Verified relations Σ c_j·(scaled column j) = 0, each with a column that the others lack."""
    forms = [(prime, *modular.echelon(matrix.modulo(prime), prime)) for prime in moduli]
    first = forms[0][2]
    if not all(np.array_equal(pivots, first) for _, _, pivots in forms):
        return []
    dependent = np.setdiff1d(np.arange(matrix.odd.shape[1]), first)
    if len(first) * len(dependent) > _MOST_COEFFICIENTS:
        return []
    modulus = math.prod(prime for prime, _, _ in forms)
    lifts = [modulus // prime * pow(modulus // prime, -1, prime) for prime, _, _ in forms]
    found = []
    for j in dependent:
        columns = [[int(x) * lift for x in form[:, j]] for (_, form, _), lift in zip(forms, lifts, strict=True)]
        vector = _combination([sum(parts) % modulus for parts in zip(*columns, strict=True)], modulus)
        if vector is None:
            continue
        relation = {int(column): c for column, c in zip(first, vector[:-1], strict=True) if c}
        relation[int(j)] = vector[-1]
        if _holds(matrix, relation):
            found.append(relation)
    return found


def _combination(residues: list[int], modulus: int) -> list[int] | None:
    """Integers (c_1, ..., c_r, −d) with c_i/d ≡ residue_i, small; None where a residue is no small fraction."""
    bound = math.isqrt(modulus // 2)
    fractions = []
    for residue in residues:
        fraction = _fraction(residue, modulus, bound)
        if fraction is None:
            return None
        fractions.append(fraction)
    d = math.lcm(*(denominator for _, denominator in fractions))
    if d > 1 << 200:
        return None
    return [numerator * (d // denominator) for numerator, denominator in fractions] + [-d]


def _fraction(residue: int, modulus: int, bound: int) -> tuple[int, int] | None:
    """Numerator and denominator, both at most `bound`, of the fraction ≡ residue (extended Euclid, stopped half way)."""
    r0, r1, t0, t1 = modulus, residue, 0, 1
    while r1 > bound:
        quotient = r0 // r1
        r0, r1, t0, t1 = r1, r0 - quotient * r1, t1, t0 - quotient * t1
    if t1 == 0 or abs(t1) > bound:
        return None
    return (r1, t1) if t1 > 0 else (-r1, -t1)


def _holds(matrix: IntegerMatrix, relation: dict[int, int]) -> bool:
    """Whether the relation is true: true modulo primes whose product exceeds everything that could remain."""
    columns = np.array(list(relation))
    entry_bits = float(matrix.log2_norms[1][columns].max())  # a norm bounds its entries
    bits = entry_bits + max(abs(c).bit_length() for c in relation.values()) + math.log2(len(columns) + 1)
    part = matrix.restricted(columns)
    for prime in primes(math.ceil((bits + 2) / 30)):
        weights = np.array([c % prime for c in relation.values()], dtype=np.int64)
        if ((part.modulo(prime) * weights % prime).sum(axis=1) % prime).any():
            return False
    return True
