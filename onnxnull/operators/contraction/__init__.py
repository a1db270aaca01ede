"""Products with a matrix: MatMul, Gemm, Einsum."""

from onnxnull.operators.contraction import facts, gradient, ranges, weights

__all__ = ["facts", "gradient", "ranges", "weights"]
