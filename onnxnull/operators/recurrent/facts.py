"""Recurrent operators: biases."""

from __future__ import annotations

from onnxnull.operators.linear_use import holds_no_weight
from onnxnull.operators.parameters import holds_parameters

holds_parameters("GRU", "LSTM", "RNN", inputs=(3,))

# The products are of the nodes before it.
holds_no_weight("GRUUnit")
