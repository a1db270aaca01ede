"""RNN, GRU and LSTM."""

from onnxnull.operators.recurrent import lowering, ranges, weights

__all__ = ["lowering", "ranges", "weights"]
