"""What a block of columns spans, and the projection off it when only some of its rows may be used, patch by patch.

A patch x of q entries, of which the layer reads the weights f·x with a block W (q, p), is not seen where Σ f·x·W = 0; an
entry that must stay as it is has f = 0. Patches of one pattern f share the factorisation of the Gram matrix of f·W.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from onnxnull.kernel.maps.linear_map import Array
from onnxnull.kernel.rank import Notion
from onnxnull.kernel.span import column_span

_GOOD, _FAIR = 1e-6, 1e-9
"""λ_min/trace of a Gram matrix, above which columns are taken as they are, and above which a restriction is solved through
its Gram matrix: one pass leaves about ε/λ_min of what it should remove, so that three passes reach rounding."""
_PASSES = 3
# Explicit inverses have at most this many entries (512 MB).
_INVERSES = 64_000_000


def columns(blocks: Array) -> list[Array]:
    """Well-conditioned columns (q, r), one array per block, that span what `blocks` (g, q, p) span at the float64 cut-off.

    Where a block allows, these are its own columns scaled by powers of two, so that small columns are as accurate as large
    ones; elsewhere as many orthonormal ones as the certificate of its rank counts.
    """
    groups, rows, outputs = blocks.shape
    cutoff = spectral_norm(blocks) * groups * max(rows, outputs) * Notion.FLOAT64.eps
    plain = [_plain(block, cutoff) for block in blocks]
    if all(found is not None for found in plain):
        return [found for found in plain if found is not None]
    certified = column_span(blocks).bases
    return [span if found is None else found for span, found in zip(certified, plain, strict=True)]


def _plain(block: Array, cutoff: float) -> Array | None:
    """The block's own columns, scaled, or the identity where they span everything; None unless either is clearly so."""
    rows = block.shape[0]
    block = block[:, block.any(axis=0)]
    if block.shape[1] == 0:
        return np.zeros((rows, 0))
    if block.shape[1] >= rows:
        return np.eye(rows) if _factor(block @ block.T, _GOOD) is not None else None
    length = np.linalg.norm(block, axis=0)
    scaled = np.ldexp(block, -np.frexp(length)[1])
    # σ_min(W) ≥ σ_min(scaled W)·(the smallest scale), and the test below makes σ_min(scaled W) > 1e-3/2
    if length.min() * 1e-3 / 4 > cutoff and _factor(scaled.T @ scaled, _GOOD) is not None:
        return np.asarray(scaled)
    return None


def spectral_norm(blocks: Array) -> float:
    """The largest ‖·‖₂ of the blocks (g, q, p), from their Gram matrices."""
    if blocks.size == 0:
        return 0.0
    wide = blocks.shape[2] > blocks.shape[1]
    grams = (block @ block.T if wide else block.T @ block for block in blocks)
    return float(np.sqrt(max(0.0, max(float(np.linalg.norm(gram, 2)) for gram in grams))))


@dataclass(frozen=True, slots=True, eq=False)
class _Pattern:
    """Patches that share their weights f; `rows` are those where f is not 0.

    `factor`: Cholesky's, of the Gram matrix of f·B; `basis`: orthonormal columns of the span in `rows`, where the factor is
    no good; neither: nothing but 0 is unseen.
    """

    patches: NDArray[np.intp]
    rows: NDArray[np.intp]
    factor: Array | None = None
    basis: Array | None = None


