"""Upper bound by structure: a rank is at most the number of different non-zero columns, and of different non-zero rows.

Holds over ℚ, hence at every cut-off. Costs one pass over the entries; always first.
"""

from __future__ import annotations

from onnxnull.kernel.rank.evidence import Bracket, Cutoff, ProvedBound
from onnxnull.kernel.rank.problem import Block


def distinct_lines(block: Block, cutoff: Cutoff, known: Bracket) -> tuple[None, ProvedBound]:
    """At most as many as there are different columns or rows."""
    return None, ProvedBound("shape", min(len(block.distinct), block.distinct_rows))


def cost(block: Block, known: Bracket) -> float:
    """Next to nothing."""
    return 0.0
