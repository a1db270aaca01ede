"""Normalizations and Softmax."""

from onnxnull.operators.normalization import facts, gradient, lowering, ranges

__all__ = ["facts", "gradient", "lowering", "ranges"]
