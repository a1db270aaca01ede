"""A model is opened once: every command reads and parses each file one time, and runs the bytes that it analysed."""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from onnx import helper

from onnxnull import Execution, OnnxnullError, Place, Precision, Recipe, Search, open_model
from onnxnull.analysis.weights import find_weights
from onnxnull.cli.main import group
from onnxnull.collision.cases import Case
from onnxnull.errors import Code
from onnxnull.graph import model as reader
from onnxnull.runtime.precision import twin
from onnxnull.runtime.providers import Provider
from onnxnull.runtime.session import Runner
from tests.helpers import model, value, weight


class _Opened:
    """Counts how often files are opened while it listens; hooks of the interpreter cannot be taken out again."""

    def __init__(self) -> None:
        self.counts: Counter[str] | None = None
        sys.addaudithook(self._hear)

    def _hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.counts is not None and event == "open" and isinstance(arguments[0], str | os.PathLike):
            self.counts[os.path.basename(arguments[0])] += 1

    @contextmanager
    def listening(self) -> Iterator[Counter[str]]:
        self.counts = Counter()
        try:
            yield self.counts
        finally:
            self.counts = None


OPENED = _Opened()
WEIGHT = weight(6, 3)


def written(folder: Path, name: str = "a.onnx") -> Path:
    """x 1×6 → MatMul to 3 → Softmax, the batch open, its nodes out of order."""
    nodes = [helper.make_node("Softmax", ["h"], ["y"]), helper.make_node("MatMul", ["x", "w"], ["h"])]
    proto = model(nodes, {"w": WEIGHT}, inputs=[value("x", ["n", 6])], outputs=[value("y", ["n", 3])])
    (folder / name).write_bytes(proto.SerializeToString())
    np.save(folder / "x.npy", np.full((1, 6), 0.5, np.float32))
    return folder / name


COMMANDS = {
    "analyze": "analyze a.onnx",
    "prove": "prove a.onnx",
    "check": "check a.onnx --run --max total-nullity=9",
    "collide": "collide a.onnx --input x.npy --beta 1 --trace",
    "collide, all layers": "collide a.onnx --input x.npy --beta 1 --layer all",
    "collide, fibre": "collide a.onnx --input x.npy --beta 1 --method fiber",
    "attack": "attack a.onnx --input x.npy --epsilon 4 --count 1 --target 2",
    "compare": "compare a.onnx b.onnx --input x.npy",
}


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_every_command_opens_a_file_once(command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(tmp_path), written(tmp_path, "b.onnx")
    assert run(command, tmp_path, monkeypatch) == dict.fromkeys([word for word in command.split() if "onnx" in word], 1)


def test_replay_opens_it_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(tmp_path)
    for place in ("", " --layer all", " --method fiber"):
        run(f"collide a.onnx --input x.npy --input x.npy --beta 1 -o bundle --force{place}", tmp_path, monkeypatch)
        assert run("replay bundle", tmp_path, monkeypatch) == {"a.onnx": 1}


def run(command: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """File → how often the command opened it, which is how often it parsed it."""
    parsed: list[str] = []
    parse: Callable[..., Any] = reader._parse

    def counted(path: str, *rest: Any) -> Any:
        parsed.append(path)
        return parse(path, *rest)

    monkeypatch.setattr(reader, "_parse", counted)
    monkeypatch.chdir(folder)
    with OPENED.listening() as counts:
        result = CliRunner().invoke(group, command.split())
    assert result.exit_code in (0, 1), result.output
    found = {name: count for name, count in counts.items() if name.endswith(".onnx")}
    assert found == Counter(parsed)
    return found


def test_what_was_analysed_is_what_runs(tmp_path: Path) -> None:
    """Another file in its place is not seen, nor is it missed when it has gone."""
    path = written(tmp_path)
    opened = open_model(path)
    x = {"x": np.full((1, 6), 0.5, np.float32)}
    expected = Runner(opened).run(x)["y"]
    path.write_bytes(model([helper.make_node("Identity", ["x"], ["y"])], inputs=[value("x", [1, 6])]).SerializeToString())
    assert np.array_equal(Runner(open_model(path)).run(x)["y"], x["x"])
    assert np.array_equal(Runner(opened).run(x)["y"], expected)
    path.unlink()
    search = Search(opened.completed(x), Place(), Execution((Precision.FLOAT32,)))
    (found,) = search.run(Case("x", x), Recipe(beta=1.0))
    assert found.holds
    assert [view.op_type for view in opened.flow.nodes] == [each.op_type for each in opened.parsed.whole.graph.node]


def test_a_twin_is_made_once_and_does_not_touch_the_file(tmp_path: Path) -> None:
    opened = open_model(written(tmp_path))
    before = opened.parsed.whole.SerializeToString()
    one, two = opened.at({"x": (1, 6)}), opened.at({"x": (2, 6)})
    for precision in Precision:
        made = twin(one, precision, provider=Provider.CPU)
        assert made is twin(two, precision, provider=Provider.CPU)
        assert (made.proto is opened.parsed.whole) is (precision in (Precision.FLOAT32, Precision.NATIVE))
    assert opened.parsed.whole.SerializeToString() == before


@pytest.mark.parametrize("change", ["write", "replace"])
def test_external_data_is_that_which_was_checked(change: str, tmp_path: Path) -> None:
    proto = model([helper.make_node("MatMul", ["x", "w"], ["y"])], {"w": WEIGHT}, inputs=[value("x", [1, 6])])
    onnx.save(proto, tmp_path / "m.onnx", save_as_external_data=True, location="w.bin", size_threshold=0)
    opened, late = open_model(tmp_path / "m.onnx"), open_model(tmp_path / "m.onnx")
    expected = Runner(opened).run({"x": np.ones((1, 6))})["y"]
    other = (tmp_path / "w.bin").read_bytes()[::-1]
    (tmp_path / ("w.bin" if change == "write" else "new")).write_bytes(other)
    if change == "replace":
        os.replace(tmp_path / "new", tmp_path / "w.bin")
    assert np.array_equal(Runner(opened).run({"x": np.ones((1, 6))})["y"], expected)  # held in memory
    (weight_,), _ = find_weights(late.flow)
    for use in (weight_.blocks, lambda: late.parsed.whole, late.parsed.files.digests):
        with pytest.raises(OnnxnullError) as caught:
            use()
        assert caught.value.code is Code.EXTERNAL_CHANGED
