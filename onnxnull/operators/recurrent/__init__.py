"""RNN, GRU and LSTM."""

from onnxnull.operators.recurrent import facts, lowering, ranges, weights

__all__ = ["facts", "lowering", "ranges", "weights"]
