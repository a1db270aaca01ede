"""Markdown: tables keep their columns whatever the names."""

from __future__ import annotations

import re

import pytest

from onnxnull.report import markdown

from .batches import HOSTILE, batch, failure, hostile, report, unsupported, weight


def cells(row: str) -> list[str]:
    return [cell.strip() for cell in re.split(r"(?<!\\)(?:\\\\)*\|", row)[1:-1]]


def tables(text: str) -> list[list[list[str]]]:
    blocks = [block.splitlines() for block in text.split("\n\n") if block.startswith("|")]
    return [[cells(row) for row in block] for block in blocks]


def test_one_model() -> None:
    text = markdown.render(batch(report(weight("w_1"))))
    ((header, rule, row),) = tables(text)
    assert header[:4] == ["weight", "op", "inputs", "outputs"]
    assert rule == [":--", ":--", "--:", "--:", "--:", "--:", "--:", "--:", ":--"]
    assert row == ["w\\_1", "Conv", "27", "8", "7\\|8", "20\\|19", "1.23", "0.000123", "1 dead, 3 duplicate, 2 unread"]
    assert text.startswith("### model.onnx · maker 1.0 · opset 17 · image ?×3×224×224; free\n\n1 of 1 weight has a kernel")


def test_several_models() -> None:
    text = markdown.render(batch(report(weight("w")), report(unsupported=(unsupported(),)), failures=(failure(),)))
    ((header, _, whole, partial, absent),) = tables(text)
    assert header[0] == "Model"
    assert whole[:4] == ["model.onnx", "1", "1", "100%"]
    assert (partial[0], absent[:2]) == ("model.onnx \\*", ["absent.onnx \\*", "-"])
    assert (
        "**model.onnx: INCOMPLETE: 1 weight not analysed.**\n\n- node (QLinearConv): \\[unsupported-operator\\] quantized"
        in text
    )
    assert "- absent.onnx: error\\[file-not-found\\]: no such file; check the path" in text


@pytest.mark.parametrize("name", HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize("several", [False, True])
def test_hostile_names(name: str, several: bool) -> None:
    text = markdown.render(batch(*[hostile(name)] * (2 if several else 1)))
    assert all(line.isprintable() for line in text.split("\n"))
    for table in tables(text):
        assert {len(row) for row in table} == {len(table[0])}
        assert len(table) == 4
    assert max(map(len, text.split("\n"))) < 2000


def test_special_characters_are_escaped() -> None:
    text = markdown.render(batch(report(weight("a|b*c_d`e<f>[g]#h$i&j\\k~l"))))
    assert r"| a\|b\*c\_d\`e\<f\>\[g\]\#h\$i\&j\\k\~l | Conv |" in text
