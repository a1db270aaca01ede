"""`analyze --data`, `--jobs` and `--time-limit`, through the real console entry, and the memory it takes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper
from PIL import Image

from tests.shared import random, save

from .console import ENVIRONMENT, ROOT, onnxnull

MODELS = ROOT / "models"


def report(*arguments: str | Path, code: int = 0) -> dict[str, Any]:
    done = onnxnull("analyze", *arguments, "--format", "json")
    assert done.returncode == code, done.stderr
    found = json.loads(done.stdout)["models"][0]
    assert isinstance(found, dict)
    return found


def test_share_of_unread_pixels(tmp_path: Path) -> None:
    """A 1×1 convolution of stride (1, 2) reads every other column: what lies in the others is its kernel."""
    stem = helper.make_node("Conv", ["x", "w"], ["y"], strides=[1, 2], name="stem")
    path = save(tmp_path / "m.onnx", [stem], {"w": random(2, 1, 1, 1)}, inputs={"x": (None, 1, 6, 8)})
    data = tmp_path / "data"
    data.mkdir()
    x = np.random.default_rng(0).standard_normal((2, 1, 6, 8))
    np.save(data / "a.npy", x)
    levels = np.random.default_rng(1).integers(0, 256, (6, 8), dtype=np.uint8)
    Image.fromarray(levels).save(data / "b.png")
    arrays = {"a.npy[0]": x[0, 0], "a.npy[1]": x[1, 0], "b.png": levels / 255 * 2 - 1}
    (front,) = report(path, "--data", data, "--preset", "half")["frontier"]
    assert [Path(share["file"]).name for share in front["data"]] == list(arrays)
    for share, array in zip(front["data"], arrays.values(), strict=True):
        np.testing.assert_allclose(share["kernel_share"], (array[:, 1::2] ** 2).sum() / (array**2).sum(), rtol=1e-5)


def test_share_of_the_samples_of_a_trained_transformer(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    pictures = sorted((MODELS / "samples" / "digits_vit").glob("*.png"))[:3]
    for picture in pictures:
        (data / picture.name).write_bytes(picture.read_bytes())
    (front,) = report(MODELS / "digits_vit.onnx", "--data", data)["frontier"]
    assert (front["guaranteed"], front["input_nullity"][:2]) == (True, [10752, 10752])
    stem = next(t for t in onnx.load(MODELS / "digits_vit.onnx").graph.initializer if t.name == "patch_embedding.weight")
    matrix = onnx.numpy_helper.to_array(stem).reshape(96, 768).T.astype(np.float64)
    span = np.linalg.qr(matrix)[0]
    for share, picture in zip(front["data"], pictures, strict=True):
        x = np.asarray(Image.open(picture), dtype=np.float64).transpose(2, 0, 1) / 255
        patches = x.reshape(3, 4, 16, 4, 16).transpose(1, 3, 0, 2, 4).reshape(16, 768)
        expected = 1 - ((patches @ span) ** 2).sum() / (patches**2).sum()
        np.testing.assert_allclose(share["kernel_share"], expected, rtol=1e-5)


def test_data_that_does_not_fit(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros((1, 3, 5, 5)))
    done = onnxnull("analyze", MODELS / "digits_vit.onnx", "--data", tmp_path)
    assert done.returncode == 2
    assert "error[data]" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("model", ["digits_cnn", "digits_vit"])
def test_jobs_do_not_change_a_byte(model: str) -> None:
    command = ("analyze", MODELS / f"{model}.onnx", "--format", "json", "--jobs")
    one, two = onnxnull(*command, "1"), onnxnull(*command, "2", fresh=True)
    assert one.returncode == two.returncode == 0
    assert one.stdout == two.stdout


def test_no_time_at_all() -> None:
    found = report(MODELS / "digits_mlp.onnx", "--time-limit", "0", code=2)
    assert found["weights"] == []
    assert [entry["code"] for entry in found["unsupported"]] == ["time-limit"] * 4
    assert found["unsupported"][-1]["node"] == "the graph"  # its constants beside the weights
    assert found["frontier"][0]["input_nullity"] is None


_MEASURE = """
import resource, sys
from onnxnull import analyze
import scipy.linalg, flint, onnx.reference
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
report = analyze(sys.argv[1])
assert report.complete
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def test_memory(tmp_path: Path) -> None:
    """Weights beside the file: at most twice the largest in float64, and 500 MB."""
    sizes = {"a": (512, 2048), "b": (2048, 2048), "c": (2048, 512), "d": (512, 512)}
    nodes, last = [], "x"
    for name in sizes:
        nodes.append(helper.make_node("MatMul", [last, name], [f"h{name}"], name=name))
        last = f"h{name}"
    weights = {name: random(*shape, seed=seed) for seed, (name, shape) in enumerate(sizes.items())}
    path = save(tmp_path / "m.onnx", nodes, weights, output=last)
    onnx.save(onnx.load(path), path, save_as_external_data=True, location="m.data", size_threshold=0)
    command = [sys.executable, "-c", _MEASURE, str(path)]
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, check=True, timeout=600)
    assert int(done.stdout) * 1024 <= 2 * 2048 * 2048 * 8 + 500e6
