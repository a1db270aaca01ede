"""Products of integers, quantizers, and weights packed in a few bits."""

from onnxnull.operators.quantized import few_bits, ranges, refused, weights

__all__ = ["few_bits", "ranges", "refused", "weights"]
