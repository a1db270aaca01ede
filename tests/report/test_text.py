"""Text: aligned and whole where it is no terminal, fitted where it is one, harmless whatever the names."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from rich.cells import cell_len

from onnxnull.kernel.rank import Certainty
from onnxnull.report import text, words

from .batches import HOSTILE, batch, failure, hostile, profile, rank, report, unsupported, weight

COLOUR = re.compile(r"\x1b\[[0-9;]*m")


def lines(*reports: object, **kwargs: object) -> list[str]:
    return text.render(batch(*reports, **kwargs)).splitlines()  # type: ignore[arg-type]


def test_one_model() -> None:
    found = lines(report(weight("stem", profile(27, 8, 7, 8, 8)), weight("body.weight", profile(1152, 64, 64, 64))))
    assert found[0] == "model.onnx · maker 1.0 · opset 17 · image ?×3×224×224; free"
    assert found[1].startswith("2 of 2 weights have a kernel (100 %); 2 have fewer outputs than inputs (100 %).")
    start = next(i for i, line in enumerate(found) if line.startswith("weight"))
    assert found[start : start + 3] == [
        "weight       op    inputs  outputs   rank   nullity  σ max     σ min  notes",
        "stem         Conv      27        8  7|8|8  20|19|19   1.23  0.000123  1 dead, 3 duplicate, 2 unread",
        "body.weight  Conv   1,152       64     64     1,088   1.23  0.000123  1 dead, 3 duplicate, 2 unread",
    ]


def test_columns_are_aligned_and_nothing_is_folded_or_cut() -> None:
    names = ["w", "a/rather/long/name/" * 5, "x" * words.NAME]
    found = lines(report(*(weight(name) for name in names)))
    table = [line for line in found if any(line.startswith(f"{name} ") for name in names)]
    assert len(table) == len(names)
    assert {line.index("Conv ") for line in table} == {words.NAME + 2}
    assert not any("…" in line for line in found)


def test_a_line_of_any_length_stays_one_line() -> None:
    found = lines(
        report(*(weight("n" * 100 + str(i)) for i in range(4)), unsupported=tuple(unsupported("q" * 100) for _ in range(3)))
    )
    assert sum(line.startswith("  qqq") for line in found) == 3
    assert max(map(len, found)) > 400


def test_several_models_are_table_1() -> None:
    found = lines(report(weight("w")), report(file="b.onnx", unsupported=(unsupported(),)), failures=(failure(),))
    assert found[:4] == [
        "Model          n  ν(θ)   ν/n  μ(θ)   μ/n  Σ nullity  first nullity",
        "model.onnx     1     1  100%     1  100%         20             20",
        "b.onnx *       0     0     -     0     -          0              -",
        "absent.onnx *  -     -     -     -     -          -              -",
    ]
    assert found[4] == words.STAR
    assert found[6:] == [
        "b.onnx: INCOMPLETE: 1 weight not analysed.",
        "  node (QLinearConv): [unsupported-operator] quantized weights are not analysed yet (constant 'node')",
    ]


def test_nothing_and_nothing_analysed_are_told_apart() -> None:
    assert lines(report())[1] == "This model holds no linear weight."
    assert lines(report(unsupported=(unsupported(),)))[1] == "None of its linear weights was analysed."


def test_a_model_that_did_not_open_is_told_on_stderr_only() -> None:
    assert text.render(batch(failures=(failure(),))) == ""


def test_no_escape_codes_where_it_is_no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("FORCE_COLOR", "TTY_COMPATIBLE", "CLICOLOR_FORCE"):
        monkeypatch.setenv(variable, "1")
    monkeypatch.setenv("COLUMNS", "20")
    found = text.render(batch(report(weight("w"), unsupported=(unsupported(),))))
    assert "\x1b" not in found
    assert "not analysed yet (constant 'node')\n" in found


def test_colour_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert COLOUR.search(text.render(batch(report(weight("w"))), terminal_width=100))


@pytest.mark.parametrize("name", HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize("width", [None, 80, 200])
@pytest.mark.parametrize("several", [False, True])
def test_hostile_names_never_reach_the_terminal(name: str, width: int | None, several: bool) -> None:
    found = text.render(batch(*[hostile(name)] * (2 if several else 1)), terminal_width=width)
    plain = COLOUR.sub("", found) if width else found
    assert all(line.isprintable() for line in plain.split("\n"))
    assert "red" not in plain or "[31mred" in plain or "[red]" in plain


def test_hidden_characters_are_shown() -> None:
    assert words.shown("a\x1b[31m\n\u202e\udcff") == r"a\x1b[31m\n\u202e\udcff"
    assert words.shown("é×σ日本") == "é×σ日本"


@pytest.mark.parametrize("length", [1, 119, 120, 121, 10_000])
def test_long_names_lose_their_middle(length: int) -> None:
    name = "".join(chr(ord("a") + i % 26) for i in range(length))
    shown = words.shown(name)
    assert len(shown) == min(length, words.NAME)
    assert shown.startswith(name[:50])
    assert shown.endswith(name[-50:])


@pytest.mark.parametrize("width", [80, 100, 120])
def test_a_narrow_terminal_gets_one_line_per_name(width: int) -> None:
    names = [f"model/encoder/layer.{i}/attention/self/query/MatMul_weight_{i}" for i in range(5)]
    found = [COLOUR.sub("", line) for line in text.render(batch(report(*map(weight, names))), terminal_width=width).split("\n")]
    assert max(map(cell_len, found)) <= width
    assert sum(line.startswith("model/enco") and " Conv " in line for line in found) == 5


def test_a_narrow_terminal_says_what_it_leaves_out() -> None:
    found = text.render(batch(report(weight("w" * 60, profile(27_000, 8_000, 7_000, 8_000, 8_000)))), terminal_width=80)
    assert "left out, the terminal is too narrow: σ max, σ min" in found
    assert "left out" not in text.render(batch(report(weight("w"))), terminal_width=150)


@pytest.mark.parametrize("width", [1, 20, 40, 60, 80])
def test_numbers_are_never_cut(width: int) -> None:
    ranks = profile(1_234_567, 7_654_321, 1_111_111, 1_222_222, 1_233_333)
    found = COLOUR.sub("", text.render(batch(report(weight("w" * 60, ranks))), terminal_width=width))
    row = next(line for line in found.splitlines() if line.startswith("www") and " Conv " in line)
    assert row.split()[1:6] == ["Conv", "1,234,567", "7,654,321", "1,111,111|1,222,222|1,233,333", "123,456|12,345|1,234"]


@pytest.mark.parametrize(
    ("certainties", "mark"),
    [
        ((Certainty.CERTIFIED, Certainty.CERTIFIED), ""),
        ((Certainty.CERTIFIED, Certainty.NUMERICAL), "~"),
        ((Certainty.NUMERICAL, Certainty.AMBIGUOUS), "?"),
        ((Certainty.AMBIGUOUS, Certainty.NUMERICAL), "?"),
    ],
)
def test_the_weakest_certainty_marks_the_rank(certainties: tuple[Certainty, Certainty], mark: str) -> None:
    ranks = replace(profile(9, 8, 8, 8), float32=rank(8, certainties[0]), float64=rank(8, certainties[1]))
    assert words.rank_cell(ranks) == f"8{mark}"
    legend = words.legend(report(weight("w", ranks)))
    assert any(line.startswith(mark) and certainties[-1].explanation in line for line in legend) == bool(
        mark and mark in "~?"
    ) or (mark == "?")


def test_the_legend_explains_what_occurs_and_nothing_else() -> None:
    plain = replace(weight("w", profile(9, 8, 8, 8)), dead_outputs=0, unread_inputs=0, duplicate_outputs=0)
    assert words.legend(report(plain)) == [
        "nullity: inputs − rank, the dimension of what the weight cannot see (of one patch, where it is a convolution)"
    ]
    full = words.legend(report(weight("w", stacked=profile(9, 8, 8, 8), groups=3)))
    assert [line.split(":")[0] for line in full] == ["nullity", "a|b|c", "stacked", "dead", "duplicate", "unread"]
