"""Constants of a graph as the normal form holds them: numbers, and what their storage says of rounding and of grids."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from onnxnull.comparison.graphs import constants as c
from onnxnull.comparison.graphs.constants import Const
from onnxnull.comparison.graphs.grids import steps_of
from onnxnull.comparison.numbering import content, digest
from onnxnull.graph.constants import SMALL, Constant, EvaluationError
from onnxnull.graph.flow import Flow
from onnxnull.graph.quantization import Quantized, moved, quantized_from
from onnxnull.graph.types import dtype_name

if TYPE_CHECKING:
    import onnx_ir as ir


def read_constant(flow: Flow, value: ir.Value) -> Const | None:
    """The constant that a value is; None where it is none, or was not evaluated.

    Floats that are all numbers of float16, and at least 64, count as float16, whatever they are stored in.
    """
    constant = flow.operand(value).constant
    if not isinstance(constant, Constant):
        return None
    roots = () if constant.root is None else (constant.root.name,)
    name = dtype_name(constant.dtype)
    if quantized_from(constant) is not None:
        return _on_grid(constant, lambda: np.abs(moved(constant, Quantized.scales)))
    try:
        array = np.asarray(constant.array())
        steps = steps_of(flow, value)
    except EvaluationError:
        return None
    if steps is not None:
        return _on_grid(constant, lambda: steps)
    if name == "float32" and c.holds_float16(array):
        name = "float16"
    if name not in ("float16", "bfloat16") and (constant.size <= SMALL or array.dtype.kind not in "f"):
        return c.const(array, dtype=name, roots=roots)
    return Const(content(array), constant.shape, "f", name, roots, False, lambda: c.narrow(array, name))


def _on_grid(constant: Constant, steps: Callable[[], np.ndarray]) -> Const:
    """A constant that is codes times scales, which are the steps of its grid."""
    key = digest("quantized", content(np.asarray(constant.array())))
    roots = () if constant.root is None else (constant.root.name,)

    def thunk() -> c.Numbers:
        value = np.asarray(constant.array()).astype(np.float64)
        return c.Numbers(value, 2.0**-23 * np.abs(value), steps())

    return Const(key, constant.shape, "f", dtype_name(constant.dtype), roots, True, thunk)
