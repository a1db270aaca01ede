"""Local functions: replace every call by the body, so that the rest of the package sees graphs only.

Inlined Constant nodes keep their tensor object: a weight inside a function that is called twice stays one stored constant.
An inlined node is named after its calls, "call/node". Values of the main graph keep their names; of inlined ones that share a
name, all but the first get a number.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from onnxnull.errors import Code, OnnxnullError, one_line
from onnxnull.graph.bodies import subgraphs
from onnxnull.graph.limits import Limits

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import onnx_ir as ir
    from onnx_ir.passes.common import InlinePass


def inline(model: ir.Model, limits: Limits) -> None:
    """Inline all calls in place. Raises `OnnxnullError` for recursion, mismatched opsets and above the node limit."""
    try:
        count = _inlined_size(model)
        if count > limits.nodes:
            raise OnnxnullError(Code.TOO_LARGE, f"{count} nodes once functions are inlined; the limit is {limits.nodes}")
        if model.functions:
            kept = [value for node in model.graph.all_nodes() for value in node.outputs]
            _pass()(model)
            there = {value for node in model.graph.all_nodes() for value in node.outputs}
            _make_names_unique(model.graph, [value for value in kept if value in there])
    except (ValueError, RuntimeError) as error:
        raise OnnxnullError(Code.INVALID_MODEL, root_cause(error)) from error


def root_cause(error: BaseException) -> str:
    """The message of the first error in a chain, on one line."""
    while error.__cause__ is not None:
        error = error.__cause__
    return one_line(error)


def _pass() -> InlinePass:
    """onnx-ir's inliner, without its search for unused names: that takes quadratic time where a function is called often."""
    from onnx_ir.passes.common import InlinePass

    class Inline(InlinePass):
        def _instantiate_call(self, node: ir.Node, call_site_id: str) -> tuple[Sequence[ir.Node], Sequence[ir.Value]]:
            self._used_value_names.clear()
            self._used_node_names.clear()
            nodes, values = super()._instantiate_call(node, call_site_id)
            for inner in nodes:
                inner.name = f"{call_site_id}/{inner.name}"
            return nodes, values

    return Inline()


def _make_names_unique(graph: ir.Graph, first: Sequence[ir.Value]) -> None:
    """Rename what nodes and bodies define where another value has the name; the values of `first` come first."""
    nodes = list(graph.all_nodes())
    graphs = [graph, *(body for node in nodes for _, body in subgraphs(node))]
    fixed = {value for each in graphs for value in (*each.initializers.values(), *each.outputs)}
    fixed.update(graph.inputs)
    taken = {value.name for value in fixed}
    made = [value for node in nodes for value in node.outputs] + [value for body in graphs[1:] for value in body.inputs]
    numbers = itertools.count()
    for value in (*first, *made):
        if not value.name or value in fixed:
            continue
        fixed.add(value)
        base = value.name
        while value.name in taken:
            value.name = f"{base}_{next(numbers)}"
        taken.add(value.name)


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
        # the call itself counts too: functions without nodes can be called exponentially often
        if identifier in open_calls:
            raise PreconditionError(f"local function {identifier[1]!r} calls itself")
        if identifier not in sizes:
            open_calls.add(identifier)
            sizes[identifier] = 1 + size(model.functions[identifier].all_nodes())
            open_calls.remove(identifier)
        return sizes[identifier]

    try:
        return size(model.graph.all_nodes())
    except PreconditionError as error:
        raise ValueError(str(error)) from None
