"""The trained models do what their card says: samples, first weights, sizes, and nothing but the standard."""

import csv
import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from PIL import Image

MODELS = Path(__file__).resolve().parents[2] / "models"
SAMPLES = MODELS / "samples"
CARD = (MODELS / "README.md").read_text(encoding="utf-8")
MASK_IOU = 0.85  # every sample was chosen at 0.9 or more; the rest is room for other processors

# model: input (C, H, W), output, output shape for one picture, first weight's q and p, stem stride (None: no convolution)
FACTS = {
    "digits_vit": ((3, 64, 64), "logits", (10,), 768, 96, 16),
    "digits_segmentation": ((3, 96, 96), "mask_logits", (2, 96, 96), 147, 24, 4),
    "digits_cnn": ((3, 64, 64), "logits", (10,), 27, 16, 1),
    "digits_mlp": ((1, 8, 8), "logits", (10,), 64, 32, None),
}
LABELS = list(csv.DictReader((SAMPLES / "labels.csv").read_text(encoding="utf-8").splitlines()))


def load(name: str) -> onnx.ModelProto:
    return onnx.load(MODELS / f"{name}.onnx")


def session(name: str) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(MODELS / f"{name}.onnx", providers=["CPUExecutionProvider"])


def picture(file: str) -> NDArray[np.float32]:
    """(1, C, H, W) in [0, 1]."""
    pixels = np.asarray(Image.open(SAMPLES / file))
    pixels = pixels[..., None] if pixels.ndim == 2 else pixels
    return (pixels.transpose(2, 0, 1)[None] / 255).astype(np.float32)


def first_weight(model: onnx.ModelProto) -> tuple[onnx.NodeProto, NDArray[np.float32]]:
    """The first linear node and its matrix (q, p)."""
    node = next(n for n in model.graph.node if n.op_type in ("Conv", "Gemm", "MatMul"))
    stored = next(onnx.numpy_helper.to_array(i) for i in model.graph.initializer if i.name == node.input[1])
    transposed = {a.name: a.i for a in node.attribute}.get("transB", 0)
    if node.op_type == "Conv" or transposed:
        return node, stored.reshape(len(stored), -1).T
    return node, stored


@pytest.mark.parametrize("row", LABELS, ids=[row["file"] for row in LABELS])
def test_every_sample_is_read_right(row: dict[str, str]) -> None:
    image = picture(row["file"])
    assert image.shape[1:] == FACTS[row["model"]][0]
    logits = session(row["model"]).run(None, {"image": image})[0][0]
    if row["label"].endswith(".png"):
        truth, guess = picture(row["label"])[0, 0] > 0.5, logits.argmax(0) == 1
        assert 0.02 < truth.mean() < 0.6
        assert (truth & guess).sum() / (truth | guess).sum() >= MASK_IOU
    else:
        assert logits.argmax() == int(row["label"])


@pytest.mark.parametrize("name", FACTS)
def test_samples_are_4_to_8_different_digits(name: str) -> None:
    labels = [row["label"] for row in LABELS if row["model"] == name]
    assert 4 <= len(labels) <= 8
    assert len(set(labels)) == len(labels)


def test_every_png_is_listed() -> None:
    listed = {row["file"] for row in LABELS} | {row["label"] for row in LABELS if row["label"].endswith(".png")}
    assert {path.relative_to(SAMPLES).as_posix() for path in SAMPLES.rglob("*.png")} == listed


@pytest.mark.parametrize("name", FACTS)
def test_interface_has_a_dynamic_batch_and_fixed_rest(name: str) -> None:
    shape, output, result, *_ = FACTS[name]
    model = load(name)
    assert [(o.domain, o.version >= 17) for o in model.opset_import] == [("", True)]
    (source,), (sink,) = model.graph.input, model.graph.output
    assert (source.name, sink.name) == ("image", output)
    dims = [d.dim_param or d.dim_value for d in source.type.tensor_type.shape.dim]
    assert dims == ["batch", *shape]
    for batch in (1, 3):
        logits = session(name).run(None, {"image": np.zeros((batch, *shape), np.float32)})[0]
        assert logits.shape == (batch, *result)


