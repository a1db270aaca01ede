"""The command line of `collide`, and a folder of everything that it may be given."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from onnxnull.cli.main import main
from tests.collision.bundles import near_model, patch_model, two_input_model
from tests.helpers import INT64, value, weight
from tests.schemas import check_output

from .collide_models import node, write

Outcome = tuple[int, str, str]
"""Exit code, stdout, stderr."""


@pytest.fixture
def collide(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Any:
    """`onnxnull collide ...` in this process: what a console would see, without starting another interpreter."""

    def command(*arguments: object) -> Outcome:
        monkeypatch.setattr("sys.argv", ["onnxnull", "collide", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        code = ended.value.code
        captured = capfd.readouterr()
        check_output(captured.out)
        return code if isinstance(code, int) else int(code is not None), captured.out, captured.err

    return command


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, with small models, images, arrays, labels and files that are none of these."""
    monkeypatch.chdir(tmp_path)
    patch_model(tmp_path / "m.onnx")
    two_input_model(tmp_path / "two.onnx")
    near_model(tmp_path / "near.onnx")
    x, image = value("x", [1, 6]), value("x", [1, 3, 8, 8])
    stem = node("Conv", ["x", "w"], ["s"], name="stem", pads=[1, 1, 1, 1])
    w = weight(3, 3, 3, 3)
    write(tmp_path / "square.onnx", [node("MatMul", ["x", "w"], ["y"], name="mm")], {"w": weight(6, 6)}, [x])
    write(tmp_path / "overlapping.onnx", [stem, node("Relu", ["s"], ["y"])], {"w": weight(8, 3, 3, 3)}, [image])
    write(tmp_path / "residual.onnx", [stem, node("Add", ["s", "x"], ["y"])], {"w": w}, [image])
    write(tmp_path / "batch.onnx", [node("MatMul", ["x", "w"], ["y"], name="mm")], {"w": weight(6, 3)}, [value("x", ["N", 6])])
    tokens = [node("Gather", ["w", "x"], ["e"]), node("MatMul", ["e", "v"], ["y"], name="mm")]
    write(tmp_path / "tokens.onnx", tokens, {"w": weight(9, 6), "v": weight(6, 2)}, [value("x", [1, 4], INT64)])
    noise = [node("RandomNormal", [], ["n"], shape=[1, 3]), node("Relu", ["n"], ["y"])]
    write(tmp_path / "noise.onnx", noise, {}, [x])
    (tmp_path / "text.onnx").write_text("no protobuf at all, this is a text\n" * 9)
    (tmp_path / "pictures").mkdir()
    (tmp_path / "empty").mkdir()
    for number in range(3):
        levels = np.random.default_rng(number).integers(0, 256, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(levels).save(tmp_path / "pictures" / f"{number}.png")
    (tmp_path / "text.png").write_text("no picture")
    mask = np.zeros((8, 8), np.uint8)
    Image.fromarray(mask).save(tmp_path / "dark.png")
    mask[:, :4] = 255
    Image.fromarray(mask).save(tmp_path / "half.png")
    Image.fromarray(mask[:4]).save(tmp_path / "small.png")
    good = np.clip(weight(1, 3, 8, 8), -1, 1)
    np.save(tmp_path / "good.npy", good)
    np.save(tmp_path / "wrong.npy", good[..., :7])
    np.save(tmp_path / "nan.npy", np.where(good > 0, np.nan, good))
    np.save(tmp_path / "objects.npy", np.array([{}], dtype=object), allow_pickle=True)
    np.save(tmp_path / "three.npy", weight(3, 6))
    both: dict[str, Any] = {"x": weight(1, 8), "scale/../x": weight(3)}
    np.savez(tmp_path / "both.npz", **both)
    np.savez(tmp_path / "one.npz", x=weight(1, 8))
    np.savez(tmp_path / "unknown.npz", q=weight(1, 8))
    (tmp_path / "labels.txt").write_text("cat\ndog\nowl\n")
    (tmp_path / "labels.bin").write_bytes(b"\xff\xfe\x00")
    return tmp_path
