"""A proof of a rank as an object: small, JSON-serialisable, checked again by `onnxnull.kernel.proof_check`."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from onnxnull.kernel.rank.evidence import ProvedBound
from onnxnull.kernel.structure import pieces

FORMAT = "onnxnull.proof/1"


@dataclass(frozen=True, slots=True)
class ProofPart:
    """The same evidence for several blocks: each has at least (or at most) `evidence.count`."""

    blocks: tuple[int, ...]
    evidence: ProvedBound


@dataclass(frozen=True, slots=True)
class Proof:
    """Why a rank is what it is.

    The weight, scaled by 2^−`exponent`, has `sigma_max` in the given interval, hence an enclosed cut-off (for numerical
    notions); every block's rank is at least its count in `lower` (0 where none is given), at most its count in `upper`.
    `weight` is the SHA-256 of the entries. The methods, and what each needs to be checked, are listed in `proof_check`.
    """

    notion: str
    inputs: int
    outputs: int
    groups: int
    rank: int
    exponent: int
    sigma_max: tuple[float, float] | None
    lower: tuple[ProofPart, ...]
    upper: tuple[ProofPart, ...]
    weight: str

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values; floats as exact hexadecimal strings."""
        return {
            "format": FORMAT,
            "notion": self.notion,
            "inputs": self.inputs,
            "outputs": self.outputs,
            "groups": self.groups,
            "rank": self.rank,
            "exponent": self.exponent,
            "sigma_max": None if self.sigma_max is None else [x.hex() for x in self.sigma_max],
            "lower": [_part_to_json(part) for part in self.lower],
            "upper": [_part_to_json(part) for part in self.upper],
            "weight": self.weight,
        }


def merge(evidence: Iterable[tuple[int, ProvedBound]]) -> tuple[ProofPart, ...]:
    """Collect equal evidence: (block, evidence) pairs in, parts out; counts of 0 from nothing are left out."""
    parts: list[tuple[ProvedBound, list[int]]] = []
    for index, item in evidence:
        if item.method == "trivial":
            continue
        for known, blocks in parts[-8:]:
            if known == item:
                blocks.append(index)
                break
        else:
            parts.append((item, [index]))
    return tuple(ProofPart(tuple(blocks), item) for item, blocks in parts)


def fingerprint(stack: npt.NDArray[np.generic]) -> str:
    """SHA-256 of a stack (g, q, p): its shape, its type and its entries in row-major order, little-endian."""
    digest = hashlib.sha256(f"{stack.shape} {stack.dtype.name}".encode())
    for _, piece in pieces(stack):
        data = np.ascontiguousarray(piece)
        digest.update(data.astype(data.dtype.newbyteorder("<"), copy=False).view(np.uint8).data)
    return digest.hexdigest()


def _part_to_json(part: ProofPart) -> dict[str, Any]:
    return {
        "blocks": _ranges(part.blocks),
        "method": part.evidence.method,
        "count": part.evidence.count,
        **part.evidence.detail,
    }


def _ranges(indices: Sequence[int]) -> list[list[int]]:
    """Increasing indices as half-open ranges."""
    ranges: list[list[int]] = []
    for i in indices:
        if ranges and ranges[-1][1] == i:
            ranges[-1][1] = i + 1
        else:
            ranges.append([i, i + 1])
    return ranges
