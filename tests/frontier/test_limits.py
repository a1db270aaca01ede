"""Models that would take memory or time without end, and models whose shapes contradict themselves."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx import helper

from onnxnull import analyze
from onnxnull.frontier import joint_nullity, walk
from onnxnull.kernel.maps.selection import Selection
from onnxnull.kernel.rank import Notion
from onnxnull.operators.steps import UnknownShapeError
from tests.frontier.judge import nullity, only_frontier
from tests.helpers import model, value, weight

node = helper.make_node


@pytest.mark.parametrize("shape", [(1, 3, 10**5, 10**5), (1, 3, 10**9, 10**9), (1, 3, 2**40, 2**40)])
def test_inputs_too_large_to_follow(shape: tuple[int, ...], tmp_path: Path) -> None:
    proto = model([node("Conv", ["x", "w"], ["y"])], {"w": weight(2, 3, 1, 1)}, inputs=[value("x", shape)])
    found = only_frontier(proto, tmp_path)
    assert found.guaranteed
    assert found.entries == 3 * shape[2] * shape[3]
    with pytest.raises(UnknownShapeError, match="too large"):
        joint_nullity(found, Notion.FLOAT64)


@pytest.mark.parametrize(("side", "known"), [(16, True), (64, False)])
def test_long_chains_of_steps(side: int, known: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each step copies a selection: those that nothing needs any more are let go, and the total is bounded."""
    most, copied, after = 1 << 20, [0], Selection.after

    def counted(self: Selection, first: Selection) -> Selection:
        copied.append(max(self.outputs, self.inputs))
        return after(self, first)

    monkeypatch.setattr(walk, "_MOST_ENTRIES", most)
    monkeypatch.setattr(walk, "_MOST_AT_A_TIME", 3 * 3 * side * side)
    monkeypatch.setattr(Selection, "after", counted)
    nodes = [node("Neg", [f"t{i}" if i else "x"], [f"t{i + 1}"]) for i in range(300)]
    last = node("Conv", ["t300", "w"], ["y"])
    proto = model([*nodes, last], {"w": weight(2, 3, 1, 1)}, inputs=[value("x", (1, 3, side, side))])
    found = only_frontier(proto, tmp_path)
    assert found.guaranteed
    assert most // 2 < sum(copied) <= most or known
    if known:
        assert len(copied) > 290
        assert nullity(found) == (side * side, side * side)
    else:
        with pytest.raises(UnknownShapeError):
            joint_nullity(found, Notion.FLOAT64)


def test_a_weight_that_does_not_fit(tmp_path: Path) -> None:
    for shape, filters in (((1, 4, 5, 5), (2, 3, 1, 1)), ((1, 3, 5), (2, 3, 1, 1))):
        proto = model([node("Conv", ["x", "w"], ["y"])], {"w": weight(*filters)}, inputs=[value("x", shape)])
        with pytest.raises(UnknownShapeError):
            joint_nullity(only_frontier(proto, tmp_path), Notion.FLOAT64)
    for rows in (4, 6):
        proto = model([node("MatMul", ["x", "w"], ["y"])], {"w": weight(3, 2)}, inputs=[value("x", (2, rows))])
        with pytest.raises(UnknownShapeError, match="does not fit"):
            joint_nullity(only_frontier(proto, tmp_path), Notion.FLOAT64)


def test_the_float32_cutoff_is_not_offered(tmp_path: Path) -> None:
    proto = model([node("MatMul", ["x", "w"], ["y"])], {"w": weight(3, 2)}, inputs=[value("x", (2, 3))])
    with pytest.raises(ValueError, match="float64"):
        joint_nullity(only_frontier(proto, tmp_path), Notion.FLOAT32)


def test_analyze_of_an_input_too_large_to_follow(tmp_path: Path) -> None:
    proto = model([node("MatMul", ["x", "w"], ["y"])], {"w": np.eye(3, dtype=np.float32)}, inputs=[value("x", (10**12, 3))])
    (tmp_path / "m.onnx").write_bytes(proto.SerializeToString())
    (front,) = analyze(tmp_path / "m.onnx").frontier
    assert front.input_nullity is None
    assert "too large" in (front.reason or "")
