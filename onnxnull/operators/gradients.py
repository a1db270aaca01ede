"""Gradient rules: how cotangents of a node's outputs become cotangents of its inputs (reverse mode).

A rule is registered per operator, by its family (`gradient.py` of the folder). Given a node to pull back
(`Pull`) it emits nodes and returns, for every wanted input, the name of that input's cotangent. Rules are written for opset 17
and later, in real arithmetic, and know shapes as far as inference does. Every operator that a rule emits between cotangents has
a rule itself: so forward mode is the transpose of reverse mode (see `onnxnull.gradient`).

Three ways to register:
1. `differentiates`: the rule itself;
2. `derivative`: for functions of one operand, entry by entry: f'(x);
3. `through_lowering` and `expands`: the node is replaced by what it is lowered to, or by what a function of its own emits, and
   that is differentiated.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import cast

from onnxnull.graph.operator_facts import OperatorFacts
from onnxnull.graph.types import Shape
from onnxnull.operators.lowering import Emitter, Lowering, Site, lowering_of


class NotDifferentiableError(Exception):
    """This node has no gradient here; the message says which case of it is missing."""


@dataclass(frozen=True, slots=True)
class Pull:
    """A node to be pulled back.

    Attributes:
        cotangents: of the outputs, None where nothing depends on an output.
        wanted: the inputs whose cotangents are asked for.
        outputs: shapes of the outputs, as far as they are known.
    """

    site: Site
    emit: Emitter
    cotangents: tuple[str | None, ...]
    wanted: frozenset[int]
    outputs: tuple[Shape | None, ...]

    @property
    def cotangent(self) -> str:
        """Of the first output."""
        found = self.cotangents[0]
        if found is None:
            raise NotDifferentiableError("only outputs beside the first one are used")
        return found

    def known(self, index: int) -> tuple[int, ...] | None:
        """The shape of an input where all of it is known."""
        return fixed(self.site.shape(index))

    def shape_of(self, index: int) -> str:
        """The shape of an input as a vector: a constant where it is known."""
        shape = self.known(index)
        return self.emit.shape(self.site.inputs[index]) if shape is None else self.emit.integers(*shape)

    def zeros(self, index: int) -> str:
        """Zeros of the shape of an input."""
        return self.emit.op("Expand", self.emit.constant(0.0), self.shape_of(index))

    def reshaped(self, cotangent: str, index: int = 0) -> str:
        """The cotangent in the shape of an input."""
        return self.emit.op("Reshape", cotangent, self.shape_of(index))

    def summed(self, cotangent: str, index: int, whole: Shape | None = None) -> str:
        """The cotangent of an operand that was broadcast: the sum over every axis along which it was repeated.

        Args:
            whole: shape of the cotangent; None for the first output's.
        """
        emit, target = self.emit, self.site.shape(index)
        whole = self.outputs[0] if whole is None else whole
        if target is None or whole is None:
            raise NotDifferentiableError(f"the rank of {self.site.inputs[index]!r} is not known")
        lead = len(whole) - len(target)
        if any(n is None for n in target):
            return self._summed(cotangent, index, lead)
        repeated = [lead + axis for axis, n in enumerate(target) if n == 1 and whole[lead + axis] != 1]
        axes = [*range(lead), *repeated]
        if axes:
            cotangent = emit.sum(cotangent, axes)
        return emit.reshape(cotangent, [n or 0 for n in target]) if lead else cotangent

    def _summed(self, cotangent: str, index: int, lead: int) -> str:
        """The same with axes that are found when it runs."""
        emit, shape = self.emit, self.emit.shape(self.site.inputs[index])
        padded = emit.concat([*([emit.integers(*(1,) * lead)] if lead else []), shape])
        differ = emit.op("NonZero", emit.op("Not", emit.op("Equal", padded, emit.shape(cotangent))))
        axes = emit.reshape(differ, (-1,))
        total = emit.op("ReduceSum", cotangent, axes, keepdims=1, noop_with_empty_axes=1)
        return emit.op("Reshape", total, shape)


Rule = Callable[[Pull], Mapping[int, str]]
"""Index of an input → the name of its cotangent; wanted inputs that are left out have a gradient of zero."""

_RULES: OperatorFacts[Rule] = OperatorFacts("gradient rule")
_EXPANSIONS: OperatorFacts[Lowering | None] = OperatorFacts("expansion")
"""What replaces a node before it is differentiated; None for its lowering to double."""
differentiates = _RULES.registers
"""Register the gradient rule of these operators."""
expands = cast("Callable[..., Callable[[Lowering], Lowering]]", _EXPANSIONS.registers)
"""Register what these operators are differentiated as."""
through_lowering = partial(_EXPANSIONS.add, None)
"""Note that these operators are differentiated as what they are lowered to."""


def derivative(*op_types: str, domain: str = "") -> Callable[[Callable[[Pull], str]], Callable[[Pull], str]]:
    """Register f' of functions of one operand, entry by entry: the cotangent is multiplied by it."""

    def register(function: Callable[[Pull], str]) -> Callable[[Pull], str]:
        def rule(pull: Pull) -> Mapping[int, str]:
            return {0: pull.emit.mul(pull.cotangent, function(pull))}

        differentiates(*op_types, domain=domain)(rule)
        return function

    return register


def rule_of(op_type: str, domain: str = "") -> Rule | None:
    """The gradient rule of an operator; None where there is none."""
    return _RULES.get((domain, op_type))


def expansion_of(op_type: str, domain: str = "") -> Lowering | None:
    """What an operator is replaced by before it is differentiated; None where it has a rule, or nothing."""
    key = domain, op_type
    return (_EXPANSIONS[key] or lowering_of(op_type, domain)) if key in _EXPANSIONS else None


def differentiable_operators() -> frozenset[tuple[str, str]]:
    """(domain, op type) of every operator that has a gradient."""
    return frozenset(_RULES) | frozenset(_EXPANSIONS)


def fixed(shape: Shape | None) -> tuple[int, ...] | None:
    """A shape where all of it is known."""
    if shape is None or any(n is None for n in shape):
        return None
    return tuple(n for n in shape if n is not None)


def axes_list(site: Site, index: int) -> list[int] | None:
    """Axes that an attribute (older opsets) or a stored operand lists; None where nothing is given.

    Raises:
        NotDifferentiableError: the axes depend on the model's inputs.
    """
    given: Sequence[int] | None = site.attribute("axes", None)
    if given is None and site.input(index) is not None:
        found = site.constant(index)
        if found is None:
            raise NotDifferentiableError("axes that are no constants")
        given = found.ravel().tolist()
    return None if given is None else [int(axis) for axis in given]
