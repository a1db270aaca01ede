"""Attention: projections inside the operator, and constant queries, keys and values."""

from onnxnull.operators.attention import lowering, ranges, refused, weights

__all__ = ["lowering", "ranges", "refused", "weights"]
