"""onnxnull: what an ONNX model cannot see. Kernels of its weights, and inputs that collide.

>>> report = onnxnull.analyze("model.onnx")   # doctest: +SKIP
>>> report.paper.nullity                      # doctest: +SKIP
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from onnxnull.version import __version__

if TYPE_CHECKING:
    from onnxnull.analysis import analyze
    from onnxnull.errors import Code, OnnxnullError
    from onnxnull.graph.limits import Limits
    from onnxnull.results import ModelReport

__all__ = ["Code", "Limits", "ModelReport", "OnnxnullError", "__version__", "analyze"]

_HOMES = {
    "Code": "onnxnull.errors",
    "Limits": "onnxnull.graph.limits",
    "ModelReport": "onnxnull.results",
    "OnnxnullError": "onnxnull.errors",
    "analyze": "onnxnull.analysis",
}


def __getattr__(name: str) -> object:
    """Import what is asked for when it is asked for: `import onnxnull` alone costs nothing."""
    if name not in _HOMES:
        raise AttributeError(f"module 'onnxnull' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
