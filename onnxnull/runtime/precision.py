"""The precision twin of a model: the same weights at another precision, and lowerings for what the provider cannot run there.

A twin is labelled with the precision that executes. The CPU provider runs float16 through float32: its float16 twin is
float32 arithmetic on weights rounded to float16, and says FLOAT32. A model with integer arithmetic runs as it is, NATIVE.
"""

from __future__ import annotations

import enum
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from onnxnull.errors import Code, OnnxnullError
from onnxnull.graph.limits import Limits
from onnxnull.operators.lowering import Emitter, NotLowerableError, Site, always_lowered, lowering_of
from onnxnull.runtime import source
from onnxnull.runtime.dequantize import store_dequantized
from onnxnull.runtime.kernels import has_kernel
from onnxnull.runtime.modernize import modernize
from onnxnull.runtime.providers import Provider
from onnxnull.runtime.recast import FLOATS, floats_of, recast
from onnxnull.runtime.types import Scope, enter, infer

if TYPE_CHECKING:
    import onnx

_FLOAT, _FLOAT16, _DOUBLE = 1, 10, 11
INTEGER_ARITHMETIC = frozenset(
    [
        "ConvInteger",
        "DynamicQuantizeLinear",
        "MatMulInteger",
        "QLinearConv",
        "QLinearMatMul",
        "QuantizeLinear",
        "DynamicQuantizeLSTM",
        "DynamicQuantizeMatMul",
        "MatMulIntegerToFloat",
        "QAttention",
        "QEmbedLayerNormalization",
        "QGemm",
        "QLinearAdd",
        "QLinearAveragePool",
        "QLinearConcat",
        "QLinearGlobalAveragePool",
        "QLinearLeakyRelu",
        "QLinearMul",
        "QLinearSigmoid",
        "QLinearSoftmax",
        "QMoE",
    ]
)


class Precision(enum.Enum):
    """The arithmetic that a model runs in."""

    FLOAT64 = "float64"
    FLOAT32 = "float32"
    FLOAT16 = "float16"
    NATIVE = "native"


_TARGETS = {Precision.FLOAT64: _DOUBLE, Precision.FLOAT32: _FLOAT, Precision.FLOAT16: _FLOAT16}


@dataclass(frozen=True, slots=True, eq=False)
class Twin:
    """A model at one precision, ready for a session on one provider.

    Attributes:
        proto: all weights inside, functions inlined; values keep the names that they had.
        precision: the one that executes.
        lowered: the operators that were lowered, sorted.
    """

    proto: onnx.ModelProto
    precision: Precision
    lowered: tuple[str, ...]


def twin(
    source_model: str | os.PathLike[str] | onnx.ModelProto,
    precision: Precision,
    *,
    provider: Provider,
    limits: Limits | None = None,
) -> Twin:
    """The twin of a model at `precision` for `provider`.

    Raises:
        OnnxnullError: with code `no-double-kernel`, naming every operator that can neither run in float64 nor be lowered,
            or with the code of what is wrong with the file.
    """
    try:
        return _twin(source.load(source_model, limits), precision, provider)
    except OnnxnullError as error:
        if isinstance(source_model, str | os.PathLike):
            error.file = os.fspath(source_model)
        raise


def _twin(proto: onnx.ModelProto, precision: Precision, provider: Provider) -> Twin:
    quantized = has_integer_arithmetic(proto)
    if precision is Precision.NATIVE:
        return Twin(proto, precision, ())
    if precision is not Precision.FLOAT64 and quantized:
        return Twin(proto, Precision.NATIVE, ())
    target = _TARGETS[precision]
    lowered: tuple[str, ...] = ()
    if precision is Precision.FLOAT64:
        prefix = _fresh_prefix(proto.graph)
        _drop_overridable(proto)
        store_dequantized(proto)
        modernize(proto, prefix)
        infer(proto)
        recast(proto, target)
        lowered = _lower(proto, provider, prefix)
    elif floats_of(proto) - {target}:
        recast(proto, target)
        for graph in source.graphs(proto.graph):
            del graph.value_info[:]
    through_float32 = precision is Precision.FLOAT16 and provider is Provider.CPU
    return Twin(proto, Precision.FLOAT32 if through_float32 else precision, lowered)


