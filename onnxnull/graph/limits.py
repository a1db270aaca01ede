"""Limits for files from outside, checked before anything is allocated."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """What a model may ask of the machine that analyses it.

    Attributes:
        constant_bytes: largest tensor that evaluating a chain of ops over constants may produce, in bytes.
        nodes: most nodes, all graphs and inlined functions together.
        allow_hard_links: accept external data files that have more than one hard link.
    """

    constant_bytes: int = 1 << 30
    nodes: int = 200_000
    allow_hard_links: bool = False
