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
from onnxnull.comparison.results import (
    Agreement,
    Comparison,
    CrossedRun,
    Crossing,
    InputPair,
    KernelAngle,
    OutputPair,
    Pair,
    Scale,
    Side,
    TablePair,
)
from onnxnull.comparison.verdicts import Crossed, Factors, InputMap, Matched, Order, Verdict
from onnxnull.kernel.bounds import Bounds
from onnxnull.report import compare_json, compare_markdown, compare_text
from tests.comparison.networks import folded, network, permuted, write
from tests.schemas import conforms, validator

from .batches import HOSTILE, profile, report, unsupported
from .test_markdown import tables

LIMIT = Verdict.QUANTIZED


def side(*names: str) -> Side:
    return Side(names, tuple(f"/{name}" for name in names), ("Conv",) * len(names), "float32", 27, 8, profile(27, 8, 7, 8))


def pair(name: str, verdict: Verdict = Verdict.IDENTICAL, **changes: Any) -> Pair:
    made = Pair(
        a=side(name),
        b=side(f"{name} 2"),
        matched=Matched.CONTENT,
        verdict=verdict,
        inputs=Order.SAME,
        outputs=Order.SAME,
        moved=False,
        scale=Scale(),
        difference=0.0,
        steps=None,
        rounding=None,
        angle=KernelAngle(0.0),
    )
    return replace(made, **changes)


def comparison(*pairs: Pair, **changes: Any) -> Comparison:
    info = report().model
    return replace(Comparison(info, info, pairs, (), (), (), (), (), equal=True), **changes)


NO_PROOF = Agreement((OutputPair("y", "y", 0.1, 1.0, 0.1),), 0.5, needed=7.0)


def ran_alike() -> Comparison:
    return comparison(pair("w"), agreement=Agreement((OutputPair("y", "y", 0.0, 1.0, 0.0),), 1e-3))


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
        scale=Scale(Factors.OUTPUTS, 0.5, 2.0, (name,), ()),
        difference=1.23456789e-8,
        rounding="float32",
        angle=KernelAngle(None, reason=name),
    )
    return replace(
        comparison(
            scaled,
            pair(name, Verdict.QUANTIZED, steps=0.5, angle=KernelAngle(12.3456789, at_least=True)),
            pair(name, Verdict.DIFFERENT, matched=Matched.NAME, scale=Scale(Factors.ONE, 3.0, 3.0)),
        ),
        a=info,
        b=info,
        tables=(TablePair(name, name, Verdict.DIFFERENT, 0.5),),
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
        agreement=Agreement((OutputPair(name, name, 1.0, 0.0, math.inf),), 1e-3),
    )


def checked(document: str) -> dict[str, Any]:
    """The JSON, checked against the schema."""
    found: dict[str, Any] = conforms(document)
    return found


class TestJson:
    @pytest.mark.parametrize("agreed", [Agreement(reason="why", failed=True), None])
    def test_everything_is_in_the_schema(self, agreed: Agreement | None) -> None:
        found = checked(compare_json.render(everything(), LIMIT))
        assert (found["same"], found["complete"], found["verdict"]) == (False, False, "different")
        assert [p["verdict"] for p in found["pairs"]] == ["scaled", "quantized", "different"]
        assert found["pairs"][0]["difference"] == 1.23457e-8
        assert found["agreement"]["outputs"][0]["ratio"] == "inf"
        assert found["collisions"][0]["runs"][0]["outputs"][0]["max_abs"] == "nan"
        checked(compare_json.render(replace(everything(), agreement=agreed), LIMIT))

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
            texts.append(compare_json.render(compare(first, other, running=Running()), LIMIT))
        assert texts[0] == texts[1]
        assert texts[0].isascii()
        found = checked(texts[0])
        assert found["same"] is None
        assert {p["order"]["outputs"] for p in found["pairs"]} == {"same", "permuted"}

    @pytest.mark.parametrize(
        ("found", "same"),
        [
            (comparison(pair("w")), None),
            (ran_alike(), True),
            (replace(ran_alike(), agreement=NO_PROOF), None),
            (comparison(pair("w", Verdict.DIFFERENT)), False),
            (comparison(pair("w"), unsupported_a=(unsupported(),)), None),
            (comparison(pair("w", Verdict.DIFFERENT), unsupported_a=(unsupported(),)), False),
            (comparison(), None),
            (comparison(pair("w", outputs=Order.PERMUTED)), None),
        ],
    )
    def test_same_is_only_said_where_it_is_known(self, found: Comparison, same: bool | None) -> None:
        assert checked(compare_json.render(found, LIMIT))["same"] is same


def float_16() -> type:
    import numpy as np

    return np.float16


class TestText:
    @pytest.mark.parametrize(
        ("found", "said"),
        [
            (ran_alike(), "SAME: the two files hold the same network; the loosest pair is 'identical'"),
            (comparison(pair("w")), "SAME WEIGHTS: the loosest pair is 'identical'"),
            (replace(ran_alike(), agreement=NO_PROOF), "INCOMPLETE: nothing different was found"),
            (replace(ran_alike(), agreement=NO_PROOF), "may change 7, so that this settles nothing"),
            (
                comparison(pair("w", Verdict.DIFFERENT)),
                "DIFFERENT: the two files do not hold the same network up to 'quantized'",
            ),
            (comparison(pair("w"), only_a=(side("x"),)), "Why they differ: 'x' has no partner in the second model."),
            (comparison(pair("w"), only_b=(side("x"),)), "only in the second model: x (Conv, 27×8)"),
            (comparison(pair("w"), unsupported_b=(unsupported(),)), "INCOMPLETE: nothing different was found"),
            (comparison(pair("w"), unsupported_b=(unsupported(),)), "not analysed in the second model: node (QLinearConv)"),
            (comparison(pair("w", inputs=Order.PERMUTED)), "Not settled: w hold the same numbers in another order"),
            (comparison(), "NOTHING: neither file holds a linear weight."),
            (replace(ran_alike(), equal=False), "INCOMPLETE: nothing different was found"),
            (replace(ran_alike(), equal=False), "The graphs are not the same node by node, or constants other than weights"),
            (everything(), "For one random input, output 'w' differs by 1 between the models, inf times"),
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
