"""Frontiers behind a quantizer: what is guaranteed in its whole steps, and what is not."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

from onnxnull import analyze, frontier
from onnxnull.kernel.rank import Notion
from onnxnull.report import Batch
from onnxnull.report import json as report_json
from onnxnull.report.words import frontier as words
from tests.collision.quantized import SCALE, codes, dynamic, mlp, qdq, stem
from tests.frontier.judge import only_frontier
from tests.helpers import model, value

node = helper.make_node
PATCHES = {"kernel_shape": [4, 4], "strides": [4, 4]}
FOUND: dict[str, tuple[onnx.ModelProto, int]] = {
    "QLinearMatMul": (mlp(codes(9, 4)), 10),
    "QLinearConv": (stem(codes(16, 3, 4, 4), 8, **PATCHES), 4 * 32),
    "moved codes and floats": (qdq(codes(16, 3, 4, 4), 8, **PATCHES), 4 * 32),
    "MatMulInteger": (dynamic(codes(9, 4)), 10),
}


@pytest.mark.parametrize("name", FOUND)
def test_the_kernel_of_whole_steps_is_guaranteed(name: str, tmp_path: Path) -> None:
    proto, nullity = FOUND[name]
    found = only_frontier(proto, tmp_path)
    assert found.guaranteed, found.obstacle
    assert found.quantizer is not None
    assert found.quantizer.node == "quantizer"
    assert [layer.node for layer in found.layers] == ["layer"]
    bounds = frontier.joint_nullity(found, Notion.EXACT)
    assert (bounds.lower, bounds.upper, bounds.proved) == (nullity, nullity, True)


def obstacle(nodes: list[onnx.NodeProto], folder: Path, outputs: tuple[str, ...] = ("y",)) -> str:
    """Why nothing is guaranteed of x (2, 9)."""
    constants = {
        "s": np.float32(0.02),
        "other": np.float32(0.03),
        "many": np.full(9, 0.02, np.float32),
        "z": np.uint8(10),
        "zs": np.zeros(9, np.uint8),
        "w": codes(9, 4),
        "wz": np.int8(0),
        "f": np.eye(9, 4, dtype=np.float32),
        "two": np.float32(2),
        "mean": np.linspace(-1, 1, 9).astype(np.float32),
        "five": np.uint8(5),
    }
    read = {name for n in nodes for name in n.input}
    described = [value(name, None, 2 if name == "q" else 1) for name in outputs]
    proto = model(nodes, {k: v for k, v in constants.items() if k in read}, inputs=[value("x", [2, 9])], outputs=described)
    found = only_frontier(proto, folder)
    assert not found.guaranteed
    assert found.obstacle is not None
    return found.obstacle


def rounding(x: str, codes: str = "q") -> onnx.NodeProto:
    """The quantizer of `x`."""
    return node("QuantizeLinear", [x, "s", "z"], [codes], name="quantizer")


QUANTIZE = rounding("x")
PER_AXIS = [node("DequantizeLinear", ["q", "many", "zs"], ["d"], axis=1), node("MatMul", ["d", "f"], ["y"])]
INTEGER = node("MatMulInteger", ["q", "w", "e", "wz"], ["y"], name="layer")
PRODUCT = node("QLinearMatMul", ["q", "s", "z", "w", "s", "wz", "s", "z"], ["y"], name="layer")


@pytest.mark.parametrize(
    ("nodes", "outputs", "why"),
    [
        ([QUANTIZE, PRODUCT], ("q", "y"), "shows"),
        ([QUANTIZE, PRODUCT, node("MatMul", ["x", "f"], ["h"], name="floats")], ("y", "h"), "beside its quantizer"),
        ([node("QuantizeLinear", ["x", "other", "z"], ["r"]), QUANTIZE, PRODUCT, node("Neg", ["r"], ["n"])], ("y",), "grid"),
        ([node("Mul", ["x", "two"], ["m"]), node("QuantizeLinear", ["m", "s", "z"], ["q"]), PRODUCT], ("y",), "scaled"),
        ([node("QuantizeLinear", ["x", "many", "zs"], ["q"], axis=1), PRODUCT], ("y",), "one constant number"),
        ([QUANTIZE, *PER_AXIS], ("y",), "linear"),
        ([node("Sub", ["x", "mean"], ["m"]), rounding("m"), PRODUCT], ("y",), "after something was added"),
        ([node("Add", ["mean", "x"], ["a"]), node("Flatten", ["a"], ["m"]), rounding("m"), PRODUCT], ("y",), "added"),
        ([node("Add", ["mean", "x"], ["m"]), node("DynamicQuantizeLinear", ["m"], ["q", "d", "e"]), INTEGER], ("y",), "added"),
        ([rounding("x", "r"), node("Add", ["r", "five"], ["q"]), PRODUCT], ("y",), "wrap around"),
        ([rounding("x", "r"), node("Flatten", ["r"], ["f1"]), node("Sub", ["f1", "five"], ["q"]), PRODUCT], ("y",), "wrap"),
    ],
)  # fmt: skip
def test_why_nothing_is_guaranteed(nodes: list[onnx.NodeProto], outputs: tuple[str, ...], why: str, tmp_path: Path) -> None:
    assert why in obstacle(nodes, tmp_path, outputs)


def test_zeros_shift_nothing_and_floats_behind_the_grid_may_be_shifted(tmp_path: Path) -> None:
    nodes = [
        node("Add", ["x", "zeros"], ["m"]),
        rounding("m"),
        node("DequantizeLinear", ["q", "s", "z"], ["d"]),
        node("Add", ["d", "mean"], ["e"]),
        node("MatMul", ["e", "f"], ["y"], name="layer"),
    ]
    floats = {"zeros": np.zeros(9, np.float32), "mean": np.ones(9, np.float32), "f": np.eye(9, 4, dtype=np.float32)}
    stored = {"s": np.float32(0.02), "z": np.uint8(10), **floats}
    found = only_frontier(model(nodes, stored, inputs=[value("x", [2, 9])], outputs=[value("y", None)]), tmp_path)
    assert found.guaranteed, found.obstacle
    assert found.quantizer is not None


@pytest.mark.parametrize(("proto", "scale"), [(mlp(codes(9, 4)), float(SCALE)), (dynamic(codes(9, 4)), "dynamic")])
def test_the_report_says_whose_steps(proto: onnx.ModelProto, scale: object, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(proto.SerializeToString())
    report = analyze(path)
    (text,) = words(report)
    assert "in whole steps of the quantizer, without saturation, it ignores 10 (55.6 %)" in text
    (entry,) = json.loads(report_json.render(Batch((report,))))["models"][0]["frontier"]
    assert entry["quantizer"]["scale"] == (scale if isinstance(scale, str) else float(f"{scale:.6g}"))
    assert entry["quantizer"]["range"] == [0, 255]
    assert entry["input_nullity"] == [10, 10]
