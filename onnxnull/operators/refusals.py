"""Operators that hold linear weights which onnxnull does not analyse yet: each is named in the report, with its weights."""

from __future__ import annotations

from collections.abc import Iterator

from onnxnull.graph.node import Node
from onnxnull.operators.linear_use import LinearUse, holds_weights, refuse_constant_operands


def refuses(
    *op_types: str,
    reason: str,
    domain: str = "",
    least_ranks: tuple[int, ...] = (2, 1),
    operands: slice = slice(None),
) -> None:
    """Refuse constant operands: name the matrices among them, or else the vectors, since packed weights are stored flat."""

    def uses(node: Node) -> Iterator[LinearUse]:
        for least_rank in least_ranks:
            for refusal in refuse_constant_operands(node, reason, least_rank=least_rank, operands=operands):
                raise refusal
        yield from ()

    holds_weights(*op_types, domain=domain)(uses)
