"""The precision twin of a model: the same weights at another precision, and lowerings for what the provider cannot run there.

A twin is labelled with the precision that executes. The CPU provider runs float16 through float32: its float16 twin is
float32 arithmetic on weights rounded to float16, and says FLOAT32. A model with integer arithmetic runs as it is, NATIVE.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING

from onnxnull.errors import Code, OnnxnullError, errors_of
from onnxnull.graph.model import Model, Parsed, in_order
from onnxnull.graph.protobuf import graphs
from onnxnull.operators.lowering import Emitter, always_lowered, lowering_of
from onnxnull.operators.products import is_integer_arithmetic
from onnxnull.runtime.convert_floats import FLOATS, convert_floats, floats_of
from onnxnull.runtime.dequantize import store_dequantized
from onnxnull.runtime.provider_support import has_kernel
from onnxnull.runtime.providers import Provider
from onnxnull.runtime.rewrite import Rewriter, domain_of, drop_overridable, fresh_prefix, settle, versions_of
from onnxnull.runtime.types import infer
from onnxnull.runtime.upgrade_opset import upgrade_opset

if TYPE_CHECKING:
    import onnx

_FLOAT, _FLOAT16, _DOUBLE = 1, 10, 11


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


def twin(model: Model | onnx.ModelProto, precision: Precision, *, provider: Provider) -> Twin:
    """The twin of a model at `precision` for `provider`; that of an opened file is made once.

    Raises:
        OnnxnullError: with code `no-double-kernel`, naming every operator that can neither run in float64 nor be lowered,
            or with the code of what is wrong with the file.
    """
    if isinstance(model, Model):
        return model.parsed.once(_twin_of_file, precision, provider)
    return _twin(in_order(model), precision, provider)


def proto_of(model: Model | onnx.ModelProto) -> onnx.ModelProto:
    """A copy that may be changed: functions inlined, nodes in order, every tensor inside. Raises `OnnxnullError`."""
    import onnx

    copy = onnx.ModelProto()
    copy.CopyFrom(model.parsed.whole if isinstance(model, Model) else in_order(model))
    return copy


def _twin_of_file(parsed: Parsed, precision: Precision, provider: Provider) -> Twin:
    with errors_of(parsed.path):
        return _twin(parsed.whole, precision, provider)


def _twin(proto: onnx.ModelProto, precision: Precision, provider: Provider) -> Twin:
    import onnx

    if precision is Precision.NATIVE:
        return Twin(proto, precision, ())
    if precision is not Precision.FLOAT64 and has_integer_arithmetic(proto):
        return Twin(proto, Precision.NATIVE, ())
    target = _TARGETS[precision]
    if precision is Precision.FLOAT64 or floats_of(proto) - {target}:
        whole, proto = proto, onnx.ModelProto()
        proto.CopyFrom(whole)
    lowered: tuple[str, ...] = ()
    if precision is Precision.FLOAT64:
        prefix = fresh_prefix(proto.graph)
        drop_overridable(proto)
        store_dequantized(proto)
        upgrade_opset(proto, prefix)
        infer(proto)
        convert_floats(proto, target)
        lowered = _lower(proto, provider, prefix)
    elif floats_of(proto) - {target}:
        convert_floats(proto, target)
        for graph in graphs(proto.graph):
            del graph.value_info[:]
    through_float32 = precision is Precision.FLOAT16 and provider is Provider.CPU
    return Twin(proto, Precision.FLOAT32 if through_float32 else precision, lowered)


def has_integer_arithmetic(proto: onnx.ModelProto) -> bool:
    """Whether the model computes on quantized activations; weights that are dequantized first are floats as any."""
    return any(is_integer_arithmetic(node) for graph in graphs(proto.graph) for node in graph.node)


def _lower(proto: onnx.ModelProto, provider: Provider, prefix: str) -> tuple[str, ...]:
    """Replace what has no kernel, in place; the names of the operators replaced."""
    versions = versions_of(proto)

    def wanted(node: onnx.NodeProto, types: tuple[int, ...], version: int) -> bool:
        if not any(kind in FLOATS for kind in types):
            return False
        return always_lowered(node.op_type, domain_of(node)) or not has_kernel(node, types, version, provider)

    rewriter = Rewriter(Emitter(versions.get("", 17), prefix), versions, wanted, lowering_of)
    rewriter.graph(proto.graph)
    if rewriter.missing:
        raise OnnxnullError(Code.NO_DOUBLE_KERNEL, "; ".join(sorted(rewriter.missing)))
    settle(proto, rewriter.emit)
    return tuple(sorted(rewriter.lowered))
