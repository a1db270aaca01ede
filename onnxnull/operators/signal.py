"""Fourier transforms and their windows: linear by a rule and not by stored weights (a window of STFT scales samples)."""

from __future__ import annotations

from onnxnull.operators.range_rules import finite_of_finite

finite_of_finite("BlackmanWindow", "DFT", "HammingWindow", "HannWindow", "STFT")
finite_of_finite("Irfft", "Rfft", domain="com.microsoft")
