"""Switches in a model: a tensor of the main graph that a caller may replace while the model runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from onnxnull.errors import Code, OnnxnullError
from onnxnull.runtime.precision import Twin

if TYPE_CHECKING:
    import onnx


@dataclass(frozen=True, slots=True, eq=False)
class OverridableTwin:
    """A twin in which some tensors can be replaced.

    Attributes:
        twin: every tensor y of `tensors` is now If(flag): replacement, else: what the node computed.
        tensors: tensor → its element type, as NumPy names it, and its rank.
    """

    twin: Twin
    tensors: Mapping[str, tuple[np.dtype[Any], int]]

    def feeds(self, replaced: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """What the inputs of the switches take so that these tensors, and no others, are replaced."""
        given: dict[str, np.ndarray] = {}
        for name, (dtype, rank) in self.tensors.items():
            given[_flag(name)] = np.array(name in replaced)
            given[_value(name)] = replaced[name].astype(dtype) if name in replaced else np.zeros((1,) * rank, dtype)
        return given


def with_overrides(twin: Twin, tensors: Mapping[str, np.ndarray]) -> OverridableTwin:
    """Switches at these tensors of the main graph; each is given as the model computed it once.

    Raises:
        OnnxnullError: with code `data` where the model computes no such tensor.
    """
    import onnx
    from onnx import helper

    proto = onnx.ModelProto()
    proto.CopyFrom(twin.proto)
    del proto.graph.value_info[:]
    makers = {name: index for index, node in enumerate(proto.graph.node) for name in node.output if name}
    ordered: list[list[onnx.NodeProto]] = [[node] for node in proto.graph.node]
    for name, seen in tensors.items():
        if name not in makers:
            raise OnnxnullError(Code.DATA, f"the model computes no tensor {name!r}", "name a layer of the main graph")
        group, own = ordered[makers[name]], f"{_PREFIX}/own/{name}"
        group[0].output[list(group[0].output).index(name)] = own
        branches = {"then_branch": _handing_out(_value(name), name), "else_branch": _handing_out(own, name)}
        group.append(helper.make_node("If", [_flag(name)], [name], **branches))
        kind = helper.np_dtype_to_tensor_dtype(seen.dtype)
        proto.graph.input.append(helper.make_tensor_value_info(_flag(name), onnx.TensorProto.BOOL, []))
        proto.graph.input.append(helper.make_tensor_value_info(_value(name), kind, [None] * seen.ndim))
    copies = [onnx.NodeProto.FromString(node.SerializeToString()) for group in ordered for node in group]
    del proto.graph.node[:]
    proto.graph.node.extend(copies)
    described = {name: (seen.dtype, seen.ndim) for name, seen in tensors.items()}
    return OverridableTwin(Twin(proto, twin.precision, twin.lowered), described)


_PREFIX = "onnxnull/switch"


def _handing_out(outer: str, name: str) -> onnx.GraphProto:
    """A branch that gives a tensor of the graph around it."""
    from onnx import ValueInfoProto, helper

    result = f"{outer}/out"
    node = helper.make_node("Identity", [outer], [result])
    graph: onnx.GraphProto = helper.make_graph([node], f"switch/{name}", [], [ValueInfoProto(name=result)])
    return graph


def _flag(name: str) -> str:
    return f"{_PREFIX}/flag/{name}"


def _value(name: str) -> str:
    return f"{_PREFIX}/value/{name}"
