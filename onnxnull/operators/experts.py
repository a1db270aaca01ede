"""MoE (com.microsoft, opset 1): a mixture of experts, of which the router picks k for every token.

fc1 (experts, s·inner, hidden) multiplies the token, s = 2 where two products are fused for SwiGLU; fc3 (experts, inner, hidden)
too, where they are not; fc2 (experts, hidden, inner) multiplies what is between them. Inputs 2, 6 and 4 of the node.

Each expert of each is a matrix of its own, (1, hidden, s·inner) or (1, inner, hidden), a fully connected layer: no token meets
two experts as one matrix, and which it meets depends on the token. What the node cannot see of a token whatever the router does
is the joint kernel of all experts, which is what the input frontier looks at.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np

from onnxnull.errors import Code
from onnxnull.graph.node import Node
from onnxnull.operators.attention.weights import last_axis_map
from onnxnull.operators.linear_use import LinearUse, Refusal, constant_at, holds_weights, is_constant
from onnxnull.operators.range_rules import finite_of_finite

_FC1, _FC2, _FC3 = 2, 4, 6

finite_of_finite("MoE", domain="com.microsoft")


@holds_weights("MoE", domain="com.microsoft")
def mixture_of_experts(node: Node) -> Iterator[LinearUse]:
    """fc1, fc2 and fc3, expert by expert."""
    for index in (_FC1, _FC2, _FC3):
        weight = constant_at(node, index)
        if weight is None or (index != _FC2 and is_constant(node, 0)):
            continue
        if len(weight.shape) != 3:
            raise Refusal(Code.INVALID_MODEL, f"MoE with experts of shape {weight.shape}")
        experts, outputs, inputs = weight.shape
        for number in range(experts):
            yield LinearUse(
                constant=weight,
                activation=None if index == _FC2 else 0,
                shape=(1, inputs, outputs),
                arrange=partial(expert_block, number),
                linear_map=last_axis_map,
                paper=True,
                part=f"expert {number}",
            )


def expert_block(number: int, weight: np.ndarray) -> np.ndarray:
    """One expert of (experts, outputs, inputs) as a block (1, inputs, outputs)."""
    return weight[number : number + 1].swapaxes(1, 2)
