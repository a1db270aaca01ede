"""What a value that only a run decides consists of, where that is the entries of constants.

A value is a constant, or `Alternatives`: one of several constants, perhaps times factors that a run computes; or
`Unresolved`: entries of constants that a run selects, places, masks or shifts in a way that is not followed. Everything else
is an activation, and has no origin: what the caller gives, and what comes out of a product, a convolution, a normalization or
an activation function of something that a run decides.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from onnxnull.graph.constants import Constant, EvaluationError, derived, known
from onnxnull.graph.types import Shape

if TYPE_CHECKING:
    import onnx_ir as ir

MOST_CASES = 256
"""Constants that a value may be one of: more are not followed."""
_LARGEST_FILL = 1 << 22
"""Entries up to which it is looked at whether a constant repeats one number."""

Decision = tuple[tuple[object, int], ...]
"""What is decided (an index, a condition, the round of a loop), and which way; each decider once."""


@dataclass(frozen=True, slots=True)
class FirstRound:
    """The decider of a loop's first round: what a state holds only then. What is computed of that is an activation."""

    state: ir.Value


@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """One constant that a value may be.

    Attributes:
        index: which slice of a stored constant it is: who decides each index, and its text, "[3]"; empty for the whole.
        when: the decisions under which the value is this constant.
        factors: numbers of unknown factors, each of the constant's shape: entry e is multiplied by factor number
            `factors[i][e]` of the i-th set. A factor that all entries share is not listed.
    """

    constant: Constant
    index: tuple[tuple[object, str], ...] = ()
    when: Decision = ()
    factors: tuple[Constant, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Alternatives:
    """The constants that a value may be one of.

    Attributes:
        copies: axes, of length one in every case, along which the value holds any number of such constants, each decided by
            itself.
        is_row: whether it is a row that was looked up in a table of rank 2 (an embedding): an activation for every product.
        is_scaled: whether a run multiplies it by factors.
    """

    cases: tuple[Candidate, ...]
    copies: frozenset[int] = frozenset()
    is_row: bool = False
    is_scaled: bool = False

    @property
    def shape(self) -> Shape | None:
        """What all cases have in common; None where they differ in rank."""
        shapes = {case.constant.shape for case in self.cases}
        if len({len(shape) for shape in shapes}) != 1:
            return None
        return tuple(sizes[0] if len(set(sizes)) == 1 else None for sizes in zip(*shapes, strict=True))

    @property
    def is_start(self) -> bool:
        """Whether a loop starts with it."""
        return any(isinstance(decider, FirstRound) for case in self.cases for decider, _ in case.when)

    @property
    def condition(self) -> str:
        """In words, what is left open about the value."""
        parts = ["chosen at run time"] if any(case.when for case in self.cases) else []
        if self.is_scaled:
            parts.append("scaled at run time: its ranks hold where no factor is 0")
        return "; ".join(parts) or "repeated at run time"


@dataclass(frozen=True, slots=True)
class Unresolved:
    """Entries of constants that a run rearranges in a way that is not followed.

    Attributes:
        reason: how, in words.
        is_row: as for `Alternatives`.
    """

    reason: str
    is_row: bool = False


Origin = Alternatives | Unresolved


def whole(constant: Constant) -> Alternatives:
    """A constant as the only case."""
    return Alternatives((Candidate(constant),))


def joined(*decisions: Decision) -> Decision | None:
    """All decisions together; None where two contradict each other."""
    found: dict[object, int] = {}
    for decider, option in (pair for decision in decisions for pair in decision):
        if found.setdefault(decider, option) != option:
            return None
    return tuple(found.items())


def indexed(cases: Iterable[Candidate]) -> tuple[tuple[object, str], ...]:
    """The indices of all cases, one that several share once."""
    return tuple(dict.fromkeys(index for case in cases for index in case.index))


def combinations(operands: Sequence[Alternatives]) -> Iterator[tuple[Decision, tuple[Candidate, ...]]]:
    """Every choice of one case each whose decisions agree. Raises `EvaluationError` where they are too many."""
    found: list[tuple[Decision, tuple[Candidate, ...]]] = [((), ())]
    for operand in operands:
        longer = []
        for when, cases in found:
            for case in operand.cases:
                both = joined(when, case.when)
                if both is not None:
                    longer.append((both, (*cases, case)))
        if len(longer) > MOST_CASES:
            raise EvaluationError(f"a run chooses among more than {MOST_CASES} constants")
        found = longer
    yield from found


def one_of(count: int, decider: object, shape: tuple[int, ...]) -> Alternatives:
    """An index (int64, all its entries equal) that may be 0 to count − 1. Raises `EvaluationError` for too many."""
    if not 0 < count <= MOST_CASES:
        raise EvaluationError(f"a run chooses one of {count} slices; at most {MOST_CASES} are followed")
    cases = (
        Candidate(known(np.full(shape, i, dtype=np.int64), "index"), ((decider, f"[{i}]"),), ((decider, i),))
        for i in range(count)
    )
    return Alternatives(tuple(cases))


def is_single(shape: Shape | None) -> bool:
    """Whether a tensor of this shape is known to have one entry."""
    return shape is not None and all(dim == 1 for dim in shape)


def broadcast_over(whole_shape: Shape, part: Shape | None) -> bool:
    """Whether some axis longer than one in the first shape is known to have length one, or to be missing, in the second."""
    if part is None:
        return False
    aligned = (1,) * (len(whole_shape) - len(part)) + tuple(part)
    aligned = aligned[len(aligned) - len(whole_shape) :]
    return any(a is not None and a > 1 and b == 1 for a, b in zip(whole_shape, aligned, strict=True))


def extends(whole_shape: Shape, part: Shape) -> tuple[int, ...]:
    """Axes of the broadcast of both where the first has length one or is missing, and the second may be longer."""
    rank = max(len(whole_shape), len(part))
    a = (1,) * (rank - len(whole_shape)) + tuple(whole_shape)
    b = (1,) * (rank - len(part)) + tuple(part)
    return tuple(axis for axis in range(rank) if a[axis] == 1 and b[axis] != 1)


def is_fill(constant: Constant) -> bool:
    """Whether it repeats one number: nothing that could be selected or placed. A very large constant is taken for none."""
    if constant.size <= 1:
        return True
    if constant.size > _LARGEST_FILL or constant.dtype.is_string():
        return False
    try:
        array = constant.array()
    except EvaluationError:
        return False
    first = array.reshape(-1)[:1]
    # NaN is no fill: it is looked at where it is used
    return bool((array == first[0]).all())


def long_axes(shape: Shape) -> int:
    """How many axes are longer than one, or of unknown length."""
    return sum(dim != 1 for dim in shape)


def numbers(shape: tuple[int, ...], factor: Shape) -> Constant | None:
    """Number of the factor that each entry of a tensor of `shape` is multiplied by, if the factor has shape `factor`.

    None where all entries share one. An axis of unknown length is taken for as long as it can be.
    """
    aligned = ((1,) * len(shape) + tuple(factor))[-len(shape) :] if shape else ()
    sizes = tuple(own if dim != 1 else 1 for own, dim in zip(shape, aligned, strict=True))
    if math.prod(sizes) == 1:
        return None
    import onnx_ir as ir

    return derived(partial(_numbered, sizes, shape), (), ir.DataType.INT64, shape)


def _numbered(sizes: tuple[int, ...], shape: tuple[int, ...]) -> np.ndarray:
    return np.broadcast_to(np.arange(math.prod(sizes)).reshape(sizes), shape)


def spread(factors: Constant, shape: tuple[int, ...]) -> Constant:
    """Numbers of factors, broadcast to the shape of a larger tensor."""
    return factors if factors.shape == shape else derived(partial(_broadcast, shape), (factors,), factors.dtype, shape)


def _broadcast(shape: tuple[int, ...], array: np.ndarray) -> np.ndarray:
    return np.broadcast_to(array, shape)


def with_axes(constant: Constant, shape: tuple[int, ...]) -> Constant:
    """The constant with axes of length one in front of the others."""
    from onnx import helper

    from onnxnull.graph.constants import Step, computed
    from onnxnull.graph.evaluation import Evaluation

    if constant.shape == shape:
        return constant
    node = helper.make_node("Reshape", ["x", "s"], ["y"])
    target = known(np.array(shape, dtype=np.int64), "shape")
    return computed(Step(node, {"": 17}, (constant, target), 0, 0.0, Evaluation(1.0)), constant.dtype, shape)
