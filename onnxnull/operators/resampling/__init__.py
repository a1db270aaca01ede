"""Resize and Upsample."""

from onnxnull.operators.resampling import lowering, positions, steps

__all__ = ["lowering", "positions", "steps"]
