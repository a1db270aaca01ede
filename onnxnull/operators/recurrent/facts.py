"""Recurrent operators: biases."""

from __future__ import annotations

from onnxnull.graph.node import Node
from onnxnull.operators.linear_use import holds_no_weight
from onnxnull.operators.parameters import NAN, accounts_for, holds_parameters


def _scanned(node: Node) -> list[tuple[int, str]]:
    count = len(node.inputs)
    return [(index, NAN) for index in range(max(0, count - int(node.attribute("num_scan_inputs", 0))), count)]


accounts_for("Scan", places=_scanned)
holds_parameters("GRU", "RNN", inputs=(3, 5))
holds_parameters("LSTM", inputs=(3, 5, 6, 7))

# The products are of the nodes before it.
holds_no_weight("GRUUnit")
