"""Products with a matrix: MatMul, Gemm, Einsum."""

from onnxnull.operators.contraction import gradient, ranges, weights

__all__ = ["gradient", "ranges", "weights"]
