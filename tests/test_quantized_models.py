"""The shipped models as onnxruntime's own quantizers write them: every weight is found, the same matrices up to rounding."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from onnxruntime import quantization
from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer

from onnxnull import analyze
from onnxnull.analysis.weights import Weight, find_weights
from onnxnull.graph.flow import Flow
from onnxnull.graph.model import open_model
from onnxnull.kernel.rank import Certainty, ExactPolicy

MODELS = Path(__file__).parents[1] / "models"


class Calibration(quantization.CalibrationDataReader):  # type: ignore[misc]
    """Two random inputs."""

    def __init__(self, model: Path) -> None:
        described = onnx.load(model).graph.input[0]
        shape = [dim.dim_value or 1 for dim in described.type.tensor_type.shape.dim]
        made = [{described.name: np.random.default_rng(i).random(shape, dtype=np.float32)} for i in range(2)]
        self._inputs: Iterator[dict[str, Any]] = iter(made)

    def get_next(self) -> dict[str, Any] | None:
        return next(self._inputs, None)


def quantize(model: Path, folder: Path, how: str) -> Path:
    path = folder / f"{model.stem}_{how}.onnx"
    if how == "dynamic":
        quantization.quantize_dynamic(model, path, weight_type=quantization.QuantType.QUInt8)
    elif how.startswith("nbits"):
        quantizer = MatMulNBitsQuantizer(str(model), bits=int(how[-1]), block_size=16, is_symmetric=how[-1] == "8")
        quantizer.process()
        onnx.save(quantizer.model.model, path)
    else:
        quantization.quantize_static(
            model,
            path,
            Calibration(model),
            quant_format=quantization.QuantFormat[how],
            per_channel=how == "QDQ",
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8 if how == "QDQ" else quantization.QuantType.QUInt8,
        )
    return path


def weights(path: Path) -> list[Weight]:
    found, unsupported = find_weights(Flow(open_model(path)))
    assert not unsupported
    return found


@pytest.mark.parametrize("how", ["QDQ", "QOperator", "dynamic", "nbits4", "nbits8"])
@pytest.mark.parametrize("name", ["digits_cnn", "digits_segmentation", "digits_vit", "digits_mlp"])
def test_every_weight_is_found_and_close_to_its_float(name: str, how: str, tmp_path: Path) -> None:
    original = MODELS / f"{name}.onnx"
    path = quantize(original, tmp_path, how)
    floats = {weight.name: weight.use.matrix() for weight in weights(original)}
    found = weights(path)
    assert len(found) == len(floats)
    quantized = 0
    for weight in found:  # the quantizers put nodes in another order
        a, b = floats[re.sub(r"(_quantized|_Q\d+)$", "", weight.name)], weight.blocks().astype(np.float64)
        if how == "dynamic" and weight.use.integer:  # the scale is a later node's
            b *= np.vdot(a, b) / np.vdot(b, b)
        assert a.shape == b.shape
        step = np.ptp(a) / (16 if how == "nbits4" else 200)
        assert np.abs(a - b).max() <= step, weight.name
        quantized += weight.use.rational_blocks() is not None
    operators = {node.op_type for node in onnx.load(path).graph.node}
    assert quantized > 0 or not operators & {"MatMulNBits", "DequantizeLinear"}


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_a_model_of_few_bits(bits: int, tmp_path: Path) -> None:
    proto = onnx.load(MODELS / "digits_mlp.onnx")
    rng, expected = np.random.default_rng(bits), []
    for node in proto.graph.node:
        if node.op_type == "Gemm":
            stored = next(t for t in proto.graph.initializer if t.name == node.input[1])
            outputs, inputs = numpy_helper.to_array(stored).shape
            codes = rng.integers(0, 1 << bits, (outputs, -(-inputs // 16), 16))
            scales = rng.uniform(0.1, 1, codes.shape[:2]).astype(np.float32)
            expected.append(((codes - (1 << (bits - 1))) * scales[:, :, None].astype(float)).reshape(outputs, -1)[:, :inputs].T)
            packed = (codes.reshape(outputs, -1, 8 // bits) << np.arange(0, 8, bits)).sum(2).astype(np.uint8)
            names = [f"{node.name}_{part}" for part in ("codes", "scales")]
            proto.graph.initializer.extend(
                [
                    numpy_helper.from_array(packed.reshape(outputs, codes.shape[1], -1), names[0]),
                    numpy_helper.from_array(scales, names[1]),
                ]
            )
            made = onnx.helper.make_node(
                *("MatMulNBits", [node.input[0], *names, "", "", node.input[2]], list(node.output), node.name),
                **{"domain": "com.microsoft", "K": inputs, "N": outputs, "bits": bits, "block_size": 16},
            )
            node.CopyFrom(made)
    proto.opset_import.append(onnx.helper.make_opsetid("com.microsoft", 1))
    path = tmp_path / "few_bits.onnx"
    onnx.save(proto, path)
    report = analyze(path, exact=ExactPolicy.ALWAYS)
    assert report.complete
    assert [w.ranks.exact.certainty if w.ranks.exact else None for w in report.weights] == [Certainty.EXACT] * len(expected)
    assert report.paper.weights == len(expected) == 3
    for weight, matrix in zip(weights(path), expected, strict=True):
        np.testing.assert_array_equal(weight.blocks()[0], matrix)
