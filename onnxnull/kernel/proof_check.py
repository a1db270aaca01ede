"""Check proofs of ranks again, without the code that found them.

A proof bounds the rank of every block of a weight from below and from above. For each method this is what has to be true:

| method    | lower bound `count`                                | upper bound `count`                                   |
|-----------|----------------------------------------------------|-------------------------------------------------------|
| gram      | AᵀA has `count` eigenvalues above `shift` > τ²     | AᵀA has no more eigenvalues above `shift` < τ²        |
| spectral  | σ_count ≥ σ_min(AX)/‖X‖ > τ for some X             | σ_{count+1} ≤ ‖AV‖/σ_min(V) < τ for some V            |
| shape     |                                                    | so many different non-zero columns, or rows           |
| modular   | R's minor on `rows`, `columns` is not 0 mod `prime`|                                                       |
| minors    |                                                    | R's rank ≤ count modulo `primes`, product > its minors|
| relations |                                                    | so many independent integer kernel vectors            |

A is the block scaled by 2^−exponent, τ = σ_max·max(inputs, outputs)·eps and 0 over ℚ; upper bounds by the last three hold
in every notion. R is the reduced matrix of the block, of the same rank over ℚ: its zero rows and columns left out; transposed
if more columns are left than rows; then every column, and after that every row, multiplied by the positive rational number
that makes its entries integers whose greatest common divisor is 1. (`rows` and `columns` are numbers in the block.)
Rounding: u = 2⁻⁵³, γ_k = ku/(1 − ku); sums of k products err by γ_k times the sum of absolute values.
Needs numpy and scipy only. It is written to be read, not to be fast.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Matrix = npt.NDArray[np.generic]
U = 2.0**-53
EPS = {"float32": 2.0**-23, "float64": 2.0**-52, "exact": 0.0}
SAFE = 1 + 2.0**-40  # covers the rounding of a bound's own few operations
TINY = 2.0**-900  # more than all underflow errors together, as the largest entry is scaled to 2^±200


class ProofError(Exception):
    """A proof does not hold; the message says what failed."""


def check(proof: Mapping[str, Any], blocks: Matrix) -> None:
    """Verify a proof (its JSON dictionary) of the rank of a stack (g, q, p) or matrix (q, p); raises ProofError."""
    try:
        _check(proof, blocks[None] if blocks.ndim == 2 else blocks)
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, ArithmeticError) as error:
        raise ProofError(f"the proof is malformed: {error!r}") from error


def _check(proof: Mapping[str, Any], stack: Matrix) -> None:
    groups, q, p = stack.shape
    _require(proof["format"] == "onnxnull.proof/1", "unknown format")
    _require(
        (proof["groups"], proof["inputs"], proof["outputs"]) == (groups, groups * q, groups * p),
        f"the proof is about another shape than {stack.shape}",
    )
    _require(proof["weight"] == _digest(stack), "the proof is about other numbers (SHA-256 differs)")
    scaled = {g: _scaled(stack[g], _whole(proof["exponent"])) for g in range(groups) if (stack[g] != 0).any()}
    _require(all(np.isfinite(matrix).all() for matrix in scaled.values()), "entries are not finite")
    largest = max((float(np.abs(matrix).max()) for matrix in scaled.values()), default=1.0)
    _require(2.0**-201 <= largest <= 2.0**201, "the scaling invites underflow or overflow")
    doubles = stack.dtype.kind not in "iu" or max(abs(int(x)) for x in (stack.max(initial=0), stack.min(initial=0))) <= 2**53
    low, high = _cutoff(proof, scaled)
    _require(doubles or high == 0.0, "doubles do not hold all entries")
    bounds = {}
    for side in ("lower", "upper"):
        total, seen = 0, set()
        for part in proof[side]:
            method = _METHODS.get((part["method"], side))
            _require(method is not None, f"{part['method']!r} proves no {side} bound")
            _require(doubles or part["method"] not in ("gram", "spectral"), "doubles do not hold all entries")
            _require(0 <= _whole(part["count"]) <= min(q, p), "a count is negative, or more than a block can have")
            for g in (g for start, stop in part["blocks"] for g in range(start, stop)):
                _require(g in scaled and g not in seen, f"block {g} is zero, missing, or bounded twice")
                seen.add(g)
                total += part["count"]
                assert method is not None
                reason = method(part, stack[g], scaled[g], low if side == "upper" else high)
                _require(reason is None, f"{side} bound of block {g} by {part['method']}: {reason}")
        bounds[side] = total
        _require(side == "lower" or seen == set(scaled), "a block has no upper bound")
    _require(
        bounds["lower"] == proof["rank"] == bounds["upper"],
        f"the rank {proof['rank']} is not what the bounds {bounds['lower']} and {bounds['upper']} say",
    )


def _cutoff(proof: Mapping[str, Any], scaled: Mapping[int, Array]) -> tuple[float, float]:
    """Verify σ_max ∈ [low, high] and return the cut-off's interval."""
    eps = EPS[proof["notion"]]
    if eps == 0.0 or not scaled:
        return 0.0, 0.0
    low, high = (_number(x) for x in proof["sigma_max"])
    _require(0 <= low <= high, "the interval of σ_max is none")
    attained = False
    for matrix in scaled.values():
        gram, error, trace = _gram(matrix)
        if trace + error > high**2:
            slack = _cholesky_slack(high**2 * np.eye(len(gram)) - gram, error)
            # Cholesky proves λ_max ≤ high² + slack; high was stored with more room than that.
            tight = high**2 * (1 - 2.0**-22)
            if slack is None or slack > high**2 * 2.0**-22:
                raise ProofError("σ_max may exceed its upper bound")
            _require(_cholesky_slack(tight * np.eye(len(gram)) - gram, error) is not None, "σ_max exceeds its upper bound")
        if not attained and trace + error >= low**2:
            vector = _top_vector(gram)
            norm = float(np.linalg.norm(vector)) * (1 + _gamma(len(vector)))
            error_norm = _gamma(matrix.shape[1]) * math.sqrt(trace) * norm + TINY
            image = float(np.linalg.norm(matrix @ vector)) / SAFE / (1 + _gamma(len(matrix)))
            attained = (image - error_norm) / norm / SAFE >= low
    _require(attained, "σ_max may be below its lower bound")
    factor = max(proof["inputs"], proof["outputs"]) * eps
    return low * factor / SAFE, high * factor * SAFE


