"""What ONNX's and onnxruntime's operators are in terms of sums, products, linear operators and movements: a family a file.

A rule takes a `ReadNode` and gives its outputs, or None where it does not apply and the node stays what it is. Every rule holds
over the reals; what it rests on stands in the docstring of its file.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from onnxnull.comparison.graphs.algebra import Algebra
from onnxnull.comparison.graphs.constants import Const
from onnxnull.comparison.graphs.terms import Shape, Term, Value, known
from onnxnull.graph.node import Node


@dataclass(frozen=True, slots=True)
class ReadNode:
    """A node whose operands have been read.

    Attributes:
        view: as the file has it.
        operands: what it reads; None where an optional one is left out.
        terms: the table.
        quantizers: whether quantizers of activations count as what they approximate, the identity.
    """

    view: Node
    operands: tuple[Value | None, ...]
    terms: Algebra
    quantizers: bool

    @property
    def op(self) -> str:
        """The operator."""
        return self.view.op_type

    @property
    def version(self) -> int:
        """Of the opset."""
        return self.view.version

    def attribute(self, name: str, default: Any = None) -> Any:
        """As `Node.attribute`."""
        return self.view.attribute(name, default)

    def operand(self, index: int) -> Value | None:
        """None where it is left out."""
        return self.operands[index] if index < len(self.operands) else None

    def shape(self, index: int = 0) -> Shape | None:
        """Of an output."""
        out = self.view.outputs[index] if index < len(self.view.outputs) else None
        return None if out is None else out.shape

    def whole_shape(self, index: int = 0) -> tuple[int, ...] | None:
        """Of an output, where all of it is known."""
        return known(self.shape(index))

    def all_floats(self) -> bool:
        """Whether every operand is a float."""
        return all(o is None or o.kind == "f" for o in self.operands)

    def integers(self, index: int, name: str) -> list[int] | None:
        """A list of integers that is an attribute, or a constant operand since a later opset; None where neither is there."""
        found = self.attribute(name)
        if found is not None:
            return [int(i) for i in (found if isinstance(found, list | tuple) else [found])]
        operand = self.operand(index)
        if isinstance(operand, Const):
            return [int(i) for i in operand.value.ravel()]
        return None


Result = Value | Sequence[Value | None] | ReadNode | None
"""The outputs; a node with other operands, which stays what it is; None where no rule applies."""
Rule = Callable[[ReadNode], Result]
_RULES: dict[tuple[str, str], Rule] = {}


def rule(*names: str, domain: str = "") -> Callable[[Rule], Rule]:
    """Register a rule for operators of a domain."""

    def add(function: Rule) -> Rule:
        for name in names:
            if (domain, name) in _RULES:
                raise ValueError(f"two rules for {domain}.{name}")
            _RULES[domain, name] = function
        return function

    return add


def find_rule(domain: str, op_type: str) -> Rule | None:
    """The rule for an operator; None where there is none."""
    from onnxnull.comparison.graphs.rewrites import (  # noqa: F401 - they register their rules
        activations,
        arithmetic,
        attention,
        dimensions,
        linear,
        movement,
        normalization,
        quantized_elementwise,
        quantized_products,
        quantizers,
        recurrent,
        reductions,
        resampling,
    )

    return _RULES.get((domain, op_type))


__all__ = ["Const", "ReadNode", "Result", "Rule", "Term", "Value", "find_rule", "rule"]
