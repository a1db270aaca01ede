"""onnxruntime's blocked convolutions (domain com.microsoft.nchwc, optimisation level `all`) as ONNX's own, in a graph of our
own.

1. ReorderInput and ReorderOutput move entries between NCHW and blocks of channels; on logical tensors they are nothing, up to
   channels of zeros that fill the last block.
2. Conv reads an image in blocks with a weight stored as [O/B][I/B][kh][kw][B of I][B of O], one in NCHW (few input channels,
   or one per group) with [O/B][I][kh][kw][B of O], where B is 16 or 8, as the processor has it: the file does not say. Its
   fourth operand is added, and its activation is that of FusedConv.
3. MaxPool, AveragePool, their global forms and Upsample are those of ONNX (Upsample by nearest entries).

Filters of zeros at the end that fill the last block are left out, and so are the input channels that read them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from onnxnull.graph.model import Model

if TYPE_CHECKING:
    import onnx_ir as ir

DOMAIN = "com.microsoft.nchwc"
BLOCKS = (16, 8)


def is_blocked(model: Model) -> bool:
    """Whether the graph has operators of this domain."""
    return any(node.domain == DOMAIN for node in model.graph)


def unblock(model: Model, block: int) -> None:
    """Replace these operators in the model's graph, for blocks of so many channels."""
    import onnx_ir as ir

    blocked: set[ir.Value] = set()
    width: dict[ir.Value, int] = {}
    for node in list(model.graph):
        if node.domain != DOMAIN:
            if any(value in blocked for value in node.inputs):
                blocked.update(node.outputs)
                known = [width[v] for v in node.inputs if v in width]
                if known and node.op_type != "Concat":
                    width.update(dict.fromkeys(node.outputs, known[0]))
                elif known and len(known) == len(node.inputs):
                    width.update(dict.fromkeys(node.outputs, sum(known)))
            continue
        source = node.inputs[0]
        assert source is not None
        if node.op_type in ("ReorderInput", "ReorderOutput"):
            made = _node("Identity", [source], [], node.name)
            if source in width:
                width[node.outputs[0]] = width[source]
            new = [made]
        elif node.op_type == "Conv":
            new = _convolution(node, block, in_blocks=source in blocked, channels=width.get(source))
            weight = new[0].inputs[1]
            assert weight is not None
            assert weight.const_value is not None
            width[node.outputs[0]] = weight.const_value.numpy().shape[0]
        else:
            attributes = [a for a in node.attributes.values() if a.name != "scales"]
            if node.op_type == "Upsample":
                scales = ir.tensor(np.array(node.attributes["scales"].value, np.float32), name=f"{node.name}/scales")
                value = _held(scales)
                model.graph.register_initializer(value)
                kept = [a for a in attributes if a.name in ("mode", "coordinate_transformation_mode", "nearest_mode")]
                made = _node("Resize", [source, None, value], kept, node.name)
            else:
                made = _node(node.op_type, [source], attributes, node.name)
            if source in width:
                width[node.outputs[0]] = width[source]
            new = [made]
        if node.op_type != "ReorderOutput":
            blocked.update(node.outputs)
        _replace(model, node, new)
        if node.op_type != "ReorderOutput":
            blocked.update(new[-1].outputs)
        if node.outputs[0] in width:
            width[new[-1].outputs[0]] = width[node.outputs[0]]


def _replace(model: Model, node: ir.Node, new: list[ir.Node]) -> None:
    import onnx_ir as ir

    old, last = node.outputs[0], new[-1].outputs[0]
    name = old.name
    for each in new:
        for value in each.inputs:
            if value is not None and value.const_value is not None and value.name not in model.graph.initializers:
                model.graph.register_initializer(value)
    model.graph.insert_before(node, new)
    ir.convenience.replace_all_uses_with(old, last, replace_graph_outputs=True)
    model.graph.remove(node, safe=True)
    last.name = name


def _convolution(node: ir.Node, block: int, *, in_blocks: bool, channels: int | None) -> list[ir.Node]:
    import onnx_ir as ir

    source, weight, *rest = node.inputs
    bias, beside = (*rest, None, None)[:2]
    assert weight is not None
    assert weight.const_value is not None
    group = node.attributes["group"].as_int() if "group" in node.attributes else 1
    stored = weight.const_value.numpy()
    outputs, inputs, *window = stored.shape
    if outputs % block:
        raise ValueError("its filters do not fill blocks")
    if in_blocks and inputs % block == 0 and inputs > 1:
        whole = stored.reshape(outputs // block, inputs // block, *window, block, block)
        whole = whole.transpose(0, whole.ndim - 1, 1, whole.ndim - 2, *range(2, 2 + len(window)))
    else:
        whole = stored.reshape(outputs // block, inputs, *window, block)
        whole = whole.transpose(0, whole.ndim - 1, 1, *range(2, 2 + len(window)))
    whole = np.ascontiguousarray(whole.reshape(stored.shape))
    shift = None if bias is None or bias.const_value is None else bias.const_value.numpy()
    used = np.abs(whole).reshape(outputs, -1).max(axis=1) > 0.0
    if shift is not None:
        used |= shift != 0.0
    real = int(np.max(np.flatnonzero(used), initial=0)) + 1
    real = real if outputs - real < block and (group == 1 or group == outputs) else outputs
    if group == outputs and channels is not None:
        real, group = channels, channels
    whole = whole[:real]
    if group == 1 and channels is not None:
        whole = whole[:, :channels]
    attributes = [a for a in node.attributes.values() if a.name not in ("activation", "activation_params", "group")]
    operands = [source, _value(f"{node.name}/weight", whole)]
    if shift is not None:
        operands.append(_value(f"{node.name}/bias", shift[:real]))
    made = [_node("Conv", operands, [*attributes, ir.AttrInt64("group", group)], node.name)]
    if beside is not None:
        made.append(_node("Add", [made[-1].outputs[0], beside], [], f"{node.name}/sum"))
    name = node.attributes["activation"].as_string() if "activation" in node.attributes else ""
    numbers = list(node.attributes["activation_params"].value) if "activation_params" in node.attributes else []
    if name:
        made.append(_activation(name, numbers, made[-1].outputs[0], f"{node.name}/activation"))
    return made


def _activation(name: str, numbers: list[float], x: ir.Value, label: str) -> ir.Node:
    import onnx_ir as ir

    if name == "Clip":
        bounds = [_value(f"{label}/{i}", np.array(number, np.float32)) for i, number in enumerate(numbers)]
        return _node("Clip", [x, *bounds], [], label)
    names = {"LeakyRelu": ("alpha",), "HardSigmoid": ("alpha", "beta")}.get(name, ())
    attributes = [ir.AttrFloat32(key, number) for key, number in zip(names, numbers, strict=False)]
    return _node(name, [x], attributes, label)


def _node(op_type: str, inputs: Sequence[ir.Value | None], attributes: Sequence[ir.Attr], name: str | None) -> ir.Node:
    import onnx_ir as ir

    made = ir.Node("", op_type, inputs, attributes, name=name)
    made.outputs[0].name = f"{name}/out"
    return made


def _value(name: str, array: np.ndarray) -> ir.Value:
    import onnx_ir as ir

    tensor = ir.tensor(array, name=name)
    return _held(tensor)


def _held(tensor: ir.TensorProtocol) -> ir.Value:
    import onnx_ir as ir

    shape = ir.Shape([int(size) for size in tensor.numpy().shape])
    return ir.Value(name=tensor.name, const_value=tensor, type=ir.TensorType(tensor.dtype), shape=shape)
