"""Every operator that is installed is either spoken for or reviewed, and what is neither is refused by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper
from onnxruntime.capi.onnxruntime_pybind11_state import get_all_operator_schema

from onnxnull.errors import Code
from onnxnull.operators import handled_operators
from onnxnull.operators.linear_use import reviewed_operators
from tests.helpers import model, only_refusal, tensor, uses, value, weight

Operator = tuple[str, str]


def of_onnx() -> set[Operator]:
    return {(s.domain, s.name) for s in onnx.defs.get_all_schemas_with_history()}


def of_onnxruntime() -> set[Operator]:
    return {("" if s.domain == "ai.onnx" else s.domain, s.name) for s in get_all_operator_schema()}


OF_THE_OPTIMISER = {"com.microsoft.nchwc", "com.ms.internal.nhwc"}
"""Domains of onnxruntime that its graph optimiser writes and no exporter does: refused by name."""

LEFT_UNKNOWN = {
    *(("", name) for name in ("DisentangledAttention_TRT", "EfficientNMS_TRT")),
    *(("", name) for name in ("MultilevelCropAndResize_TRT", "PyramidROIAlign_TRT", "GivenTensorFill")),
}
"""Plugins of TensorRT, and a Caffe2 operator that makes constants which nobody evaluates: refused by name."""


def unreviewed(operators: set[Operator]) -> set[Operator]:
    """Those that are neither handled nor reviewed, nor meant to stay unknown."""
    ours = {operator for operator in operators if operator[0] not in OF_THE_OPTIMISER}
    return ours - LEFT_UNKNOWN - handled_operators() - reviewed_operators()


def test_every_installed_operator_is_handled_or_reviewed() -> None:
    installed = of_onnx() | of_onnxruntime()
    assert not unreviewed(installed), sorted(unreviewed(installed))
    domains = {"", "ai.onnx.ml", "ai.onnx.preview", "ai.onnx.preview.training", "com.microsoft"} | OF_THE_OPTIMISER
    assert {domain for domain, _ in installed} <= domains, "a domain that nobody has reviewed"


@pytest.mark.parametrize("domain", ["", "ai.onnx.ml", "ai.onnx.preview.training", "com.microsoft", "com.new"])
def test_a_new_operator_is_not_overlooked(domain: str) -> None:
    new = (domain, "BrandNewProduct")
    assert unreviewed(of_onnx() | of_onnxruntime() | {new}) == {new}


@pytest.mark.parametrize("domain", sorted(OF_THE_OPTIMISER))
def test_what_the_optimiser_writes_is_refused_by_name(domain: str, tmp_path: Path) -> None:
    assert not {operator for operator in handled_operators() | reviewed_operators() if operator[0] == domain}
    found = refusal("Conv", domain, {"w": weight(4, 3, 1, 1)}, tmp_path, ["x", "w"])
    assert found.reason == f"operator {domain}.Conv is not known (constant 'w')"


def test_no_name_is_stale() -> None:
    stale = (handled_operators() | reviewed_operators()) - of_onnx() - of_onnxruntime()
    newest = tuple(int(part) for part in onnx.__version__.split(".")[:2]) >= (1, 23)
    if not newest:
        pytest.skip(f"onnx {onnx.__version__} is older than the lists")
    assert not stale, sorted(stale)


def refusal(op: str, domain: str, constants: dict[str, Any], folder: Path, inputs: list[str], **attributes: Any) -> Any:
    made = helper.make_node(op, inputs, ["y"], domain=domain, **attributes)
    proto = model([made], constants, inputs=[value("x", [2, 4])], imports={domain: 1} if domain else {}, opset=23)
    return only_refusal(uses(proto, folder))


Q = np.arange(12, dtype=np.int8).reshape(4, 3)


@pytest.mark.parametrize(
    ("op", "domain", "inputs"),
    [
        ("LinearAttention", "", ["w", "x", "x"]),
        ("GroupQueryAttention", "com.microsoft", ["w", "x", "x"]),
        ("HyperConnectionPreMix", "com.microsoft", ["x", "w"]),
        ("GridSample", "", ["x", "w"]),
    ],
)
def test_what_is_not_analysed_yet_is_refused_by_name(op: str, domain: str, inputs: list[str], tmp_path: Path) -> None:
    constants = {name: array for name, array in {"w": Q, "s": np.float32(1), "z": np.int8(0)}.items() if name in inputs}
    found = refusal(op, domain, constants, tmp_path, inputs)
    assert found.code is Code.OPERATOR
    assert "'w'" in found.reason


@pytest.mark.parametrize(
    ("op", "domain", "inputs"),
    [("QMoE", "com.microsoft", ["x", "x", "w"]), ("QOrderedMatMul", "com.microsoft", ["x", "s", "w", "s", "s"])],
)
def test_weights_that_are_stored_flat_are_refused_too(op: str, domain: str, inputs: list[str], tmp_path: Path) -> None:
    constants = {"w": Q[:, 0].copy()} | ({"s": weight(1)} if "s" in inputs else {})
    assert "'w'" in refusal(op, domain, constants, tmp_path, inputs).reason


def test_the_same_operators_without_constants_are_fine(tmp_path: Path) -> None:
    for op, domain in (("MatMulInteger", ""), ("FusedMatMul", "com.microsoft"), ("Mystery", "custom")):
        made = helper.make_node(op, ["x", "x"], ["y"], domain=domain)
        proto = model([made], inputs=[value("x", [4, 4])], imports={domain: 1} if domain else {})
        assert uses(proto, tmp_path) == []


def test_masks_of_attention_are_no_weights(tmp_path: Path) -> None:
    made = helper.make_node("Attention", ["x", "x", "x", "m"], ["y"], q_num_heads=1, kv_num_heads=1)
    assert uses(model([made], {"m": weight(3, 3)}, inputs=[value("x", [1, 3, 4])], opset=23), tmp_path) == []


@pytest.mark.parametrize("constant", [weight(4, 3), weight(7)], ids=["matrix", "flat"])
def test_an_unknown_operator_with_a_constant_is_refused(constant: Any, tmp_path: Path) -> None:
    found = refusal("Mystery", "custom", {"w": constant}, tmp_path, ["x", "w"])
    assert (found.code, found.reason) == (Code.OPERATOR, "operator custom.Mystery is not known (constant 'w')")


@pytest.mark.parametrize("attributes", [{"blob": tensor("t", weight(4, 3))}, {"numbers": [1.0, 2.0]}], ids=["tensor", "floats"])
def test_an_unknown_operator_with_numbers_inside_is_refused(attributes: dict[str, Any], tmp_path: Path) -> None:
    found = refusal("Mystery", "custom", {}, tmp_path, ["x"], **attributes)
    assert found.code is Code.OPERATOR
    assert repr(next(iter(attributes))) in found.reason


def test_an_unknown_operator_of_the_default_domain_is_refused(tmp_path: Path) -> None:
    assert "ai.onnx.Mystery" in refusal("Mystery", "", {"w": weight(4, 3)}, tmp_path, ["x", "w"]).reason


def test_an_unknown_operator_over_constants_blocks_the_weight_behind_it(tmp_path: Path) -> None:
    made = [helper.make_node("Mystery", ["w"], ["v"], domain="custom"), helper.make_node("MatMul", ["x", "v"], ["y"])]
    found = uses(model(made, {"w": weight(4, 3)}, inputs=[value("x", [2, 4])], imports={"custom": 1}), tmp_path)
    assert [view.op_type for view, _ in found] == ["Mystery", "MatMul"]


@pytest.mark.parametrize("op", ["EPContext", "Snpe"])
def test_compiled_networks_are_refused_without_any_constant(op: str, tmp_path: Path) -> None:
    payload = {"DLC": "..."} if op == "Snpe" else {"ep_cache_context": "..."}
    assert "cannot be read" in refusal(op, "com.microsoft", {}, tmp_path, ["x"], **payload).reason


def test_scales_tables_and_masks_are_no_weights(tmp_path: Path) -> None:
    made = [
        helper.make_node("Mul", ["x", "s"], ["a"]),
        helper.make_node("Gather", ["t", "i"], ["g"]),
        helper.make_node("Where", ["m", "a", "a"], ["w"]),
        helper.make_node("LayerNormalization", ["w", "v"], ["y"]),
    ]
    constants = {"s": weight(2, 4), "t": weight(9, 4), "m": np.ones((2, 4), bool), "v": weight(4)}
    inputs = [value("x", [2, 4]), value("i", [2], onnx.TensorProto.INT64)]
    assert uses(model(made, constants, inputs=inputs), tmp_path) == []
