"""Products of integers, quantizers, and weights packed in a few bits."""

from onnxnull.operators.quantized import facts, few_bits, origins, ranges, refused, weights

__all__ = ["facts", "few_bits", "origins", "ranges", "refused", "weights"]
