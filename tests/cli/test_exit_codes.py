"""Exit codes of design §6, through the real console entry."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from onnx import helper

from tests.shared import matmul, random, save, shared_model

from .console import onnxnull


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """A folder with good.onnx, empty.onnx (nothing linear), nan.onnx, broken.onnx (cut short) and text.onnx."""
    good = matmul(tmp_path / "good.onnx", random(6, 4))
    save(tmp_path / "empty.onnx", [helper.make_node("Relu", ["x"], ["y"])], {})
    matmul(tmp_path / "nan.onnx", np.full((3, 3), np.nan, np.float32))
    (tmp_path / "broken.onnx").write_bytes(good.read_bytes()[:-30])
    (tmp_path / "text.onnx").write_text("no protobuf at all, this is a text\n" * 9)
    (tmp_path / "zero.onnx").write_bytes(b"")
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "code", "error"),
    [
        ("good.onnx", 0, ""),
        ("good.onnx good.onnx", 0, ""),
        ("absent.onnx", 2, "absent.onnx: error[file-not-found]: no such file; check the path"),
        (".", 2, ".: error[not-a-file]"),
        ("text.onnx", 2, "text.onnx: error[not-onnx]"),
        ("broken.onnx", 2, "broken.onnx: error[truncated]"),
        ("zero.onnx", 2, "zero.onnx: error[truncated]"),
        ("nan.onnx", 2, ""),
        ("good.onnx --input-shape other:1,6", 2, "good.onnx: error[input-shape]"),
        ("empty.onnx", 3, "empty.onnx: error[nothing-linear]"),
        ("empty.onnx --format json", 3, "empty.onnx: error[nothing-linear]"),
        ("", 4, "Missing argument"),
        ("good.onnx --bogus", 4, "No such option"),
        ("good.onnx --format yaml", 4, "Invalid value for '--format'"),
        ("good.onnx --sort worst", 4, "Invalid value for '--sort'"),
        ("good.onnx --max-nodes 0", 4, "Invalid value for '--max-nodes'"),
        ("good.onnx --input-shape x", 4, "'x' is not NAME:D0,D1,..."),
        ("good.onnx --input-shape x:1,two", 4, "'x:1,two' is not NAME:D0,D1,..."),
        ("good.onnx --input-shape :1,2", 4, "':1,2' is not NAME:D0,D1,..."),
        ("good.onnx --input-shape x:-1,6", 4, "'x:-1,6' is not NAME:D0,D1,..."),
        ("good.onnx --input-shape x:1,6 --input-shape x:2,6", 4, "the same name is given twice"),
        ("good.onnx -o .", 4, "is a directory"),
        ("good.onnx -o good.onnx", 4, "is the model itself"),
        ("good.onnx -o absent/report", 2, "error[output]: 'absent/report'"),
        ("good.onnx empty.onnx", 3, "empty.onnx: error[nothing-linear]"),
        ("empty.onnx absent.onnx good.onnx", 2, "absent.onnx: error[file-not-found]"),
        ("empty.onnx nan.onnx", 2, "empty.onnx: error[nothing-linear]"),
        ("empty.onnx absent.onnx --bogus", 4, "No such option"),
    ],
)
def test_exit_code(models: Path, arguments: str, code: int, error: str) -> None:
    run = onnxnull("analyze", *arguments.split(), cwd=models)
    assert (run.returncode, error in run.stderr) == (code, True), run.stderr
    assert bool(run.stderr) == bool(error), run.stderr
    assert "Traceback" not in run.stderr
    assert "error[" not in run.stdout


@pytest.mark.parametrize("arguments", [[], ["bogus"], ["--bogus"]])
def test_usage_of_the_group(arguments: list[str]) -> None:
    assert onnxnull(*arguments).returncode == 4


def test_an_error_is_one_line(models: Path) -> None:
    run = onnxnull("analyze", "absent.onnx", "broken.onnx", "text.onnx", cwd=models)
    assert [line.split(":")[0] for line in run.stderr.splitlines()] == ["absent.onnx", "broken.onnx", "text.onnx"]


def test_a_weight_that_was_skipped_is_in_the_report(models: Path) -> None:
    for form in ("text", "markdown", "csv", "json"):
        run = onnxnull("analyze", "nan.onnx", "--format", form, cwd=models)
        assert run.returncode == 2
        assert "nonfinite-weight" in run.stdout


def test_json_of_what_failed(models: Path) -> None:
    run = onnxnull("analyze", models / "absent.onnx", "good.onnx", "--format", "json", cwd=models)
    document = json.loads(run.stdout)
    assert run.returncode == 2
    assert [model["model"]["file"] for model in document["models"]] == ["good.onnx"]
    assert [(error["file"], error["code"]) for error in document["errors"]] == [("absent.onnx", "file-not-found")]
    assert str(models) not in run.stdout


@pytest.mark.parametrize("form", ["text", "json", "csv", "markdown"])
def test_lightgbm_holds_nothing_linear(form: str) -> None:
    run = onnxnull("analyze", shared_model("lightgbm.onnx"), "--format", form)
    assert run.returncode == 3
    assert "error[nothing-linear]" in run.stderr
    if form == "json":
        assert json.loads(run.stdout)["models"][0]["weights"] == []


def test_a_crash_is_not_a_verdict(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from onnxnull.cli import main as entry
    from onnxnull.cli.main import group

    def crash(**_: object) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(group, "main", crash)
    with pytest.raises(SystemExit) as caught:
        entry()
    assert caught.value.code == 2
    assert "ZeroDivisionError: a bug" in capsys.readouterr().err
