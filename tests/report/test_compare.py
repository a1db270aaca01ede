"""Two models side by side as text, Markdown and JSON: what is said, the schema, hostile names, the same bytes twice."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from onnxnull import Running, compare
from onnxnull.collision.results import Change
from onnxnull.comparison.graphs.matching import Difference
from onnxnull.comparison.results import (
    Comparison,
    CrossedRun,
    Crossing,
    GraphFinding,
    InputPair,
    KernelAngle,
    Pair,
    WeightScale,
    WeightSide,
)
from onnxnull.comparison.runs.both import Runs
from onnxnull.comparison.runs.outputs import TensorPair
from onnxnull.comparison.runs.regions import RegionRun
from onnxnull.comparison.verdicts import Crossed, Factors, InputMap, Matched, Order, Outcome, Verdict
from onnxnull.graph.model import open_model
from onnxnull.kernel.bounds import Bounds
from onnxnull.report import compare_json, compare_markdown, compare_text
from tests.comparison.networks import folded, network, permuted, write
from tests.schemas import conforms, validator

from .batches import HOSTILE, profile, report, unsupported
from .test_markdown import tables

LIMIT = Outcome.QUANTIZED


def side(*names: str) -> WeightSide:
    return WeightSide(
        names, tuple(f"/{name}" for name in names), ("Conv",) * len(names), "float32", 27, 8, profile(27, 8, 7, 8)
    )


def pair(name: str, verdict: Verdict = Verdict.IDENTICAL, **changes: Any) -> Pair:
    made = Pair(
        a=side(name),
        b=side(f"{name} 2"),
        matched=Matched.CONTENT,
        verdict=verdict,
        inputs=Order.SAME,
        outputs=Order.SAME,
        moved=False,
        scale=WeightScale(),
        difference=0.0,
        steps=None,
        rounding=None,
        angle=KernelAngle(0.0),
    )
    return replace(made, **changes)


def comparison(*pairs: Pair, **changes: Any) -> Comparison:
    info = report().model
    proved = GraphFinding(proved=True)
    return replace(Comparison(info, info, Outcome.SAME_GRAPH, (), proved, pairs), **changes)


def judged(name: str = "y", ratio: float = 0.0, **changes: Any) -> TensorPair:
    return replace(TensorPair(name, name, ratio=ratio, snr=math.inf), **changes)


def everything(name: str = "w") -> Comparison:
    """Each kind of result, and every string that a file decides is `name`."""
    info = replace(report().model, file=name, producer=name)
    change = Change(name, (1, 2), "float32", False, math.nan, None, None, None, None, None)
    scaled = pair(
        name,
        Verdict.SCALED,
        inputs=Order.LAYOUT,
        outputs=Order.PERMUTED,
        moved=True,
        scale=WeightScale(Factors.OUTPUTS, 0.5, 2.0, (name,), ()),
        difference=1.23456789e-8,
        rounding="float32",
        angle=KernelAngle(None, reason=name),
    )
    return replace(
        comparison(
            scaled,
            pair(name, Verdict.QUANTIZED, steps=0.5, angle=KernelAngle(12.3456789, at_least=True)),
            pair(name, Verdict.DIFFERENT, matched=Matched.NAME, scale=WeightScale(Factors.ONE, 3.0, 3.0)),
        ),
        a=info,
        b=info,
        outcome=Outcome.DIFFERENT,
        because=(name, name),
        graph=GraphFinding(differences=(Difference("constant", name, name, math.nan, True),), regions=1, at=name, reason=name),
        regions=(RegionRun(name, name, (name,), judged(name), judged(name, math.inf), name),),
        input_map=name,
        runs=Runs(16, True, (judged(name, math.inf, reason=name),), (judged(name, 0.5, channel=name),), None, 1),
        only_a=(replace(side(name, name), ranks=None, ops=(name, name)),),
        only_b=(replace(side(name), ranks=None),),
        unsupported_a=(replace(unsupported(name), op=name, reason=name),),
        inputs=(
            InputPair(name, name, InputMap.READ, Bounds(1, 2, True), None, KernelAngle(None, reason=name)),
            InputPair(name, name, InputMap.NONE, None, None, KernelAngle(None, reason=name), name),
        ),
        crossings=(
            Crossing("a", (CrossedRun("float64", "rounding", Crossed.NEARLY, (change,), (change,)),)),
            Crossing("b", reason=name, failed=True),
        ),
    )


def checked(document: str) -> dict[str, Any]:
    """The JSON, checked against the schema."""
    found: dict[str, Any] = conforms(document)
    return found


class TestJson:
    def test_everything_is_in_the_schema(self) -> None:
        found = checked(compare_json.render(everything(), LIMIT))
        assert (found["same"], found["outcome"]) == (False, "different")
        assert [p["verdict"] for p in found["pairs"]] == ["scaled", "quantized", "different"]
        assert found["pairs"][0]["difference"] == 1.23457e-8
        assert found["runs"]["outputs"][0]["ratio"] == "inf"
        assert found["graph"]["differences"][0]["distance"] == "nan"
        assert found["collisions"][0]["runs"][0]["outputs"][0]["max_abs"] == "nan"
        checked(compare_json.render(replace(everything(), runs=None, regions=()), LIMIT))

    def test_a_key_more_or_less_is_no_comparison(self) -> None:
        document = compare_json.document(everything(), LIMIT)
        for broken in ({**document, "more": 1}, {key: document[key] for key in document if key != "pairs"}):
            with pytest.raises(jsonschema.ValidationError):
                validator("compare").validate(broken)

    def test_real_ones_are_in_the_schema_and_the_same_twice(self, tmp_path: Path) -> None:
        net = network()
        first = write(tmp_path / "a.onnx", net)
        (tmp_path / "elsewhere").mkdir()
        texts = []
        for folder in (tmp_path, tmp_path / "elsewhere"):
            other = write(folder / "b.onnx", folded(permuted(net)), dtype=float_16())
            texts.append(compare_json.render(compare(open_model(first), open_model(other), running=Running()), LIMIT))
        assert texts[0] == texts[1]
        assert texts[0].isascii()
        found = checked(texts[0])
        assert found["same"] is None
        assert {p["order"]["outputs"] for p in found["pairs"]} == {"same", "permuted"}

    @pytest.mark.parametrize(
        ("found", "same"),
        [
            (comparison(pair("w")), True),
            (comparison(), True),
            (comparison(outcome=Outcome.IDENTICAL), True),
            (comparison(outcome=Outcome.QUANTIZED), True),
            (comparison(pair("w"), unsupported_a=(unsupported(),)), True),
            (comparison(outcome=Outcome.AGREES), None),
            (comparison(outcome=Outcome.UNEXPLAINED), None),
            (comparison(outcome=Outcome.NOT_EXERCISED), None),
            (comparison(outcome=Outcome.MAPPED, input_map="x:bgr"), False),
            (comparison(outcome=Outcome.MAPPED, input_map="x:bgr", allowed=True), True),
            (comparison(pair("w"), outcome=Outcome.DIFFERENT), False),
        ],
    )
    def test_same_is_only_said_where_it_is_known(self, found: Comparison, same: bool | None) -> None:
        assert checked(compare_json.render(found, LIMIT))["same"] is same


def float_16() -> type:
    import numpy as np

    return np.float16


class TestText:
    def test_what_is_the_same_is_folded(self) -> None:
        found = comparison(pair("w"), pair("v", Verdict.QUANTIZED))
        text = compare_text.render(found, LIMIT)
        assert "1 pair of weights that are the same is not shown; --all shows every pair." in text
        assert "w 2" not in text
        assert "w 2" in compare_text.render(found, LIMIT, every=True)

    @pytest.mark.parametrize(
        ("found", "said"),
        [
            (comparison(pair("w")), "SAME (same-graph): equal graphs after rewrites that hold over the reals"),
            (comparison(outcome=Outcome.IDENTICAL), "SAME (identical): equal graphs up to names and order"),
            (comparison(outcome=Outcome.AGREES), "INCOMPLETE (agrees): what no rewrite explains agrees"),
            (
                comparison(outcome=Outcome.NOT_EXERCISED),
                "INCOMPLETE (not exercised): an output was empty, constant or saturated",
            ),
            (comparison(outcome=Outcome.DIFFERENT, because=("a constant",)), "Why: a constant."),
            (comparison(outcome=Outcome.MAPPED), "DIFFERENT (agrees after a map): the outputs agree"),
            (comparison(only_b=(side("x"),), outcome=Outcome.DIFFERENT), "only in the second model: x (Conv, 27×8)"),
            (
                comparison(unsupported_b=(unsupported(),), outcome=Outcome.UNEXPLAINED),
                "not analysed in the second model: node (QLinearConv)",
            ),
            (comparison(only_b=(side("x"),)), "1 weight went without a partner or an analysis; --all lists them."),
            (comparison(runs=Runs(16, True, (judged(ratio=0.25),))), "On 16 drawn inputs, output 'y' differs most: by 0.25 of"),
            (comparison(runs=Runs(reason="no reason")), "The outputs were not compared: no reason."),
            (
                everything(),
                "On 16 drawn inputs (1 more overflowed in one of them), output 'w' differs most: by inf of a channel's",
            ),
            (everything(), "The first matched tensors that part:"),
            (everything(), "A collision of the first model on the other: float64 nearly"),
            (everything(), "A collision of the second model on the other: failed: w."),
        ],
    )
    def test_the_answer(self, found: Comparison, said: str) -> None:
        assert said in compare_text.render(found, LIMIT)
        assert said.split("'")[0] in compare_markdown.render(found, LIMIT).replace("\\", "")

    def test_a_row(self) -> None:
        lines = compare_text.render(everything(), LIMIT).splitlines()
        row = next(line for line in lines if " scaled " in line)
        assert row.split()[:7] == ["w", "w", "2", "scaled", "27", "8", "7|8"]
        for note in ("inputs exchanged axes", "outputs permuted", "in another place", "of w", "rounded to float32", "1.2e-08"):
            assert note in row
        assert "≥ 12.3°" in next(line for line in lines if " quantized " in line)
        assert "one factor (3), which no graph explains" in next(line for line in lines if " different " in line)

    @pytest.mark.parametrize("width", [40, 100, None])
    @pytest.mark.parametrize("name", HOSTILE.values(), ids=HOSTILE)
    def test_hostile_names(self, name: str, width: int | None) -> None:
        found = compare_text.render(everything(name), LIMIT, terminal_width=width)
        assert all(line.isprintable() for line in found.replace("\x1b[", "").splitlines())
        checked(compare_json.render(everything(name), LIMIT))
        text = compare_markdown.render(everything(name), LIMIT)
        assert all(line.isprintable() for line in text.split("\n"))
        (table,) = tables(text)
        assert {len(row) for row in table} == {len(table[0])}
