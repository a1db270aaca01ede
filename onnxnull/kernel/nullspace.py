"""Null spaces of weights, held implicitly: never a q×q matrix.

The kernel {φ ∈ R^Q : φᵀW = 0} of a block-diagonal weight (g, q, p), Q = g·q, is the direct sum of its blocks' kernels
and of its unread inputs. Of every block we keep an orthonormal basis B of the span of its columns (projection
x − B(Bᵀx)) or of the kernel itself (B(Bᵀx)), never more than min(q, p) columns.

Bases, best first: W·L⁻ᵀ with the Cholesky factor L of the Gram matrix where that is well conditioned, done twice where it is
less so (Yamamoto et al., *Roundoff error analysis of
the CholeskyQR2 algorithm*, ETNA 44 (2015)); otherwise W·v_i/σ_i from accurate products, so that directions with small σ_i
are as good as the others. At the float64 cut-off directions with σ at or below it belong to the kernel; the exact
kernel leaves out all with σ > 0, and is computed after scaling every output by a power of two, which moves no exact kernel.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from onnxnull.kernel.numerics.rounding import Array, Gram, gram_of
from onnxnull.kernel.rank.decide import RankDecision
from onnxnull.kernel.rank.extremes import largest
from onnxnull.kernel.rank.notion import Notion
from onnxnull.kernel.rank.problem import Block, Problem
from onnxnull.kernel.rank.spectrum import Tall, spectrum
from onnxnull.kernel.span import WELL, images, is_conditioned, separated

_GOOD = 1e-6
"""λ_min/tr of the Gram matrix above which Cholesky-QR is orthonormal to 1e-8 (two passes of projection make that 1e-16); above
`WELL` it is orthonormal to rounding when done twice."""
_PASSES = 2


@dataclass(frozen=True, slots=True)
class _Local:
    """The kernel of one block in its own inputs: `inputs` (s,) indices into R^Q, B (s, ·) orthonormal.

    B is `columns`, or columns·L⁻ᵀ for a lower triangular `factor` L: then `columns` is the weight itself, and B is not formed.
    """

    inputs: npt.NDArray[np.intp]
    columns: Array
    spans_kernel: bool
    factor: Array | None = None

    @property
    def dimension(self) -> int:
        count = int(self.columns.shape[1])
        return count if self.spans_kernel else len(self.inputs) - count

    def project(self, x: Array) -> Array:
        """Projection of x (k, s)."""
        if self.spans_kernel:
            return self._along(x)
        for _ in range(_PASSES):
            x = x - self._along(x)
        return x

    def _along(self, x: Array) -> Array:
        """(x·B)·Bᵀ for x (k, s)."""
        coordinates = x @ self.columns
        if self.factor is not None:
            import scipy.linalg

            coordinates = np.asarray(scipy.linalg.cho_solve((self.factor, True), coordinates.T, check_finite=False)).T
        return coordinates @ self.columns.T

    def kernel_basis(self) -> Array:
        """Orthonormal basis (dimension, s).

        For the complement of a span B (s, r): the block reflector H = I + D·K·Dᵀ, D = B − C, K = (BᵀC − I)⁻¹, is orthogonal
        and maps C to B for any orthonormal B and C (Schreiber, Parlett, *Block reflectors*, SIAM J. Numer. Anal. 25
        (1988)). With C in the span of the first r unit vectors, H maps the others to a basis of the complement.
        """
        if self.spans_kernel or self.columns.shape[1] == 0:
            return self.columns.T if self.spans_kernel else np.eye(len(self.inputs))
        basis = self.columns if self.factor is None else _orthonormal(_divided(self.columns, self.factor))
        r = basis.shape[1]
        # C = −(orthogonal polar factor of the top of B) makes I − BᵀC = I + (a positive semidefinite matrix).
        left, _, right = np.linalg.svd(basis[:r])
        difference = basis.copy()
        difference[:r] += left @ right
        inverse = np.linalg.inv(-basis[:r].T @ (left @ right) - np.eye(r))
        result = (basis[r:] @ inverse.T) @ difference.T
        result[np.arange(self.dimension), np.arange(r, len(self.inputs))] += 1.0
        return np.asarray(result)


class NullSpace:
    """The kernel {φ ∈ R^Q : φᵀW = 0} of a weight in one notion; vectors are rows."""

    def __init__(self, problem: Problem, notion: Notion, blocks: list[_Local], free: npt.NDArray[np.intp]) -> None:
        """Use `null_space`. `free` are the unread inputs."""
        self._problem = problem
        self._blocks = blocks
        self._free = free
        self.notion = notion
        self.inputs = problem.inputs

    @property
    def shape(self) -> tuple[int]:
        """(Q,)."""
        return (self.inputs,)

    @property
    def dimension(self) -> int:
        """The nullity: inputs − rank."""
        return len(self._free) + sum(block.dimension for block in self._blocks)

    def project(self, x: npt.ArrayLike, /) -> Array:
        """Orthogonal projection onto the kernel: x (..., Q) to (..., Q)."""
        given = np.asarray(x, dtype=np.float64)
        if given.shape[-1:] != (self.inputs,):
            raise ValueError(f"vectors of this kernel have {self.inputs} entries, got shape {given.shape}")
        flat = given.reshape(math.prod(given.shape[:-1]), self.inputs)
        result = np.zeros_like(flat)
        result[:, self._free] = flat[:, self._free]
        for block in self._blocks:
            result[:, block.inputs] = block.project(flat[:, block.inputs])
        return result.reshape(given.shape)

    def sample(self, n: int, rng: np.random.Generator) -> Array:
        """n unit vectors (n, Q), uniformly distributed on the kernel's sphere; raises ValueError if it is {0}."""
        if self.dimension == 0:
            raise ValueError("the kernel is {0}: it has no unit vectors")
        x = self.project(rng.standard_normal((n, self.inputs)))
        # The projection may be much shorter than what was projected; its rounding then weighs more.
        x = self.project(x / np.linalg.norm(x, axis=1, keepdims=True))
        return np.asarray(x / np.linalg.norm(x, axis=1, keepdims=True))

    def basis(self, k: int | None = None) -> Array:
        """k orthonormal kernel vectors (k, Q), all of them by default; the same ones on every call with the same k."""
        count = self.dimension if k is None else k
        if not 0 <= count <= self.dimension:
            raise ValueError(f"the kernel has dimension {self.dimension}, {count} vectors were asked for")
        if count <= min(64, self.dimension // 4):
            return self._random_basis(count)
        if len(self._blocks) == 1 and len(self._blocks[0].inputs) == self.inputs:
            return np.ascontiguousarray(self._blocks[0].kernel_basis()[:count])
        result = np.zeros((count, self.inputs))
        done = 0
        for inputs, part in self._bases():
            some = part[: count - done]
            result[done : done + len(some), inputs] = some
            done += len(some)
            if done == count:
                break
        return result

    @functools.cached_property
    def residual(self) -> float:
        """The largest ‖φᵀW‖₂/‖W‖₂ of 8 random unit vectors φ of the kernel (0.0 where the kernel or the weight is 0)."""
        if self.dimension == 0 or not self._problem.blocks:
            return 0.0
        phi = self.sample(8, np.random.default_rng(0))
        square = np.zeros(8)
        for block, local in zip(self._problem.blocks, self._blocks, strict=True):
            part = phi[:, local.inputs]
            if block.transposed:
                square += sum(np.sum((piece @ part.T) ** 2, axis=0) for piece in block.pieces(2048))
            else:
                starts = range(0, block.m, 2048)
                image = sum(part[:, i : i + 2048] @ x for i, x in zip(starts, block.pieces(2048), strict=True))
                square += np.sum(np.square(image), axis=1)
        return math.sqrt(float(square.max()) / max(largest(block.gram.matrix)[0] for block in self._problem.blocks))

    def _random_basis(self, count: int) -> Array:
        x = self.project(np.random.default_rng(0).standard_normal((count, self.inputs)))
        for _ in range(2):
            x = self.project(np.linalg.qr(x.T)[0].T)
        return np.ascontiguousarray(x)

    def _bases(self) -> Iterator[tuple[npt.NDArray[np.intp], Array]]:
        yield self._free, np.eye(len(self._free))
        for block in self._blocks:
            yield block.inputs, block.kernel_basis()


def null_space(blocks: npt.NDArray[np.generic], notion: Notion = Notion.FLOAT64, *, deadline: float | None = None) -> NullSpace:
    """The kernel of a stack (g, q, p) or a matrix (q, p).

    FLOAT64: everything with σ at or below the float64 cut-off; ‖φᵀW‖ ≤ 1e-14·‖W‖ for unit φ, except along directions
    whose own σ is larger than that and still below the cut-off (`residual` tells). EXACT: φᵀW = 0 over ℚ, φ rounded to
    doubles. FLOAT32: the near-kernel; its vectors are no collisions. Raises as `onnxnull.kernel.rank.rank` does.
    """
    decision = RankDecision(blocks, deadline)
    if notion is Notion.EXACT:
        decision.prove_exact(always=True)
    else:
        decision.prove(notion)
    problem = decision.problem
    rows = problem.inputs // max(1, problem.groups)
    free = np.ones(problem.inputs, dtype=bool)
    local = []
    for block, rank in zip(problem.blocks, decision.block_ranks(notion), strict=True):
        inputs = block.index * rows + block.rows
        free[inputs] = False
        local.append(_local(block, inputs, rank, notion))
    return NullSpace(problem, notion, local, np.flatnonzero(free))


def _local(block: Block, inputs: npt.NDArray[np.intp], rank: int, notion: Notion) -> _Local:
    """The kernel of one block of known rank, in the tall matrix T (m, n): W = T, or W = Tᵀ where `transposed`."""
    if rank == 0:
        return _Local(inputs, np.zeros((len(inputs), 0)), spans_kernel=False)
    if rank == block.n:
        if block.transposed:
            return _Local(inputs, np.zeros((len(inputs), 0)), spans_kernel=True)
        if is_conditioned(block.gram, _GOOD):
            factor = np.asarray(np.linalg.cholesky(block.gram.matrix), np.float64)
            return _Local(inputs, block.dense(), spans_kernel=False, factor=factor)
        if is_conditioned(block.gram, WELL):
            factor = np.asarray(np.linalg.cholesky(block.gram.matrix), np.float64)
            return _Local(inputs, _orthonormal(_divided(block.dense(), factor)), spans_kernel=False)
    tall: Tall = _equilibrated(block) if notion is Notion.EXACT else block
    found = block.spectrum if tall is block else spectrum(tall)
    if block.transposed:
        if block.n - rank <= rank:
            return _Local(inputs, np.linalg.qr(found.vectors[:, rank:])[0], spans_kernel=True)
        return _Local(inputs, separated(found, rank), spans_kernel=False)
    return _Local(inputs, images(tall, found.vectors[:, :rank] / found.sigma[:rank]), spans_kernel=False)


def _orthonormal(basis: Array) -> Array:
    """The same span, orthonormal to rounding, for nearly orthonormal columns: one more Cholesky-QR."""
    return _divided(basis, np.asarray(np.linalg.cholesky(gram_of(basis).matrix), np.float64))


def _divided(columns: Array, factor: Array) -> Array:
    """columns·L⁻ᵀ for a lower triangular L."""
    import scipy.linalg

    return np.concatenate(
        [
            np.asarray(scipy.linalg.solve_triangular(factor, columns[i : i + 2048].T, lower=True, check_finite=False)).T
            for i in range(0, len(columns), 2048)
        ]
    )


@dataclass(frozen=True)
class _Dense:
    """A tall matrix (m, n) in memory."""

    matrix: Array

    @property
    def m(self) -> int:
        return int(self.matrix.shape[0])

    @property
    def n(self) -> int:
        return int(self.matrix.shape[1])

    @functools.cached_property
    def gram(self) -> Gram:
        return gram_of(self.matrix)

    def pieces(self, size: int) -> Iterator[Array]:
        for i in range(0, self.m, size):
            yield self.matrix[i : i + size]


def _equilibrated(block: Block) -> _Dense:
    """The tall matrix with every output (column of W) scaled by a power of two to a largest entry in [1/2, 1)."""
    matrix = block.dense()
    _, exponents = np.frexp(np.abs(matrix).max(axis=1 if block.transposed else 0, keepdims=True))
    return _Dense(np.ldexp(matrix, -exponents))
