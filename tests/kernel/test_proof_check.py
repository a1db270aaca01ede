"""The checker accepts true proofs and refuses corrupted ones."""

from __future__ import annotations

import ast
import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt
import pytest

from onnxnull.kernel import proof_check
from onnxnull.kernel.proof_check import ProofError, check
from onnxnull.kernel.rank import Notion, Rank, rank
from onnxnull.kernel.rank.proof import fingerprint

RNG = np.random.default_rng(11)
INTEGERS = RNG.integers(-20000, 20001, (30, 6)) @ RNG.integers(-20000, 20001, (6, 14))
TINY = RNG.standard_normal((40, 12)) * np.where(np.arange(12) < 4, 1e-20, 1)
PROPORTIONAL = np.hstack([TINY[:, 4:], 4 * TINY[:, 4:6]]).astype(np.float32)
GROUPS = np.concatenate([RNG.standard_normal((3, 9, 2)), 1e-9 * RNG.standard_normal((2, 9, 2)), np.zeros((1, 9, 2))])

CASES: dict[str, tuple[npt.NDArray[np.generic], Notion, tuple[str, ...]]] = {
    "full rank": (RNG.standard_normal((50, 20)).astype(np.float32), Notion.FLOAT32, ("gram", "shape")),
    "gap in the Gram matrix": (np.asarray(TINY.astype(np.float32)), Notion.FLOAT32, ("gram",)),
    "gap below it": (TINY, Notion.FLOAT64, ("gram", "spectral")),
    "wide": (np.ascontiguousarray(TINY.T), Notion.FLOAT64, ("gram", "spectral")),
    "graded": (TINY * np.where(np.arange(12) < 8, 1e8, 1e-2), Notion.FLOAT64, ("spectral",)),
    "minors": (INTEGERS, Notion.EXACT, ("minors", "modular")),
    "relations": (PROPORTIONAL, Notion.EXACT, ("modular", "relations")),
    "modular": (TINY, Notion.EXACT, ("modular", "shape")),
    "groups": (GROUPS, Notion.FLOAT32, ("gram", "shape")),
    "zero": (np.zeros((3, 4)), Notion.FLOAT64, ()),
}


def proved(name: str) -> tuple[dict[str, Any], npt.NDArray[np.generic], Rank]:
    matrix, notion, _ = CASES[name]
    found = rank(matrix, notion)
    assert found.certainty.is_proved
    assert found.proof is not None
    return json.loads(json.dumps(found.proof.to_json())), matrix, found


@pytest.mark.parametrize("name", CASES)
def test_true_proofs_hold_and_survive_json(name: str) -> None:
    data, matrix, _ = proved(name)
    check(data, matrix)
    assert set(CASES[name][2]) <= {part["method"] for part in (*data["lower"], *data["upper"])}
    assert len(json.dumps(data)) < 20_000


@pytest.mark.parametrize("name", CASES)
def test_another_matrix_is_refused(name: str) -> None:
    data, matrix, _ = proved(name)
    other = matrix.copy()
    other.flat[0] = 1 if other.flat[0] != 1 else 2
    with pytest.raises(ProofError, match="other numbers"):
        check(data, other)
    with pytest.raises(ProofError, match="another shape"):
        check(data, matrix[..., :-1])


@pytest.mark.parametrize("name", [name for name in CASES if name != "zero"])
@pytest.mark.parametrize("step", [-1, 1])
def test_another_rank_is_refused(name: str, step: int) -> None:
    """Also where all counts are changed to agree with it."""
    data, matrix, _ = proved(name)
    groups = sum(stop - start for part in data["lower"] for start, stop in part["blocks"])
    data["rank"] += step * groups
    with pytest.raises(ProofError):
        check(data, matrix)
    for part in (*data["lower"], *data["upper"]):
        part["count"] += step
    with pytest.raises(ProofError):
        check(data, matrix)


def _lower(key: str, value: Any) -> Callable[[dict[str, Any]], None]:
    return lambda data: data["lower"][0].__setitem__(key, value)


