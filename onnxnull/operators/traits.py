"""Short facts of operators that several rooms ask for: operands that commute, named types, bounded results, guards."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from onnxnull.graph.operator_facts import Named, OperatorFacts, operator_of

_COMMUTATIVE: OperatorFacts[bool] = OperatorFacts("note on operands that may change places")
is_commutative = partial(_COMMUTATIVE.add, True)
"""Note that the operands of these operators may change places."""

_WITHIN_ONE: OperatorFacts[bool] = OperatorFacts("note on errors relative to 1")
errs_relative_to_one = partial(_WITHIN_ONE.add, True)
"""Note that results of these operators are at most 1, and that what approximates them errs relative to 1."""

_GUARDS: OperatorFacts[bool] = OperatorFacts("note on what handles NaN and infinities")
handles_nonfinite = partial(_GUARDS.add, True)
"""Note that these operators make numbers of NaN and infinities again, or ask for them."""


@dataclass(frozen=True, slots=True)
class TypeAttribute:
    """The attribute that says of which type the output is.

    Attributes:
        is_float: whether the type is FLOAT where the attribute is left out.
    """

    name: str
    is_float: bool = False


_TYPES: OperatorFacts[TypeAttribute] = OperatorFacts("attribute that names a type")
names_type = _TYPES.add
"""Register the attribute in which these operators name the type of their output."""


def commutes(node: Named) -> bool:
    """Whether the operands of a node may change places."""
    return operator_of(node) in _COMMUTATIVE


def is_within_one(node: Named) -> bool:
    """Whether a node's results are at most 1, and approximated with errors relative to 1."""
    return operator_of(node) in _WITHIN_ONE


def guards(node: Named) -> bool:
    """Whether a node makes numbers of NaN and infinities again, or asks for them."""
    return operator_of(node) in _GUARDS


def type_attribute(node: Named) -> TypeAttribute | None:
    """The attribute that says of which type a node's output is; None where there is none."""
    return _TYPES.get(operator_of(node))
