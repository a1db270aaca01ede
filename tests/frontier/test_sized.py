"""An input of which only the shape is used, and constants that a caller may replace."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from onnxnull.analysis.analyze import analyze
from onnxnull.report import json, words

node = helper.make_node
SIZED = {
    "nothing": ([], False),
    "Shape": ([node("Shape", ["z"], ["s"])], True),
    "Size": ([node("Size", ["z"], ["s"])], True),
    "Shape behind an Identity": ([node("Identity", ["z"], ["i"]), node("Shape", ["i"], ["s"])], True),
    "Shape that nothing reads": ([node("Shape", ["z"], ["t"])], False),
    "Identity that nothing reads": ([node("Identity", ["z"], ["t"])], False),
}


def written(folder: Path, nodes: list[onnx.NodeProto], *, inputs: tuple[str, ...] = (), ir_version: int = 8) -> Path:
    values = {"x": (2, 4), "z": (2, 4), "w": (4, 3)}
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)]
    if any("s" in each.output for each in nodes):
        outputs.append(helper.make_tensor_value_info("s", TensorProto.INT64, None))
    graph = helper.make_graph(
        [node("MatMul", ["x", "w"], ["y"]), *nodes],
        "g",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, values[name]) for name in ("x", *inputs)],
        outputs,
        [numpy_helper.from_array(np.eye(4, 3, dtype=np.float32), "w")],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=ir_version)
    onnx.save(made, folder / "m.onnx")
    return folder / "m.onnx"


@pytest.mark.parametrize("name", SIZED)
def test_an_input_of_which_the_shape_is_used(name: str, tmp_path: Path) -> None:
    nodes, sized = SIZED[name]
    (_, found) = analyze(written(tmp_path, nodes, inputs=("z",))).frontier
    assert (found.guaranteed, found.nodes, found.sized) == (True, (), sized)


@pytest.mark.parametrize("ir_version", [3, 4, 8])
def test_constants_that_a_caller_may_replace(ir_version: int, tmp_path: Path) -> None:
    """They are said to be replaceable where onnxruntime lets them be replaced."""
    path = written(tmp_path, [], inputs=("w",), ir_version=ir_version)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    replaceable = tuple(each.name for each in session.get_overridable_initializers())
    report = analyze(path)
    assert report.model.overridable == replaceable == (("w",) if ir_version >= 4 else ())
    assert json.model(report).model.overridable == replaceable
    said = [line for line in words.frontier(report) if "A caller may replace a stored constant" in line]
    assert len(said) == len(replaceable)
    feeds = {"x": np.ones((2, 4), np.float32), "w": np.zeros((4, 3), np.float32)}
    if replaceable:
        assert not session.run(None, feeds)[0].any()
        return
    with pytest.raises(Exception, match="Invalid input name: w"):
        session.run(None, feeds)


def test_where_nothing_can_be_replaced_nothing_is_said(tmp_path: Path) -> None:
    report = analyze(written(tmp_path, []))
    assert report.model.caveat is None
