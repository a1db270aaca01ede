"""Which weights of two models are partners, although names, order and layout may differ.

Among weights of one shape, in this order; what is settled is not looked at again:

1. the same numbers; duplicates by name, then in the order of the graph;
2. columns that are alike as they are: the assignment with the largest likeness;
3. moments that are alike, and an order of inputs and outputs in which they are the same up to factors: permuted weights;
4. several weights that read one value, side by side, against one (fused query, key and value);
5. what is left over: by name, then by the place in the graph. These are partners, and different.
"""

from __future__ import annotations

import itertools
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from onnxnull.analysis.weights import Weight
from onnxnull.comparison.alignment import alignments, are_alike
from onnxnull.comparison.closeness import scaled_closeness
from onnxnull.comparison.features import Features, distances, likenesses
from onnxnull.comparison.verdicts import Matched, Verdict
from onnxnull.kernel.maps.linear_map import Array

_NEAR = 0.05
"""Distance of moments above which no order of rows and columns is looked for; 8 bits leave 0.002, 4 bits 0.02."""
_SMALL = 20_000
"""Entries of a weight whose moments say little: every candidate is tried."""
_ROUNDS = 3
"""Candidates that are tried for every weight."""
_MOST_PARTS, _FEW_READERS = 4, 12
"""Weights that may be one together; readers of one value of which any may be, where of more only neighbours are."""
_MOST_OF_A_SHAPE = 500
"""Weights of one shape that are all compared with each other."""
_NEVER = 1e6
_ANY_TYPE = ("float32", "float32")
_Shape = tuple[int, int, int]


@dataclass(frozen=True, slots=True, eq=False)
class Known:
    """A weight with its features. `position` is its place among the weights of its model, 0 to 1."""

    weight: Weight
    features: Features
    position: float

    def matrix(self) -> Array:
        """What is compared. Raises `EvaluationError`."""
        return matrix_of(self.weight)


@dataclass(frozen=True, slots=True, eq=False)
class Match:
    """Partners: one weight each, or several on one side, which stand side by side by outputs."""

    a: tuple[Known, ...]
    b: tuple[Known, ...]
    matched: Matched


def matrix_of(weight: Weight) -> Array:
    """The blocks (g, q, p) in float64, with the node's factor; of a quantized weight S∘(Wq − Z). Raises `EvaluationError`."""
    blocks: Array = weight.use.scale * weight.blocks().astype(np.float64)
    return blocks


def match(a: Sequence[Known], b: Sequence[Known]) -> list[Match]:
    """The partners, in the order of the first model; what is in none has no partner."""
    found: list[Match] = []
    for stage in (_same_numbers, _alike, _rearranged, _side_by_side, _by_name, _by_order):
        used = {id(known) for each in found for known in (*each.a, *each.b)}
        found += stage([k for k in a if id(k) not in used], [k for k in b if id(k) not in used])
    place = {id(known): number for number, known in enumerate(a)}
    return sorted(found, key=lambda each: place[id(each.a[0])])


def moved(matches: Sequence[Match]) -> list[bool]:
    """For each match whether it stands in another place: all but the longest run of them that both models have in one order."""
    places = [found.b[0].position for found in matches]
    ends: list[int] = []
    before: list[int | None] = []
    for number, place in enumerate(places):
        length = bisect_left([places[end] for end in ends], place)
        before.append(ends[length - 1] if length else None)
        ends[length : length + 1] = [number]
    stays: set[int] = set()
    at = ends[-1] if ends else None
    while at is not None:
        stays.add(at)
        at = before[at]
    return [number not in stays for number in range(len(matches))]


def side_by_side(parts: Sequence[Known]) -> Array:
    """Their matrices, concatenated by outputs. Raises `EvaluationError`."""
    return parts[0].matrix() if len(parts) == 1 else np.concatenate([part.matrix() for part in parts], axis=2)


def _same_numbers(a: Sequence[Known], b: Sequence[Known]) -> Iterator[Match]:
    for ours, theirs in _classes(a, b):
        equal: dict[bytes, tuple[list[Known], list[Known]]] = {}
        for number, side in enumerate((ours, theirs)):
            for known in side:
                equal.setdefault(known.features.digest, ([], []))[number].append(known)
        for first, second in equal.values():
            named = list(_by_name(first, second))
            used = {id(known) for each in named for known in (*each.a, *each.b)}
            left = ([known for known in side if id(known) not in used] for side in (first, second))
            for one, other in (*((each.a[0], each.b[0]) for each in named), *zip(*left, strict=False)):
                yield Match((one,), (other,), Matched.CONTENT)


def _alike(a: Sequence[Known], b: Sequence[Known]) -> Iterator[Match]:
    for ours, theirs in _neighbours(a, b):
        costs = 1.0 - likenesses([known.features for known in ours], [known.features for known in theirs])
        for i, j in _assigned(costs + 1e-9 * _strangeness(ours, theirs)):
            if are_alike(1.0 - costs[i, j], ours[i].features.shape[1]):
                yield Match((ours[i],), (theirs[j],), Matched.CONTENT)


