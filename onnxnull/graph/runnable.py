"""Whether a command may run a model: whatever it stores or computes, as far as its shape is known, stays within the limits.

What analysis leaves aside with a word (a weight that would be made of a terabyte of zeros) a runtime would make: so a command
that runs the model refuses it as a whole, before there is a session. Sizes that only the data decides are not known here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from onnxnull.errors import Code, OnnxnullError
from onnxnull.graph.flow import Flow
from onnxnull.graph.model import tensors_of

if TYPE_CHECKING:
    import onnx_ir as ir


def check_runnable(flow: Flow) -> None:
    """Raise `OnnxnullError`: `too-large` where a tensor has more bytes than `Limits.constant_bytes`, `invalid-model` where one
    has a negative size.
    """
    if flow.impossible is not None:
        raise OnnxnullError(Code.INVALID_MODEL, flow.impossible)
    limit = flow.model.limits.constant_bytes
    sizes = [(tensor.name or "", _bytes(tensor.shape.numpy(), tensor.dtype)) for tensor in tensors_of(flow.model.graph)]
    for node in flow.nodes:
        sizes += [
            (operand.name, _bytes([size or 0 for size in operand.shape], operand.dtype))
            for operand in (*node.inputs, *node.outputs)
            if operand is not None and operand.shape is not None and None not in operand.shape
        ]
    name, largest = max(sizes, key=lambda item: item[1], default=("", 0))
    if largest > limit:
        seen = f"{name!r} has {largest} bytes when the model runs; the limit is {limit}"
        raise OnnxnullError(Code.TOO_LARGE, seen, "raise --max-constant-bytes if you trust the file")


def _bytes(shape: Sequence[int], dtype: ir.DataType | None) -> int:
    known = dtype is not None and not dtype.is_string() and dtype.name != "UNDEFINED"
    return math.prod(shape) * (dtype.bitwidth if known and dtype is not None else 8) // 8
