"""RNN, GRU and LSTM (opset 1 to 22): per direction, the weight on the input and the weight on the hidden state.

W (directions, gates·hidden, input) and R (directions, gates·hidden, hidden); gates are stacked along the rows: i (RNN), z r h
(GRU), i o f c (LSTM). Each direction's stack is one matrix, since its gates read the same vector, with one exception: a GRU
with linear_before_reset = 0 multiplies the h rows of R with r ⊙ H, and the z r rows with H. Those are two matrices.
Biases and peepholes (a diagonal) are no linear weights.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from onnxnull.errors import Code
from onnxnull.graph.node import Node
from onnxnull.kernel.maps.linear_map import LinearMap
from onnxnull.kernel.maps.primitives import Matrix
from onnxnull.operators.linear_use import LinearUse, Refusal, constant_at, holds_weights

if TYPE_CHECKING:
    pass

_GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}
_INPUT, _HIDDEN = 1, 2


@holds_weights("RNN", "GRU", "LSTM")
def recurrent(node: Node) -> Iterator[LinearUse]:
    """W (input 1) and R (input 2), each direction on its own."""
    direction = node.attribute("direction", "forward")
    names = ("forward", "reverse") if direction == "bidirectional" else (direction,)
    for index in (_INPUT, _HIDDEN):
        weight = constant_at(node, index)
        if weight is None:
            continue
        if len(weight.shape) != 3 or weight.shape[0] != len(names) or weight.shape[1] % _GATES[node.op_type]:
            raise Refusal(Code.INVALID_MODEL, f"{node.op_type} {direction} with a weight of shape {weight.shape}")
        rows = weight.shape[1]
        reset = rows // 3 * 2
        split = index == _HIDDEN and node.op_type == "GRU" and not node.attribute("linear_before_reset", 0)
        stacks = {"zr": (0, reset), "h": (reset, rows)} if split else {"": (0, rows)}
        for number, name in enumerate(names):
            for gates, (start, stop) in stacks.items():
                yield LinearUse(
                    constant=weight,
                    activation=0 if index == _INPUT else None,
                    shape=(1, weight.shape[2], stop - start),
                    arrange=partial(gate_blocks, number, start, stop),
                    linear_map=_rows_map,
                    paper=False,
                    part=" ".join(filter(None, (name, gates))),
                )


@holds_weights("AttnLSTM", domain="com.microsoft")
def attention_lstm(node: Node) -> Iterator[LinearUse]:
    """An LSTM that attends to a memory (opset 1): W and R as LSTM's, and the attention's QW, MW and AW (inputs 8, 9, 13).

    W multiplies the input beside the attention's state, QW the hidden state, MW the memory (whose rows come out too, weighted),
    AW hidden state and context. They are (directions, inputs, outputs), and all act on what the node keeps to itself.
    """
    directions = 2 if node.attribute("direction", "forward") == "bidirectional" else 1
    names = ("forward", "reverse") if directions == 2 else ("",)
    for index in (_INPUT, _HIDDEN, 8, 9, 13):
        weight = constant_at(node, index)
        if weight is None:
            continue
        if len(weight.shape) != 3 or weight.shape[0] != directions:
            raise Refusal(Code.INVALID_MODEL, f"AttnLSTM in {directions} directions with a weight of shape {weight.shape}")
        _, rows, columns = weight.shape
        gates = index in (_INPUT, _HIDDEN)
        for number, name in enumerate(names):
            yield LinearUse(
                constant=weight,
                activation=None,
                shape=(1, columns, rows) if gates else (1, rows, columns),
                arrange=partial(gate_blocks, number, 0, rows) if gates else partial(_direction_block, number),
                linear_map=_rows_map,
                paper=False,
                part=name,
            )


def _direction_block(direction: int, weight: np.ndarray) -> np.ndarray:
    """One direction of (directions, inputs, outputs)."""
    return weight[direction : direction + 1]


def gate_blocks(direction: int, start: int, stop: int, weight: np.ndarray) -> np.ndarray:
    """Rows `start` to `stop` of one direction of W or R (directions, gates·hidden, inputs) as a block (1, inputs, rows)."""
    return weight[direction : direction + 1, start:stop].swapaxes(1, 2)


def _rows_map(blocks: np.ndarray, activation: tuple[int, ...]) -> LinearMap:
    return Matrix(blocks[0], activation[:-1])
