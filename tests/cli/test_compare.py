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


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one network in several forms, and files that are none."""
    folder, net = tmp_path_factory.mktemp("models"), network()
    write(folder / "a.onnx", net)
    write(folder / "folded.onnx", folded(net))
    write(folder / "permuted.onnx", permuted(net))
    write(folder / "other.onnx", network(1))
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
        ("a.onnx a.onnx", 0, "SAME"),
        ("a.onnx a.onnx --no-run", 0, "Neither was run"),
        ("a.onnx folded.onnx --precision float32 --seed 3", 2, "3 scaled"),
        ("a.onnx folded.onnx --same-up-to rounded --no-run", 1, "'stem.weight' is scaled"),
        ("a.onnx permuted.onnx", 2, "inputs permuted, outputs permuted"),
        ("a.onnx permuted.onnx --no-run", 2, "Not settled"),
        ("a.onnx other.onnx --no-run", 1, "DIFFERENT"),
        ("a.onnx small.onnx", 1, "only in the second model: w (MatMul, 6×4)"),
        ("small.onnx a.onnx --no-run --format markdown", 1, "- only in the first model: w (MatMul, 6×4)"),
        ("nan.onnx a.onnx", 2, "not analysed in the first model: q"),
        ("nan.onnx other.onnx --no-run", 2, "DIFFERENT"),
        ("open.onnx open.onnx", 2, "the shape of 'x' is open: fix it with --input-shape"),
        ("open.onnx open.onnx --no-run", 0, "SAME WEIGHTS"),
        ("open.onnx open.onnx --input-shape x:1,3,8,8", 0, "SAME"),
        ("empty.onnx empty.onnx", 3, "NOTHING"),
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
    assert {pair["verdict"] for pair in document["pairs"]} == {"different"}
