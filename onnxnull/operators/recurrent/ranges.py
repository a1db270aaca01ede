"""Ranges of recurrent operators."""

from __future__ import annotations

from onnxnull.operators.range_rules import finite_of_finite

finite_of_finite("GRU", "LSTM", "RNN")
