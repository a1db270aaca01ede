"""Activations, and what networks apply entry by entry."""

from onnxnull.operators.activation import facts, gradient, lowering, ranges

__all__ = ["facts", "gradient", "lowering", "ranges"]
