"""Conv, ConvTranspose and their relatives."""

from onnxnull.operators.convolution import gradient, lowering, special, strided, weights

__all__ = ["gradient", "lowering", "special", "strided", "weights"]