@pytest.mark.parametrize("name", FACTS)
def test_first_weight_has_the_stated_shape_and_full_rank(name: str) -> None:
    *_, q, p, stride = FACTS[name]
    node, weight = first_weight(load(name))
    assert weight.shape == (q, p)
    assert np.linalg.matrix_rank(weight.astype(np.float64), rtol=q * np.finfo(np.float32).eps) == p
    strides = {a.name: list(a.ints) for a in node.attribute}.get("strides", [1, 1])
    assert node.op_type == ("Gemm" if stride is None else "Conv")
    assert stride is None or strides == [stride, stride]


def test_cnn_stem_is_injective_on_pictures() -> None:
    """In raster order every output of a 3×3 stride-1 pad-1 stem sees new pixels through a subset of the corner's rows."""
    _, weight = first_weight(load("digits_cnn"))
    corner = weight.reshape(3, 3, 3, 16)[:, 1:, 1:].reshape(12, 16)
    assert np.linalg.matrix_rank(corner.astype(np.float64), rtol=1e-5) == 12


def test_segmentation_stem_sees_half_of_a_picture() -> None:
    """As an operator on 24×24 pictures: 1728 inputs, 864 outputs, all independent."""
    node, weight = first_weight(load("digits_segmentation"))
    assert {a.name: list(a.ints) for a in node.attribute}["pads"] == [3, 3, 3, 3]
    kernels = weight.reshape(3, 7, 7, 24).astype(np.float64)
    operator = np.zeros((3, 30, 30, 24, 6, 6))
    for i in range(6):
        for j in range(6):
            operator[:, 4 * i : 4 * i + 7, 4 * j : 4 * j + 7, :, i, j] = kernels
    assert np.linalg.matrix_rank(operator[:, 3:27, 3:27].reshape(1728, 864)) == 864


def test_cnn_has_a_depthwise_convolution_and_a_strided_pointwise_shortcut() -> None:
    attributes = [{a.name: a for a in n.attribute} for n in load("digits_cnn").graph.node if n.op_type == "Conv"]
    assert any("group" in a and a["group"].i > 1 for a in attributes)
    assert any(list(a["kernel_shape"].ints) == [1, 1] and list(a["strides"].ints) == [2, 2] for a in attributes)


@pytest.mark.parametrize("name", FACTS)
def test_file_tells_nothing_of_the_machine_that_made_it(name: str) -> None:
    model = load(name)
    content = (MODELS / f"{name}.onnx").read_bytes()
    assert not any(trace in content for trace in (b"site-packages", b"/home/", b"/tmp", b"/root", b".py"))
    assert not model.metadata_props
    assert not any(node.domain or node.metadata_props or node.doc_string for node in model.graph.node)
    assert not any(node.op_type == "BatchNormalization" for node in model.graph.node)
    onnx.checker.check_model(model, full_check=True)


@pytest.mark.parametrize("name", FACTS)
def test_card_states_the_first_weight_the_size_and_the_results(name: str) -> None:
    *_, q, p, _ = FACTS[name]
    size = (MODELS / f"{name}.onnx").stat().st_size
    rows = [line for line in CARD.splitlines() if line.startswith(f"| `{name}.onnx`")]
    assert any(f"| {q} × {p} |" in row and f"| {size} |" in row for row in rows)
    results = json.loads((MODELS / "results.json").read_text())[name]
    scores = [value for key, value in results.items() if key in ("accuracy", "iou", "pixel_accuracy")]
    assert any(all(f"{100 * score:.2f} %" in row for score in scores) for row in rows)
    assert min(scores) >= (0.85 if "iou" in results else 0.95)


def test_folder_stays_small() -> None:
    assert sum(path.stat().st_size for path in MODELS.rglob("*") if path.is_file()) < 3_000_000
