"""Conv, ConvTranspose and their relatives."""

from onnxnull.operators.convolution import facts, gradient, lowering, ranges, special, strided, weights

__all__ = ["facts", "gradient", "lowering", "ranges", "special", "strided", "weights"]
