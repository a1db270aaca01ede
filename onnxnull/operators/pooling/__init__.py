"""Averages and largest entries of windows."""

from onnxnull.operators.pooling import facts, gradient, lowering, steps

__all__ = ["facts", "gradient", "lowering", "steps"]
