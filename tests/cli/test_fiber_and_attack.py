"""`onnxnull collide --method fiber` and `onnxnull attack`: what they exit with, what they say, what they leave behind."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from onnxnull.cli.attack import fraction
from onnxnull.cli.main import main

from .console import ROOT

MLP, MLP_SAMPLES = ROOT / "models/digits_mlp.onnx", ROOT / "models/samples/digits_mlp"


@pytest.fixture
def command(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Any:
    """`onnxnull ...` in this process: (exit code, stdout, stderr)."""

    def run(*arguments: object) -> tuple[object, str, str]:
        monkeypatch.setattr("sys.argv", ["onnxnull", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        captured = capfd.readouterr()
        return ended.value.code, captured.out, captured.err

    return run


@pytest.fixture
def digits() -> list[Path]:
    return sorted(MLP_SAMPLES.glob("*.png"))[:2]


def test_a_fibre_and_its_evidence(command: Any, tmp_path: Path, digits: list[Path]) -> None:
    made = tmp_path / "e"
    walk = ("collide", MLP, "--input", digits[0], "--toward", digits[1], "--method", "fiber", "--provider", "cpu")
    code, out, err = command(*walk, "-o", made)
    assert code == 0
    assert "error" not in err
    assert "On one fibre of 'logits': 10 numbers stay equal, the Jacobian's rank is 10." in out
    assert "fibre claim holds" in out
    code, out, _ = command("replay", made, MLP)
    assert code == 0
    assert "1 of 1 collision confirmed here" in out
    (entry,) = json.loads((made / "collision.json").read_text())["collisions"]
    assert entry["claim"]["kind"] == "fiber"
    assert {run["verdict"] for run in entry["runs"]} <= {"equal", "bitwise"}
    code, first, _ = command(*walk, "--format", "json")
    _, second, _ = command(*walk, "--format", "json")
    assert (code, first) == (0, second)


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (["--method", "fiber", "--near-kernel"], "of kernels"),
        (["--method", "fiber", "--max"], "of kernels"),
        (["--method", "fiber", "--layer", "all"], "starts at one tensor"),
        (["--method", "fiber", "--pattern", "repeat"], "kernels have patterns"),
        (["--equal", "logits"], "--method fiber"),
        (["--time-limit", "5"], "--method fiber"),
    ],
)
def test_options_of_fibres(command: Any, digits: list[Path], options: list[str], why: str) -> None:
    code, _, err = command("collide", MLP, "--input", digits[0], *options)
    assert code == 4
    assert why in err


def test_what_stays_equal_can_be_named(command: Any, digits: list[Path]) -> None:
    code, _, err = command("collide", MLP, "--input", digits[0], "--method", "fiber", "--equal", "nowhere", "--provider", "cpu")
    assert code == 2
    assert "error[data]: the model has no tensor 'nowhere'" in err


def test_attacks_and_their_evidence(command: Any, tmp_path: Path, digits: list[Path]) -> None:
    made, drawn = tmp_path / "e", tmp_path / "pictures"
    arguments = ("--epsilon", "64/255", "--count", 2, "--provider", "cpu", "--no-random-start")
    code, out, err = command("attack", MLP, "--input", digits[0], *arguments, "-o", made, "--figures", drawn)
    assert code == 0
    assert "error" not in err
    assert "PGD, L∞ within 0.251 of the range" in out
    assert "2 colliding examples" in out
    assert "no two of them are nearer" in out
    assert [path.name for path in drawn.iterdir()] == ["001-attack.png"]
    document = json.loads((made / "collision.json").read_text())
    for entry in document["collisions"]:
        parameters = entry["perturbation"]["parameters"]
        assert parameters["attack"] == "pgd"
        assert parameters["attack_length"] <= 64 / 255 * (1 + 1e-6)
    code, out, _ = command("replay", made, MLP)
    assert code == 0
    assert "2 of 2 collisions confirmed here" in out
    example = tmp_path / "adversarial.npy"
    np.save(example, np.load(made / "001-0.png/original.npy"))
    code, out, _ = command("attack", MLP, "--input", digits[0], "--adversarial", example, *arguments[:-1], "--format", "json")
    assert code == 0
    assert json.loads(out)["collisions"][0]["perturbation"]["parameters"]["attack"] == "given"


def test_an_attack_that_fails_exits_with_3(command: Any, digits: list[Path]) -> None:
    code, _, err = command("attack", MLP, "--input", digits[0], "--epsilon", "1/2550", "--steps", 2, "--provider", "cpu")
    assert code == 3
    assert "error[not-found]: pgd found no adversarial example in 2 steps" in err


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (["--attack", "asma"], "go together"),
        (["--target-mask", "m.png"], "go together"),
        (["--attack", "asma", "--target-mask", "m.png", "--target", "3"], "is of PGD"),
        (["--adversarial", "a.npy", "--steps", "3"], "attacked already"),
        (["--epsilon", "0"], "not a number above 0"),
        (["--epsilon", "8/0"], "not a number above 0"),
    ],
)
def test_options_of_attacks(command: Any, digits: list[Path], options: list[str], why: str) -> None:
    code, _, err = command("attack", MLP, "--input", digits[0], *options)
    assert code == 4
    assert why in err


def test_one_adversarial_example_is_given(command: Any, digits: list[Path]) -> None:
    code, _, err = command("attack", MLP, "--input", digits[0], "--adversarial", digits[0].parent, "--provider", "cpu")
    assert code == 2
    assert "error[data]: --adversarial is one example" in err


def test_fractions() -> None:
    assert fraction("8/255") == 8 / 255
    assert fraction("0.5") == 0.5
