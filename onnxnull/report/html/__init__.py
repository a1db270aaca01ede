"""HTML: one self-contained page for people who read a report once. See `analysis`, `collision`, and `markup` for safety."""

from onnxnull.report.html.analysis import render

__all__ = ["render"]