# --- counting singular values -----------------------------------------------------------------------------------------


def _gram_lower(part: Mapping[str, Any], block: Matrix, scaled: Array, cutoff: float) -> str | None:
    shift, count = _number(part["shift"]), part["count"]
    # Leaving out repeated columns only lowers the singular values.
    gram, error, _ = _gram(scaled[:, _first_of_equals(scaled)])
    slack = _cholesky_slack(gram - shift * np.eye(len(gram)), error)
    if slack is not None and len(gram) >= count and shift - slack > cutoff**2 * SAFE:
        return None
    gram, error, _ = _gram(scaled)
    positive, spread = _inertia(gram, shift, error)
    if not shift - spread > cutoff**2 * SAFE:
        return f"the shift {shift:.6g} is not safely above τ² = {cutoff**2:.6g}"
    return None if positive >= count else f"only {positive} eigenvalues are above the shift, {count} are claimed"


def _gram_upper(part: Mapping[str, Any], block: Matrix, scaled: Array, cutoff: float) -> str | None:
    shift, count = _number(part["shift"]), part["count"]
    gram, error, _ = _gram(scaled)
    positive, spread = _inertia(gram, shift, error)
    if not (shift + spread) * SAFE <= cutoff**2:
        return f"the shift {shift:.6g} is not safely below τ² = {cutoff**2:.6g}"
    return None if positive <= count else f"{positive} eigenvalues are above the shift, {count} are claimed at most"


