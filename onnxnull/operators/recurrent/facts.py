"""Recurrent operators: biases."""

from __future__ import annotations

from onnxnull.operators.parameters import holds_parameters

holds_parameters("GRU", "LSTM", "RNN", inputs=(3,))
