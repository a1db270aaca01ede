"""onnxnull: what an ONNX model cannot see. Kernels of its weights, and inputs that collide.

>>> report = onnxnull.analyze("model.onnx")   # doctest: +SKIP
>>> report.paper.nullity                      # doctest: +SKIP
>>> model = onnxnull.open_model("model.onnx")  # doctest: +SKIP
>>> search = onnxnull.Search(model, onnxnull.Place(), onnxnull.Execution())                  # doctest: +SKIP
>>> for collision in search.run(case, onnxnull.Recipe()): print(collision.holds)             # doctest: +SKIP
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from onnxnull.version import __version__

if TYPE_CHECKING:
    from onnxnull.analysis.analyze import analyze
    from onnxnull.analysis.results import ModelReport
    from onnxnull.collision.cases import Case, load_cases
    from onnxnull.collision.perturb import Recipe
    from onnxnull.collision.results import Collision, Kind
    from onnxnull.collision.search import Execution, Place, Search
    from onnxnull.collision.strategies.strategy import Method
    from onnxnull.comparison.carried_collisions import Running
    from onnxnull.comparison.compare import compare
    from onnxnull.comparison.results import Comparison
    from onnxnull.comparison.verdicts import Outcome, Verdict
    from onnxnull.errors import Code, OnnxnullError
    from onnxnull.evidence.replay import replay
    from onnxnull.evidence.write_bundle import Bundle
    from onnxnull.graph.limits import Limits
    from onnxnull.graph.model import Model, open_model
    from onnxnull.inputs import Preprocessing
    from onnxnull.runtime.precision import Precision
    from onnxnull.runtime.providers import Provider

__all__ = [
    "Bundle",
    "Case",
    "Code",
    "Collision",
    "Comparison",
    "Execution",
    "Kind",
    "Limits",
    "Method",
    "Model",
    "ModelReport",
    "OnnxnullError",
    "Outcome",
    "Place",
    "Precision",
    "Preprocessing",
    "Provider",
    "Recipe",
    "Running",
    "Search",
    "Verdict",
    "__version__",
    "analyze",
    "compare",
    "load_cases",
    "open_model",
    "replay",
]

_HOMES = {
    "Bundle": "onnxnull.evidence.write_bundle",
    "Case": "onnxnull.collision.cases",
    "Code": "onnxnull.errors",
    "Collision": "onnxnull.collision.results",
    "Comparison": "onnxnull.comparison.results",
    "Execution": "onnxnull.collision.search",
    "Kind": "onnxnull.collision.results",
    "Limits": "onnxnull.graph.limits",
    "Method": "onnxnull.collision.strategies.strategy",
    "Model": "onnxnull.graph.model",
    "ModelReport": "onnxnull.analysis.results",
    "OnnxnullError": "onnxnull.errors",
    "Outcome": "onnxnull.comparison.verdicts",
    "Place": "onnxnull.collision.search",
    "Precision": "onnxnull.runtime.precision",
    "Preprocessing": "onnxnull.inputs",
    "Provider": "onnxnull.runtime.providers",
    "Recipe": "onnxnull.collision.perturb",
    "Running": "onnxnull.comparison.carried_collisions",
    "Search": "onnxnull.collision.search",
    "Verdict": "onnxnull.comparison.verdicts",
    "analyze": "onnxnull.analysis.analyze",
    "compare": "onnxnull.comparison.compare",
    "load_cases": "onnxnull.collision.cases",
    "open_model": "onnxnull.graph.model",
    "replay": "onnxnull.evidence.replay",
}


def __getattr__(name: str) -> object:
    """Import what is asked for when it is asked for: `import onnxnull` alone costs nothing."""
    if name not in _HOMES:
        raise AttributeError(f"module 'onnxnull' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