def _gram(a: Array) -> tuple[Array, float, float]:
    """(G, error, trace) with ‖G − AᵀA‖ ≤ error and ‖A‖_F² ≤ trace; 256 rows at a time, to keep the chains short."""
    n, steps = a.shape[1], range(0, a.shape[0], 256)
    gram = np.zeros((n, n))
    for i in steps:
        gram += a[i : i + 256].T @ a[i : i + 256]
    gamma = _gamma(min(len(a), 256) + len(steps) + 1)
    trace = float(np.trace(gram)) / (1 - gamma) * (1 + _gamma(n)) * SAFE
    return gram, gamma * trace * SAFE + TINY, trace


def _cholesky_slack(h: Array, error: float) -> float | None:
    """If Cholesky of H succeeds, λ_min(H) ≥ −slack (Rump, BIT 46 (2006)); the shift's rounding and `error` included."""
    try:
        np.linalg.cholesky(h)
    except np.linalg.LinAlgError:
        return None
    gamma = _gamma(len(h) + 10)
    return (gamma / (1 - gamma) * float(np.trace(h)) + U * float(np.abs(np.diag(h)).max()) + error) * SAFE + TINY


def _inertia(gram: Array, shift: float, error: float) -> tuple[int, float]:
    """Eigenvalues above the shift and the uncertainty of that shift: AᵀA = VΛVᵀ + R, V invertible (Sylvester, Weyl)."""
    n = len(gram)
    values, v = np.linalg.eigh(gram)
    _require(_gamma(n + 2) * n * 4 + float(np.linalg.norm(v.T @ v - np.eye(n))) < 0.5, "eigenvectors are not independent")
    # VᵀV ≈ I, so the shift commutes with V up to |shift|·‖I − VVᵀ‖; it is part of the residual as computed.
    residual = gram - shift * np.eye(n) - (v * (values - shift)) @ v.T
    scale = float(np.linalg.norm(v)) * float(np.linalg.norm(v * np.abs(values - shift)))
    rounding = _gamma(n + 4) * scale + 4 * U * (float(np.linalg.norm(gram)) + abs(shift) * math.sqrt(n))
    return int(np.count_nonzero(values > shift)), (float(np.linalg.norm(residual)) * (1 + _gamma(n)) + rounding + error) * SAFE


def _spectral_lower(part: Mapping[str, Any], block: Matrix, scaled: Array, cutoff: float) -> str | None:
    r = part["count"]
    sigma, v = _right_vectors(scaled)
    x = v[:, :r] / sigma[:r]
    image, off = _times(scaled, x)
    gram, error, trace = _gram(image)
    error += off * (2 * math.sqrt(trace) + off)
    slack = _cholesky_slack(gram - 0.5 * np.eye(r), error)
    norm = _norm(x)
    if slack is None or not slack < 0.5 or not math.sqrt(0.5 - slack) / norm / SAFE > cutoff:
        # Half is crude next to the cut-off: take what the eigenvalues promise.
        shift = 0.998 * float(np.linalg.eigvalsh(gram)[0])
        slack = _cholesky_slack(gram - shift * np.eye(r), error) if shift > 0 else None
        if slack is None or not slack < shift or not math.sqrt(shift - slack) / norm / SAFE > cutoff:
            return f"σ_{r} is not proved to be above τ = {cutoff:.6g}"
    return None


def _spectral_upper(part: Mapping[str, Any], block: Matrix, scaled: Array, cutoff: float) -> str | None:
    r = part["count"]
    _, v = _right_vectors(scaled)
    rest = v[:, r:]
    image, off = _times(scaled, rest)
    gram, error, _ = _gram(rest)
    slack = _cholesky_slack(gram - 0.999 * np.eye(len(gram)), error)
    if slack is None or not slack < 0.999 or not (_norm(image) + off) / math.sqrt(0.999 - slack) * SAFE <= cutoff:
        return f"σ_{r + 1} is not proved to be below τ = {cutoff:.6g}"
    return None