def has_integer_arithmetic(proto: onnx.ModelProto) -> bool:
    """Whether the model computes on quantized activations; weights that are dequantized first are floats as any."""
    return any(node.op_type in INTEGER_ARITHMETIC for graph in source.graphs(proto.graph) for node in graph.node)


def _fresh_prefix(graph: onnx.GraphProto) -> str:
    """A prefix that no name in the model starts with."""
    names = {name for each in source.graphs(graph) for node in each.node for name in (*node.input, *node.output)}
    prefix = "onnxnull/"
    while any(name.startswith(prefix) for name in names):
        prefix = "_" + prefix
    return prefix


def _drop_overridable(proto: onnx.ModelProto) -> None:
    """Initializers that are listed as inputs (all of them before IR version 4) become constants."""
    proto.ir_version = max(proto.ir_version, 8)
    for graph in source.graphs(proto.graph):
        stored = {tensor.name for tensor in graph.initializer}
        kept = [value for value in graph.input if value.name not in stored]
        if len(kept) < len(graph.input):
            del graph.input[:]
            graph.input.extend(kept)


def _lower(proto: onnx.ModelProto, provider: Provider, prefix: str) -> tuple[str, ...]:
    """Replace what has no kernel, in place; the names of the operators replaced."""
    from onnx import numpy_helper

    versions = {"" if o.domain == "ai.onnx" else o.domain: o.version for o in proto.opset_import}
    pass_ = _Pass(Emitter(versions.get("", 17), prefix), versions, provider)
    pass_.graph(proto.graph, None)
    if pass_.missing:
        raise OnnxnullError(Code.NO_DOUBLE_KERNEL, "; ".join(sorted(pass_.missing)))
    for graph in source.graphs(proto.graph):
        del graph.value_info[:]
    needed = {name for node in proto.graph.node for name in source.reads(node)} | {o.name for o in proto.graph.output}
    kept = [tensor for tensor in proto.graph.initializer if tensor.name in needed]
    if len(kept) < len(proto.graph.initializer):
        del proto.graph.initializer[:]
        proto.graph.initializer.extend(kept)
    for name, array in pass_.emit.constants.items():
        if name in needed:
            proto.graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(array).reshape(array.shape), name))
    return tuple(sorted(pass_.lowered))


class _Pass:
    """One walk over a model's graphs."""

    def __init__(self, emit: Emitter, versions: dict[str, int], provider: Provider) -> None:
        self.emit = emit
        self.versions = versions
        self.provider = provider
        self.lowered: set[str] = set()
        self.missing: set[str] = set()

    def graph(self, graph: onnx.GraphProto, outer: Scope | None) -> None:
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
        domain = "" if node.domain == "ai.onnx" else node.domain
        types = tuple(scope.type_of(name)[0] if name else 0 for name in node.input)
        version = self.versions.get(domain, 1)
        if not any(kind in FLOATS for kind in types):
            return [node]
        if not always_lowered(node.op_type, domain) and has_kernel(node, types, version, self.provider):
            return [node]
        label = f"{domain}.{node.op_type}" if domain else node.op_type
        function = lowering_of(node.op_type, domain)
        if function is None:
            self.missing.add(f"{label} (node {node.name or node.output[0]!r})")
            return [node]
        site = _site(node, domain, version, scope)
        self.emit.nodes = []
        self.emit.stored = {n: a for n, a in zip(site.inputs, site.constants, strict=True) if n and a is not None}
        try:
            results = function(site, self.emit)
        except NotLowerableError as error:
            self.missing.add(f"{label} (node {node.name or node.output[0]!r}): {error}")
            return [node]
        self.lowered.add(label)
        needed = {name for each in self.emit.nodes for name in source.reads(each)}
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


def _site(node: onnx.NodeProto, domain: str, version: int, scope: Scope) -> Site:
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
        domain,
        version,
        tuple(node.input),
        tuple(node.output),
        attributes,
        tuple(scope.type_of(name)[1] if name else None for name in node.input),
        tuple(scope.array(name) if name else None for name in node.input),
    )
