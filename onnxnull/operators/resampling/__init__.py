"""Resize and Upsample."""

from onnxnull.operators.resampling import lowering, steps

__all__ = ["lowering", "steps"]
