"""Ways to a pair of inputs that collide: a file each, behind one protocol (`strategy.py`). A new one is added to `_MAKERS`."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from onnxnull.collision.results import Kind
from onnxnull.collision.strategies.along_fiber import along_fiber
from onnxnull.collision.strategies.in_kernel import in_kernel, in_near_kernel
from onnxnull.collision.strategies.on_grid import inside_cells
from onnxnull.collision.strategies.strategy import Method, Strategy
from onnxnull.collision.tensors import PerturbedTensor
from onnxnull.graph.model import Model

_MAKERS: Mapping[Kind, Callable[[PerturbedTensor, Method, Model], Strategy]] = {
    Kind.KERNEL: in_kernel,
    Kind.NEAR_KERNEL: in_near_kernel,
    Kind.QUANTIZER_CELL: inside_cells,
    Kind.FIBER: along_fiber,
}


def strategy_at(site: PerturbedTensor, method: Method, model: Model) -> Strategy:
    """The strategy that makes such pairs at this tensor.

    Raises:
        OnnxnullError: `injective`, `not-found` and others where there are none.
        UnknownShapeError, EvaluationError: a shape is not known, or a weight was not evaluated.
    """
    return _MAKERS[method.kind](site, method, model)
