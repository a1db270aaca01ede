"""Reductions: sums, means, norms and extremes along axes."""

from onnxnull.operators.reduction import gradient, ranges

__all__ = ["gradient", "ranges"]
