"""How much work a bound may cost: counted in multiply-adds, never in seconds, so that results repeat."""

from __future__ import annotations

from dataclasses import dataclass

# Handling one matrix entry (building it, handing it to FLINT) costs about as much as this many multiply-adds.
ENTRY_WORK = 1000.0


class OutOfBudget(ArithmeticError):
    """The work that was allowed is spent."""


@dataclass
class Budget:
    """Multiply-adds that are left."""

    left: float

    def spend(self, work: float) -> None:
        """Take `work` from what is left; OutOfBudget, and nothing taken, if that is more."""
        if work > self.left:
            raise OutOfBudget
        self.left -= work
