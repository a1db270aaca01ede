"""Normalizations and Softmax."""

from onnxnull.operators.normalization import gradient, lowering, ranges

__all__ = ["gradient", "lowering", "ranges"]
