"""The float64 twin of every real model runs on the CPU provider and agrees with float32 within float32's rounding."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from onnxnull.errors import Code, OnnxnullError
from onnxnull.graph.model import open_model
from onnxnull.runtime.precision import Precision, twin
from onnxnull.runtime.providers import Provider
from onnxnull.runtime.session import Runner

ROOT = Path(__file__).resolve().parents[2]
SHARED = ROOT.parent / "shared" / "models"
QUANTIZED = ("anomaly_int8", "mobilenetv2_int8_dynamic", "mobilenetv2_int8_qlinear", "text_reader_nbits")
FLOATS = (
    "cifar_bias_field_3",
    "densenet_stem",
    "fastestdet",
    "lightgbm",
    "metaroom_4cnn",
    "mnist_cntk",
    "mobilenetv2_mxnet",
    "picodet_s_320_coco",
    "ppocr_v2_cls",
    "ppocr_v4_det",
    "resnet18_upto_layer3",
    "resnet20_cifar10",
    "rivagan_decoder",
    "silero_vad_if",
    "squeezenet_fp16",
    "squeezenet_v1.0",
    "super_resolution",
    "unet_carvana_small",
    "vit_cifar_pgd_2_3_16",
    "vit_tiny_patch16_224",
    "wakeword_embedding",
)
OWN = ("digits_cnn", "digits_mlp", "digits_segmentation", "digits_vit")
SHAPES: dict[tuple[str, str], tuple[int, ...]] = {
    ("ppocr_v4_det", "x"): (1, 3, 64, 64),
    ("rivagan_decoder", "frame"): (2, 3, 1, 24, 32),
    ("silero_vad_if", "input"): (1, 512),
    ("silero_vad_if", "h"): (2, 1, 64),
    ("silero_vad_if", "c"): (2, 1, 64),
    ("super_resolution", "input"): (1, 1, 224, 224),
}


def located(name: str) -> Path:
    path = (ROOT / "models" if name in OWN else SHARED) / f"{name}.onnx"
    if not path.exists():
        pytest.skip(f"{path} is absent: the trained models are not part of this repository")
    return path


def feeds_for(path: Path) -> dict[str, NDArray[Any]]:
    """Random inputs; a batch of two where the batch is open."""
    rng = np.random.default_rng(0)
    proto = onnx.load(path, load_external_data=False)
    stored = {tensor.name for tensor in proto.graph.initializer}
    feeds: dict[str, NDArray[Any]] = {}
    for value in proto.graph.input:
        if value.name == "sr":
            feeds["sr"] = np.array(16000)
        elif value.name not in stored:
            declared = [dim.dim_value or 2 for dim in value.type.tensor_type.shape.dim]
            feeds[value.name] = rng.standard_normal(SHAPES.get((path.stem, value.name), declared)).astype(np.float32)
    return feeds


@pytest.mark.parametrize("name", [*FLOATS, *OWN])
def test_the_float64_twin_agrees_with_float32(name: str) -> None:
    path = located(name)
    feeds = feeds_for(path)
    twin64 = Runner(open_model(path), Precision.FLOAT64)
    assert twin64.description["precision"] == "float64"
    narrow, wide = Runner(open_model(path), Precision.FLOAT32).run(feeds), twin64.run(feeds)
    assert list(narrow) == list(wide)
    for output, array in narrow.items():
        assert wide[output].shape == array.shape
        scale = max(float(np.max(np.abs(wide[output]))), 1e-2)
        np.testing.assert_allclose(wide[output], array, rtol=0, atol=1e-4 * scale)


@pytest.mark.parametrize("name", QUANTIZED)
def test_quantized_models_run_as_they_are(name: str) -> None:
    path = located(name)
    with pytest.raises(OnnxnullError) as error:
        twin(open_model(path), Precision.FLOAT64, provider=Provider.CPU)
    assert error.value.code is Code.NO_DOUBLE_KERNEL
    assert Runner(open_model(path), Precision.NATIVE).description["precision"] == "native"
