"""Limits for files from outside, checked before anything is allocated. docs/security.md explains them."""

from __future__ import annotations

from dataclasses import dataclass

LONGEST_NAME = 4096
"""Bytes of a name in a model: a report repeats names."""
DEEPEST_CALLS = 64
"""Local functions that call each other; bodies are nested less deeply than this by protobuf itself."""
MOST_AXES = 64
"""Of a tensor; NumPy has no more."""
FREE_BYTES = 1 << 25
"""What ops over constants may make of nothing at all."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a model may ask of the machine that analyses it.

    Attributes:
        constant_bytes: largest constant, stored or made by ops over constants, in bytes.
        amplification: how many bytes ops over constants may make, and external data may stand for, for each byte that the
            model and its external files take. It bounds the work of evaluating as well.
        nodes: most nodes, all graphs and inlined functions together.
        allow_hard_links: accept external data files that have more than one hard link.
    """

    constant_bytes: int = 1 << 32
    amplification: int = 32
    nodes: int = 50_000
    allow_hard_links: bool = False

    def made_bytes(self, stored: int) -> int:
        """Bytes that ops over constants may make in a model that takes `stored` bytes."""
        return FREE_BYTES + self.amplification * stored


def bounded(name: str) -> str:
    """A name put together of several, cut at the front where it is too long: bodies and calls can be nested deeply."""
    return name if len(name) <= LONGEST_NAME else "…" + name[1 - LONGEST_NAME :]
