"""Conv, ConvTranspose and their relatives."""

from onnxnull.operators.convolution import gradient, lowering, ranges, special, strided, weights

__all__ = ["gradient", "lowering", "ranges", "special", "strided", "weights"]
