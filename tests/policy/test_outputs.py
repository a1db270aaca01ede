"""Real runs of small models: what their outputs come to, and on which inputs they ran."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

from onnxnull.analysis.analyze import analyze
from onnxnull.graph.model import open_model
from onnxnull.inputs import Preprocessing
from onnxnull.policy.config import RunSettings
from onnxnull.policy.outputs import OutputRuns, run_outputs
from onnxnull.policy.run_request import RUNS, RunRequest
from onnxnull.ranges.results import Effect
from tests.helpers import BOOL, INT64, model, value

NAN, INF = float("nan"), float("inf")
SETTINGS = RunSettings(provider="cpu")
W = np.random.default_rng(0).standard_normal((4, 4)).astype(np.float32)


def ran(proto: onnx.ModelProto, folder: Path, data: Path | None = None) -> OutputRuns:
    """The runs of a model written to `folder`."""
    path = folder / "net.onnx"
    path.write_bytes(proto.SerializeToString())
    given = None if data is None else (data, Preprocessing())
    return run_outputs(RunRequest(open_model(path), SETTINGS, given))


def network(*nodes: onnx.NodeProto, outputs: tuple[str, ...] = ("y",), **constants: Any) -> onnx.ModelProto:
    """x (2, 4) to the outputs."""
    found = {name: np.asarray(array, np.float32) for name, array in constants.items()}
    return model(nodes, found, inputs=[value("x", [2, 4])], outputs=[value(name, None) for name in outputs])


@pytest.mark.parametrize(
    ("nodes", "constants", "nan", "infinite", "constant"),
    [
        ([("MatMul", "x w", "y")], {"w": W}, {}, {}, ()),
        ([("Log", "x", "y")], {}, {"y": RUNS}, {}, ()),
        ([("Max", "x c", "y")], {"c": INF}, {}, {"y": RUNS}, ("y",)),
        ([("Mul", "x c", "y")], {"c": 0.0}, {}, {}, ("y",)),
        ([("Add", "x c", "y")], {"c": [0, -INF, 0, 0]}, {}, {}, ()),
        ([("Add", "x c", "d"), ("Relu", "d", "y")], {"c": -1000.0}, {}, {}, ("y",)),
    ],
)
def test_outputs_of_runs(
    nodes: list[tuple[str, str, str]],
    constants: dict[str, Any],
    nan: dict[str, int],
    infinite: dict[str, int],
    constant: tuple[str, ...],
    tmp_path: Path,
) -> None:
    made = [helper.make_node(op, inputs.split(), [output]) for op, inputs, output in nodes]
    found = ran(network(*made, **constants), tmp_path)
    assert found.problem is None
    assert (found.runs, found.outputs, found.nan, found.infinite, found.constant) == (RUNS, 1, nan, infinite, constant)


def test_a_sequence_is_nan_where_one_of_its_tensors_is(tmp_path: Path) -> None:
    """In runs, and by intervals."""
    nodes = [
        helper.make_node("Sub", ["x", "x"], ["zero"]),
        helper.make_node("Div", ["zero", "zero"], ["nan"]),
        helper.make_node("SequenceConstruct", ["x", "nan"], ["y"]),
    ]
    proto = network(*nodes)
    proto.graph.output[0].CopyFrom(helper.make_tensor_sequence_value_info("y", 1, None))
    assert ran(proto, tmp_path).nan == {"y": RUNS}
    assert [claim.effect for claim in analyze(tmp_path / "net.onnx").claims] == [Effect.NAN]


def test_one_of_two_outputs_is_constant(tmp_path: Path) -> None:
    zero = helper.make_node("Mul", ["x", "c"], ["z"])
    found = ran(network(zero, helper.make_node("MatMul", ["x", "w"], ["y"]), outputs=("y", "z"), c=0.0, w=W), tmp_path)
    assert (found.outputs, found.constant) == (2, ("z",))


def test_integers_are_rows_of_their_table_and_masks_hide_not_everything(tmp_path: Path) -> None:
    """Indices beyond a table of 3 rows would fail, and a mask of False alone would make NaN."""
    nodes = [
        helper.make_node("Gather", ["t", "i"], ["g"]),
        helper.make_node("Where", ["m", "g", "c"], ["s"]),
        helper.make_node("Softmax", ["s"], ["y"], axis=-1),
    ]
    proto = model(
        nodes,
        {"t": W[:3], "c": np.float32(-INF)},
        inputs=[value("i", [2], INT64), value("m", [2, 4], BOOL)],
        outputs=[value("y", None)],
    )
    found = ran(proto, tmp_path)
    assert (found.problem, found.nan, found.constant) == (None, {}, ())


def test_integers_that_pick_entries_one_by_one_are_within_the_axis(tmp_path: Path) -> None:
    """Behind a Squeeze; an index beyond the 3 rows would fail."""
    nodes = [
        helper.make_node("Squeeze", ["i", "first"], ["j"]),
        helper.make_node("GatherElements", ["t", "j"], ["y"], axis=0),
    ]
    proto = model(
        nodes,
        {"t": W[:3], "first": np.array([0])},
        inputs=[value("i", [1, 8, 4], INT64)],
        outputs=[value("y", None)],
    )
    found = ran(proto, tmp_path)
    assert (found.problem, found.nan, found.constant) == (None, {}, ())


def test_the_given_inputs_run(tmp_path: Path) -> None:
    """All above 0, where the logarithm is a number."""
    folder = tmp_path / "data"
    folder.mkdir()
    np.save(folder / "0.npy", np.abs(np.random.default_rng(0).standard_normal((2, 4))) + 0.1)
    found = ran(network(helper.make_node("Log", ["x"], ["y"])), tmp_path, folder)
    assert (found.runs, found.nan, found.constant) == (RUNS, {}, ())


def test_what_cannot_run_is_a_problem(tmp_path: Path) -> None:
    proto = model([helper.make_node("Relu", ["x"], ["y"])], inputs=[value("x", [2, None, None])], outputs=[value("y", None)])
    assert ran(proto, tmp_path).problem is not None
