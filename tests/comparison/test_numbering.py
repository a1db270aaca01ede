"""Which changes of a graph its value numbering sees, and which it does not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from onnxnull.comparison.numbering import equal_graphs
from onnxnull.graph.model import open_model
from tests.helpers import model, value


def _net() -> onnx.ModelProto:
    rng = np.random.default_rng(0)
    body = helper.make_graph(
        [helper.make_node("Neg", ["n"], ["inner"])], "then", [], [helper.make_empty_tensor_value_info("inner")]
    )
    other = helper.make_graph(
        [helper.make_node("Abs", ["n"], ["inner"])], "else", [], [helper.make_empty_tensor_value_info("inner")]
    )
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["m"], "product"),
        helper.make_node("Add", ["m", "b"], ["s"], "shift"),
        helper.make_node("LayerNormalization", ["s", "g"], ["n"], "norm", epsilon=1e-5),
        helper.make_node("If", ["c"], ["i"], "choice", then_branch=body, else_branch=other),
        helper.make_node("Clip", ["i", "low", "high"], ["y"], "clip"),
    ]
    constants = {
        "w": rng.standard_normal((8, 4)).astype(np.float32),
        "b": np.ones(4, np.float32),
        "g": np.ones(4, np.float32),
        "c": np.array(True),
        "low": np.float32(0),
        "high": np.float32(6),
    }
    return model(nodes, constants, inputs=[value("x", [1, 8])])


def _node(proto: onnx.ModelProto, name: str) -> onnx.NodeProto:
    (found,) = (node for node in proto.graph.node if node.name == name)
    assert isinstance(found, onnx.NodeProto)
    return found


def _constant(proto: onnx.ModelProto, name: str, change: Callable[[np.ndarray], np.ndarray]) -> None:
    (tensor,) = (t for t in proto.graph.initializer if t.name == name)
    tensor.CopyFrom(numpy_helper.from_array(np.asarray(change(numpy_helper.to_array(tensor))), name))


def _rename(proto: onnx.ModelProto) -> None:
    for node in proto.graph.node:
        node.name += "_renamed"
        node.input[:] = [f"{name}_" if name in ("m", "s", "w") else name for name in node.input]
        node.output[:] = [f"{name}_" if name in ("m", "s") else name for name in node.output]
    for tensor in proto.graph.initializer:
        tensor.name += "_" if tensor.name == "w" else ""


def _as_node(proto: onnx.ModelProto) -> None:
    (tensor,) = (t for t in proto.graph.initializer if t.name == "b")
    proto.graph.node.insert(0, helper.make_node("Constant", [], ["b"], value=tensor))
    proto.graph.initializer.remove(tensor)


SAME: dict[str, Callable[[onnx.ModelProto], object]] = {
    "itself": lambda p: None,
    "names": _rename,
    "order of initializers": lambda p: p.graph.initializer.reverse(),
    "commuted": lambda p: _node(p, "shift").input.reverse(),
    "a default written out": lambda p: _node(p, "norm").attribute.append(helper.make_attribute("axis", -1)),
    "a Constant node": _as_node,
    "a node that nothing needs": lambda p: p.graph.node.append(helper.make_node("Relu", ["m"], ["unused"])),
}
OTHER: dict[str, Callable[[onnx.ModelProto], object]] = {
    "another epsilon": lambda p: setattr(_node(p, "norm").attribute[0], "f", 1e-3),
    "another operator": lambda p: setattr(_node(p, "shift"), "op_type", "Sub"),
    "operands exchanged": lambda p: _node(p, "clip").input.__setitem__(slice(1, 3), ["high", "low"]),
    "an operand left out": lambda p: _node(p, "clip").input.pop(),
    "an operand skipped": lambda p: _node(p, "clip").input.__setitem__(1, ""),
    "a bias": lambda p: _constant(p, "b", lambda a: a + np.float32(1e-3)),
    "a shape of a constant": lambda p: _constant(p, "b", lambda a: a.reshape(1, 4)),
    "a bound": lambda p: _constant(p, "high", lambda a: a + 1),
    "another condition": lambda p: _constant(p, "c", lambda a: ~a),
    "a body": lambda p: setattr(_node(p, "choice").attribute[0].g.node[0], "op_type", "Exp"),
    "what a body captures": lambda p: _node(p, "choice").attribute[0].g.node[0].input.__setitem__(0, "s"),
    "another wire": lambda p: _node(p, "norm").input.__setitem__(0, "m"),
    "another input": lambda p: p.graph.input[0].type.tensor_type.shape.dim[0].__setattr__("dim_value", 2),
}


@pytest.mark.parametrize("name", [*SAME, *OTHER])
def test_changes(name: str, tmp_path: Path) -> None:
    changed = _net()
    {**SAME, **OTHER}[name](changed)
    for file, proto in (("a.onnx", _net()), ("b.onnx", changed)):
        (tmp_path / file).write_bytes(proto.SerializeToString())
    a, b = (open_model(tmp_path / file) for file in ("a.onnx", "b.onnx"))
    assert equal_graphs(a, b) is (name in SAME)
