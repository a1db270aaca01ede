"""The reduced matrix over ℚ: what the solver proves by it the checker accepts, whatever factors and primes are in it."""

from __future__ import annotations

import json
from typing import Any

import flint
import numpy as np
import numpy.typing as npt
import pytest

from onnxnull.kernel.proof_check import ProofError, check
from onnxnull.kernel.rank import Certainty, Notion, problem, rank
from onnxnull.kernel.rank.integers import integers, primes
from tests.kernel.exact_truth import Truth

PRIMES = list(primes(8))
Matrix = npt.NDArray[np.generic]


def proof_of(matrix: Matrix, expected: int) -> dict[str, Any]:
    """The proof of the exact rank, which is proved, is `expected` and survives JSON and the checker."""
    found = rank(matrix, Notion.EXACT)
    assert (found.value, found.certainty) == (expected, Certainty.EXACT)
    assert found.proof is not None
    data: dict[str, Any] = json.loads(json.dumps(found.proof.to_json()))
    check(data, matrix)
    return data


def factors(rng: np.random.Generator, count: int, kind: str) -> list[int]:
    """One factor per line: mostly ones, with large primes, products and composites among them."""
    pool = {"primes": [1, *PRIMES[:3]], "small": [1, 3, 6, 9, 35], "mixed": [1, 3, PRIMES[0], 2**20, 7 * PRIMES[1]]}[kind]
    return [pool[int(i)] for i in rng.integers(0, len(pool), count)]


def fuzzed(seed: int) -> npt.NDArray[Any]:
    """A small matrix of planted rank whose rows, columns and entries have common factors and far-apart exponents."""
    rng = np.random.default_rng(seed)
    q, p = (int(n) for n in rng.integers(1, 7, 2))
    r = int(rng.integers(0, min(q, p) + 1))
    base = rng.integers(-3, 4, (q, r)) @ rng.integers(-3, 4, (r, p))
    kind = ["int64", "uint64", "float64", "float32", "quantized"][seed % 5]
    if kind == "uint64":
        small = rng.integers(0, 3, (q, r)) @ rng.integers(0, 3, (r, p))
        return np.asarray(small.astype(np.uint64) * np.uint64(2**58 if seed % 2 else PRIMES[0]))
    if kind == "int64":
        return np.asarray(base * PRIMES[int(rng.integers(3))] * int(rng.choice([1, 2, 2**20])))
    if kind == "quantized":
        scales = rng.uniform(1e-3, 1, p if seed % 2 else 1).astype(np.float32).astype(np.float64)
        return np.asarray(base * scales)
    if kind == "float32":
        spread = np.ldexp(base * rng.choice([1, 3, 5, 7], (q, 1)), rng.integers(-120, 100, (1, p)))
        return np.asarray(spread, np.float32)
    rows, columns = factors(rng, q, "mixed"), factors(rng, p, "small")
    exact = [[int(x) * rows[i] * columns[j] for j, x in enumerate(line)] for i, line in enumerate(base)]
    floats = np.array([[float(x) for x in line] for line in exact]).reshape(q, p)
    assert floats.tolist() == exact
    return np.asarray(np.ldexp(floats, rng.integers(-900, 850, (q, 1) if seed % 3 else (1, p))))


@pytest.mark.parametrize("start", range(0, 300, 100))
def test_the_checker_accepts_what_the_solver_proves(start: int) -> None:
    for seed in range(start, start + 100):
        matrix = fuzzed(seed)
        data = proof_of(matrix, Truth(matrix).exact)
        rng = np.random.default_rng(seed)
        for mutated in mutations(data, matrix, rng):
            with pytest.raises(ProofError):
                check(mutated, matrix)


