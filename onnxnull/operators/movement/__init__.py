"""What moves, copies or drops entries."""

from onnxnull.operators.movement import facts, gradient, ranges, sequences, steps

__all__ = ["facts", "gradient", "ranges", "sequences", "steps"]
