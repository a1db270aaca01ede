"""onnxruntime's blocked convolutions (domain com.microsoft.nchwc, optimisation level `all`) as ONNX's own, in a graph of our
own.

1. ReorderInput and ReorderOutput move entries between NCHW (with `channels_last` NHWC) and blocks of channels; on logical
   tensors they are nothing or a Transpose, up to channels of zeros that fill the last block.
2. Conv reads an image in blocks with a weight stored as [O/B][I/B][kh][kw][B of I][B of O], one in NCHW (few input channels,
   or one per group) with [O/B][I][kh][kw][B of O], where B is 16 or 8, as the processor has it: the file does not say. Its
   fourth operand is added, and its activation is that of FusedConv.
3. MaxPool, AveragePool, their global forms and Upsample are those of ONNX (Upsample by nearest entries).

Filters of zeros at the end that fill the last block are left out, and so are the input channels that read them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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


_KEEP_CHANNELS = frozenset(
    [
        *("Add", "Sub", "Mul", "Div", "Sum", "Max", "Min", "Mean", "Pow", "Relu", "Clip", "LeakyRelu", "Elu", "Selu"),
        *("Sigmoid", "HardSigmoid", "HardSwish", "Tanh", "Erf", "Gelu", "Softplus", "AveragePool", "MaxPool"),
        *("GlobalAveragePool", "GlobalMaxPool", "Resize", "Upsample", "BatchNormalization", "Identity", "Cast"),
    ]
)
"""Operators of ONNX that give as many channels as they read."""


def unblock(model: Model, block: int) -> None:
    """Replace these operators in the model's graph, for blocks of so many channels. Raises `ValueError` if they do not fit."""
    blocked: set[ir.Value] = set()
    width: dict[ir.Value, int] = {}
    for node in list(model.graph):
        source = node.inputs[0] if node.inputs else None
        if node.domain != DOMAIN:
            if any(value in blocked for value in node.inputs):
                blocked.update(node.outputs)
            channels = _channels(node, width)
            if channels is not None:
                width.update(dict.fromkeys(node.outputs, channels))
            continue
        assert source is not None
        inside = source in blocked
        new = _plain(model, node, source, block, inside=inside, channels=width.get(source))
        weight = new[0].inputs[1] if new[0].op_type == "Conv" else None
        channels = width.get(source)
        if weight is not None and weight.const_value is not None:
            channels = weight.const_value.numpy().shape[0]
        if node.op_type == "ReorderOutput" and "channels" in node.attributes:
            channels = node.attributes["channels"].as_int()
        _replace(model, node, new)
        last = new[-1].outputs[0]
        if node.op_type != "ReorderOutput":
            blocked.add(last)
        if channels is not None:
            width[last] = channels


def _channels(node: ir.Node, width: Mapping[ir.Value, int]) -> int | None:
    """How many channels an operator of ONNX gives, as far as the graph says so."""
    known = [width[value] for value in node.inputs if value is not None and value in width]
    if node.op_type == "Concat":
        return sum(known) if known and len(known) == len(node.inputs) else None
    if node.op_type in ("Conv", "FusedConv"):
        weight = node.inputs[1]
        return None if weight is None or weight.const_value is None else int(weight.const_value.numpy().shape[0])
    return max(known) if known and node.op_type in _KEEP_CHANNELS else None


def _plain(model: Model, node: ir.Node, source: ir.Value, block: int, *, inside: bool, channels: int | None) -> list[ir.Node]:
    """One operator of this domain as those of ONNX."""
    import onnx_ir as ir

    if node.op_type in ("ReorderInput", "ReorderOutput"):
        if "channels_last" in node.attributes and node.attributes["channels_last"].as_int():
            perm = [0, 3, 1, 2] if node.op_type == "ReorderInput" else [0, 2, 3, 1]
            return [_node("Transpose", [source], [ir.AttrInt64s("perm", perm)], node.name)]
        return [_node("Identity", [source], [], node.name)]
    if node.op_type == "Conv":
        return _convolution(node, block, in_blocks=inside, channels=channels)
    attributes = [a for a in node.attributes.values() if a.name != "scales"]
    if node.op_type == "Upsample":
        scales = ir.tensor(np.array(node.attributes["scales"].value, np.float32), name=f"{node.name}/scales")
        value = _held(scales)
        model.graph.register_initializer(value)
        kept = [a for a in attributes if a.name in ("mode", "coordinate_transformation_mode", "nearest_mode")]
        return [_node("Resize", [source, None, value], kept, node.name)]
    return [_node(node.op_type, [source], attributes, node.name)]


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
    if group == 1:
        whole = whole[:, : inputs - _empty(whole, block) if channels is None else channels]
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


def _empty(weight: np.ndarray, block: int) -> int:
    """How many input channels at the end are only there to fill the last block."""
    read = np.abs(weight).max(axis=(0, *range(2, weight.ndim))) > 0.0
    empty = len(read) - 1 - int(np.max(np.flatnonzero(read), initial=0))
    return empty if empty < block else 0


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