def mutations(data: dict[str, Any], matrix: Matrix, rng: np.random.Generator) -> list[dict[str, Any]]:
    """False proofs: another rank with the counts to match, minors that are none, primes that are none."""
    made = []
    for step in (-1, 1):
        if data["lower"]:
            other = json.loads(json.dumps(data))
            other["rank"] += step
            for one in (*other["lower"], *other["upper"]):
                one["count"] += step
            made.append(other)
    for place, one in enumerate(data["lower"]):
        if one["method"] != "modular":
            continue
        changes: list[tuple[str, Any]] = [("prime", n) for n in (2**31 - 3, one["prime"] + 30) if not flint.fmpz(n).is_prime()]
        if one["count"] > 1:
            changes.append(("rows", [one["rows"][0]] * one["count"]))
        for key, value in changes:
            other = json.loads(json.dumps(data))
            other["lower"][place][key] = value
            made.append(other)
    return made


KNOWN: dict[str, tuple[Matrix, int]] = {
    "a common factor that is the first prime": (np.array([[PRIMES[0] * 2.0**-100, 0], [0, 1]]), 2),
    "a row times the first prime": (np.array([[PRIMES[0], 3 * PRIMES[0]], [1, 2]]), 2),
    "everything times it": (np.array([[1, 2], [3, 4]]) * PRIMES[0], 2),
    "a determinant that is the first prime": (np.array([[1, 1], [1, 1 + PRIMES[0]]]), 2),
    "in doubles": (np.array([[1.0, 1], [1, 1 + PRIMES[0]]]), 2),
    "with far exponents": (np.array([[1.0, 1], [1, 1 + PRIMES[0]]]) * 2.0 ** np.array([-800, 700]), 2),
    "a determinant that is the product of two": (np.array([[1, PRIMES[0]], [-PRIMES[1], 0]]), 2),
    "rank lost modulo the first eight": (np.diag(PRIMES) + np.ones((8, 8), np.int64), 8),
    "a kernel besides": (np.array([[1, 1, 2], [1, 1 + PRIMES[0], 2 + PRIMES[0]], [3, 1, 4]]), 2),
    "a wide one": (np.array([[1, 1, 2, 0], [1, 1 + PRIMES[0], 2 + PRIMES[0], 0]]), 2),
    "the largest of uint64": (np.array([[2**64 - 1, 2**64 - 2], [2**64 - 3, 2**64 - 4]], np.uint64), 2),
    "uint64 above 2⁶², singular": (np.array([[2**63, 2**62], [2**62, 2**61]], np.uint64), 1),
    "uint64 of a common odd factor": (np.array([[3 * (2**62 + 1), 3], [3, 6]], np.uint64), 2),
    "the smallest of int64": (np.array([[-(2**63), 1], [1, 2**63 - 1]]), 2),
    "the smallest of int64, singular": (np.array([[-(2**63), 2**62], [2**62, -(2**61)]]), 1),
    "subnormal beside huge": (np.array([[5e-324, 0, 0], [0, 1.5e308, 1.5e308], [5e-324, 1.5e308, 1.5e308]]), 2),
}


@pytest.mark.parametrize("name", KNOWN)
def test_ranks_that_known_primes_cannot_see(name: str) -> None:
    matrix, expected = KNOWN[name]
    assert Truth(matrix).exact == expected
    proof_of(matrix, expected)
    proof_of(np.ascontiguousarray(matrix.T), expected)


@pytest.mark.parametrize("name", ["a determinant that is the first prime", "a kernel besides", "a wide one"])
def test_minors_find_what_both_primes_lose(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Were the drawn primes guessed, the primes of the Hadamard bound would still see the rank."""
    monkeypatch.setattr(problem, "drawn_primes", lambda count, source: PRIMES[:count])
    proof_of(*KNOWN[name])


@pytest.mark.parametrize("seed", range(5))
def test_the_reduced_matrix_is_the_one_that_is_specified(seed: int) -> None:
    """Integers without a common factor in any line: those of the factors that were put into a matrix of units are gone."""
    rng = np.random.default_rng(seed)
    units = rng.integers(0, 2, (6, 4)) * 2 - 1
    rows = np.array(factors(rng, 6, "small"))
    columns = np.array(factors(rng, 4, "primes"))
    found = integers(units * rows[:, None] * columns)
    assert np.array_equal(np.abs(found.odd), np.ones((6, 4)))
    assert not found.shift.any()
