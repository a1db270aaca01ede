"""Reductions: sums, means, norms and extremes along axes."""

from onnxnull.operators.reduction import facts, gradient, ranges

__all__ = ["facts", "gradient", "ranges"]
