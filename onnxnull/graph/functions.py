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
from onnxnull.graph.limits import DEEPEST_CALLS, Limits, bounded
from onnxnull.graph.protobuf import all_nodes

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Iterable, Sequence

    import onnx
    import onnx_ir as ir
    from onnx_ir.passes.common import InlinePass

Identifier = tuple[str, str, str]
"""Domain, name and overload of a local function."""


def check_calls(proto: onnx.ModelProto, limits: Limits) -> tuple[onnx.FunctionProto, ...]:
    """Count the nodes after inlining on the call graph: a chain of doubling functions must not be expanded.

    Returns:
        Functions that nothing calls, which are taken out of `proto`: the inliner would expand them as well.

    Raises:
        OnnxnullError: a function is defined twice, or calls itself; there are too many nodes, or calls inside each other.
    """
    calls: dict[Identifier, Counter[Identifier]] = {}
    for function in proto.functions:
        identifier = _identifier(function)
        if identifier in calls:
            raise OnnxnullError(Code.INVALID_MODEL, f"two local functions are named {function.name!r}")
        calls[identifier] = _count(function.node)
    sizes: dict[Identifier, tuple[int, int]] = {}
    order = _callees_first(calls)
    for identifier in order:
        sizes[identifier] = _size(calls[identifier], sizes)
    in_graph = _count(proto.graph.node)
    called = set(in_graph)
    for identifier in reversed(order):
        called.update(calls[identifier] if identifier in called else ())
    uncalled = [
        type(function).FromString(function.SerializeToString())
        for function in proto.functions
        if _identifier(function) not in called
    ]
    for index in reversed(range(len(proto.functions))):
        if _identifier(proto.functions[index]) not in called:
            del proto.functions[index]
    nodes, depth = _size(in_graph, sizes)
    if depth > DEEPEST_CALLS:
        seen = f"local functions that call each other {depth} deep; the limit is {DEEPEST_CALLS}"
        raise OnnxnullError(Code.TOO_LARGE, seen, "inline them when exporting")
    if nodes > limits.nodes:
        seen = f"{nodes} nodes once functions are inlined; the limit is {limits.nodes}"
        raise OnnxnullError(Code.TOO_LARGE, seen, "raise --max-nodes if you trust the file")
    return tuple(uncalled)


def _identifier(function: onnx.FunctionProto) -> Identifier:
    return (function.domain, function.name, function.overload)


def _count(nodes: Iterable[onnx.NodeProto]) -> Counter[Identifier]:
    """How often each operator occurs, in bodies too."""
    from collections import Counter

    return Counter((node.domain, node.op_type, node.overload) for node in all_nodes(nodes))


def _size(counts: Counter[Identifier], sizes: dict[Identifier, tuple[int, int]]) -> tuple[int, int]:
    """(nodes once inlined, calls inside each other). A call counts as a node too: functions may have none."""
    nodes, depth = 0, 0
    for identifier, count in counts.items():
        inner, below = sizes.get(identifier, (0, -1))
        nodes += count * (1 + inner)
        depth = max(depth, below + 1)
    return nodes, depth


def _callees_first(calls: dict[Identifier, Counter[Identifier]]) -> Sequence[Identifier]:
    from graphlib import CycleError, TopologicalSorter

    try:
        inner = {name: [callee for callee in called if callee in calls] for name, called in calls.items()}
        return list(TopologicalSorter(inner).static_order())
    except CycleError as error:
        raise OnnxnullError(Code.INVALID_MODEL, f"local function {error.args[1][0][1]!r} calls itself") from None


def inline(model: ir.Model) -> None:
    """Inline all calls of a checked model in place. Raises `OnnxnullError` where a call does not fit its function."""
    if not model.functions:
        return
    kept = [value for node in model.graph.all_nodes() for value in node.outputs]
    try:
        _pass()(model)
    except MemoryError:
        raise
    except Exception as error:  # whatever a pass of another package raises says what is wrong with the calls
        raise OnnxnullError(Code.INVALID_MODEL, root_cause(error)) from error
    there = {value for node in model.graph.all_nodes() for value in node.outputs}
    _make_names_unique(model.graph, [value for value in kept if value in there])


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
                inner.name = bounded(f"{call_site_id}/{inner.name}")
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
