"""Weights that only a run decides, in the reports, the gate, proofs, comparisons and collisions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

from onnxnull import analyze, compare
from onnxnull.analysis import proofs
from onnxnull.collision.results import Space
from onnxnull.collision.tensors import cuts
from onnxnull.errors import Code
from onnxnull.graph.flow import Flow
from onnxnull.graph.model import open_model
from onnxnull.report import json as report_json
from tests.helpers import BOOL, FLOAT, INT64, model, value, weight

node = helper.make_node
INDEX = value("i", [], INT64)


def scanned(stack: np.ndarray) -> onnx.ModelProto:
    """A stack of layers that a Scan runs through."""
    step = helper.make_graph(
        [node("MatMul", ["h", "w"], ["h2"])], "body", [value("h", None), value("w", None)], [value("h2", None)]
    )
    nodes = [node("Scan", ["x", "B"], ["y"], name="scan", body=step, num_scan_inputs=1)]
    return model(nodes, {"B": stack}, inputs=[value("x", [2, stack.shape[1]])])


def banked(bank: np.ndarray, name: str = "B") -> onnx.ModelProto:
    """A bank that an index of the caller picks a weight from."""
    nodes = [node("Gather", [name, "i"], ["w"]), node("MatMul", ["x", "w"], ["y"], name="layer")]
    return model(nodes, {name: bank}, inputs=[value("x", [2, bank.shape[1]]), INDEX])


def saved(proto: onnx.ModelProto, folder: Path, name: str = "model.onnx") -> Path:
    path = folder / name
    path.write_bytes(proto.SerializeToString())
    return path


def test_a_stack_of_nan_is_seen_slice_by_slice(tmp_path: Path) -> None:
    found = analyze(saved(scanned(np.full((4, 6, 6), np.nan, np.float32)), tmp_path))
    assert [u.code for u in found.unsupported] == [Code.NONFINITE] * 4
    assert not found.weights


def test_one_bad_slice_is_named(tmp_path: Path) -> None:
    stack = weight(4, 6, 6)
    stack[2, 1, 1] = np.inf
    found = analyze(saved(scanned(stack), tmp_path))
    assert [w.name for w in found.weights] == ["B[0]", "B[1]", "B[3]"]
    assert [("B[2]" in u.reason, u.code) for u in found.unsupported] == [(True, Code.NONFINITE)]


def test_slices_count_as_layers_and_say_what_is_open(tmp_path: Path) -> None:
    bank = weight(3, 4, 2)
    bank[1, :, 1] = bank[1, :, 0]
    found = analyze(saved(banked(bank), tmp_path))
    assert [(w.name, w.ranks.float64.value, w.in_paper) for w in found.weights] == [
        ("B[0]", 2, True),
        ("B[1]", 1, True),
        ("B[2]", 2, True),
    ]
    assert (found.paper.weights, found.paper.nu, found.full.weights) == (3, 3, 3)
    assert found.tables == ()  # a bank of matrices is no look-up table
    assert {n.condition for w in found.weights for n in w.nodes} == {"chosen at run time"}
    entry = report_json.model(found)
    assert entry.weights[0].nodes[0].condition == "chosen at run time"


@pytest.mark.parametrize("made", [scanned(weight(2, 4, 4)), banked(weight(3, 4, 2))], ids=["scan", "gather"])
def test_no_guarantee_for_an_input_that_such_a_weight_reads(made: onnx.ModelProto, tmp_path: Path) -> None:
    first = analyze(saved(made, tmp_path)).frontier[0]
    assert not first.guaranteed
    assert first.input_nullity is None


def test_no_guarantee_behind_a_scaled_weight(tmp_path: Path) -> None:
    nodes = [node("Mul", ["W", "s"], ["w"]), node("MatMul", ["x", "w"], ["y"])]
    made = model(nodes, {"W": weight(4, 2)}, inputs=[value("x", [2, 4]), value("s", [4, 1])])
    assert [(f.input, f.guaranteed) for f in analyze(saved(made, tmp_path)).frontier] == [("x", False), ("s", False)]


def test_a_repeated_weight_gives_no_guarantee(tmp_path: Path) -> None:
    nodes = [
        node("Shape", ["x"], ["n"], end=1),
        node("Concat", ["n", "rest"], ["to"], axis=0),
        node("Expand", ["W", "to"], ["w"]),
        node("MatMul", ["x", "w"], ["y"]),
    ]
    made = model(nodes, {"W": weight(4, 2), "rest": np.array([4, 2])}, inputs=[value("x", ["N", "T", 4])])
    found = analyze(saved(made, tmp_path))
    assert [w.name for w in found.weights] == ["W"]
    assert [f.guaranteed for f in found.frontier] == [False]


def test_proofs_name_slices(tmp_path: Path) -> None:
    path = saved(banked(weight(3, 4, 2)), tmp_path)
    document = proofs.collect(path)
    assert [entry["name"] for entry in document["weights"]] == ["B[0]", "B[1]", "B[2]"]
    checked = proofs.verify(path, document)
    assert (checked.failures, checked.gaps) == ((), ())
    assert {verdict.weight for verdict in checked.verdicts} == {"B[0]", "B[1]", "B[2]"}


def test_slices_are_compared_one_by_one(tmp_path: Path) -> None:
    bank = weight(3, 4, 2)
    other = bank.copy()
    other[1, 0, 0] += 1
    found = compare(open_model(saved(banked(bank), tmp_path)), open_model(saved(banked(other), tmp_path, "other.onnx")))
    verdicts = {pair.a.names[0]: pair.verdict.name for pair in found.pairs}
    assert verdicts["B[0]"] == verdicts["B[2]"] == "IDENTICAL"
    assert verdicts.get("B[1]") != "IDENTICAL"


def test_a_collision_of_a_slice_is_one_of_the_matrix_alone(tmp_path: Path) -> None:
    flow = Flow(open_model(saved(banked(weight(3, 4, 2)), tmp_path)))
    (cut,) = cuts(flow, "B[1]", Space.PATCHES)
    assert (cut.space, cut.tensor, cut.product) == (Space.MATRIX, None, None)
    assert cut.caveat is not None
    assert "chosen at run time" in cut.caveat


def test_a_scaled_convolution_says_nothing_of_images(tmp_path: Path) -> None:
    nodes = [node("Mul", ["W", "s"], ["w"]), node("Conv", ["x", "w"], ["y"])]
    made = model(nodes, {"W": weight(5, 3, 2, 2)}, inputs=[value("x", [1, 3, 6, 6]), value("s", [1, 1, 2, 2])])
    (found,) = analyze(saved(made, tmp_path)).weights
    assert found.nodes[0].operator is None


def test_one_constant_used_plainly_and_by_choice_is_one_weight(tmp_path: Path) -> None:
    nodes = [
        node("MatMul", ["x", "W"], ["h"], name="plain"),
        node("Where", ["c", "W", "V"], ["w"]),
        node("MatMul", ["h", "w"], ["y"], name="chosen"),
    ]
    made = model(nodes, {"W": weight(4, 4), "V": weight(4, 4, seed=1)}, inputs=[value("x", [2, 4]), value("c", [], BOOL)])
    found = analyze(saved(made, tmp_path))
    assert [(w.name, [(n.name, n.condition) for n in w.nodes]) for w in found.weights] == [
        ("W", [("plain", ""), ("chosen", "chosen at run time")]),
        ("V", [("chosen", "chosen at run time")]),
    ]
    assert found.frontier[0].guaranteed  # everything passes through W first, plainly


def test_two_equal_slices_are_two_weights(tmp_path: Path) -> None:
    bank = np.stack([weight(4, 2)] * 2)
    assert [w.name for w in analyze(saved(banked(bank), tmp_path)).weights] == ["B[0]", "B[1]"]


def test_a_scan_of_opset_8_is_listed(tmp_path: Path) -> None:
    step = helper.make_graph(
        [node("MatMul", ["h", "w"], ["h2"])], "body", [value("h", None), value("w", None)], [value("h2", None)]
    )
    made = model(
        [node("Scan", ["", "x", "B"], ["y"], body=step, num_scan_inputs=1)],
        {"B": weight(1, 3, 4, 4)},
        inputs=[value("x", [1, 2, 4], FLOAT)],
        opset=8,
    )
    found = analyze(saved(made, tmp_path))
    assert ["opset 8" in u.reason for u in found.unsupported] == [True]
