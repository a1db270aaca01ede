"""Local functions: replace every call by the body, so that the rest of the package sees graphs only.

Inlined Constant nodes keep their tensor object: a weight inside a function that is called twice stays one stored constant.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from onnxnull.errors import Code, OnnxnullError
from onnxnull.graph.limits import Limits

if TYPE_CHECKING:
    from collections.abc import Iterable

    import onnx_ir as ir


def inline(model: ir.Model, limits: Limits) -> None:
    """Inline all calls in place. Raises `OnnxnullError` for recursion, mismatched opsets and above the node limit."""
    from onnx_ir.passes.common import InlinePass

    try:
        count = _inlined_size(model)
        if count > limits.nodes:
            raise OnnxnullError(Code.TOO_LARGE, f"{count} nodes once functions are inlined; the limit is {limits.nodes}")
        if model.functions:
            InlinePass()(model)
    except (ValueError, RecursionError) as error:
        raise OnnxnullError(Code.INVALID_MODEL, str(error)) from error


def _inlined_size(model: ir.Model) -> int:
    """Number of nodes after inlining, counted on the call graph: a chain of doubling functions must not be expanded."""
    from onnx_ir.passes import PreconditionError

    sizes: dict[ir.OperatorIdentifier, int] = {}
    open_calls: set[ir.OperatorIdentifier] = set()

    def size(nodes: Iterable[ir.Node]) -> int:
        return sum(function_size(node.op_identifier()) for node in nodes)

    def function_size(identifier: ir.OperatorIdentifier) -> int:
        if identifier not in model.functions:
            return 1
        if identifier in open_calls:
            raise PreconditionError(f"local function {identifier[1]!r} calls itself")
        if identifier not in sizes:
            open_calls.add(identifier)
            sizes[identifier] = size(model.functions[identifier].all_nodes())
            open_calls.remove(identifier)
        return sizes[identifier]

    try:
        return size(model.graph.all_nodes())
    except PreconditionError as error:
        raise ValueError(str(error)) from None
