"""Arithmetic, comparisons and casts, entry by entry."""

from onnxnull.operators.elementwise import facts, gradient, origins, ranges, steps

__all__ = ["facts", "gradient", "origins", "ranges", "steps"]