def _right_vectors(a: Array) -> tuple[Array, Array]:
    """Singular values and right singular vectors; the small ones from A·V, accurate and freed of the large ones.

    Only good guesses: what is proved from them is proved for any numbers and vectors.
    """
    _, sigma, vt = np.linalg.svd(a, full_matrices=False)
    large = int(np.count_nonzero(sigma > 1e-4 * sigma[0]))
    v1, v2 = vt[:large].T, vt[large:].T
    if v2.shape[1]:
        for _ in range(2):
            v2 = v2 - v1 @ ((a @ v1).T @ _times(a, v2)[0] / sigma[:large, None] ** 2)
        _, sigma[large:], turn = np.linalg.svd(_times(a, v2)[0], full_matrices=False)
        v2 = v2 @ turn.T
    return sigma, np.hstack([v1, v2])


def _times(a: Array, x: Array) -> tuple[Array, float]:
    """A·X as if computed in twice the precision, and a bound of its error in the Frobenius norm.

    Dot2 of Ogita, Rump, Oishi, *Accurate sum and dot product*, SIAM J. Sci. Comput. 26 (2005), Prop. 5.5:
    the error is at most u·|AX| + γ_n²·|A||X|. One inner index at a time, for all entries.
    """
    total, lost = np.zeros((len(a), x.shape[1])), np.zeros((len(a), x.shape[1]))
    for k in range(a.shape[1]):
        column, row = a[:, k, None], x[k]
        product = column * row
        (c1, c2), (r1, r2) = _split(column), _split(row)
        rounding = c2 * r2 - (((product - c1 * r1) - c2 * r1) - c1 * r2)
        new = total + product
        back = new - total
        rounding += (total - (new - back)) + (product - back)
        total, lost = new, lost + rounding
    result = total + lost
    size = float(np.linalg.norm(a)) * float(np.linalg.norm(x)) * SAFE
    return result, (2 * U * float(np.linalg.norm(result)) + _gamma(a.shape[1] + 2) ** 2 * size) * SAFE + TINY


def _split(a: Array) -> tuple[Array, Array]:
    """Two halves of 26 bits that add up exactly (Veltkamp)."""
    c = a * (2.0**27 + 1)
    head = c - (c - a)
    return head, a - head


def _norm(a: Array) -> float:
    """An upper bound of ‖A‖₂: Cholesky of (1.001·λ)I − AᵀA."""
    scale = 2.0 ** math.frexp(float(np.abs(a).max(initial=TINY)))[1]
    gram, error, trace = _gram(a / scale)
    shift = 1.001 * float(np.linalg.eigvalsh(gram)[-1]) + 2 * error
    slack = _cholesky_slack(shift * np.eye(len(gram)) - gram, error)
    return scale * math.sqrt(trace if slack is None else min(trace, shift + slack)) * SAFE


def _top_vector(gram: Array) -> Array:
    if len(gram) <= 1500:
        return np.asarray(np.linalg.eigh(gram)[1][:, -1])
    from scipy.sparse.linalg import eigsh

    return np.asarray(eigsh(gram, k=1, v0=np.ones(len(gram)), tol=1e-9)[1][:, 0])


# --- exact bounds -----------------------------------------------------------------------------------------------------


def _shape_upper(part: Mapping[str, Any], block: Matrix, scaled: Array, cutoff: float) -> str | None:
    plus_zero = np.add(block, block.dtype.type(0))  # −0 becomes 0: equal numbers, equal bytes
    alive = min(len({line.tobytes() for line in lines if (line != 0).any()}) for lines in (plus_zero, plus_zero.T))
    return None if alive <= part["count"] else f"{alive} different non-zero lines, {part['count']} are claimed"


