"""Rewrite a protobuf node by node: what is chosen is replaced by its lowering, and constants come and go as they are needed."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from onnxnull.graph.protobuf import graphs, reads
from onnxnull.operators.lowering import Emitter, Lowering, NotLowerableError, Site
from onnxnull.runtime.types import Scope, enter

if TYPE_CHECKING:
    import onnx

Wanted = Callable[["onnx.NodeProto", tuple[int, ...], int], bool]
"""(node, TensorProto.DataType of every input, version of its opset) → whether it is to be replaced."""


class Rewriter:
    """One walk over a model's graphs.

    Attributes:
        lowered: what was replaced.
        missing: what was to be replaced and cannot be, in words.
    """

    def __init__(
        self, emit: Emitter, versions: dict[str, int], wanted: Wanted, lowering: Callable[[str, str], Lowering | None]
    ) -> None:
        self.emit, self.versions = emit, versions
        self._wanted, self._lowering = wanted, lowering
        self.lowered: set[str] = set()
        self.missing: set[str] = set()

    def graph(self, graph: onnx.GraphProto, outer: Scope | None = None) -> None:
        """Rewrite a graph whose `value_info` is filled, and the bodies in it, in place."""
        import onnx

        scope = enter(graph, outer)
        nodes: list[onnx.NodeProto] = []
        for node in graph.node:
            for attribute in node.attribute:
                if attribute.type == onnx.AttributeProto.GRAPH:
                    self.graph(attribute.g, scope)
            nodes.extend(self._replaced(node, scope))
        del graph.node[:]
        graph.node.extend(nodes)

    def _replaced(self, node: onnx.NodeProto, scope: Scope) -> list[onnx.NodeProto]:
        domain = domain_of(node)
        types = tuple(scope.type_of(name)[0] if name else 0 for name in node.input)
        version = self.versions.get(domain, 1)
        if not self._wanted(node, types, version):
            return [node]
        label = labelled(node)
        function = self._lowering(node.op_type, domain)
        if function is None:
            self.missing.add(f"{label} (node {node.name or node.output[0]!r})")
            return [node]
        site = site_of(node, version, scope)
        self.emit.begin(site)
        try:
            results = function(site, self.emit)
        except NotLowerableError as error:
            self.missing.add(f"{label} (node {node.name or node.output[0]!r}): {error}")
            return [node]
        self.lowered.add(label)
        needed = {name for each in self.emit.nodes for name in reads(each)}
        self.emit.forget(needed)
        return self._named([results] if isinstance(results, str) else list(results), node)

    def _named(self, results: list[str], node: onnx.NodeProto) -> list[onnx.NodeProto]:
        """The emitted nodes, their results under the names of the node's outputs."""
        from onnx import helper

        emitted = self.emit.nodes
        new = {result: name for result, name in zip(results, node.output, strict=False) if name and result}
        made = {name for each in emitted for name in each.output}
        for each in emitted:
            each.name = f"{node.name or node.output[0]}/{each.output[0][len(self.emit.prefix) :]}"
            for names in (each.input, each.output):
                for index, name in enumerate(names):
                    if name in new and name in made:
                        names[index] = new[name]
        for result, name in new.items():
            if result not in made:
                emitted.append(helper.make_node("Identity", [result], [name], name=f"{name}/identity"))
        return emitted


def versions_of(proto: onnx.ModelProto) -> dict[str, int]:
    """Domain → version of its operator set."""
    return {"" if o.domain == "ai.onnx" else o.domain: o.version for o in proto.opset_import}


def domain_of(node: onnx.NodeProto) -> str:
    """Of the node's operator; "" for ONNX's own."""
    return "" if node.domain == "ai.onnx" else str(node.domain)


def labelled(node: onnx.NodeProto) -> str:
    """The operator with its domain."""
    domain = domain_of(node)
    return f"{domain}.{node.op_type}" if domain else str(node.op_type)


def fresh_prefix(graph: onnx.GraphProto) -> str:
    """A prefix that no name in the model starts with."""
    names = {name for each in graphs(graph) for node in each.node for name in (*node.input, *node.output)}
    names |= {value.name for value in (*graph.input, *graph.initializer)}
    prefix = "onnxnull/"
    while any(name.startswith(prefix) for name in names):
        prefix = "_" + prefix
    return prefix


def drop_overridable(proto: onnx.ModelProto) -> None:
    """Initializers that are listed as inputs (all of them before IR version 4) become constants."""
    proto.ir_version = max(proto.ir_version, 8)
    for graph in graphs(proto.graph):
        stored = {tensor.name for tensor in graph.initializer}
        kept = [value for value in graph.input if value.name not in stored]
        if len(kept) < len(graph.input):
            del graph.input[:]
            graph.input.extend(kept)


def settle(proto: onnx.ModelProto, emit: Emitter) -> None:
    """Store the constants that `emit` made and something reads; drop initializers that nothing reads any more."""
    from onnx import numpy_helper

    for graph in graphs(proto.graph):
        del graph.value_info[:]
    needed = drop_unread(proto)
    there = {tensor.name for tensor in proto.graph.initializer}
    for name, array in emit.constants.items():
        if name in needed and name not in there:
            proto.graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(array).reshape(array.shape), name))


def drop_unread(proto: onnx.ModelProto) -> set[str]:
    """Drop initializers of the main graph that nothing reads; the names that are read."""
    needed = {name for node in proto.graph.node for name in reads(node)} | {o.name for o in proto.graph.output}
    kept = [tensor for tensor in proto.graph.initializer if tensor.name in needed]
    if len(kept) < len(proto.graph.initializer):
        del proto.graph.initializer[:]
        proto.graph.initializer.extend(kept)
    return needed


def site_of(node: onnx.NodeProto, version: int, scope: Scope) -> Site:
    """The node as a lowering or a gradient rule sees it."""
    from onnx import helper

    attributes = {}
    for attribute in node.attribute:
        value = helper.get_attribute_value(attribute)
        if isinstance(value, bytes):
            value = value.decode()
        elif isinstance(value, list) and value and isinstance(value[0], bytes):
            value = [item.decode() for item in value]
        attributes[attribute.name] = value
    return Site(
        node.op_type,
        domain_of(node),
        version,
        tuple(node.input),
        tuple(node.output),
        attributes,
        tuple(scope.type_of(name)[1] if name else None for name in node.input),
        tuple(scope.array(name) if name else None for name in node.input),
    )
