"""The two entry points: the rank in one notion, and the profile in all of them."""

from __future__ import annotations

import math
import time

import numpy as np
import numpy.typing as npt

from onnxnull.kernel.rank import extremes
from onnxnull.kernel.rank.decide import RankDecision
from onnxnull.kernel.rank.notion import ExactPolicy, Notion
from onnxnull.kernel.rank.problem import Block
from onnxnull.kernel.rank.result import Rank, RankProfile
from onnxnull.kernel.rank.values import singular_values


def rank(
    matrix_or_blocks: npt.NDArray[np.generic],
    notion: Notion,
    *,
    exact: ExactPolicy = ExactPolicy.ALWAYS,
    deadline: float | None = None,
) -> Rank:
    """Rank of a matrix (q, p), or of a block-diagonal stack (g, q, p), in one notion, proved where possible.

    Over ℚ with `ExactPolicy.CHEAP` it is proved where that takes about a second at most.
    `deadline` is an instant of `time.monotonic()`, looked at between the steps of the computation. Raises TimeoutError
    past it, and ValueError where an entry is not finite.
    """
    decision = RankDecision(matrix_or_blocks, deadline, only_rank=True)
    if notion is Notion.EXACT:
        decision.prove_exact(always=exact is ExactPolicy.ALWAYS)
    else:
        decision.prove(notion)
    return decision.result(notion)


def rank_profile(
    blocks: npt.NDArray[np.generic],
    *,
    exact: ExactPolicy = ExactPolicy.CHEAP,
    spectrum: bool = False,
    deadline: float | None = None,
) -> RankProfile:
    """Ranks in every notion, and the extreme singular values, of a stack (g, q, p) or a matrix (q, p).

    With `spectrum` all singular values as well, which takes a decomposition; they are None where that does not fit before
    the deadline, since the ranks are worth having without them.

    Arguments and errors as for `rank`. With `ExactPolicy.CHEAP` the exact rank is None unless it is proved within about a
    second; with `ALWAYS` it may lack the proof of its upper bound only where an entry is an integer beyond 2⁶².
    """
    decision = RankDecision(blocks, deadline)
    decision.prove(Notion.FLOAT32)
    decision.prove(Notion.FLOAT64)
    if exact is not ExactPolicy.NEVER:
        decision.prove_exact(always=exact is ExactPolicy.ALWAYS)
    over_q = decision.result(Notion.EXACT)
    if exact is ExactPolicy.NEVER or (exact is ExactPolicy.CHEAP and not over_q.certainty.is_proved):
        over_q_shown = None
    else:
        over_q_shown = over_q
    largest, smallest = _extremes(decision)
    return RankProfile(
        decision.problem.inputs,
        decision.problem.outputs,
        decision.result(Notion.FLOAT32),
        decision.result(Notion.FLOAT64),
        over_q_shown,
        largest,
        smallest,
        _spectrum(decision, deadline) if spectrum else None,
    )


def _spectrum(decision: RankDecision, deadline: float | None) -> tuple[float, ...] | None:
    def tick(seconds: float) -> None:
        if deadline is not None and time.monotonic() + seconds > deadline:
            raise TimeoutError

    try:
        return singular_values(decision.problem, tick)
    except TimeoutError:
        return None


def _extremes(decision: RankDecision) -> tuple[float, float]:
    """σ_max and the min(inputs, outputs)-th singular value of the weight as stored."""
    problem = decision.problem
    if not problem.blocks:
        return 0.0, 0.0
    top = max(_largest(block) for block in problem.blocks)
    smallest = 0.0 if decision.singular_over_q else min(_smallest(block) for block in problem.blocks)
    if smallest <= top * problem.longest * Notion.FLOAT64.eps:
        smallest = 0.0
    with np.errstate(over="ignore"):  # entries near the largest double: their norm may be beyond it
        return float(np.ldexp(top, problem.exponent)), float(np.ldexp(smallest, problem.exponent))


def _largest(block: Block) -> float:
    """σ_max of a block, to at least 6 digits."""
    value = float(block.eigenvalues[0]) if block.n <= extremes.DENSE else block.top[0]
    return math.sqrt(value)


def _smallest(block: Block) -> float:
    """The n-th singular value of a tall block (m, n), to at least 6 digits if it is not tiny."""
    if block.n <= extremes.DENSE:
        smallest, largest = float(block.eigenvalues[-1]), float(block.eigenvalues[0])
        # λ is off by about 1e-15·λ_max, so 8 digits are left above 1e-6·λ_max.
        if smallest > 1e-6 * largest:
            return math.sqrt(smallest)
        # Above this the Gram matrix still tells the vector, and the vector is better than the value.
        if smallest <= 1e-10 * largest:
            return float(block.spectrum.sigma[-1])
    if block.bottom is None:
        return float(block.spectrum.sigma[-1])
    value, vector = float(block.bottom[0][0]), block.bottom[1][:, 0]
    if value <= 1e-6 * float(block.gram.matrix.diagonal().max()):
        # The vector is better than the value: measure it on the matrix itself.
        return math.sqrt(sum(float(np.sum((piece @ vector) ** 2)) for piece in block.pieces(2048)))
    return math.sqrt(value)
