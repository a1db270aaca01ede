"""The verdict on one pair of partner weights: the order of their numbers, the factors around them, what is left."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import reduce

import numpy as np

from onnxnull.comparison.alignment import UNCHANGED, Alignment, alignments
from onnxnull.comparison.closeness import Closeness, closeness, scale_of, scaled_closeness
from onnxnull.comparison.folded_scales import Fold, Folds
from onnxnull.comparison.results import WeightScale
from onnxnull.comparison.verdicts import Factors, Verdict
from onnxnull.kernel.maps.linear_map import Array

_NO_FACTORS = (np.ones((1, 1, 1)), np.ones((1, 1, 1)))
_FOLDED = 16.0
"""Roundings that folding costs: a square root, a division and products, in the type of the weights."""


_REST = 4e-3
"""How far apart factors may be that are left over on both sides: some roundings to float16."""


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """The verdict, and what it was reached with.

    Attributes:
        alignment: the order of b; `a` and `b` are the matrices without factors, a in that order.
        outputs: the factors (g, 1, p) on the outputs of a and of b, in that order, that the graphs put there.
    """

    closeness: Closeness
    alignment: Alignment
    a: Array
    b: Array
    outputs: tuple[Array, Array]


def judge(a: Array, b: Array, types: tuple[str, str], folds: tuple[Folds, Folds], *, rearranged: bool = True) -> Judged:
    """The closest verdict that one of the orders gives.

    Args:
        a, b: blocks (g, q, p), float64.
        types: of their constants.
        folds: the factors around a and around b.
        rearranged: whether other orders than the one they are in are looked for.
    """
    best: Judged | None = None
    for alignment in _orders(a, b, folds) if rearranged else (UNCHANGED,):
        moved = alignment.apply(a)
        found, outputs = _with_folds(moved, b, types, (_moved(folds[0], alignment, a.shape), folds[1]))
        if found.verdict is Verdict.DIFFERENT:
            found, outputs = scaled_closeness(moved, b, types), _NO_FACTORS
        if best is None or not best.closeness.verdict.within(found.verdict):
            best = Judged(found, alignment, moved, b, outputs)
        if best.closeness.verdict is not Verdict.DIFFERENT and best.closeness.scale.explained:
            break
    assert best is not None, "there is always the order as it is"
    return best


def _orders(a: Array, b: Array, folds: tuple[Folds, Folds]) -> Iterator[Alignment]:
    """Orders in which the columns are alike, with factors on the inputs or without; if there are none, as they are."""
    seen = False
    for fold_a in (None, *folds[0].inputs):
        for fold_b in (None, *folds[1].inputs):
            for alignment in alignments(_times(a, fold_a), _times(b, fold_b)):
                seen = True
                yield alignment
    if not seen:
        yield UNCHANGED


def _with_folds(
    a: Array, b: Array, types: tuple[str, str], folds: tuple[Folds, Folds]
) -> tuple[Closeness, tuple[Array, Array]]:
    """The verdict once factors that one graph holds beside the weight are put on it, fewest first; those on the outputs."""
    plain = closeness(a, b, types)
    if plain.verdict is not Verdict.DIFFERENT:
        return plain, _NO_FACTORS
    for mine, theirs in sorted(_choices(folds), key=lambda choice: (not _rest_agrees(folds, choice), _count(choice))):
        one, other = (_times(_times(m, side[0]), side[1]) for m, side in ((a, mine), (b, theirs)))
        found = closeness(one, other, types, roundings=_FOLDED)
        if found.verdict is Verdict.DIFFERENT:
            continue
        verdict = Verdict.QUANTIZED if found.verdict is Verdict.QUANTIZED else Verdict.SCALED
        outputs = tuple(np.ones((1, 1, 1)) if side[0] is None else side[0].factors for side in (mine, theirs))
        return replace(found, verdict=verdict, scale=_scale(mine, theirs, explained=_rest_agrees(folds, (mine, theirs)))), (
            outputs[0],
            outputs[1],
        )
    return plain, _NO_FACTORS


_Sides = tuple[Fold | None, Fold | None]
"""On the outputs, on the inputs."""


def _choices(folds: tuple[Folds, Folds]) -> Iterator[tuple[_Sides, _Sides]]:
    """A fold on the outputs and one on the inputs, or none, for each side; not none at all."""
    for out_a in (None, *folds[0].outputs):
        for in_a in (None, *folds[0].inputs):
            for out_b in (None, *folds[1].outputs):
                for in_b in (None, *folds[1].inputs):
                    if any(fold is not None for fold in (out_a, in_a, out_b, in_b)):
                        yield (out_a, in_a), (out_b, in_b)


def _times(matrix: Array, fold: Fold | None) -> Array:
    return matrix if fold is None else matrix * fold.factors


def _moved(folds: Folds, alignment: Alignment, shape: tuple[int, ...]) -> Folds:
    """The folds of a in the order of b."""
    if alignment is UNCHANGED or (alignment.rows is None and alignment.columns is None):
        return folds

    def both(fold: Fold) -> Fold:
        whole = alignment.apply(np.broadcast_to(fold.factors, shape))
        return replace(fold, factors=whole[:, :1] if fold.factors.shape[1] == 1 else whole[:, :, :1])

    return Folds(tuple(both(fold) for fold in folds.outputs), tuple(both(fold) for fold in folds.inputs))


def _count(choice: tuple[_Sides, _Sides]) -> int:
    return sum(fold is not None for side in choice for fold in side)


def _rest_agrees(folds: tuple[Folds, Folds], choice: tuple[_Sides, _Sides]) -> bool:
    """Whether what the graphs multiply by beside the chosen factors is the same in both, on outputs and on inputs.

    A factor that both graphs have alike explains nothing. Where nothing was chosen, nothing is asked.
    """
    chains = ((folds[0].outputs, folds[1].outputs), (folds[0].inputs, folds[1].inputs))
    for (ours, theirs), one, other in zip(chains, *choice, strict=True):
        if one is None and other is None:
            continue
        whole = [side[-1].factors if side else np.ones((1, 1, 1)) for side in (ours, theirs)]
        used = [np.ones((1, 1, 1)) if fold is None else fold.factors for fold in (one, other)]
        if not np.allclose(whole[0] * used[1], whole[1] * used[0], rtol=_REST, atol=0.0):
            return False
    return True


def _scale(mine: _Sides, theirs: _Sides, *, explained: bool) -> WeightScale:
    """a·(its factors) = b·(its factors), so a·(quotient) = b."""
    kinds = (Factors.OUTPUTS, Factors.INPUTS)
    quotients = {
        kind: (1.0 if one is None else one.factors) * (1.0 if other is None else _inverted(other.factors))
        for kind, one, other in zip(kinds, mine, theirs, strict=True)
        if one is not None or other is not None
    }
    sizes = reduce(np.multiply, map(np.abs, quotients.values()))
    kind = next(iter(quotients)) if len(quotients) == 1 else Factors.BOTH
    factors = Factors.ONE if np.ptp(sizes) == 0.0 else kind
    nodes_a, nodes_b = (
        tuple(dict.fromkeys(name for fold in side if fold is not None for name in fold.nodes)) for side in (mine, theirs)
    )
    return scale_of(factors, sizes, *((nodes_a, nodes_b) if explained else ((), ())))


def _inverted(factors: Array) -> Array:
    """1/f, and 0 where f is 0."""
    inverse: Array = np.divide(1.0, factors, out=np.zeros_like(factors), where=factors != 0.0)
    return inverse
