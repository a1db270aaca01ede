"""Arithmetic, comparisons and casts, entry by entry."""

from onnxnull.operators.elementwise import facts, gradient, ranges, steps

__all__ = ["facts", "gradient", "ranges", "steps"]
