"""What stays equal along a fibre: tensors of a model, by default its outputs or the logits behind them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from onnxnull.errors import Code, OnnxnullError
from onnxnull.runtime.convert_floats import FLOATS
from onnxnull.runtime.rewrite import fresh_prefix

if TYPE_CHECKING:
    import onnx

_SOFTMAX = frozenset({"Softmax", "LogSoftmax"})
_SHAPING = frozenset({"Flatten", "Identity", "Reshape", "Squeeze", "Unsqueeze"})


def default_equal(proto: onnx.ModelProto) -> tuple[tuple[str, ...], str]:
    """The tensors that stay equal where none is named, and what to say of it: logits where a Softmax follows, else the outputs.

    Raises:
        OnnxnullError: `data` where the model has no floating-point output.
    """
    makers = {name: node for node in proto.graph.node for name in node.output if name}
    outputs = [v.name for v in proto.graph.output if v.type.tensor_type.elem_type in FLOATS or not v.type.WhichOneof("value")]
    logits: dict[str, str] = {}
    for output in outputs:
        name = output
        while name in makers and makers[name].op_type in _SHAPING:
            name = makers[name].input[0]
        if name in makers and makers[name].op_type in _SOFTMAX:
            logits[output] = makers[name].input[0]
    if logits:
        chosen = tuple(dict.fromkeys(logits.values()))
        words = ", ".join(f"{operand!r}, the logits of {output!r}" for output, operand in logits.items())
        return chosen, f"what stays equal is {words}"
    if not outputs:
        raise OnnxnullError(Code.DATA, "the model has no floating-point output", "name what stays equal with --equal")
    return tuple(outputs), f"what stays equal is {', '.join(map(repr, outputs))}"


def joined(proto: onnx.ModelProto, names: Sequence[str]) -> tuple[onnx.ModelProto, str]:
    """The model with these tensors as one output, and its name: the tensor itself where there is one only."""
    from onnx import ModelProto, helper, numpy_helper

    if len(names) == 1:
        return proto, names[0]
    model = ModelProto()
    model.CopyFrom(proto)
    prefix = fresh_prefix(model.graph)
    model.graph.initializer.append(numpy_helper.from_array(np.array([-1]), prefix + "flat"))
    for number, name in enumerate(names):
        model.graph.node.append(helper.make_node("Reshape", [name, prefix + "flat"], [f"{prefix}part/{number}"]))
    parts = [f"{prefix}part/{number}" for number in range(len(names))]
    model.graph.node.append(helper.make_node("Concat", parts, [prefix + "equal"], axis=0))
    return model, prefix + "equal"
