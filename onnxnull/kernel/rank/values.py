"""All singular values of a weight, for pictures of its spectrum. Ranks do without them; this costs a decomposition.

Eigenvalues of the Gram matrix where none is small, the accurate decomposition of `spectrum` where one is. Nothing here is
proved, and what lies at or below the float64 cut-off is not resolved: it is given as 0.0.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from onnxnull.kernel.numerics.rounding import Array
from onnxnull.kernel.rank.notion import Notion
from onnxnull.kernel.rank.problem import Block, Problem

_SMALL = 1e-4
"""From this share of σ_max on, an eigenvalue of the Gram matrix gives 7 digits of σ."""
_SECONDS = 2e-10
"""What eigenvalues take on one slow core, over n³."""

Tick = Callable[[float], None]
"""Called before work of about that many seconds; raises TimeoutError where there is no time for it."""


def singular_values(problem: Problem, tick: Tick) -> tuple[float, ...]:
    """The min(inputs, outputs) singular values of the weight as stored, decreasing; 0.0 at or below the float64 cut-off.

    Right to about 6 digits relative to σ_max·10⁻⁴ and above, to about 2⁻⁵³·σ_max below. Raises TimeoutError.
    """
    found = [_of_block(block, tick) for block in problem.blocks]
    sigma = np.zeros(problem.shortest)
    if found:
        together = np.sort(np.concatenate(found))[::-1]
        sigma[: len(together)] = together[: problem.shortest]
        sigma[sigma <= sigma[0] * problem.longest * Notion.FLOAT64.eps] = 0.0
    return tuple(math.ldexp(float(value), problem.exponent) for value in sigma)


def _of_block(block: Block, tick: Tick) -> Array:
    cubed = float(block.n) ** 3
    tick(_SECONDS * cubed)
    eigenvalues = block.eigenvalues
    if eigenvalues[-1] > _SMALL**2 * eigenvalues[0]:
        return np.sqrt(eigenvalues)
    tick(8 * _SECONDS * cubed)
    return block.spectrum.sigma
