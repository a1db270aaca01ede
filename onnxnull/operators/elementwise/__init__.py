"""Arithmetic, comparisons and casts, entry by entry."""

from onnxnull.operators.elementwise import gradient, ranges, steps

__all__ = ["gradient", "ranges", "steps"]
