"""Trained networks: as onnxruntime folds and quantizes them, and different trainings of one architecture."""

from __future__ import annotations

from pathlib import Path

import onnxruntime as ort
import pytest

from onnxnull import Running, compare
from onnxnull.comparison.verdicts import Crossed, Factors, Matched, Outcome, Verdict
from onnxnull.errors import ExitCode
from onnxnull.graph.model import open_model
from onnxnull.kernel.rank import Notion
from tests.shared import shared_model


def folded_by_onnxruntime(model: Path, path: Path) -> Path:
    """The model after onnxruntime's basic optimisations, which fold every BatchNormalization that follows a Conv."""
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(path)
    options.log_severity_level = 4
    ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return path


def test_batch_normalization_folded_by_onnxruntime(tmp_path: Path) -> None:
    model = shared_model("resnet20_cifar10.onnx")
    found = compare(open_model(model), open_model(folded_by_onnxruntime(model, tmp_path / "folded.onnx")), running=Running())
    assert found.outcome is Outcome.SAME_GRAPH
    assert [pair.verdict for pair in found.pairs].count(Verdict.SCALED) == 19
    assert [pair.verdict for pair in found.pairs].count(Verdict.IDENTICAL) == 1
    assert all(pair.scale.factors is Factors.OUTPUTS for pair in found.pairs if pair.verdict is Verdict.SCALED)
    assert all(pair.scale.explained for pair in found.pairs)
    assert {crossing.reason for crossing in found.crossings} == {
        "[injective] 'stem_conv' is injective on inputs of shape 1×3×32×32 (proved at the float64 cut-off): "
        "no two of them collide"
    }


@pytest.mark.parametrize("per_channel", [True, False])
def test_quantized_by_onnxruntime(per_channel: bool, tmp_path: Path) -> None:
    quantization = pytest.importorskip("onnxruntime.quantization")
    model = shared_model("resnet20_cifar10.onnx")
    folded = folded_by_onnxruntime(model, tmp_path / "folded.onnx")

    class Reader(quantization.CalibrationDataReader):  # type: ignore[misc,name-defined]
        """One random image."""

        def __init__(self) -> None:
            import numpy as np

            image = np.random.default_rng(0).standard_normal((1, 3, 32, 32)).astype(np.float32)
            self.inputs = iter([{"input": image}])

        def get_next(self) -> object:
            return next(self.inputs, None)

    kind = quantization.QuantFormat.QDQ if per_channel else quantization.QuantFormat.QOperator
    path = tmp_path / "int8.onnx"
    quantization.quantize_static(folded, path, Reader(), quant_format=kind, per_channel=per_channel)
    found = compare(open_model(model), open_model(path), running=Running())
    assert {pair.verdict for pair in found.pairs} == {Verdict.QUANTIZED}
    assert len(found.pairs) == 20
    assert all(pair.steps is not None and pair.steps <= 0.51 for pair in found.pairs)
    assert found.graph.proved
    assert found.graph.quantized
    assert found.outcome is Outcome.UNEXPLAINED  # activations are quantized, and there is no data
    assert "--data" in found.because[0]


def test_a_shipped_transformer_whose_batch_is_open() -> None:
    model = Path(__file__).parents[2] / "models" / "digits_vit.onnx"
    found = compare(open_model(model), open_model(model), running=Running())
    assert found.exit_code() is ExitCode.PASS
    assert [[run.crossed for run in crossing.runs] for crossing in found.crossings] == [[Crossed.COLLIDES] * 2] * 2
    assert found.inputs[0].nullity_a is not None
    assert found.inputs[0].nullity_a.lower == 10_752


def test_a_transformer_with_itself() -> None:
    model = shared_model("vit_cifar_pgd_2_3_16.onnx")
    found = compare(open_model(model), open_model(model))
    assert {pair.verdict for pair in found.pairs} == {Verdict.IDENTICAL}
    assert {pair.angle.degrees for pair in found.pairs} <= {None, 0.0}
    assert found.exit_code() is ExitCode.PASS


@pytest.mark.parametrize(
    ("first", "second", "pairs", "code"),
    [
        ("squeezenet_v1.0", "squeezenet_fp16", 24, ExitCode.VIOLATED),
        ("mobilenetv2_int8_dynamic", "mobilenetv2_int8_qlinear", 52, ExitCode.INCOMPLETE),  # without a run
    ],
)
def test_other_trainings_are_different(first: str, second: str, pairs: int, code: ExitCode) -> None:
    found = compare(open_model(shared_model(f"{first}.onnx")), open_model(shared_model(f"{second}.onnx")))
    assert {pair.verdict for pair in found.pairs} == {Verdict.DIFFERENT}
    assert {pair.matched for pair in found.pairs} == {Matched.ORDER}
    assert len(found.pairs) == pairs
    assert found.exit_code() is code
    angles = [pair.angle.degrees for pair in found.pairs if pair.angle.degrees is not None]
    assert min(angles) > 45.0
    for pair in found.pairs:
        assert pair.a.ranks is not None
        assert pair.a.ranks.nullity(Notion.FLOAT64) == pair.a.inputs - pair.a.ranks.float64.value