def _upper(key: str, value: Any) -> Callable[[dict[str, Any]], None]:
    return lambda data: data["upper"][0].__setitem__(key, value)


CORRUPTIONS: list[tuple[str, Callable[[dict[str, Any]], None]]] = [
    ("full rank", _lower("shift", (1e-30).hex())),
    ("full rank", _lower("shift", (1e9).hex())),
    ("full rank", lambda data: data.update(sigma_max=[(100.0).hex(), (101.0).hex()])),
    ("full rank", lambda data: data.update(sigma_max=[(0.1).hex(), (0.2).hex()])),
    ("full rank", lambda data: data.update(exponent=400)),
    ("full rank", lambda data: data.update(notion="float16")),
    ("full rank", lambda data: data.update(format="onnxnull.proof/2")),
    ("full rank", lambda data: data.pop("upper")),
    ("full rank", lambda data: data["upper"].clear()),
    ("full rank", lambda data: data["lower"].append(copy.deepcopy(data["lower"][0]))),
    ("full rank", _lower("blocks", [[0, 2]])),
    ("full rank", _lower("method", "shape")),
    ("full rank", _lower("method", "faith")),
    ("gap in the Gram matrix", _upper("shift", (1.0).hex())),
    ("minors", lambda data: data["upper"][0].update(primes=data["upper"][0]["primes"][::2])),
    ("minors", _upper("primes", [2147483629] * 40)),
    ("minors", lambda data: data["upper"][0]["primes"].__setitem__(0, 2147483629 - 2)),
    ("relations", lambda data: data["upper"][0]["vectors"].pop()),
    ("relations", lambda data: data["upper"][0]["vectors"].__setitem__(0, data["upper"][0]["vectors"][1])),
    ("relations", lambda data: data["upper"][0]["vectors"][0][0].__setitem__(1, "0x7")),
    ("modular", _lower("prime", 2147483647 * 3)),
    ("modular", lambda data: data["lower"][0]["rows"].__setitem__(0, data["lower"][0]["rows"][1])),
    ("modular", lambda data: data["lower"][0]["columns"].pop()),
    ("groups", lambda data: data["upper"][0].update(blocks=[[0, 4]])),
]


@pytest.mark.parametrize(("name", "corrupt"), CORRUPTIONS)
def test_corrupted_proofs_are_refused(name: str, corrupt: Callable[[dict[str, Any]], None]) -> None:
    data, matrix, _ = proved(name)
    corrupt(data)
    with pytest.raises(ProofError):
        check(data, matrix)


@pytest.mark.parametrize("dtype", ["bool", "float16", "bfloat16", "uint8", "int64"])
def test_every_type_is_checked(dtype: str) -> None:
    matrix = (np.arange(12).reshape(4, 3) % 5 == 0).astype(ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype)
    for notion in Notion:
        proof = rank(matrix, notion).proof
        assert proof is not None
        check(proof.to_json(), matrix)


def test_a_proof_of_one_notion_is_none_of_another() -> None:
    """Rank 8 at float64 does not become rank 8 over ℚ by changing the word."""
    data, matrix, _ = proved("gap below it")
    data["notion"] = "exact"
    with pytest.raises(ProofError):
        check(data, matrix)


FULL = np.random.default_rng(5).standard_normal((6, 4))
DEPENDENT = np.random.default_rng(6).integers(-(2**60), 2**60, (5, 3)) * np.array([1, 1, 0])
DEPENDENT[:, 2] = DEPENDENT[:, 0] + DEPENDENT[:, 1]
TERNARY = (3 * (np.arange(24).reshape(6, 4) % 5 % 3 - 1)).astype(np.int8)
DIAGONAL = np.diag([1, 1, 1, 6e-7])
TWO_BLOCKS = np.stack([FULL, FULL * np.array([1, 1, 1, 1e-25])])
SIGMA = float(np.linalg.norm(FULL, 2))
ENCLOSED = [(SIGMA * 0.9999).hex(), (SIGMA * 1.0001).hex()]


