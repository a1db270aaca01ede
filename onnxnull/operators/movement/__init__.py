"""What moves, copies or drops entries."""

from onnxnull.operators.movement import facts, gradient, ranges, steps

__all__ = ["facts", "gradient", "ranges", "steps"]