def _modular_lower(part: Mapping[str, Any], block: Matrix, scaled: Array, cutoff: float) -> str | None:
    prime, rows, columns, count = part["prime"], part["rows"], part["columns"], part["count"]
    _require(_is_prime(prime), f"{prime} is not a prime below 2³¹")
    if len(set(rows)) != count or len(set(columns)) != count or min(*rows, *columns) < 0:
        return f"the minor does not have {count} rows and columns"
    # The minor of the block is that of R times factors; it is cheaper, and if it is not 0 modulo the prime, neither is R's.
    if _rank_modulo(block[np.ix_(rows, columns)], prime) == count:
        return None
    used_rows, used_columns, reduced = _reduced(block)
    at_row, at_column = ({int(name): i for i, name in enumerate(names)} for names in (used_rows, used_columns))
    minor = reduced[np.ix_([at_row[_whole(i)] for i in rows], [at_column[_whole(j)] for j in columns])]
    return None if _rank_modulo(minor, prime) == count else f"the minor is 0 modulo {prime}"


def _minors_upper(part: Mapping[str, Any], block: Matrix, scaled: Array, cutoff: float) -> str | None:
    primes, count = part["primes"], part["count"]
    _require(len(set(primes)) == len(primes), "a prime comes twice")
    # Hadamard: a minor of order count + 1 is at most the product of as many norms, of rows or of columns.
    entries = _reduced(block)[2]
    squares = [sorted((sum(x * x for x in line) for line in lines), reverse=True) for lines in (entries, entries.T)]
    bound, product = min(math.prod(line[: count + 1]) for line in squares), 1
    for prime in primes:  # no more of them than it takes
        _require(_is_prime(prime), f"{prime} is not a prime below 2³¹")
        rank = _rank_modulo(entries, prime)  # the minors that are bounded: a common factor may be 0 modulo the prime
        if rank > count:
            return f"the rank modulo {prime} is {rank}"
        product *= prime
        if product**2 > bound:
            return None
    return "the product of the primes does not exceed the bound of the minors"


def _relations_upper(part: Mapping[str, Any], block: Matrix, scaled: Array, cutoff: float) -> str | None:
    matrix = block.T if part["side"] == "inputs" else block
    alive = (matrix != 0).any(axis=0)
    vectors = [{_whole(j): int(c, 16) for j, c in vector} for vector in part["vectors"]]
    _require(all(j >= 0 for vector in vectors for j in vector), "a line has a negative number")
    for i, vector in enumerate(vectors):
        others = {j for k, other in enumerate(vectors) if k != i for j in other}
        if not any(c != 0 and j not in others for j, c in vector.items()) or not all(alive[j] for j in vector):
            return f"kernel vector {i} may depend on the others, or on a zero line"
        columns = [(_fractions(matrix[:, j]), c) for j, c in vector.items()]
        if any(sum(c * column[row] for column, c in columns) != 0 for row in range(len(matrix))):
            return f"kernel vector {i} is none"
    bound = int(alive.sum()) - len(vectors)
    return None if bound <= part["count"] else f"the vectors prove {bound}, {part['count']} is claimed"


