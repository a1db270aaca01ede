"""The reduced matrix of a block: integers without common factors in any row or column, of the same rank over ℚ.

Its definition, which the solver and the checker (`onnxnull.kernel.proof_check`) implement each on its own:

1. leave out the rows and columns that are zero;
2. transpose if more columns are left than rows, so that the matrix is tall;
3. multiply every column by the positive rational number that makes its entries integers whose greatest common divisor is 1;
4. multiply every row of the result by the positive rational number that does the same to it.

Step 4 leaves the columns without common factors. Steps 3 and 4 multiply by non-zero rationals, which leaves the rank over ℚ
alone (and moves singular values: for exact arithmetic only); they turn a quantized weight scale·(code − zero point) into its
codes. Here the entries are held as odd·2^shift.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Integers = npt.NDArray[Any]
"""int64; Python's integers (dtype object) where an entry needs 63 bits or more."""


@dataclass(frozen=True)
class IntegerMatrix:
    """The tall matrix (m, n) of a block: entry = factor_j·(factor of row i)·odd·2^(shift + row_i + column_j), shift ≥ 0.

    `factors` (n,) are odd; those of the rows are not kept, as no relation between columns feels them.
    """

    odd: Integers
    shift: Integers
    rows: Integers
    columns: Integers
    factors: Integers

    def restricted(self, columns: npt.NDArray[np.intp]) -> IntegerMatrix:
        """Some of the columns."""
        return IntegerMatrix(
            self.odd[:, columns], self.shift[:, columns], self.rows, self.columns[columns], self.factors[columns]
        )

    def modulo(self, prime: int) -> Integers:
        """The scaled entries odd·2^shift modulo a prime below 2³¹, in [0, prime)."""
        powers = [1]
        for _ in range(int(self.shift.max(initial=0))):
            powers.append(powers[-1] * 2 % prime)
        odd = (self.odd % prime).astype(np.int64)
        return np.asarray(odd * np.array(powers, dtype=np.int64)[self.shift] % prime, dtype=np.int64)

    @functools.cached_property
    def log2_norms(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """log₂ of the 2-norms of the scaled rows and columns, rounded up; −inf for zero."""
        with np.errstate(divide="ignore"):
            bits = np.where(self.odd == 0, -np.inf, np.log2(np.abs(self.odd.astype(np.float64))) + self.shift)
        return _norms(bits, 1), _norms(bits, 0)


def integers(native: npt.NDArray[np.generic]) -> IntegerMatrix:
    """The reduced matrix of a tall matrix (m, n) of integers or floats without zero rows and columns."""
    odd: Integers
    if native.dtype.kind in "iu":
        wide = native.size > 0 and (int(native.max()) >= 2**62 or int(native.min()) <= -(2**62))
        odd, low = native.astype(object if wide else np.int64), np.zeros(native.shape, dtype=np.int64)
    else:
        fraction, exponent = np.frexp(native.astype(np.float64))
        odd = np.ldexp(fraction, 53).astype(np.int64)
        low = exponent.astype(np.int64) - 53
    used = odd != 0
    lowest = np.where(used, odd & -odd, 1)
    trailing = np.round(np.log2(lowest.astype(np.float64))).astype(np.int64)
    odd = odd >> (trailing.astype(object) if odd.dtype == object else trailing)
    low = low + trailing
    far = np.int64(1 << 40)
    columns = np.where(used, low, far).min(axis=0)
    low = low - columns
    rows = np.where(used, low, far).min(axis=1)
    low = np.where(used, low - rows[:, None], 0)
    factors = _common_factors(odd)
    odd = odd // factors
    odd = odd // _common_factors(odd.T)[:, None]
    return IntegerMatrix(odd, low, rows, columns, factors)


def _common_factors(odd: Integers) -> Integers:
    """The greatest common divisor of every column (n,); 1 for one of zeros. Columns that have none leave early."""
    factors = np.zeros(odd.shape[1], dtype=odd.dtype)
    step = 64
    for start in range(0, len(odd), step):
        open_ = np.flatnonzero(factors != 1)
        if len(open_) == 0:
            break
        part = np.gcd.reduce(odd[start : start + step, open_], axis=0)
        factors[open_] = np.gcd(factors[open_], part)
    return np.maximum(factors, 1)


def primes(count: int, below: int = 2**31 - 1) -> Iterator[int]:
    """Primes below an odd number, decreasing; 2³¹ − 1 is left out, for modulo it too many powers of two are equal."""
    import flint

    candidate = below
    while count:
        candidate -= 2
        if flint.fmpz(candidate).is_prime():
            count -= 1
            yield candidate


def drawn_primes(count: int, source: npt.NDArray[np.generic]) -> Iterator[int]:
    """Different primes between 2³⁰ and 2³¹ that follow from the SHA-256 of an array.

    Nobody can make a matrix whose rank is too small modulo the one prime that its solver uses, if that prime changes with
    every entry.
    """
    seed, number = hashlib.sha256(np.ascontiguousarray(source).tobytes()).digest(), 0
    seen: set[int] = set()
    while len(seen) < count:
        number += 1
        drawn = hashlib.sha256(seed + number.to_bytes(4, "little")).digest()
        start = 2**30 + 2**10 + int.from_bytes(drawn[:4], "little") % (2**30 - 2**10)
        prime = next(primes(1, start | 1))
        if prime not in seen:
            seen.add(prime)
            yield prime


def _norms(bits: npt.NDArray[np.float64], axis: int) -> npt.NDArray[np.float64]:
    largest = bits.max(axis=axis, keepdims=True)
    finite = np.where(np.isfinite(largest), largest, 0.0)
    with np.errstate(divide="ignore"):
        total = np.log2(np.exp2(2 * (bits - finite)).sum(axis=axis)) / 2 + np.squeeze(finite, axis)
    return np.asarray(total + 2.0**-20)
