"""What is proved of the outputs of a model from the ranges of its tensors."""

from __future__ import annotations

import enum
from dataclasses import dataclass


class Effect(enum.Enum):
    """What is proved of an output for every input, the worst first."""

    NAN = "nan"
    NOT_FINITE = "not-finite"
    CONSTANT = "constant"
    ROUNDING = "rounding"

    @property
    def is_constant(self) -> bool:
        """Whether the output does not depend on the input, exactly or but for rounding."""
        return self in (Effect.CONSTANT, Effect.ROUNDING)

    @property
    def words(self) -> str:
        """The output is ..."""
        return {
            Effect.NAN: "NaN for every input, in one entry at least",
            Effect.NOT_FINITE: "NaN or Inf for every input, in every entry",
            Effect.CONSTANT: "the same for every input",
            Effect.ROUNDING: "the same for every input but for rounding",
        }[self]


@dataclass(frozen=True, slots=True)
class OutputClaim:
    """What is proved of an output.

    Attributes:
        node, op: where it begins; empty where no node makes it.
        constants: what that node reads that does not depend on the input.
        stored: whether the output is a constant of the file, or made of such alone.
    """

    output: str
    effect: Effect
    node: str
    op: str
    constants: tuple[str, ...]
    stored: bool = False
