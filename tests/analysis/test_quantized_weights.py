"""What the report says of quantized weights: whose rank it is, and what scales, zero points and rounding do to it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import TensorProto, helper

from onnxnull import analyze
from onnxnull.analysis.results import Scales, WeightReport
from onnxnull.documents.base import plain
from onnxnull.errors import Code
from onnxnull.kernel.rank import Certainty, ExactPolicy, Notion, rank, rank_profile
from onnxnull.kernel.rank.integers import integers
from onnxnull.report import words
from onnxnull.report.json import weight_document
from tests.helpers import model, value

Array = NDArray[Any]


def codes(rows: int, columns: int, of_rank: int, seed: int = 0) -> NDArray[np.int8]:
    """int8 codes (rows, columns) of this rank over ℚ: the last columns are sums of two of the first."""
    rng = np.random.default_rng(seed)
    made = rng.integers(-60, 61, (rows, columns))
    for j in range(of_rank, columns):
        made[:, j] = made[:, j % of_rank] + made[:, (j + 1) % of_rank]
    return made.astype(np.int8)


def report_of(constants: dict[str, Any], folder: Path, *, qdq: bool = True, **attributes: Any) -> WeightReport:
    """The weight of x·dequantize(w, s, z), or of MatMulInteger."""
    names = [name for name in ("w", "s", "z") if name in constants]
    rows = constants["w"].shape[0]
    if qdq:
        made = [helper.make_node("DequantizeLinear", names, ["d"], **attributes), helper.make_node("MatMul", ["x", "d"], ["y"])]
        inputs = [value("x", [2, rows])]
    else:
        made = [helper.make_node("MatMulInteger", ["x", "w", "", "z"], ["y"])]
        inputs = [value("x", [2, rows], 2)]
    path = folder / "model.onnx"
    path.write_bytes(model(made, constants, inputs=inputs, opset=21, ir_version=10).SerializeToString())
    report = analyze(path, exact=ExactPolicy.ALWAYS)
    assert report.complete
    return report.weights[0]


def exact(weight: WeightReport) -> int:
    assert weight.ranks.exact is not None
    assert weight.ranks.exact.certainty is Certainty.EXACT
    return weight.ranks.exact.value


def test_the_rank_of_the_integers_survives_scales_per_tensor_and_output(tmp_path: Path) -> None:
    w = codes(12, 8, 5)
    for scale, sharing in ((np.float32(0.1), Scales.TENSOR), (np.linspace(0.01, 0.3, 8, dtype=np.float32), Scales.OUTPUT)):
        found = report_of({"w": w, "s": scale}, tmp_path, axis=1)
        assert found.quantization is not None
        assert (exact(found), found.quantization.scales, found.dtype) == (5, sharing, "int8")


def test_rounding_to_floats_makes_independent_what_was_not(tmp_path: Path) -> None:
    found = report_of({"w": codes(12, 8, 5), "s": np.float32(0.1)}, tmp_path)
    assert found.quantization is not None
    executed = found.quantization.executed
    assert executed is not None
    assert executed.exact is not None
    assert (exact(found), executed.float32.value, executed.exact.value) == (5, 5, 8)
    assert "as the floats that run" in words.notes(found)


def test_a_scale_that_is_a_power_of_two_rounds_nothing(tmp_path: Path) -> None:
    found = report_of({"w": codes(12, 8, 5), "s": np.float32(0.125)}, tmp_path)
    assert found.quantization is not None
    assert (exact(found), found.quantization.executed) == (5, None)


def test_scales_in_blocks_change_the_rank(tmp_path: Path) -> None:
    w = codes(12, 8, 5)
    blocks = np.random.default_rng(3).uniform(0.01, 1, (12, 2)).astype(np.float32)
    found = report_of({"w": w, "s": blocks}, tmp_path, axis=1, block_size=4)
    truth = w.astype(object) * np.repeat([[int(x * 2**30) for x in row] for row in blocks.astype(float)], 4, axis=1)
    assert found.quantization is not None
    assert found.quantization.scales is Scales.BLOCK
    assert exact(found) == int(np.linalg.matrix_rank(truth.astype(float))) > 5


def test_scales_along_the_inputs_keep_the_rank_and_change_the_kernel(tmp_path: Path) -> None:
    w = codes(12, 8, 5)
    found = report_of({"w": w, "s": np.linspace(0.01, 0.3, 12, dtype=np.float32)}, tmp_path, axis=0)
    assert found.quantization is not None
    assert (exact(found), found.quantization.scales) == (5, Scales.INPUT)


def test_a_scale_of_zero_kills_an_output(tmp_path: Path) -> None:
    scale = np.full(8, 0.1, dtype=np.float32)
    scale[3] = 0
    found = report_of({"w": codes(12, 8, 8), "s": scale}, tmp_path, axis=1)
    assert found.quantization is not None
    assert (exact(found), found.dead_outputs, found.quantization.zero_scales) == (7, 1, 12)
    assert "12 entries with scale 0" in words.notes(found)


def test_a_zero_point_changes_the_rank(tmp_path: Path) -> None:
    w = codes(12, 8, 8)
    w[:, 2] = 17  # all codes are the zero point: a dead output
    found = report_of({"w": w, "z": np.int8(17)}, tmp_path, qdq=False)
    assert found.quantization is not None
    assert (exact(found), found.dead_outputs, found.quantization.rank_without) == (7, 1, 8)
    assert "rank 8 without zero points" in words.notes(found)
    document = weight_document(found).quantization
    assert document is not None
    assert plain(document) == {
        **{"scales": "tensor", "zero_scales": 0, "zero_points": True, "rank_without_zero_points": 8, "executed": None},
    }


@settings(max_examples=25)
@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 9), st.integers(0, 1000))
def test_scales_leave_the_integers(rows: int, columns: int, of_rank: int, seed: int) -> None:
    made = codes(rows, columns, min(of_rank, columns), seed).astype(np.float64)
    rng = np.random.default_rng(seed)
    scale = rng.uniform(0.001, 1, columns).astype(np.float32).astype(np.float64)
    scaled = made * scale
    found = integers(scaled if rows >= columns else scaled.T)
    assert found is not None
    assert np.abs(found.odd).max(initial=0) <= 127
    assert rank(scaled, Notion.EXACT).value == rank(made, Notion.EXACT).value


@pytest.mark.parametrize("shape", [(40, 24), (24, 40)], ids=["tall", "wide"])
def test_relations_between_scaled_columns_are_proved(shape: tuple[int, int]) -> None:
    from onnxnull.kernel import proof_check

    made = codes(*shape, 11).astype(np.float64) * np.linspace(0.01, 1, shape[1], dtype=np.float32)
    found = rank_profile(made, exact=ExactPolicy.ALWAYS).exact
    assert found is not None
    assert (found.value, found.certainty) == (11, Certainty.EXACT)
    assert found.proof is not None
    proof_check.check(found.proof.to_json(), made)


def test_a_scale_that_overflows_is_said(tmp_path: Path) -> None:
    nodes = [helper.make_node("DequantizeLinear", ["w", "s"], ["d"]), helper.make_node("MatMul", ["x", "d"], ["y"])]
    constants = {"w": codes(12, 8, 8), "s": np.float16(60000)}
    proto = model(nodes, constants, inputs=[value("x", [2, 12], TensorProto.FLOAT16)], opset=21, ir_version=10)
    path = tmp_path / "model.onnx"
    path.write_bytes(proto.SerializeToString())
    report = analyze(path)
    assert [(found.code, "in the floats that run" in found.reason) for found in report.unsupported] == [(Code.NONFINITE, True)]


def test_codes_that_underflow_are_dead(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("DequantizeLinear", ["w", "s"], ["d"]),
        helper.make_node("Cast", ["d"], ["h"], to=TensorProto.FLOAT16),
        helper.make_node("MatMul", ["x", "h"], ["y"]),
    ]
    constants = {"w": codes(12, 8, 8), "s": np.float32(1e-12)}
    path = tmp_path / "model.onnx"
    proto = model(nodes, constants, inputs=[value("x", [2, 12], TensorProto.FLOAT16)], opset=21, ir_version=10)
    path.write_bytes(proto.SerializeToString())
    (found,) = analyze(path).weights
    assert found.quantization is not None
    assert found.quantization.executed is not None
    assert (found.ranks.float64.value, found.quantization.executed.float64.value, found.dead_outputs) == (8, 0, 8)


def test_a_float_zero_point_that_doubles_do_not_hold(tmp_path: Path) -> None:
    zeros = np.zeros((2, 2), dtype=np.float32)
    zeros[0, 0] = 2.0**-60
    made = helper.make_node(
        *("MatMulNBits", ["x", "w", "s", "z"], ["y"]), domain="com.microsoft", K=32, N=2, bits=4, block_size=16
    )
    constants = {"w": np.full((2, 2, 8), 0x11, np.uint8), "s": np.ones((2, 2), np.float32), "z": zeros}
    path = tmp_path / "model.onnx"
    proto = model([made], constants, inputs=[value("x", [1, 32])], imports={"com.microsoft": 1})
    path.write_bytes(proto.SerializeToString())
    (weight,) = analyze(path).weights
    # only the floats that run are known: nothing is claimed of S∘(Wq − Z)
    assert (weight.quantization, weight.dtype, exact(weight)) == (None, "float32", 1)
