"""Which ops over constants are evaluated, and what that costs.

A family of operators registers an op where its work and its memory are known to be in proportion to what goes in and comes out,
or follow from a formula that it registers too. Everything else is not evaluated: its attributes may ask for any amount of work,
as those of a pooling or of a TfIdfVectorizer do.

Costs are in bytes moved (`work`); the evaluator's ops written as Python loops cost thousands of times as much per entry.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from onnxnull.graph.constants import Constant
from onnxnull.graph.operator_facts import Named, OperatorFacts

if TYPE_CHECKING:
    import onnx_ir as ir

Operands = Sequence[Constant | None]


@dataclass(frozen=True, slots=True)
class EvaluationRule:
    """How an operator of ONNX's own domain is evaluated over constants.

    Attributes:
        one_by_one: whether the evaluator handles its entries in a Python loop.
        products: node, operands, entries that come out → products that it takes, in the time of a byte moved.
        least: operands → how many entries come out at least, where that follows from their numbers; raises `EvaluationError`.
        against: node, version, operands → why it is not evaluated; None where it is.
        is_bounded: whether no more entries come out than go in, however many: then its output may have any shape.
    """

    one_by_one: bool = False
    products: Callable[[ir.Node, Operands, int], float] | None = None
    least: Callable[[Operands], int] | None = None
    against: Callable[[ir.Node, int, Operands], str | None] | None = None
    is_bounded: bool = False


_EVALUATIONS: OperatorFacts[EvaluationRule] = OperatorFacts("way of evaluation")
_RANDOM: OperatorFacts[bool] = OperatorFacts("note that it is random")
draws_at_random = partial(_RANDOM.add, True)
"""Note that these operators give other numbers in every run."""


def evaluated(names: str, evaluation: EvaluationRule = EvaluationRule()) -> None:
    """Register the operators, whose names are separated by blanks, as evaluated over constants."""
    _EVALUATIONS.add(evaluation, *names.split())


def is_random(node: Named) -> bool:
    """Whether a node gives other numbers in every run."""
    return _RANDOM.of(node) is not None


def is_one_by_one(node: Named) -> bool:
    """Whether the evaluator handles the entries of a node in a Python loop."""
    found = _EVALUATIONS.of(node)
    return found is not None and found.one_by_one


def is_bounded_by_input(node: Named) -> bool:
    """Whether no more entries come out of a node than go in."""
    found = _EVALUATIONS.of(node)
    return found is not None and found.is_bounded


_LOOP = 4096
"""Cost of an entry that a Python loop handles."""
_STEP = 1 << 17
"""Cost of an op, however small."""


def reason_against(node: ir.Node, version: int, operands: Operands) -> str | None:
    """Why this op on these constants is not evaluated; None where it may be. Random generators are the caller's."""
    if any(c is not None and c.dtype.is_string() for c in operands):
        return f"op {node.op_type}: strings are not evaluated"
    found = _EVALUATIONS.of(node)
    if found is None:
        return f"op {node.op_type} is not among those that are evaluated over constants"
    return None if found.against is None else found.against(node, version, operands)


def work(node: ir.Node, operands: Operands, entries: int, nbytes: int) -> float:
    """What it costs to evaluate an op that nothing speaks against, whose outputs have so many entries and bytes."""
    moved = float(nbytes + sum(c.nbytes for c in operands if c is not None))
    found = _EVALUATIONS.of(node) or EvaluationRule()
    products = 0.0 if found.products is None else found.products(node, operands, entries)
    return _STEP + moved * (_LOOP if found.one_by_one else 1) + products


def least_entries(node: ir.Node, operands: Operands) -> int:
    """How many entries come out at least, where that follows from numbers among the operands: inference overflows there.

    Raises:
        EvaluationError: the numbers are not to be had, or are none.
    """
    found = _EVALUATIONS.of(node)
    return 0 if found is None or found.least is None else found.least(operands)
