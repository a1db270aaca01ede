"""Products with a matrix: MatMul, Gemm, Einsum."""

from onnxnull.operators.contraction import gradient, maps, ranges, weights

__all__ = ["gradient", "maps", "ranges", "weights"]
