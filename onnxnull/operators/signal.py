"""Fourier transforms and their windows: linear by a rule and not by stored weights (a window of STFT scales samples)."""

from __future__ import annotations

from onnxnull.operators.linear_use import holds_no_weight
from onnxnull.operators.range_rules import finite_of_finite, shaped_by_values
from onnxnull.operators.traits import TypeAttribute, names_type

_MICROSOFT = "com.microsoft"

finite_of_finite("BlackmanWindow", "DFT", "HammingWindow", "HannWindow", "STFT")
finite_of_finite("Irfft", "Rfft", domain="com.microsoft")

# Linear, by a rule and not by stored weights; products of complex numbers entry by entry.
holds_no_weight("BlackmanWindow DFT HammingWindow HannWindow MelWeightMatrix STFT")
holds_no_weight("ComplexMul ComplexMulConj Irfft Rfft", domain=_MICROSOFT)

names_type(TypeAttribute("output_datatype", is_float=True), "BlackmanWindow", "HammingWindow", "HannWindow", "MelWeightMatrix")
shaped_by_values("DFT", operands=(1, 2))
shaped_by_values("MelWeightMatrix", operands=(0, 1, 2))
shaped_by_values("STFT", operands=(1, 3))
