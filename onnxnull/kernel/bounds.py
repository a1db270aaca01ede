"""Bounds on a dimension: what every nullity is given as."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Bounds:
    """lower ≤ dimension ≤ upper; `proved` if both are theorems about the stored numbers in the notion they are given for."""

    lower: int
    upper: int
    proved: bool
