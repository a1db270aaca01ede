"""A model as its file stores it: what it says is a number of 16 bits is rounded to one, whatever computes it.

Where onnxruntime has no kernel for 16 bits (on the CPU for most operators) it casts float16 to float32 around the node by
itself, and takes out every cast to float16 between two such nodes, those of the file too
(`InsertCastTransformer`, at every level of optimisation): nothing is rounded on the way, so that what runs is float32. For
bfloat16 it refuses. Here such casts are nodes of the model, and stay:

1. A node with a kernel for its types runs as it is. Control flow does, and what works on sequences.
2. Another one reads its operands of 16 bits cast to float32, which is exact, runs in float32, and what it gives is cast to the
   type that the file says. So sums are float32's, and are rounded once.

Values keep their names and types, inputs and outputs too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from onnxnull.errors import errors_of
from onnxnull.graph.protobuf import bodies_of, graphs
from onnxnull.runtime.convert_floats import FLOATS, convert_node, convert_tensor, floats_of
from onnxnull.runtime.precision import Precision, Twin
from onnxnull.runtime.provider_support import has_kernel
from onnxnull.runtime.rewrite import domain_of, drop_overridable, drop_unread, fresh_prefix, labelled, versions_of
from onnxnull.runtime.types import Scope, enter, infer, inferred

if TYPE_CHECKING:
    import onnx

    from onnxnull.graph.model import Parsed
    from onnxnull.runtime.providers import Provider

SIXTEEN_BITS = frozenset({10, 16})
"""float16 and bfloat16, as TensorProto.DataType."""
_FLOAT = 1


def computed_floats(proto: onnx.ModelProto) -> frozenset[int]:
    """The float types that a run computes in: of inputs, and of what nodes make, in bodies too.

    Types of 16 bits count only so; the others also where a constant alone has them.
    """
    stored = frozenset(floats_of(proto))
    if not stored & SIXTEEN_BITS:
        return stored
    found = set(stored - SIXTEEN_BITS)
    constants = {tensor.name for tensor in proto.graph.initializer} | {t.values.name for t in proto.graph.sparse_initializer}
    found.update(i.type.tensor_type.elem_type for i in proto.graph.input if i.name not in constants)
    _computed(inferred(proto), None, constants, found)
    return frozenset(found & FLOATS.keys())


def computed_floats_of(parsed: Parsed) -> frozenset[int]:
    """`computed_floats` of a file: `parsed.once(computed_floats_of)`."""
    return computed_floats(parsed.whole)


def stored_twin_of(parsed: Parsed, provider: Provider) -> Twin:
    """The file as it is stored, in a session on `provider`: `parsed.once(stored_twin_of, provider)`."""
    with errors_of(parsed.path):
        if not parsed.once(computed_floats_of) & SIXTEEN_BITS:
            return Twin(parsed.whole, Precision.NATIVE, ())
        return stored_twin(parsed.whole, provider)


def stored_twin(proto: onnx.ModelProto, provider: Provider) -> Twin:
    """The same of a model in memory, functions inlined and nodes in order; `lowered` names what runs in float32.

    Raises:
        OnnxnullError: `invalid-model` where types cannot be inferred.
    """
    import onnx

    copy = onnx.ModelProto()
    copy.CopyFrom(proto)
    if not floats_of(copy) & SIXTEEN_BITS:
        return Twin(copy, Precision.NATIVE, ())
    drop_overridable(copy)
    infer(copy)
    wrapper = _Wrapper(copy, provider)
    wrapper.graph(copy.graph, None)
    for graph in graphs(copy.graph):
        del graph.value_info[:]
    copy.graph.initializer.extend(wrapper.constants)
    drop_unread(copy)
    return Twin(copy, Precision.NATIVE, tuple(sorted(wrapper.lowered)))


def _computed(graph: onnx.GraphProto, outer: Scope | None, constants: set[str], found: set[int]) -> None:
    """Add the types of what the nodes of a graph make of more than `constants`."""
    scope = enter(graph, outer)
    known = constants | {tensor.name for tensor in graph.initializer}
    for node in graph.node:
        bodies = [body for attribute in node.attribute for body in bodies_of(attribute)]
        for body in bodies:
            _computed(body, scope, known - {value.name for value in body.input}, found)
        if not bodies and all(name in known for name in node.input if name):
            known.update(node.output)
        else:
            found.update(scope.type_of(name)[0] for name in node.output if name)


class _Wrapper:
    """One walk over a model's graphs."""

    def __init__(self, proto: onnx.ModelProto, provider: Provider) -> None:
        self.lowered: set[str] = set()
        self.constants: list[onnx.TensorProto] = []
        self._versions, self._prefix, self._provider = versions_of(proto), fresh_prefix(proto.graph), provider
        self._stored: dict[int, str] = {}
        self._count = 0

    def graph(self, graph: onnx.GraphProto, outer: Scope | None) -> None:
        """Rewrite a graph whose types are inferred, and the bodies in it, in place."""
        scope = enter(graph, outer)
        nodes: list[onnx.NodeProto] = []
        wide: dict[str, str] = {}
        for node in graph.node:
            for attribute in node.attribute:
                for body in bodies_of(attribute):
                    self.graph(body, scope)
            nodes.extend(self._wrapped(node, scope, wide) if self._needs_float32(node, scope) else [node])
        del graph.node[:]
        graph.node.extend(nodes)

    def _needs_float32(self, node: onnx.NodeProto, scope: Scope) -> bool:
        types = tuple(scope.type_of(name)[0] if name else 0 for name in node.input)
        made = {scope.type_of(name)[0] for name in node.output if name}
        if not (made | set(types)) & SIXTEEN_BITS or "Sequence" in node.op_type or node.op_type.startswith("Optional"):
            return False
        if any(name and not kind for name, kind in zip(node.input, types, strict=True)):
            return node.op_type not in ("If", "Loop", "Scan")
        return not has_kernel(node, types, self._versions.get(domain_of(node), 1), self._provider, itself=True)

    def _wrapped(self, node: onnx.NodeProto, scope: Scope, wide: dict[str, str]) -> list[onnx.NodeProto]:
        """The node in float32 between casts. `wide`: what has been cast in this graph."""
        from onnx import helper

        before, after = [], []
        for index, name in enumerate(node.input):
            if not name or scope.type_of(name)[0] not in SIXTEEN_BITS:
                continue
            if name not in wide:
                wide[name] = self._constant(name, scope) or self._fresh(name)
                if scope.tensor(name) is None:
                    before.append(helper.make_node("Cast", [name], [wide[name]], name=wide[name], to=_FLOAT))
            node.input[index] = wide[name]
        for index, name in enumerate(node.output):
            kind = scope.type_of(name)[0] if name else 0
            if kind in SIXTEEN_BITS:
                node.output[index] = self._fresh(name)
                after.append(helper.make_node("Cast", [node.output[index]], [name], name=node.output[index], to=kind))
        convert_node(node, _FLOAT)
        self.lowered.add(labelled(node))
        return [*before, node, *after]

    def _constant(self, name: str, scope: Scope) -> str | None:
        """The name of a stored tensor's numbers in float32; None where it is no constant."""
        import onnx

        tensor = scope.tensor(name)
        if tensor is None:
            return None
        if id(tensor) not in self._stored:
            wide = onnx.TensorProto()
            wide.CopyFrom(tensor)
            wide.name = self._stored[id(tensor)] = self._fresh(name)
            convert_tensor(wide, _FLOAT)
            self.constants.append(wide)
        return self._stored[id(tensor)]

    def _fresh(self, name: str) -> str:
        self._count += 1
        return f"{self._prefix}float32/{self._count}/{name}"
