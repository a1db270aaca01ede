"""Frontiers of fused layers: their joint kernel by dense algebra, and what they must not promise."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

from tests.frontier.judge import dense_nullity, kernel_is_invisible, nullity, only_frontier
from tests.helpers import model, value, weight

MICROSOFT = "com.microsoft"
node = helper.make_node


def built(nodes: list[onnx.NodeProto], constants: dict[str, Any], shape: tuple[int, ...], opset: int = 23) -> onnx.ModelProto:
    imports = {MICROSOFT: 1, "ai.onnx.ml": 1}
    return model(nodes, constants, inputs=[value("x", shape)], outputs=[value("y", None)], imports=imports, opset=opset)


def microsoft(op: str, inputs: list[str], *outputs: str, **attributes: Any) -> onnx.NodeProto:
    return node(op, inputs, list(outputs or ("y",)), domain=MICROSOFT, name="layer", **attributes)


W = weight(10, 6)
EXPERTS = {"a": weight(2, 3, 10), "c": weight(2, 10, 3, seed=1), "r": np.array([[9, 0], [0, 9]], np.float32)}
CASES: dict[str, onnx.ModelProto] = {
    "FusedMatMul": built([microsoft("FusedMatMul", ["x", "w"], alpha=0.5, transA=1)], {"w": W}, (2, 10, 3)),
    "FusedGemm": built([microsoft("FusedGemm", ["x", "w"], activation="Relu")], {"w": W}, (3, 10)),
    "FusedConv": built(
        [microsoft("FusedConv", ["x", "w", "", "z"], activation="Relu", strides=[2, 2])],
        {"w": weight(4, 2, 3, 3), "z": weight(1, 4, 3, 3)},
        (1, 2, 7, 7),
    ),
    "Attention": built([microsoft("Attention", ["x", "w", "b"], num_heads=1)], {"w": W, "b": weight(6)}, (2, 3, 10)),
    "MoE": built([microsoft("MoE", ["x", "r", "a", "", "c"], k=2)], EXPERTS, (2, 10)),
    "learned query": built(
        [node("Attention", ["q", "x", "v"], ["y"], name="layer", q_num_heads=4, kv_num_heads=2)],
        {"q": weight(1, 2, 24), "v": weight(1, 5, 4)},
        (1, 5, 12),
    ),
    "causal": built([microsoft("CausalConvWithState", ["x", "w"], "y", "unread")], {"w": weight(4, 1, 3)}, (2, 4, 5)),
    "regressor": built(
        [
            node(
                "LinearRegressor",
                ["x"],
                ["y"],
                name="layer",
                domain="ai.onnx.ml",
                coefficients=W[:, :2].ravel().tolist(),
                targets=2,
            )
        ],
        {},
        (3, 10),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_the_joint_kernel_is_invisible(name: str, tmp_path: Path) -> None:
    proto = CASES[name]
    found = only_frontier(proto, tmp_path)
    assert found.guaranteed, found.obstacle
    assert {layer.node for layer in found.layers} == {"layer"}
    dimension = dense_nullity(found)
    assert nullity(found)[0] <= dimension <= nullity(found)[1]
    assert found.input.shape is not None
    x = weight(*(int(size) for size in found.input.shape if size is not None), seed=5)
    kernel_is_invisible(proto, found, {"x": x}, seed=7)  # weights are made from seed 0


@pytest.mark.parametrize("op", ["NhwcConv", "NhwcFusedConv"])
def test_channels_last_behind_a_transposition_is_the_convolution(op: str, tmp_path: Path) -> None:
    filters = weight(4, 2, 3, 3)
    stored = np.ascontiguousarray(filters.transpose(0, 2, 3, 1)) if op == "NhwcConv" else filters
    last = [node("Transpose", ["x"], ["t"], perm=[0, 2, 3, 1]), microsoft(op, ["t", "w"], strides=[2, 2])]
    plain = [node("Conv", ["x", "w"], ["y"], name="layer", strides=[2, 2])]
    found, expected = (
        only_frontier(built(nodes, {"w": array}, (1, 2, 7, 7)), tmp_path) for nodes, array in ((last, stored), (plain, filters))
    )
    assert found.guaranteed
    assert nullity(found) == nullity(expected)
    assert dense_nullity(found) == dense_nullity(expected) > 0


def test_a_state_or_a_key_that_comes_out_ends_the_guarantee(tmp_path: Path) -> None:
    conv = [microsoft("CausalConvWithState", ["x", "w"], "h", "s"), node("Concat", ["h", "s"], ["y"], axis=2)]
    assert not only_frontier(built(conv, {"w": weight(4, 1, 3)}, (2, 4, 5)), tmp_path).guaranteed
    attention = [node("Attention", ["q", "x", "v"], ["h", "k"], name="layer"), node("Concat", ["h", "k"], ["y"], axis=2)]
    constants = {"q": weight(1, 2, 3, 6), "v": weight(1, 2, 5, 6)}
    assert not only_frontier(built(attention, constants, (1, 2, 5, 6)), tmp_path).guaranteed
    both = [node("Attention", ["q", "x", "x"], ["y"], name="layer")]
    found = only_frontier(built(both, {"q": constants["q"]}, (1, 2, 5, 6)), tmp_path)
    assert found.obstacle == "'layer' (Attention) reads the input first: which is not a linear step"
