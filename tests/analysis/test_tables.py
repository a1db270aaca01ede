"""Look-up tables: named with their row rank, not counted as weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from onnxnull.analysis.analyze import analyze
from onnxnull.analysis.results import LookupTable, ModelReport
from onnxnull.report import json as json_report
from onnxnull.report import words
from onnxnull.report.batch import Batch
from tests.helpers import INT64, model, value, weight

node = helper.make_node


def analysed(proto: onnx.ModelProto, folder: Path, **options: Any) -> ModelReport:
    path = folder / "model.onnx"
    onnx.save(proto, path)
    return analyze(path, **options)


def only_table(report: ModelReport) -> LookupTable:
    (table,) = report.tables
    return table


def lookup(table: Any, *, op: str = "Gather", shape: Any = (2, 3), domain: str = "", **attributes: Any) -> onnx.ModelProto:
    made = node(op, ["t", "i"], ["y"], domain=domain, **attributes)
    return model([made], {"t": table}, inputs=[value("i", shape, INT64)], imports={domain: 1} if domain else {})


def deficient(rows: int, columns: int, rank: int) -> Any:
    return weight(rows, rank) @ weight(rank, columns, seed=1)


def test_an_embedding_is_named_with_the_rank_of_its_rows(tmp_path: Path) -> None:
    table = np.zeros((9, 4), np.float32)
    table[:, :2] = np.arange(18).reshape(9, 2)  # exact: two columns of nine rows
    report = analysed(lookup(table), tmp_path)
    found = only_table(report)
    assert (found.name, found.dtype, found.nodes, found.rows, found.columns) == ("t", "float32", ("Gather_0",), 9, 4)
    assert found.ranks is not None
    assert found.ranks.exact is not None
    assert (found.ranks.float32.value, found.ranks.float64.value, found.ranks.exact.value) == (2, 2, 2)
    assert (report.weights, report.unsupported, report.full.weights, report.paper.weights) == ((), (), 0, 0)
    assert report.complete
    (front,) = report.frontier
    assert not front.guaranteed
    assert front.reason == "input 'i' is int64: it has no continuous kernel"
    assert words.summary(report)[-1] == "1 look-up table, not counted as weights: t 9×4 (row rank 2)."


@pytest.mark.parametrize(
    ("proto", "shape", "rank"),
    [
        (lookup(weight(4, 9), axis=1), (9, 4), 4),
        (lookup(weight(4, 9, 2), axis=-2), (9, 8), 8),
        (lookup(weight(3, 5, 4), op="GatherND", shape=(7, 2)), (15, 4), 4),
        (lookup(weight(3, 5, 4), op="GatherND", shape=(3, 1), batch_dims=1), (15, 4), 4),
        (lookup(weight(3, 5, 4), op="GatherND", shape=(7, 1)), (3, 20), 3),
        (lookup(weight(9, 4), op="TorchEmbedding", domain="com.microsoft"), (9, 4), 4),
        (lookup(weight(9, 4), op="GatherND", shape=(7, 1), domain="com.microsoft"), (9, 4), 4),
        (lookup(deficient(9, 6, 3).astype(np.float64)), (9, 6), None),
    ],
)
def test_what_is_a_row(proto: onnx.ModelProto, shape: tuple[int, int], rank: int | None, tmp_path: Path) -> None:
    found = only_table(analysed(proto, tmp_path))
    assert (found.rows, found.columns) == shape
    assert found.ranks is not None
    assert found.ranks.float32.value == (3 if rank is None else rank)


@pytest.mark.parametrize(
    "proto",
    [
        lookup(weight(9)),
        lookup(weight(9, 1)),
        lookup(weight(9, 4) > 0),
        lookup(weight(3, 5), op="GatherND", shape=(7, 2)),
        lookup(weight(2, 3), op="GatherElements"),
    ],
    ids=["one axis", "one column", "booleans", "scalars", "elements"],
)
def test_what_is_no_table(proto: onnx.ModelProto, tmp_path: Path) -> None:
    assert analysed(proto, tmp_path).tables == ()


def test_a_choice_by_constant_indices_is_a_constant(tmp_path: Path) -> None:
    made = [node("Gather", ["t", "i"], ["w"]), node("MatMul", ["x", "w"], ["y"])]
    proto = model(made, {"t": weight(9, 4), "i": np.array([1, 2, 3])}, inputs=[value("x", [1, 3])])
    report = analysed(proto, tmp_path)
    assert (report.tables, [w.inputs for w in report.weights]) == ((), [3])


def test_a_table_that_two_nodes_read_and_a_layer_multiplies_by(tmp_path: Path) -> None:
    """Tied embeddings: one table of two nodes, and one weight."""
    made = [
        node("Gather", ["t", "i"], ["a"], name="first"),
        node("Gather", ["t", "j"], ["b"], name="second"),
        node("Add", ["a", "b"], ["c"]),
        node("Transpose", ["t"], ["u"], perm=[1, 0]),
        node("MatMul", ["c", "u"], ["y"]),
    ]
    proto = model(made, {"t": weight(9, 4)}, inputs=[value(name, [2], INT64) for name in "ij"])
    report = analysed(proto, tmp_path)
    assert only_table(report).nodes == ("first", "second")
    assert [(w.name, w.inputs, w.outputs) for w in report.weights] == [("t", 4, 9)]


def test_tables_of_embedding_layers(tmp_path: Path) -> None:
    inputs = ["i", "s", "words", "positions", "segments", "g", "g"]
    made = node("EmbedLayerNormalization", inputs, ["y", "m"], domain="com.microsoft")
    constants = {"words": weight(9, 4), "positions": weight(6, 4), "segments": weight(2, 4), "g": weight(4)}
    ids = [value(name, [1, 3], TensorProto.INT32) for name in "is"]
    report = analysed(model([made], constants, inputs=ids, imports={"com.microsoft": 1}), tmp_path)
    found = [(t.name, t.rows, t.ranks.float64.value if t.ranks else None) for t in report.tables]
    assert found == [("words", 9, 4), ("positions", 6, 4), ("segments", 2, 2)]
    assert report.complete


def test_a_table_of_characters(tmp_path: Path) -> None:
    made = node("WordConvEmbedding", ["s", "w", "b", "t"], ["y"], domain="com.microsoft")
    constants = {"w": weight(5, 1, 2, 3), "b": weight(5), "t": weight(9, 3)}
    proto = model([made], constants, inputs=[value("s", [2, 4], TensorProto.INT32)], imports={"com.microsoft": 1})
    report = analysed(proto, tmp_path)
    assert only_table(report).name == "t"
    assert [w.name for w in report.weights] == ["w"]


def test_a_table_without_a_rank_is_listed_all_the_same(tmp_path: Path) -> None:
    broken = weight(9, 4)
    broken[3, 1] = np.nan
    cases: list[tuple[onnx.ModelProto, dict[str, Any], str]] = [
        (lookup(broken), {}, "it holds NaN or Inf"),
        (lookup(weight(9, 4)), {"time_limit": 0.0}, "it was not reached within the time limit"),
        (lookup(weight(3, 5, 4), op="GatherND", shape=None), {}, "how many axes are indexed is not known"),
        (
            lookup(weight(9, 4).astype(np.int8), op="GatherBlockQuantized", domain="com.microsoft", block_size=16),
            {},
            "the table is quantized",
        ),
    ]
    for proto, options, reason in cases:
        report = analysed(proto, tmp_path, **options)
        found = only_table(report)
        assert (found.ranks, found.reason) == (None, reason)
        assert words.tables(report)[0].endswith(f"(no rank: {reason}).")


def test_a_table_that_cannot_be_evaluated_is_listed(tmp_path: Path) -> None:
    made = [node("Mystery", ["w"], ["t"], domain="custom"), node("Gather", ["t", "i"], ["y"])]
    proto = model(made, {"w": weight(9, 4)}, inputs=[value("i", [2], INT64)], imports={"custom": 1})
    found = only_table(analysed(proto, tmp_path))
    assert (found.name, found.dtype, found.rows, found.ranks) == ("t", None, None, None)
    assert found.reason == "op custom.Mystery is unknown to the evaluator"


def test_tables_in_json(tmp_path: Path) -> None:
    report = analysed(lookup(np.eye(9, 4, dtype=np.float32)), tmp_path)
    (found,) = json.loads(json_report.render(Batch((report,), ())))["models"][0]["tables"]
    rank = {"value": 4, "certainty": "exact"}
    assert found.pop("rank")["exact"] == rank
    assert found == {"name": "t", "dtype": "float32", "rows": 9, "columns": 4, "reason": None, "nodes": ["Gather_0"]}
