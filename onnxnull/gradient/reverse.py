"""Reverse mode as a graph transformation: every node on the way from the inputs to the outputs is pulled back by its rule."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from onnxnull.errors import Code, OnnxnullError
from onnxnull.graph.protobuf import reads
from onnxnull.operators.gradients import NotDifferentiableError, Pull, expansion_of, rule_of
from onnxnull.operators.lowering import Emitter, NotLowerableError
from onnxnull.runtime.convert_floats import FLOATS
from onnxnull.runtime.cut import prune
from onnxnull.runtime.rewrite import Rewriter, domain_of, fresh_prefix, labelled, settle, site_of, versions_of
from onnxnull.runtime.types import Scope, enter, infer

if TYPE_CHECKING:
    import onnx

_DOUBLE = 11


def reverse(
    proto: onnx.ModelProto, outputs: Sequence[str], inputs: Sequence[str], *, keep: Sequence[str]
) -> tuple[dict[str, str], dict[str, str]]:
    """Turn `proto`, in place, into the model that pulls cotangents of `outputs` back to `inputs`.

    Args:
        proto: all floats double, opset 17 or later, nodes in order, no local functions.
        outputs: tensors of the main graph, each of which gets an input for its cotangent.
        inputs: inputs of the model, each of which gets an output that is its cotangent.
        keep: tensors that the new model computes besides.

    Returns:
        output → its input for the cotangent, input → its output.

    Raises:
        OnnxnullError: `no-gradient`, naming every operator on the way that has none.
    """
    prefix = fresh_prefix(proto.graph)
    infer(proto)
    way = _Way.between(proto, outputs, inputs)
    _check(way)
    walk = _ReverseWalk(Emitter(versions_of(proto).get("", 17), prefix), way, versions_of(proto))
    seeds = {name: f"{prefix}seed/{name}" for name in outputs}
    results = {name: f"{prefix}result/{name}" for name in inputs}
    walk.run(seeds, results)
    _rebuild(proto, walk, seeds, results, keep)
    return seeds, results


@dataclass(frozen=True, slots=True)
class _Way:
    """What lies between inputs and outputs of a graph.

    Attributes:
        nodes: those with a floating-point result that depends on an input and that an output depends on.
        varying: floating-point tensors that depend on an input.
    """

    nodes: tuple[onnx.NodeProto, ...]
    varying: frozenset[str]
    scope: Scope

    @classmethod
    def between(cls, proto: onnx.ModelProto, outputs: Sequence[str], inputs: Sequence[str]) -> _Way:
        scope = enter(proto.graph, None)
        varying = set(inputs)
        for node in proto.graph.node:
            if reads(node) & varying:
                varying.update(name for name in node.output if name and scope.type_of(name)[0] in (*FLOATS, 0))
        found = []
        needed = set(outputs)
        for node in reversed(proto.graph.node):
            if needed.intersection(node.output) & varying and reads(node) & varying:
                found.append(node)
                needed |= reads(node) & varying
        return cls(tuple(reversed(found)), frozenset(varying), scope)


def expand(proto: onnx.ModelProto, outputs: Sequence[str], inputs: Sequence[str]) -> None:
    """Replace, in place, the nodes on the way that are differentiated as something else.

    Operators that ONNX does not know go first: shapes are not inferred behind them.

    Args:
        proto: in its own types: shapes are inferred, and what is put in is double, so it has to be converted before it runs.

    Raises:
        OnnxnullError: `no-gradient` where one cannot be lowered; `data` where an output does not depend on the inputs.
    """
    for foreign in (True, False):
        infer(proto)
        way = _Way.between(proto, outputs, inputs)
        for name in outputs:
            if name not in way.varying:
                seen = f"the tensor {name!r} does not depend on {', '.join(map(repr, inputs))} as floating-point numbers do"
                raise OnnxnullError(Code.DATA, seen, "choose another output or input")
        chosen = [node for node in way.nodes if bool(domain_of(node)) is foreign]
        there = {node.output[0] for node in chosen if expansion_of(node.op_type, domain_of(node)) is not None}
        if there:
            _replace(proto, there)


def _replace(proto: onnx.ModelProto, there: set[str]) -> None:
    """Expand the nodes whose first outputs are these."""
    versions = versions_of(proto)
    emit = Emitter(versions.get("", 17), fresh_prefix(proto.graph))
    rewriter = Rewriter(emit, versions, lambda node, types, version: node.output[0] in there, expansion_of)
    rewriter.graph(proto.graph)
    if rewriter.missing:
        raise OnnxnullError(Code.NO_GRADIENT, "; ".join(sorted(rewriter.missing)))
    settle(proto, emit)


def _check(way: _Way) -> None:
    """Whether every node on the way has a rule."""
    missing = [node for node in way.nodes if rule_of(node.op_type, domain_of(node)) is None]
    if missing:
        named = sorted({labelled(node) for node in missing})
        some = ", ".join(f"{op} (node {next(_name(n) for n in missing if labelled(n) == op)!r})" for op in named)
        raise OnnxnullError(Code.NO_GRADIENT, some)


@dataclass(slots=True)
class _ReverseWalk:
    """The walk back along the way.

    Attributes:
        emitted: the new nodes.
        parts: tensor → the cotangents that came from its readers.
    """

    emit: Emitter
    way: _Way
    versions: Mapping[str, int]
    emitted: list[onnx.NodeProto] = field(default_factory=list)
    parts: dict[str, list[str]] = field(default_factory=dict)

    def run(self, seeds: Mapping[str, str], results: Mapping[str, str]) -> None:
        """From the outputs' seeds to the inputs' cotangents, which get the names that `results` says."""
        from onnx import helper

        problems: list[str] = []
        for name, seed in seeds.items():
            self.parts.setdefault(name, []).append(seed)
        for node in reversed(self.way.nodes):
            try:
                self._pull(node)
            except (NotDifferentiableError, NotLowerableError) as error:
                problems.append(f"{labelled(node)} (node {_name(node)!r}): {error}")
        if problems:
            raise OnnxnullError(Code.NO_GRADIENT, "; ".join(sorted(problems)))
        self.emit.nodes = []
        for name, result in results.items():
            found = self._total(name)
            if found is None:
                found = self.emit.op("Expand", self.emit.constant(0.0), self.emit.shape(name))
            self.emit.nodes.append(helper.make_node("Identity", [found], [result]))
        self.emitted += self.emit.nodes

    def _pull(self, node: onnx.NodeProto) -> None:
        self.emit.nodes = []
        cotangents = tuple(self._total(name) if name else None for name in node.output)
        if all(cotangent is None for cotangent in cotangents):
            return
        site = site_of(node, self.versions.get(domain_of(node), 1), self.way.scope)
        summing = self.emit.nodes
        self.emit.begin(site)
        wanted = frozenset(index for index, name in enumerate(site.inputs) if name in self.way.varying)
        shapes = tuple(self.way.scope.type_of(name)[1] if name else None for name in site.outputs)
        rule = rule_of(node.op_type, domain_of(node))
        assert rule is not None, "it was checked"
        for index, found in rule(Pull(site, self.emit, cotangents, wanted, shapes)).items():
            if index in wanted:
                self.parts.setdefault(site.inputs[index], []).append(found)
        self.emitted += [*summing, *self.emit.nodes]

    def _total(self, name: str) -> str | None:
        """The sum of a tensor's cotangents; None where there is none."""
        parts = self.parts.pop(name, [])
        return None if not parts else parts[0] if len(parts) == 1 else self.emit.op("Sum", *parts)


def _rebuild(
    proto: onnx.ModelProto, walk: _ReverseWalk, seeds: Mapping[str, str], results: Mapping[str, str], keep: Sequence[str]
) -> None:
    """Put the new nodes behind the old ones, declare inputs and outputs, and drop what nothing needs."""
    from onnx import ValueInfoProto

    graph = proto.graph
    graph.node.extend(walk.emitted)
    graph.input.extend(_declared(seed, name, walk.way.scope) for name, seed in seeds.items())
    del graph.output[:]
    graph.output.extend(_declared(name, name, walk.way.scope) for name in keep)
    graph.output.extend(ValueInfoProto(name=name) for name in results.values())
    settle(proto, walk.emit)
    prune(proto, [*keep, *results.values()], seeds.values())


def _declared(name: str, like: str, scope: Scope) -> onnx.ValueInfoProto:
    """A double tensor of the shape of another one."""
    from onnx import helper

    _, shape = scope.type_of(like)
    found: onnx.ValueInfoProto = helper.make_tensor_value_info(name, _DOUBLE, None if shape is None else list(shape))
    return found


def _name(node: onnx.NodeProto) -> str:
    return str(node.name or node.output[0])
