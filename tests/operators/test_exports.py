"""Weights as exporters leave them: one projection for query, key and value, and layers inside local functions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import helper

from onnxnull.analysis.analyze import analyze
from onnxnull.analysis.results import ModelReport
from tests.helpers import model, only_use, run, uses, value, weight

node = helper.make_node
TORCH = "pkg.onnxscript.torch_lib"


def analysed(proto: onnx.ModelProto, folder: Path) -> ModelReport:
    path = folder / "model.onnx"
    onnx.save(proto, path)
    return analyze(path)


def test_a_fused_projection_is_one_weight_of_one_node(tmp_path: Path) -> None:
    """Its product is split in three and used three times: counted once, as the paper counts a vision transformer's."""
    made = [
        node("MatMul", ["x", "w"], ["product"], name="qkv"),
        node("Add", ["product", "b"], ["biased"]),
        node("Split", ["biased"], ["q", "k", "v"], axis=2),
        node("Transpose", ["k"], ["k_t"], perm=[0, 2, 1]),
        node("MatMul", ["q", "k_t"], ["scores"]),
        node("Softmax", ["scores"], ["p"], axis=-1),
        node("MatMul", ["p", "v"], ["y"]),
    ]
    w = weight(16, 12)
    proto = model(made, {"w": w, "b": weight(12)}, inputs=[value("x", [2, 5, 16])], opset=13)
    report = analysed(proto, tmp_path)
    assert [(found.name, found.inputs, found.outputs, found.in_paper) for found in report.weights] == [("w", 16, 12, True)]
    assert [[n.name for n in found.nodes] for found in report.weights] == [["qkv"]]
    assert (report.paper.weights, report.paper.nullity, report.full.nullity) == (1, 4, 4)
    (front,) = report.frontier
    assert front.input_nullity is not None
    assert (front.input_nullity.lower, front.input_nullity.upper) == (2 * 5 * 4, 2 * 5 * 4)
    fused = node("Attention", ["x", "w", "b"], ["y"], domain="com.microsoft", num_heads=1, name="qkv", scale=1.0)
    fused = model([fused], {"w": w, "b": weight(12)}, inputs=[value("x", [2, 5, 16])], imports={"com.microsoft": 1})
    x = weight(2, 5, 16, seed=3)
    np.testing.assert_allclose(run(fused, {"x": x})[0], run(proto, {"x": x})[0], rtol=1e-4, atol=1e-5)
    other = analysed(fused, tmp_path)  # fusing moves no number
    assert (other.paper, other.full) == (report.paper, report.full)


def function(name: str, inputs: list[str], nodes: list[onnx.NodeProto], attributes: list[str] | None = None) -> Any:
    imports = [helper.make_opsetid("", 18), helper.make_opsetid(TORCH, 1)]
    return helper.make_function(TORCH, name, inputs, ["result"], nodes, imports, attributes or [])


def gemm() -> onnx.NodeProto:
    made = node("Gemm", ["left", "right", "bias"], ["result"], transB=0)
    for name in ("alpha", "beta"):
        made.attribute.append(onnx.AttributeProto(name=name, ref_attr_name=name, type=onnx.AttributeProto.FLOAT))
    return made


FUNCTIONS = [
    function(
        "aten_linear_bias",
        ["x", "w", "b"],
        [
            node("Transpose", ["w"], ["w_t"], perm=[1, 0]),
            node("MatMul", ["x", "w_t"], ["product"]),
            node("Add", ["product", "b"], ["result"]),
        ],
    ),
    function("aten_t", ["self"], [node("Transpose", ["self"], ["result"], perm=[1, 0])]),
    function("aten_addmm", ["bias", "left", "right"], [gemm()], ["alpha", "beta"]),
    function(
        "linear_as_addmm",
        ["x", "w", "b"],
        [
            node("aten_t", ["w"], ["t"], domain=TORCH),
            node("aten_addmm", ["b", "x", "t"], ["result"], domain=TORCH, alpha=-0.5, beta=1.0),
        ],
    ),
]


@pytest.mark.parametrize(("layer", "scale"), [("aten_linear_bias", 1.0), ("linear_as_addmm", -0.5)])
def test_layers_in_the_functions_that_exporters_emit(layer: str, scale: float, tmp_path: Path) -> None:
    """Two calls of one function are two layers, each with its own weight; functions may call functions."""
    made = [
        node(layer, ["x", "w1", "b1"], ["h"], domain=TORCH, name="fc1"),
        node("Relu", ["h"], ["r"]),
        node(layer, ["r", "w2", "b2"], ["y"], domain=TORCH, name="fc2"),
    ]
    arrays = {"w1": weight(4, 6), "b1": weight(4), "w2": weight(3, 4, seed=1), "b2": weight(3)}
    inputs = [value("x", [2, 6])]
    proto = model(made, arrays, inputs=inputs, functions=FUNCTIONS, imports={TORCH: 1}, opset=18)
    report = analysed(proto, tmp_path)
    assert [(w.name, w.inputs, w.outputs, len(w.nodes)) for w in report.weights] == [("w1", 6, 4, 1), ("w2", 4, 3, 1)]
    assert (report.complete, report.paper.weights, report.paper.nullity) == (True, 2, 3)
    first = model(
        made[:1], {"w1": arrays["w1"], "b1": arrays["b1"]}, inputs=inputs, functions=FUNCTIONS, imports={TORCH: 1}, opset=18
    )
    use = only_use(uses(first, tmp_path))
    x: NDArray[np.float32] = weight(2, 6, seed=2)
    expected = run(first, {"x": x})[0] - arrays["b1"]
    np.testing.assert_allclose(use.linear_map(use.matrix(), x.shape).apply(x), expected, rtol=1e-4, atol=1e-5)
    assert use.scale == scale
    moved = x + np.linalg.svd(use.matrix()[0])[0][:, -1].astype(np.float32)
    np.testing.assert_allclose(run(proto, {"x": moved})[0], run(proto, {"x": x})[0], rtol=1e-4, atol=1e-5)
