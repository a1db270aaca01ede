"""CSV: parses, and every row has every column."""

from __future__ import annotations

import csv
import io

import pytest

from onnxnull.report import Batch
from onnxnull.report import csv as report_csv

from .batches import HOSTILE, batch, failure, hostile, profile, report, unsupported, weight


def rows(of: Batch) -> list[dict[str, str]]:
    parsed = list(csv.reader(io.StringIO(report_csv.render(of)), strict=True))
    assert {len(row) for row in parsed} == {len(parsed[0])}
    return [dict(zip(parsed[0], row, strict=True)) for row in parsed[1:]]


def test_one_row_per_weight() -> None:
    first, second = rows(batch(report(weight("u", profile(27, 8, 6, 7)), weight("v", stacked=profile(9, 8, 8, 8), groups=3))))
    assert (first["file"], first["name"], first["op"], first["dtype"]) == ("model.onnx", "u", "Conv", "float32")
    assert (first["inputs"], first["outputs"], first["groups"], first["in_paper"]) == ("27", "8", "1", "true")
    assert (first["rank_float32"], first["certainty_float32"], first["nullity_float32"]) == ("6", "certified", "21")
    assert (first["rank_exact"], first["certainty_exact"], first["nullity_exact"], first["stacked_rank"]) == ("",) * 4
    assert (first["sigma_max"], first["sigma_min"], first["nodes"]) == ("1.23457", "0.000123457", "/u/Conv")
    assert (second["groups"], second["stacked_inputs"], second["stacked_rank"], second["stacked_nullity"]) == (
        "3",
        "9",
        "8",
        "1",
    )


def test_what_was_not_analysed_has_a_row() -> None:
    _, second = rows(batch(report(weight("w"), unsupported=(unsupported("/q/Conv"),))))
    assert (second["name"], second["op"], second["nodes"], second["inputs"]) == ("", "QLinearConv", "/q/Conv", "")
    assert second["error"].startswith("unsupported-operator: quantized")


def test_a_model_that_did_not_open_has_a_row() -> None:
    (only,) = rows(batch(failures=(failure(),)))
    assert (only["file"], only["error"]) == ("absent.onnx", "file-not-found")


def test_several_models_are_table_1() -> None:
    told = batch(report(weight("w")), report(unsupported=(unsupported(), unsupported())), failures=(failure(),))
    whole, partial, absent = rows(told)
    assert [whole[k] for k in ("weights", "nu", "nu_percent", "mu", "nullity", "first_nullity")] == [
        "1",
        "1",
        "100",
        "1",
        "20",
        "20",
    ]
    assert (whole["complete"], whole["error"]) == ("true", "")
    assert (partial["complete"], partial["error"], partial["first_nullity"]) == ("false", "unsupported-operator", "")
    assert (absent["model"], absent["complete"], absent["error"], absent["weights"]) == (
        "absent.onnx",
        "false",
        "file-not-found",
        "",
    )


@pytest.mark.parametrize("name", HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize("several", [False, True])
def test_a_row_is_a_line_that_prints(name: str, several: bool) -> None:
    reports = [hostile(name)] * (2 if several else 1)
    lines = report_csv.render(batch(*reports)).split("\n")
    assert len(lines) == 2 + (2 if several else 3)
    assert all(line.isprintable() for line in lines)
    assert len(rows(batch(*reports))) == (2 if several else 3)
