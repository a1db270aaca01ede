"""Ranges of recurrent operators (opset 7 on): states are sums of values of Tanh, weighted by gates from 0 to 1."""

from __future__ import annotations

from onnxnull.graph.node import Node
from onnxnull.intervals.domain import Range, anything, between
from onnxnull.operators.range_rules import Operands, gives, output_type


@gives("GRU", "LSTM", "RNN")
def recurrent(node: Node, of: Operands) -> list[Range]:
    """Of finite operands the states are finite, and from −1 to 1 with the default activations; an LSTM's cells are only finite.

    First states of a GRU go into all others, and sequences of length 0 hand them on: with either nothing is bounded.
    """
    finite = all((each := of(index)) is None or each.tame for index in range(len(node.inputs)))
    free = [anything(output_type(node, index), finite=finite) for index in range(len(node.outputs))]
    first = node.op_type != "LSTM" and node.input(5) is not None
    if not finite or first or node.input(4) is not None or node.node.attributes.get("activations") is not None:
        return free
    return [of.loosened(between(-1.0, 1.0), known=True) if index < 2 else found for index, found in enumerate(free)]
