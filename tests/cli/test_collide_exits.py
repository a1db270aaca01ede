"""`onnxnull collide`: its exit codes, and one clear line for everything that goes wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from onnxnull.cli.main import main
from tests.collision.quantized import codes, mlp
from tests.helpers import value, weight

from .collide_models import node, write

STARTS = "m.onnx --input good.npy --box -1,1"
EXITS: list[tuple[str, int, str]] = [
    # found
    ("m.onnx --random 0", 0, ""),
    ("m.onnx --random 0 --input good.npy", 0, ""),
    (f"{STARTS} --max", 0, ""),
    (f"{STARTS} --epsilon 0.1", 0, ""),
    (f"{STARTS} --region 0,0,4,8 --beta 1", 0, ""),
    (f"{STARTS} --mask half.png", 0, ""),
    ("m.onnx --input pictures/0.png --toward pictures/1.png", 0, ""),
    ("m.onnx --random 0 --layer all", 0, ""),
    ("m.onnx --random 0 --layer head", 0, ""),
    ("m.onnx --random 0 --layer v --pattern random", 0, ""),
    ("m.onnx --random 0 --layer stem --space patches --pattern repeat", 0, ""),
    ("overlapping.onnx --random 0 --space patches", 0, ""),
    ("overlapping.onnx --random 0 --layer all", 0, ""),
    ("residual.onnx --random 0 --layer stem --space patches", 0, ""),
    ("tokens.onnx --random 0 --layer all", 0, ""),
    ("two.onnx --input both.npz", 0, ""),
    ("two.onnx --input both.npz --input-name x", 0, ""),
    ("near.onnx --random 0 --precision float64 --near-kernel --beta 1", 0, ""),
    ("batch.onnx --input three.npy", 0, ""),
    ("batch.onnx --random 0 --input-shape x:2,6", 0, ""),
    ("noise.onnx --random 0", 2, "error[runtime]"),
    # not analysed
    ("absent.onnx --random 0", 2, "error[file-not-found]"),
    ("text.onnx --random 0", 2, "error[not-onnx]"),
    ("m.onnx --input absent.png", 2, "error[data]: no such file: 'absent.png'"),
    ("m.onnx --input text.png", 2, "error[data]: 'text.png'"),
    ("m.onnx --input nan.npy", 2, "error[data]"),
    ("m.onnx --input objects.npy", 2, "error[data]"),
    ("m.onnx --input wrong.npy", 2, "error[data]"),
    ("m.onnx --input empty", 2, "error[data]: no image and no array in 'empty'"),
    ("m.onnx --input good.npy --toward absent.npy", 2, "error[data]"),
    ("m.onnx --input good.npy --toward pictures", 2, "--toward is one example, and 'pictures' holds 3"),
    ("m.onnx --input good.npy --toward wrong.npy", 2, "error[data]"),
    ("two.onnx --input good.npy", 2, "error[data]: the model has 2 inputs"),
    ("two.onnx --input one.npz", 2, "holds no array for input 'scale/../x'"),
    ("two.onnx --input unknown.npz", 2, "an array 'q', and no input of that name"),
    ("two.onnx --random 0 --input-name q", 2, "error[data]"),
    ("two.onnx --random 0 --input-name q --preset half", 2, "error[data]"),
    ("m.onnx --random 0 --input-name q --region 0,0,4,4", 2, "error[data]"),
    ("m.onnx --random 0 --layer absent", 2, "error[layer]: the model has no linear layer 'absent'"),
    (f"{STARTS} --mask small.png", 2, "error[data]: the mask 'small.png'"),
    (f"{STARTS} --mask dark.png", 2, "is dark everywhere"),
    (f"{STARTS} --mask text.png", 2, "error[data]: 'text.png'"),
    (f"{STARTS} --mask absent.png", 2, "error[data]: 'absent.png'"),
    (f"{STARTS} --region 5,5,4,4", 2, "does not lie in an image of 8×8"),
    (f"{STARTS} --region 0,0,0,4", 2, "does not lie in an image of 8×8"),
    ("m.onnx --input good.npy --box -0.1,0.1", 2, "the input leaves the box"),
    ("m.onnx --input good.npy --max", 2, "nothing bounds this input"),
    (f"{STARTS} --labels absent.txt", 2, "error[data]: 'absent.txt'"),
    (f"{STARTS} --labels labels.bin", 2, "error[data]: 'labels.bin'"),
    (f"{STARTS} --mean 0.1,0.2", 0, ""),
    ("m.onnx --input pictures/0.png --mean 0.1,0.2", 2, "mean and std of 2 channels"),
    ("m.onnx --random 0 --precision float16", 2, "error[provider]"),
    ("m.onnx --random 0 -o absent/deep/folder", 2, "error[output]"),
    ("near.onnx --random 0 --near-kernel --region 0,0,1,1", 2, "error[data]"),
    # nothing to find
    ("square.onnx --random 0", 3, "error[injective]"),
    ("square.onnx --random 0 --layer all", 3, "error[not-found]"),
    ("overlapping.onnx --random 0", 3, "error[injective]"),
    ("residual.onnx --random 0", 3, "error[not-guaranteed]"),
    ("tokens.onnx --random 0", 3, "error[not-guaranteed]: input 'x' is int64: it has no continuous kernel"),
    ("two.onnx --random 0 --input-name scale/../x", 3, "error[not-guaranteed]"),
    ("m.onnx --random 0 --near-kernel", 3, "there is no near-kernel"),
    (f"{STARTS} --region 3,3,1,1", 3, "error[not-found]"),
    # usage
    ("", 4, "Missing argument"),
    ("m.onnx", 4, "there is nothing to start from"),
    ("m.onnx --random -1", 4, "Invalid value for '--random'"),
    ("m.onnx --random 0 --beta 1 --max", 4, "--beta and --max"),
    ("m.onnx --random 0 --region 0,0,4,4 --mask half.png", 4, "--region and --mask"),
    ("m.onnx --random 0 --input-name x --layer stem", 4, "--input-name and --layer"),
    ("m.onnx --random 0 --layer stem --region 0,0,4,4", 4, "--region is in pixels"),
    ("m.onnx --random 0 --layer stem --mask half.png", 4, "--mask is in pixels"),
    ("m.onnx --random 0 --layer stem --trace", 4, "--trace follows"),
    ("m.onnx --random 0 --epsilon 0", 4, "Invalid value for '--epsilon'"),
    ("m.onnx --random 0 --box 1,0", 4, "'1,0' is not LOW,HIGH"),
    ("m.onnx --random 0 --box 1", 4, "'1' is not LOW,HIGH"),
    ("m.onnx --random 0 --box a,b", 4, "not a list of numbers"),
    ("m.onnx --random 0 --region 1,2,3", 4, "is not TOP,LEFT,HEIGHT,WIDTH"),
    ("m.onnx --random 0 --pattern stripes", 4, "Invalid value for '--pattern'"),
    ("m.onnx --random 0 --space everywhere", 4, "Invalid value for '--space'"),
    ("m.onnx --random 0 --precision float8", 4, "Invalid value for '--precision'"),
    ("m.onnx --random 0 --tolerance float32=2", 4, "is not PRECISION=TAU"),
    ("m.onnx --random 0 --tolerance 1e-3", 4, "is not PRECISION=TAU"),
    ("m.onnx --random 0 --tolerance float8=1e-3", 4, "is not PRECISION=TAU"),
    ("m.onnx --random 0 --std 0", 4, "nothing can be divided by 0"),
    ("m.onnx --random 0 --format yaml", 4, "Invalid value for '--format'"),
    ("m.onnx --random 0 --beta 0", 4, "--beta"),
    ("m.onnx --random 0 --beta nan", 4, "--beta"),
    ("m.onnx --random 0 --beta inf", 4, "--beta"),
    ("m.onnx --random 0 --beta -2", 4, "--beta"),
    ("m.onnx --random 0 --epsilon nan", 4, "--epsilon"),
    ("m.onnx --random 0 --mean nan", 4, "--mean"),
    ("m.onnx --random 0 --range 0,inf", 4, "--range"),
]


@pytest.mark.parametrize(("arguments", "code", "error"), EXITS)
def test_exit_codes_and_one_clear_line(arguments: str, code: int, error: str, here: Path, collide: Any) -> None:
    found, out, err = collide(*arguments.split())
    assert found == code, err
    assert error in err
    assert "Traceback" not in err
    assert "bug in onnxnull" not in err
    if code in (2, 3):
        lines = [line for line in err.splitlines() if not line.endswith(" s)")]  # progress
        assert len(lines) == 1
        assert lines[0].startswith(("error[", arguments.split()[0]))  # the model, where it is about the model
        assert "; " in lines[0]  # and what to do
    assert (out.strip() != "") == (code in (0, 1))


@pytest.mark.parametrize("beta", ["1e18", "1e8"])
def test_a_change_that_rounding_drowns_is_not_green(beta: str, here: Path, collide: Any) -> None:
    """Float64 moves a logit from 3.65 to 163, float32 changes the class at 1e8."""
    digits = Path(__file__).parents[2] / "models"
    start = digits / "samples" / "digits_mlp" / "0.png"
    made = collide(digits / "digits_mlp.onnx", "--input", start, "--beta", beta, "--box", "none", "--format", "json")
    (found,) = json.loads(made[1])["collisions"]
    if found["perturbation"]["l2"] > 1e7:  # it was built as long as that
        assert made[0] in (1, 2)
        assert found["decision"] != "holds"
        assert found["holds"] is False
        for run in found["runs"]:
            assert run["verdict"] in ("undecided", "broken")
            assert run["why"]


def test_what_is_undecided_says_why_and_what_to_do(here: Path, collide: Any) -> None:
    code, out, _ = collide("m.onnx", "--random", "0", "--tolerance", "float32=1e-30", "--tolerance", "float64=1e-30")
    assert code == 2
    assert "undecided (the kernel claim is refused" in out
    assert "make the change smaller (--beta)" in out
    code, out, _ = collide("m.onnx", "--random", "0", "--tolerance", "float32=1e-30", "--layer", "all")
    assert code == 2
    assert "undecided !" in out


def test_outputs_that_are_no_numbers_are_not_green(
    here: Path, collide: Any, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """√ of scores, some of them negative: `collide` and `replay` are undecided, `check` finds NaN. √(−|h| − 1) is refused."""
    nodes = [node("MatMul", ["x", "w"], ["h"], name="first"), node("Sqrt", ["h"], ["y"])]
    write(here / "roots.onnx", nodes, {"w": weight(8, 5)}, [value("x", [1, 8])])
    code, out, _ = collide("roots.onnx", "--random", 1, "-o", "roots")
    assert code == 2
    assert "is NaN for both inputs in" in out
    for arguments, wanted, says in (
        (["replay", "roots", "roots.onnx"], 2, "is NaN for both inputs in"),
        (["check", "roots.onnx", "--run", "--provider", "cpu"], 2, "NaN"),
    ):
        monkeypatch.setattr("sys.argv", ["onnxnull", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        printed = capfd.readouterr()
        assert ended.value.code == wanted
        assert says in printed.out
    inside = [node("Abs", ["h"], ["a"]), node("Sub", ["c", "a"], ["n"]), node("Sqrt", ["n"], ["y"])]
    write(here / "none.onnx", [nodes[0], *inside], {"w": weight(8, 5), "c": np.float32(-1)}, [value("x", [1, 8])])
    code, _, err = collide("none.onnx", "--random", 0)
    assert code == 2
    assert "error[runtime]: output 'y' is NaN or Inf everywhere" in err


def test_random_inputs_of_a_quantized_model_leave_room(here: Path, collide: Any) -> None:
    """Half of all normal numbers lie beyond its range of -0.2 to 4.9; a box that is given goes before."""
    (here / "codes.onnx").write_bytes(mlp(codes(9, 3), rows=1).SerializeToString())
    code, out, _ = collide("codes.onnx", "--random", 0, "-o", "found")
    assert (code, "bitwise" in out) == (0, True)
    start = np.load(here / "found" / "original.npy")
    assert 1.075 <= start.min() <= start.max() <= 3.625
    code, *_ = collide("codes.onnx", "--random", 0, "--box", "0.5,1", "-o", "found", "--force")
    assert np.load(here / "found" / "original.npy").max() <= 1.0