def part(method: str, count: Any, block: int = 0, **detail: Any) -> dict[str, Any]:
    return {"blocks": [[block, block + 1]], "method": method, "count": count, **detail}


FORGERIES: dict[str, tuple[npt.NDArray[np.generic], dict[str, Any]]] = {
    "a shift that is no number": (
        FULL,
        {"notion": "float64", "rank": 0, "upper": [part("gram", 0, shift="nan")], "sigma_max": ENCLOSED},
    ),
    "an infinite shift": (
        FULL,
        {"notion": "float64", "rank": 0, "upper": [part("gram", 0, shift="inf")], "sigma_max": ENCLOSED},
    ),
    "σ_max at most NaN": (
        DIAGONAL,
        {"notion": "float32", "rank": 4, "lower": [part("gram", 4, shift="-0x1p0")], "sigma_max": ["0x1p-1", "nan"]},
    ),
    "σ_max at most −1.001": (
        np.diag([1, 1, 1, 1e-9]),
        {"notion": "float32", "rank": 4, "lower": [part("spectral", 4)], "sigma_max": [(0.999).hex(), (-1.001).hex()]},
    ),
    "σ_max at least −1.73, which squared is more than it": (
        DIAGONAL,
        {
            "notion": "float32",
            "rank": 3,
            "lower": [part("gram", 3, shift=(1e-2).hex())],
            "upper": [part("gram", 3, shift=(5e-13).hex())],
            "sigma_max": [(-1.73).hex(), (1.001).hex()],
        },
    ),
    "one column under two numbers": (
        FULL,
        {
            "rank": 0,
            "upper": [part("relations", 0, side="outputs", vectors=[[[j, "0x1"], [j - 4, "-0x1"]] for j in range(4)])],
        },
    ),
    "primes that divide the weight": (TERNARY, {"rank": 0, "upper": [part("minors", 0, primes=[3])]}),
    "fewer than no singular values": (
        TWO_BLOCKS,
        {
            "notion": "float64",
            "rank": 3,
            "lower": [part("gram", count, block, shift=(1e-2).hex()) for block, count in enumerate((4, -1))],
            "upper": [part("shape", 4), part("spectral", -1, 1)],
            "sigma_max": ENCLOSED,
        },
    ),
    "integers rounded to doubles": (DEPENDENT, {"rank": 3, "lower": [part("spectral", 3)], "upper": [part("shape", 3)]}),
    "a scaling that overflows": (
        np.array([[1.0], [2.0]]),
        {"rank": 0, "exponent": -1000, "upper": [part("spectral", 0)]},
    ),
    "a weight that is no number": (
        np.full((1, 1), np.nan),
        {"rank": 1, "lower": [part("modular", 1, prime=7, rows=[0], columns=[0])], "upper": [part("shape", 1)]},
    ),
}


@pytest.mark.parametrize("name", FORGERIES)
def test_forged_proofs_are_refused(name: str) -> None:
    """Each of these claims a wrong rank, by a proof that no solver wrote."""
    weight, claim = FORGERIES[name]
    stack = weight[None] if weight.ndim == 2 else weight
    groups, q, p = stack.shape
    proof = {
        "format": "onnxnull.proof/1",
        "notion": "exact",
        "inputs": groups * q,
        "outputs": groups * p,
        "groups": groups,
        "exponent": 0,
        "sigma_max": None,
        "lower": [],
        "upper": [part("shape", 4)],
        "weight": fingerprint(stack),
        **claim,
    }
    with pytest.raises(ProofError):
        check(json.loads(json.dumps(proof)), weight)


def test_the_checker_shares_no_code_with_the_solver() -> None:
    tree = ast.parse(Path(proof_check.__file__).read_text(encoding="utf-8"))
    froms = {node.module or "." * node.level for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    names = froms | {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    assert "numpy" in names
    assert {name for name in names if name.startswith((".", "onnxnull"))} == set()