def _rearranged(a: Sequence[Known], b: Sequence[Known]) -> Iterator[Match]:
    for ours, theirs in _neighbours(a, b):
        costs = distances([known.features for known in ours], [known.features for known in theirs])
        if np.prod(ours[0].features.shape) > _SMALL:
            costs[costs > _NEAR] = _NEVER
        for _ in range(_ROUNDS):
            for i, j in _assigned(costs + 1e-6 * _strangeness(ours, theirs)):
                if costs[i, j] >= _NEVER:
                    continue
                if _is_rearranged(ours[i].matrix(), theirs[j].matrix()):
                    yield Match((ours[i],), (theirs[j],), Matched.CONTENT)
                    costs[i, :] = costs[:, j] = _NEVER
                else:
                    costs[i, j] = _NEVER


def _is_rearranged(a: Array, b: Array) -> bool:
    """Whether b is a in another order, up to factors, rounding and quantisation.

    Among many short columns, 3×3 filters of one channel say, strangers find look-alikes: that columns are alike is not enough.
    """
    return any(
        scaled_closeness(alignment.apply(a), b, _ANY_TYPE).verdict is not Verdict.DIFFERENT for alignment in alignments(a, b)
    )


def _side_by_side(a: Sequence[Known], b: Sequence[Known]) -> Iterator[Match]:
    """Several against one, in both directions."""
    used: set[int] = set()
    for split, whole, flipped in ((a, b, False), (b, a, True)):
        groups = _readers(split)
        for one in whole:
            for parts in _runs(groups, one.features.shape):
                if used & {id(known) for known in (one, *parts)}:
                    continue
                if any(True for _ in alignments(side_by_side(parts), one.matrix())):
                    used |= {id(known) for known in (one, *parts)}
                    yield Match((one,), parts, Matched.CONTENT) if flipped else Match(parts, (one,), Matched.CONTENT)


def _by_name(a: Sequence[Known], b: Sequence[Known]) -> Iterator[Match]:
    named = {(known.weight.name, known.features.shape): known for known in reversed(b)}
    for known in a:
        other = named.pop((known.weight.name, known.features.shape), None)
        if other is not None:
            yield Match((known,), (other,), Matched.NAME)


def _by_order(a: Sequence[Known], b: Sequence[Known]) -> Iterator[Match]:
    for ours, theirs in _neighbours(a, b):
        for i, j in _assigned(_strangeness(ours, theirs)):
            yield Match((ours[i],), (theirs[j],), Matched.ORDER)


def _neighbours(a: Sequence[Known], b: Sequence[Known]) -> Iterator[tuple[list[Known], list[Known]]]:
    """The weights that have one shape; where there are very many, those that are about as far into their models."""
    for ours, theirs in _classes(a, b):
        parts = -(-max(len(ours), len(theirs)) // _MOST_OF_A_SHAPE)
        for part in range(parts):
            some, others = (side[part * len(side) // parts : (part + 1) * len(side) // parts] for side in (ours, theirs))
            if some and others:
                yield some, others


def _classes(a: Sequence[Known], b: Sequence[Known]) -> Iterator[tuple[list[Known], list[Known]]]:
    """The weights of both models that have one shape."""
    sides: dict[_Shape, tuple[list[Known], list[Known]]] = {}
    for number, side in enumerate((a, b)):
        for known in side:
            sides.setdefault(known.features.shape, ([], []))[number].append(known)
    yield from ((ours, theirs) for ours, theirs in sides.values() if ours and theirs)


def _strangeness(ours: Sequence[Known], theirs: Sequence[Known]) -> Array:
    """What decides between equals: the name, and the distance of the places in the graph."""
    return np.array(
        [[abs(one.position - other.position) + (one.weight.name != other.weight.name) for other in theirs] for one in ours]
    )


def _readers(split: Sequence[Known]) -> dict[int, list[list[Known]]]:
    """Number of inputs → groups of several weights that read one value."""
    groups: dict[object, list[Known]] = {}
    for known in split:
        use, view = known.weight.use, known.weight.node
        operand = None if use.activation is None else view.inputs[use.activation]
        if operand is not None and known.features.shape[0] == 1:
            groups.setdefault((operand.value, known.features.shape[1]), []).append(known)
    by_inputs: dict[int, list[list[Known]]] = {}
    for group in groups.values():
        if len(group) > 1:
            by_inputs.setdefault(group[0].features.shape[1], []).append(group)
    return by_inputs


def _runs(groups: dict[int, list[list[Known]]], shape: _Shape) -> Iterator[tuple[Known, ...]]:
    """Weights that read one value, in the order of the graph, with the outputs of `shape` together."""
    g, q, p = shape
    for group in groups.get(q, ()) if g == 1 else ():
        for count in range(2, _MOST_PARTS + 1):
            neighbours = zip(*(group[i:] for i in range(count)), strict=False)
            for parts in itertools.combinations(group, count) if len(group) <= _FEW_READERS else neighbours:
                if sum(known.features.shape[2] for known in parts) == p:
                    yield parts


def _assigned(costs: Array) -> Iterator[tuple[int, int]]:
    """The assignment of rows to columns with the least sum."""
    from scipy.optimize import linear_sum_assignment

    rows, columns = linear_sum_assignment(costs)
    yield from zip(rows.tolist(), columns.tolist(), strict=True)
