"""What moves, copies or drops entries."""

from onnxnull.operators.movement import gradient, ranges, steps

__all__ = ["gradient", "ranges", "steps"]
