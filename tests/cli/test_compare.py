"""`onnxnull compare`: exit codes, options and files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from onnx import helper

from onnxnull.cli.main import main
from tests.comparison.networks import folded, network, permuted, with_weight, write
from tests.shared import matmul, random, save

Outcome = tuple[int, str, str]


def quantized(source: Path, path: Path, images: list[np.ndarray]) -> None:
    """The model with activations quantized too, calibrated on these images."""
    quantization = pytest.importorskip("onnxruntime.quantization")

    class Reader(quantization.CalibrationDataReader):  # type: ignore[misc,name-defined]
        """The images, one by one."""

        def __init__(self) -> None:
            self.left = iter([{"image": image} for image in images])

        def get_next(self) -> object:
            return next(self.left, None)

    quantization.quantize_static(source, path, Reader(), per_channel=True)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one network in several forms, and files that are none."""
    folder, net = tmp_path_factory.mktemp("models"), network()
    write(folder / "a.onnx", net)
    write(folder / "folded.onnx", folded(net))
    write(folder / "permuted.onnx", permuted(net))
    write(folder / "other.onnx", network(1))
    write(folder / "nhwc.onnx", net, channels_last=True)
    (folder / "data").mkdir()
    images = [random(1, 3, 12, 12, seed=number) for number in range(16)]
    for number, image in enumerate(images):
        np.save(folder / "data" / f"{number}.npy", image)
    quantized(folder / "a.onnx", folder / "int8.onnx", images)
    write(folder / "nan.onnx", with_weight(net, "q", np.full_like(net.weights["q"], np.nan)))
    relu = [helper.make_node("Relu", ["x"], ["y"])]
    save(folder / "empty.onnx", relu, {}, inputs={"x": (1, 6)})
    save(
        folder / "open.onnx",
        [helper.make_node("Conv", ["x", "w"], ["y"])],
        {"w": random(2, 3, 3, 3)},
        inputs={"x": (1, 3, None, None)},
    )
    matmul(folder / "small.onnx", random(6, 4))
    (folder / "text.onnx").write_text("no protobuf at all, this is a text\n" * 9)
    return folder


def run(arguments: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Outcome:
    """What a console would see, without starting another interpreter."""
    monkeypatch.chdir(folder)
    monkeypatch.setattr("sys.argv", ["onnxnull", "compare", *arguments.split()])
    with pytest.raises(SystemExit) as ended:
        main()
    captured = capfd.readouterr()
    return int(ended.value.code or 0), captured.out, captured.err


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ("a.onnx a.onnx", 0, "SAME (identical)"),
        ("a.onnx a.onnx --no-run --all", 0, "stem.weight"),
        ("a.onnx folded.onnx --precision float32 --seed 3", 0, "3 scaled"),
        ("a.onnx folded.onnx --no-run --no-weights", 0, "SAME (same-graph)"),
        ("a.onnx folded.onnx --same-up-to identical --no-run", 1, "DIFFERENT up to 'identical': the files are 'same-graph'"),
        ("a.onnx permuted.onnx", 2, "inputs permuted, outputs permuted"),
        ("a.onnx permuted.onnx --no-weights --same-up-to agrees", 0, "SAME (agrees)"),
        ("a.onnx permuted.onnx --no-run", 2, "INCOMPLETE (unexplained)"),
        ("a.onnx other.onnx --no-weights", 1, "DIFFERENT (different)"),
        ("a.onnx small.onnx", 1, "only in the second model: w (MatMul, 6×4)"),
        ("small.onnx a.onnx --no-run --format markdown", 2, "- only in the first model: w (MatMul, 6×4)"),
        ("nan.onnx a.onnx", 1, "not analysed in the first model: q"),
        ("nan.onnx nan.onnx", 0, "SAME (identical)"),
        ("open.onnx open.onnx --no-run", 0, "SAME (identical)"),
        ("empty.onnx empty.onnx", 0, "SAME (identical)"),
        ("a.onnx int8.onnx --no-weights", 2, "give --data with 16 samples or more"),
        ("a.onnx int8.onnx --no-weights --data data", 0, "SAME (quantized)"),
        ("a.onnx int8.onnx --no-weights --data data --min-snr 90", 2, "signal-to-noise ratio"),
        ("a.onnx int8.onnx --no-weights --input data/0.npy", 2, "give --data with 16 samples or more"),
        ("a.onnx nhwc.onnx --no-weights", 1, "--allow-input-map image:nhwc allows it"),
        ("a.onnx nhwc.onnx --no-weights --allow-input-map image:nhwc", 0, "SAME (agrees after a map)"),
        ("a.onnx absent.onnx", 2, "absent.onnx: error[file-not-found]"),
        ("text.onnx a.onnx", 2, "text.onnx: error[not-onnx]"),
        ("a.onnx a.onnx --input-shape y:1,2", 2, "error[input-shape]: neither model has an input 'y'"),
        ("a.onnx a.onnx -o absent/report", 2, "error[output]"),
        ("a.onnx", 4, "Missing argument 'B'"),
        ("a.onnx a.onnx a.onnx", 4, "unexpected extra argument"),
        ("a.onnx a.onnx --same-up-to different", 4, "Invalid value for '--same-up-to'"),
        ("a.onnx a.onnx --format yaml", 4, "Invalid value for '--format'"),
        ("a.onnx folded.onnx -o folded.onnx", 4, "is the model itself"),
    ],
)
def test_exit_codes(
    arguments: str, code: int, said: str, models: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    found, out, err = run(arguments, models, monkeypatch, capfd)
    assert said in out + err
    assert found == code


def test_the_report_goes_to_a_file(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = run(f"a.onnx other.onnx --format json -o {tmp_path / 'report.json'}", models, monkeypatch, capfd)
    assert (code, out) == (1, "")
    document = json.loads((tmp_path / "report.json").read_text())
    assert document["schema"] == "onnxnull.compare/1"
    assert document["same"] is False
    assert document["outcome"] == "different"
    assert {pair["verdict"] for pair in document["pairs"]} == {"different"}