def _reduced(block: Matrix) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp], npt.NDArray[np.object_]]:
    """(rows, columns, R): the numbers of the block's rows and columns that are not zero, and R there, not transposed."""
    rows, columns = np.flatnonzero((block != 0).any(axis=1)), np.flatnonzero((block != 0).any(axis=0))
    entries = np.array([_fractions(row) for row in block[np.ix_(rows, columns)]], dtype=object)
    # Views. The columns of the tall matrix are the rows of a wide one.
    for lines in (entries, entries.T) if len(columns) > len(rows) else (entries.T, entries):
        for line in lines:
            denominator = math.lcm(*(x.denominator for x in line))
            numbers = [int(x * denominator) for x in line]
            divisor = math.gcd(*numbers)
            line[:] = [Fraction(x // divisor) for x in numbers]
    return rows, columns, np.vectorize(int, otypes=[object])(entries)


def _fractions(line: Matrix) -> list[Fraction]:
    return [Fraction(int(x)) if line.dtype.kind in "iu" else Fraction(float(x)) for x in line]


def _rank_modulo(block: npt.NDArray[Any], prime: int) -> int:
    """Rank modulo a prime by plain elimination; 2 is invertible, so every float has a residue."""
    if block.dtype.kind in "iuO":
        work = np.array([[int(x) % prime for x in row] for row in block], dtype=np.int64)
    else:
        fraction, exponent = np.frexp(block.astype(np.float64))
        exponents, place = np.unique(exponent, return_inverse=True)
        powers = np.array([pow(2, int(e) - 53, prime) for e in exponents], dtype=np.int64)[place.reshape(block.shape)]
        work = np.ldexp(fraction, 53).astype(np.int64) % prime * powers % prime
    if work.shape[0] < work.shape[1]:
        work = work.T.copy()
    rank = 0
    for column in range(work.shape[1]):
        found = np.flatnonzero(work[rank:, column])
        if len(found) == 0:
            continue
        pivot = rank + int(found[0])
        work[[rank, pivot]] = work[[pivot, rank]]
        work[rank] = work[rank] * pow(int(work[rank, column]), -1, prime) % prime
        below = work[rank + 1 :, column].copy()
        work[rank + 1 :, column:] = (work[rank + 1 :, column:] - below[:, None] * work[rank, column:]) % prime
        rank += 1
    return rank


def _is_prime(n: int) -> bool:
    return 2 < n < 2**31 and n % 2 == 1 and all(n % d for d in range(3, math.isqrt(n) + 1, 2))


# --- reading the weight -----------------------------------------------------------------------------------------------


def _scaled(block: Matrix, exponent: int) -> Array:
    """The non-zero part of a block, tall, times 2^−exponent."""
    used = block[(block != 0).any(axis=1)][:, (block != 0).any(axis=0)]
    tall = np.ascontiguousarray(used.T if used.shape[1] > used.shape[0] else used).astype(np.float64)
    with np.errstate(over="ignore"):  # what becomes infinite is refused
        return np.ldexp(tall, -exponent) if exponent else tall


def _first_of_equals(a: Array) -> list[int]:
    first: dict[bytes, int] = {}
    for j in range(a.shape[1]):
        first.setdefault((a[:, j] + 0.0).tobytes(), j)
    return list(first.values())


def _digest(stack: Matrix) -> str:
    """SHA-256 of shape, type and little-endian entries in row-major order."""
    digest = hashlib.sha256(f"{stack.shape} {stack.dtype.name}".encode())
    for block in stack:
        digest.update(np.ascontiguousarray(block.astype(block.dtype.newbyteorder("<"), copy=False)).tobytes())
    return digest.hexdigest()


def _gamma(k: int) -> float:
    return k * U / (1 - k * U) * SAFE


def _number(text: str) -> float:
    """A finite number; NaN would pass for whatever it is compared with."""
    number = float.fromhex(text)
    _require(math.isfinite(number), f"{text!r} is no number")
    return number


def _whole(number: Any) -> int:
    _require(type(number) is int, f"{number!r} is no integer")
    return int(number)


def _require(condition: bool, failure: str) -> None:
    if not condition:
        raise ProofError(failure)


_Verifier = Callable[[Mapping[str, Any], Matrix, Array, float], str | None]
_METHODS: dict[tuple[str, str], _Verifier] = {
    ("gram", "lower"): _gram_lower,
    ("gram", "upper"): _gram_upper,
    ("spectral", "lower"): _spectral_lower,
    ("spectral", "upper"): _spectral_upper,
    ("shape", "upper"): _shape_upper,
    ("modular", "lower"): _modular_lower,
    ("minors", "upper"): _minors_upper,
    ("relations", "upper"): _relations_upper,
}
