"""Cut a model at an intermediate tensor: what lies behind it, with that tensor as an input."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from onnxnull.errors import Code, OnnxnullError
from onnxnull.graph.protobuf import reads
from onnxnull.runtime.types import enter, infer

if TYPE_CHECKING:
    import onnx


def cut(proto: onnx.ModelProto, tensor_name: str) -> onnx.ModelProto:
    """The part of the model that computes its outputs from the tensor `tensor_name` of the main graph.

    The tensor becomes the first input. Other inputs stay inputs where something that is kept reads them. Nodes before the
    tensor stay where another path needs them; outputs that do not depend on the tensor are dropped.

    Args:
        proto: a model without local functions, its nodes in order (as in a `Twin`); it is not changed.

    Raises:
        OnnxnullError: with code `data` where there is no such tensor, or no output depends on it.
    """
    import onnx
    from onnx import helper

    graph = proto.graph
    if not any(tensor_name in node.output for node in graph.node) and all(i.name != tensor_name for i in graph.input):
        raise OnnxnullError(Code.DATA, f"the model has no tensor {tensor_name!r}", "name a tensor of the main graph")
    behind = {tensor_name}
    for node in graph.node:
        if tensor_name not in node.output and reads(node) & behind:
            behind.update(name for name in node.output if name)
    outputs = [value for value in graph.output if value.name in behind]
    if not outputs:
        raise OnnxnullError(Code.DATA, f"no output depends on the tensor {tensor_name!r}", "name another tensor")
    needed = {value.name for value in outputs}
    kept = needed_nodes(graph.node, needed, tensor_name)
    result = onnx.ModelProto()
    result.ir_version = max(proto.ir_version, 8)
    result.opset_import.extend(proto.opset_import)
    result.graph.name = graph.name or "graph"
    result.graph.node.extend(kept)
    for node in result.graph.node:  # a node kept for another of its outputs must not compute the input again
        for index, name in enumerate(node.output):
            if name == tensor_name:
                node.output[index] = ""
    stored = {tensor.name for tensor in graph.initializer}
    result.graph.input.append(_declared(proto, tensor_name))
    result.graph.input.extend(i for i in graph.input if i.name in needed - stored - {tensor_name})
    result.graph.output.extend(outputs)
    result.graph.initializer.extend(t for t in graph.initializer if t.name in needed - {tensor_name})
    result.graph.sparse_initializer.extend(t for t in graph.sparse_initializer if t.values.name in needed)
    if tensor_name in {value.name for value in outputs}:  # onnxruntime wants a node between an input and an output
        result.graph.node.append(helper.make_node("Identity", [tensor_name], [tensor_name + "/identity"]))
        for value in result.graph.output:
            if value.name == tensor_name:
                value.name = tensor_name + "/identity"
    return result


def needed_nodes(nodes: Sequence[onnx.NodeProto], needed: set[str], given: str | None = None) -> list[onnx.NodeProto]:
    """The nodes that computing the tensors `needed` takes, in order; `needed` grows by all that they read.

    Args:
        given: a tensor that is there already.
    """
    kept = []
    for node in reversed(nodes):
        if needed.intersection(node.output) - {given}:
            kept.append(node)
            needed |= reads(node)
    return kept[::-1]


def prune(proto: onnx.ModelProto, outputs: Sequence[str], inputs: Collection[str] = ()) -> None:
    """Leave the part of the model that computes `outputs` of it, in place; these inputs stay, whatever reads them."""
    import onnx

    graph = proto.graph
    declared = {value.name: value for value in graph.output}
    needed = set(outputs)
    nodes = [onnx.NodeProto.FromString(node.SerializeToString()) for node in needed_nodes(graph.node, needed)]
    kept = [onnx.ValueInfoProto.FromString(declared[name].SerializeToString()) for name in outputs]
    given = [onnx.ValueInfoProto.FromString(i.SerializeToString()) for i in graph.input if i.name in needed | set(inputs)]
    stored = [tensor for tensor in graph.initializer if tensor.name in needed]
    tensors = [onnx.TensorProto.FromString(tensor.SerializeToString()) for tensor in stored]
    for field, values in ((graph.node, nodes), (graph.output, kept), (graph.input, given), (graph.initializer, tensors)):
        del field[:]
        field.extend(values)


def _declared(proto: onnx.ModelProto, name: str) -> onnx.ValueInfoProto:
    """The tensor's type, of any shape: the file's own shapes are not believed."""
    import onnx
    from onnx import helper

    given: onnx.ValueInfoProto | None = next((value for value in proto.graph.input if value.name == name), None)
    if given is not None:
        return given
    typed = onnx.ModelProto()
    typed.CopyFrom(proto)
    infer(typed)
    kind, shape = enter(typed.graph, None).type_of(name)
    if not kind:
        raise OnnxnullError(Code.DATA, f"the type of the tensor {name!r} is not known", "name another tensor")
    declared: onnx.ValueInfoProto = helper.make_tensor_value_info(name, kind, None if shape is None else [None] * len(shape))
    return declared
