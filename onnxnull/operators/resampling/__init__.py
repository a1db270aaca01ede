"""Resize and Upsample."""

from onnxnull.operators.resampling import facts, lowering, positions, steps

__all__ = ["facts", "lowering", "positions", "steps"]
