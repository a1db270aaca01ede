"""Resize and Upsample."""

from onnxnull.operators.resampling import facts, lowering, origins, positions, steps

__all__ = ["facts", "lowering", "origins", "positions", "steps"]