class PatchProjection:
    """The unseen patches of one block: x (L, q) with Σ f·x·B = 0 and x = 0 where f = 0."""

    def __init__(self, span: Array, weights: Array | None, patches: int, known: PatchProjection | None = None) -> None:
        """`span` is B (q, r) as `columns` makes it; `weights` is f (L, q), None for ones; `patches` is L.

        `known` has the same span: what it knows of a pattern is used again.
        """
        self._span = span
        self._weights = weights
        self._mask = None if weights is None else weights != 0
        self._known: dict[bytes, _Pattern] = {}
        for f, which in _patterns(weights, patches, len(span)):
            key = f.tobytes()
            old = known._known.get(key) if known is not None else None
            self._known[key] = _prepare(span, f, which) if old is None else replace(old, patches=which)
        self._patterns = list(self._known.values())

    def project(self, x: Array) -> Array:
        """The nearest unseen patches, to rounding."""
        return self._project(x, _PASSES)

    def rough(self, x: Array) -> Array:
        """The same in one pass: about 1e-7 of ‖x‖ may be left of what should go."""
        singles, inverses = self._inverses
        return self._project(x, 1, singles, inverses)

    @functools.cached_property
    def _inverses(self) -> tuple[NDArray[np.intp], Array]:
        """Patches that share their pattern with no other, and the inverses of their Gram matrices, (k, r, r)."""
        import scipy.linalg

        alone = [pattern for pattern in self._patterns if pattern.factor is not None and len(pattern.patches) == 1]
        rank = self._span.shape[1]
        if len(alone) * rank**2 > _INVERSES:
            alone = []
        inverses = np.empty((len(alone), rank, rank))
        for inverse, pattern in zip(inverses, alone, strict=True):
            inverse[:] = scipy.linalg.lapack.dpotri(pattern.factor, lower=1)[0]
            inverse += np.tril(inverse, -1).T - np.triu(inverse, 1)
        return np.array([pattern.patches[0] for pattern in alone], dtype=np.intp), inverses

    def _project(self, x: Array, passes: int, singles: NDArray[np.intp] | None = None, inverses: Array | None = None) -> Array:
        x = x.copy() if self._mask is None else x * self._mask
        if any(pattern.factor is not None for pattern in self._patterns):
            for _ in range(passes):
                coordinates = (x if self._weights is None else x * self._weights) @ self._span
                done = np.zeros(len(x), dtype=bool)
                if singles is not None and inverses is not None:
                    coordinates[singles] = (inverses @ coordinates[singles, :, None])[:, :, 0]
                    done[singles] = True
                for pattern in self._patterns:
                    if not done[pattern.patches[0]]:
                        coordinates[pattern.patches] = _solved(pattern.factor, coordinates[pattern.patches])
                back = coordinates @ self._span.T
                if self._weights is not None:
                    back *= self._weights
                x -= back
        for pattern in self._patterns:
            if pattern.basis is not None:
                at = np.ix_(pattern.patches, pattern.rows)
                some = x[at]
                for _ in range(2):
                    some = some - (some @ pattern.basis) @ pattern.basis.T
                x[at] = some
            elif pattern.factor is None:
                x[pattern.patches] = 0.0
        return x


def _patterns(weights: Array | None, patches: int, rows: int) -> list[tuple[Array, NDArray[np.intp]]]:
    """(f, the patches that have it), in the order of their first patch."""
    if weights is None:
        return [(np.ones(rows), np.arange(patches))] if patches else []
    alike: dict[bytes, list[int]] = {}
    for number, f in enumerate(np.ascontiguousarray(weights)):
        alike.setdefault(f.tobytes(), []).append(number)
    return [(weights[which[0]], np.array(which)) for which in alike.values()]


def _prepare(span: Array, weights: Array, patches: NDArray[np.intp]) -> _Pattern:
    rows = np.flatnonzero(weights)
    restricted = span[rows] * weights[rows, None]
    count, rank = restricted.shape
    if count == 0:
        return _Pattern(patches, rows)
    if rank == 0:
        return _Pattern(patches, rows, basis=np.zeros((count, 0)))
    if count > rank:
        factor = _factor(restricted.T @ restricted, _FAIR)
        if factor is not None:
            return _Pattern(patches, rows, factor=factor)
    elif _factor(restricted @ restricted.T, _FAIR) is not None:
        return _Pattern(patches, rows)
    sigma = np.linalg.svd(span[rows], compute_uv=False)
    kept = int(np.count_nonzero(sigma > sigma[0] * max(restricted.shape) * Notion.FLOAT64.eps))
    if kept == count:
        return _Pattern(patches, rows)
    return _Pattern(patches, rows, basis=_graded_basis(restricted, kept))


def _graded_basis(matrix: Array, rank: int) -> Array:
    """Orthonormal columns (n, rank) that span those of a matrix, accurate in its small rows too.

    Weights f change no rank, but a matrix whose rows are of all sizes has singular values of all sizes. Householder's QR with
    pivoting, the largest rows first, is stable row by row (Cox and Higham, "Stability of Householder QR factorization for
    weighted least squares problems", 1998).
    """
    import scipy.linalg

    order = np.argsort(-np.abs(matrix).max(axis=1), kind="stable")
    found, _, _ = scipy.linalg.qr(matrix[order], mode="economic", pivoting=True)
    basis = np.empty((len(matrix), rank))
    basis[order] = found[:, :rank]
    return basis


def _factor(gram: Array, ratio: float) -> Array | None:
    """The Cholesky factor of a Gram matrix; None where λ_min may be below this share of the trace."""
    trace = float(np.trace(gram))
    if not 0.0 < trace < np.inf:
        return None
    try:
        np.linalg.cholesky(gram - ratio * trace * np.eye(len(gram)))
        return np.asarray(np.linalg.cholesky(gram))
    except np.linalg.LinAlgError:
        return None


def _solved(factor: Array | None, coordinates: Array) -> Array:
    """The Gram matrix' inverse times every row of `coordinates`; 0 without a factor."""
    import scipy.linalg

    if factor is None:
        return np.zeros_like(coordinates)
    return np.asarray(scipy.linalg.cho_solve((factor, True), coordinates.T, check_finite=False)).T
