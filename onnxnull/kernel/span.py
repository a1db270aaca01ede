"""Orthonormal bases of what a weight's columns span, as many vectors as the certificate of its rank counts (design §3).

Where a singular value lies next to the cut-off, a decomposition beside the certificate may keep another number of columns, and
what follows from them contradicts the rank. So the number of columns is taken from the certificate, never from the sizes
of the singular values that a decomposition happens to give.

Bases, best first: the Q of W itself where its Gram matrix is well conditioned; otherwise W·v_i/σ_i from accurate products, so
that directions with small σ_i are as good as the others. Unread inputs (zero rows) stay exactly unread.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from onnxnull.kernel.numerics.rounding import Array, Gram
from onnxnull.kernel.rank.decide import RankDecision
from onnxnull.kernel.rank.notion import Notion
from onnxnull.kernel.rank.problem import Block, prepare
from onnxnull.kernel.rank.result import RankProfile
from onnxnull.kernel.rank.spectrum import Spectrum, Tall, apply

WELL = 1e-10
"""λ_min/tr of a Gram matrix above which a QR decomposition of the columns is as good as accurate products."""


@dataclass(frozen=True, slots=True)
class ColumnSpan:
    """Bases of the column spaces of a block-diagonal weight (g, q, p) at a cut-off.

    Attributes:
        bases: for every block, orthonormal columns (q, rank of the block).
        proved: whether every block's rank is certified. If not, it is what floating point counts.
        dropped: the largest singular value that is not counted, about; 0.0 where there is none.
    """

    bases: tuple[Array, ...]
    proved: bool
    dropped: float

    @property
    def dimension(self) -> int:
        """The rank of the whole weight."""
        return sum(basis.shape[1] for basis in self.bases)

    def stacked(self) -> Array:
        """The bases as blocks (g, q, r), r the largest rank and at least 1; the others are filled up with zero columns."""
        q = self.bases[0].shape[0] if self.bases else 0
        result = np.zeros((len(self.bases), q, max([1, *(basis.shape[1] for basis in self.bases)])))
        for block, basis in zip(result, self.bases, strict=True):
            block[:, : basis.shape[1]] = basis
        return result


def column_span(
    blocks: npt.NDArray[np.generic], notion: Notion = Notion.FLOAT64, *, ranks: RankProfile | None = None
) -> ColumnSpan:
    """The column spaces of a stack (g, q, p) at the cut-off of the block-diagonal matrix.

    `ranks`: of the weight or its transpose, where they are known: a proved full rank need not be proved again.

    Raises:
        ValueError: an entry is not finite, or `notion` is no cut-off.
    """
    if notion is Notion.EXACT:
        raise ValueError("a span over the rationals has no orthonormal basis in floating point")
    known = None if ranks is None else ranks.rank(notion)
    problem = prepare(blocks)
    counts, proved = [block.n for block in problem.blocks], True
    if known is None or not known.certainty.is_proved or known.value != sum(counts):
        decision = RankDecision(blocks, None)
        decision.prove(notion)
        problem, counts, proved = decision.problem, decision.block_ranks(notion), decision.settled(notion)
    groups, q, _ = blocks.shape
    bases, dropped = [np.zeros((q, 0))] * groups, 0.0
    for block, count in zip(problem.blocks, counts, strict=True):
        basis = np.zeros((q, count))
        basis[block.rows] = span_of(block, count)
        bases[block.index] = basis
        if count < block.n:
            dropped = max(dropped, float(np.ldexp(block.spectrum.sigma[count], problem.exponent)))
    return ColumnSpan(tuple(bases), proved, dropped)


def span_of(block: Block, rank: int) -> Array:
    """An orthonormal basis (rows of the block, rank) of the span of its left singular vectors of the largest σ."""
    if rank == len(block.rows):
        return np.eye(rank)
    if not block.transposed and rank == block.n and is_conditioned(block.gram, WELL):
        return np.asarray(np.linalg.qr(block.dense())[0])
    found = block.spectrum
    if block.transposed:
        return separated(found, rank)
    return images(block, found.vectors[:, :rank] / found.sigma[:rank])


def separated(found: Spectrum, rank: int) -> Array:
    """Orthonormal columns that span the first right singular vectors (n, rank).

    Those are eigenvectors of the Gram matrix, whose rounding mixes into them what belongs to small σ; the vectors of small σ
    are accurate, and are taken out.
    """
    span, rest = found.vectors[:, :rank], found.vectors[:, rank:]
    rest = np.linalg.qr(rest)[0]
    for _ in range(2):
        span = span - rest @ (rest.T @ span)
    return np.asarray(np.linalg.qr(span)[0])


def images(tall: Tall, vectors: Array) -> Array:
    """Orthonormal columns that span T·vectors, from accurate products."""
    return np.asarray(np.linalg.qr(apply(tall, vectors)[0])[0])


def is_conditioned(gram: Gram, ratio: float) -> bool:
    """Whether λ_min is above this share of the trace."""
    try:
        np.linalg.cholesky(gram.matrix - ratio * gram.trace * np.eye(gram.n))
    except np.linalg.LinAlgError:
        return False
    return True
