"""What moves, copies or drops entries."""

from onnxnull.operators.movement import facts, gradient, origins, ranges, sequences, steps

__all__ = ["facts", "gradient", "origins", "ranges", "sequences", "steps"]
