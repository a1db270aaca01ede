"""Activations, and what networks apply entry by entry."""

from onnxnull.operators.activation import gradient, lowering, ranges

__all__ = ["gradient", "lowering", "ranges"]
