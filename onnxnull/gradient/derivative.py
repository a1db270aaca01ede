"""From a model, models of its derivatives: y = f(x), x̄ = ȳᵀ ∂f/∂x (reverse mode) and ẏ = ∂f/∂x·ẋ (forward mode).

A model is differentiated in double, with all weights inside and its operator set brought to 17, so that constants of the rules
are exact in double; `runtime.twin` makes the model of any precision out of it, and lowers it where that is needed.

Forward mode is reverse mode twice: x̄ is linear in ȳ, so pulling back x̄ to ȳ is the transpose of the transpose. What computes
x̄ drops out of that model, but for shapes that could not be inferred.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from onnxnull.errors import Code, OnnxnullError
from onnxnull.gradient.reverse import expand, reverse
from onnxnull.graph.protobuf import graphs
from onnxnull.runtime.convert_floats import FLOATS, convert_floats
from onnxnull.runtime.cut import cut, prune
from onnxnull.runtime.precision import has_integer_arithmetic, proto_of
from onnxnull.runtime.rewrite import drop_overridable, fresh_prefix
from onnxnull.runtime.upgrade_opset import TARGET, upgrade_opset

if TYPE_CHECKING:
    import onnx

    from onnxnull.graph.model import Model

_DOUBLE = 11


@dataclass(frozen=True, slots=True, eq=False)
class Derivative:
    """A model of a derivative, in double; give it to `runtime.twin` or `Runner` for any precision.

    Attributes:
        proto: its inputs are those of the original model that it needs, and the seeds.
        seeds: of reverse mode, output → the input that takes its cotangent; of forward mode, input → the one for its tangent.
        results: of reverse mode, input → the output that is its cotangent; of forward mode, output → its tangent.
    """

    proto: onnx.ModelProto
    seeds: Mapping[str, str]
    results: Mapping[str, str]


def vjp(
    model: Model | onnx.ModelProto,
    outputs: Sequence[str] | None = None,
    inputs: Sequence[str] | None = None,
    *,
    shapes: Mapping[str, Sequence[int]] | None = None,
) -> Derivative:
    """Reverse mode: a model that computes the chosen tensors and, for a cotangent of each, the cotangents of the inputs.

    Args:
        outputs: tensors of the main graph; None for the model's floating-point outputs.
        inputs: inputs of the model, or one tensor inside it; None for the first floating-point input.
        shapes: input → dimensions. Known shapes make a faster model, which takes inputs of these shapes only.

    Raises:
        OnnxnullError: `no-gradient`, naming every operator on the way that has none; `data` for an unknown tensor, or where
            no output depends on an input.
    """
    return _vjp(_prepared(model, shapes or {}), outputs, inputs)


def jvp(
    model: Model | onnx.ModelProto,
    outputs: Sequence[str] | None = None,
    inputs: Sequence[str] | None = None,
    *,
    shapes: Mapping[str, Sequence[int]] | None = None,
) -> Derivative:
    """Forward mode: a model that computes, for a tangent of each chosen input, the tangents of the chosen tensors.

    Arguments and errors as for `vjp`.
    """
    return transposed(vjp(model, outputs, inputs, shapes=shapes))


def transposed(pullback: Derivative) -> Derivative:
    """Forward mode from reverse mode of the same model."""
    import onnx

    proto = onnx.ModelProto()
    proto.CopyFrom(pullback.proto)
    seeds, results = reverse(proto, list(pullback.results.values()), list(pullback.seeds.values()), keep=())
    return Derivative(
        proto,
        {name: seeds[cotangent] for name, cotangent in pullback.results.items()},
        {name: results[seed] for name, seed in pullback.seeds.items()},
    )


def primal(pullback: Derivative) -> onnx.ModelProto:
    """The model of the outputs alone."""
    import onnx

    proto = onnx.ModelProto()
    proto.CopyFrom(pullback.proto)
    prune(proto, list(pullback.seeds))
    return proto


def _vjp(proto: onnx.ModelProto, outputs: Sequence[str] | None, inputs: Sequence[str] | None) -> Derivative:
    floats = [value.name for value in proto.graph.input if value.type.tensor_type.elem_type in FLOATS]
    results = [value.name for value in proto.graph.output if value.type.tensor_type.elem_type in (*FLOATS, 0)]
    chosen = list(results if outputs is None else outputs)
    starts = list(floats[:1] if inputs is None else inputs)
    if not chosen or not starts:
        raise OnnxnullError(Code.DATA, "the model has no floating-point " + ("output" if starts else "input"))
    there = {name for node in proto.graph.node for name in node.output if name}
    unknown = [name for name in (*chosen, *starts) if name not in there and name not in floats]
    if unknown:
        raise OnnxnullError(Code.DATA, f"the model has no tensor {unknown[0]!r}", "name a tensor of the main graph")
    expand(proto, chosen, starts)
    convert_floats(proto, _DOUBLE)
    inside = [name for name in starts if name not in floats]
    if inside:
        if len(starts) > 1:
            raise OnnxnullError(Code.DATA, f"{inside[0]!r} is no input of the model", "name one tensor inside it alone")
        _expose(proto, chosen)
        proto = cut(proto, inside[0])
    seeds, found = reverse(proto, chosen, starts, keep=chosen)
    return Derivative(proto, seeds, found)


def _prepared(model: Model | onnx.ModelProto, shapes: Mapping[str, Sequence[int]]) -> onnx.ModelProto:
    """Opset 17 or later, inputs of the given shapes."""
    proto = proto_of(model)
    if has_integer_arithmetic(proto):
        raise OnnxnullError(Code.NO_GRADIENT, "the model computes on quantized numbers", "differentiate the float model")
    drop_overridable(proto)
    upgrade_opset(proto, fresh_prefix(proto.graph), TARGET)
    for value in proto.graph.input:
        if value.name in shapes:
            dims = value.type.tensor_type.shape.dim
            if value.type.tensor_type.HasField("shape") and len(dims) != len(shapes[value.name]):
                raise OnnxnullError(Code.INPUT_SHAPE, f"{value.name!r} has {len(dims)} dimensions")
            value.type.tensor_type.shape.ClearField("dim")
            for size in shapes[value.name]:
                value.type.tensor_type.shape.dim.add().dim_value = int(size)
    for graph in graphs(proto.graph):
        del graph.value_info[:]
    for output in proto.graph.output:  # of the shapes that follow from the inputs'
        output.type.tensor_type.ClearField("shape")
    return proto


def _expose(proto: onnx.ModelProto, names: Sequence[str]) -> None:
    """Make tensors outputs."""
    import onnx

    there = {value.name for value in proto.graph.output}
    proto.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names if name not in there)
