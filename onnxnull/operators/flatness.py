"""What is followed from the outputs of a network back: operators that are flat, and those that keep what is told apart.

A flat operator gives one result for many operands. The others move, cast, scale, add or choose entries.
"""

from __future__ import annotations

from functools import partial

from onnxnull.graph.operator_facts import OperatorFacts

FLATNESS: OperatorFacts[bool] = OperatorFacts("note on flatness")
"""Operator → whether it is flat somewhere; ends of the way back are not registered."""
is_flat = partial(FLATNESS.add, True)
"""Note that these operators are flat somewhere."""
keeps_entries = partial(FLATNESS.add, False)
"""Note that these operators move, cast, scale, add or choose entries."""
