"""Averages and largest entries of windows."""

from onnxnull.operators.pooling import gradient, lowering, steps

__all__ = ["gradient", "lowering", "steps"]
