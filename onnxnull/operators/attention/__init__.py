"""Attention: projections inside the operator, and constant queries, keys and values."""

from onnxnull.operators.attention import facts, lowering, ranges, refused, weights

__all__ = ["facts", "lowering", "ranges", "refused", "weights"]
