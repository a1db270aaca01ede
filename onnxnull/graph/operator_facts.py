"""Facts about operators: one table for each kind of fact, which the families in `onnxnull.operators` fill."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

Fact = TypeVar("Fact")
Operator = tuple[str, str]
"""(domain, op type); ONNX's own domain is ""."""


class Named(Protocol):
    """A node, as ONNX, onnx-ir and `Node` have it."""

    @property
    def domain(self) -> str:
        """The operator's domain."""

    @property
    def op_type(self) -> str:
        """The operator's name."""


def operator_of(node: Named) -> Operator:
    """The operator of a node."""
    return ("" if node.domain == "ai.onnx" else node.domain, node.op_type)


class OperatorFacts(dict[Operator, Fact], Generic[Fact]):
    """Operator → what is known of it. A second registration of the same operator is an error."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind

    def add(self, fact: Fact, *op_types: str, domain: str = "") -> None:
        """Register a fact of these operators. Raises `ValueError` where one of them has one."""
        for op_type in op_types:
            if (domain, op_type) in self:
                raise ValueError(f"a second {self.kind} of {domain or 'ai.onnx'}.{op_type}")
            self[domain, op_type] = fact

    def registers(self, *op_types: str, domain: str = "") -> Callable[[Fact], Fact]:
        """Register the function that is decorated."""

        def register(fact: Fact) -> Fact:
            self.add(fact, *op_types, domain=domain)
            return fact

        return register

    def of(self, node: Named) -> Fact | None:
        """The fact of a node's operator; None where there is none.

        Raises:
            RuntimeError: no family of operators is registered.
        """
        if not self:
            raise RuntimeError("import onnxnull.operators first: it registers what is known of operators")
        return self.get(operator_of(node))
