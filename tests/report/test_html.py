"""The HTML page of an analysis: complete, safe whatever the names are, small, the same from run to run; and its words."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from onnxnull import analyze
from onnxnull.analysis.results import (
    ModelReport,
    WeightReport,
)
from onnxnull.kernel.bounds import Bounds
from onnxnull.kernel.rank import Certainty, RankProfile
from onnxnull.report import advice, html
from onnxnull.report.advice import Level
from onnxnull.report.html import analysis, markup
from tests.cli.console import ROOT, onnxnull
from tests.shared import matmul, random

from .batches import HOSTILE, batch, failure, frontier, hostile, profile, rank, report, unsupported, weight

STYLE = (ROOT / "onnxnull/report/html/style.css").read_text(encoding="utf-8")
VOID = {"meta", "img", "input", "br"}


class Page(HTMLParser):
    """Elements with their attributes, and the text of a page; every element has to be closed where it should be."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert not self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not self._open or self._open[-1] not in ("script", "style"):
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def with_spectrum(told: ModelReport) -> ModelReport:
    """The same with 8 made-up singular values for each weight, the last two below the float32 cut-off."""
    sigma = (1.23456789, 1.0, 0.5, 0.3, 0.1, 0.01, 1e-9, 0.0)
    weights = (replace(w, ranks=replace(w.ranks, sigma=sigma[: min(w.inputs, w.outputs)])) for w in told.weights)
    return replace(told, weights=tuple(weights))


@pytest.mark.parametrize("name", HOSTILE.values(), ids=HOSTILE)
def test_names_are_text_whatever_they_hold(name: str) -> None:
    page = Page(html.render(batch(with_spectrum(hostile(name)), report(), failures=(failure(name),))))
    plain = Page(html.render(batch(with_spectrum(hostile("plain")), report(), failures=(failure("plain"),))))
    assert [tag for tag, _ in page.elements] == [tag for tag, _ in plain.elements]
    assert all(character.isprintable() for character in page.text)
    harmless = {"content", "class", "id", "href", "role", "tabindex"}
    for (_, ours), (_, theirs) in zip(page.elements, plain.elements, strict=True):
        assert ours.keys() == theirs.keys()
        assert all(ours[key] == theirs[key] for key in harmless & ours.keys())


@pytest.mark.parametrize(
    "name", ['"><script>alert(1)</script>', "' onload='x", "javascript:alert(1)", "</style><b>", "-->", "&amp;"]
)
def test_markup_in_names_is_shown_as_it_is(name: str) -> None:
    page = Page(html.render(batch(with_spectrum(hostile(name)))))
    assert name in page.text
    assert len(page.all("script")) == len(page.all("style")) == 1
    assert not page.all("b")
    assert not any(key.startswith("on") for _, attributes in page.elements for key in attributes)


def test_the_page_forbids_the_network_and_needs_none() -> None:
    page = Page(html.render(batch(with_spectrum(report(weight("w"))), report(weight("v")))))
    (policy,) = [m["content"] for m in page.all("meta") if m.get("http-equiv") == "Content-Security-Policy"]
    assert policy is not None
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == rules["base-uri"] == rules["form-action"] == "'none'"
    assert rules["img-src"] == "data:"
    for kind in ("script-src", "style-src"):
        assert re.fullmatch(r"'sha256-[A-Za-z0-9+/]{43}='", rules[kind])
    links = [value for _, attributes in page.elements for key, value in attributes.items() if key in ("href", "src", "action")]
    assert links
    assert all(link is not None and link.startswith("#") for link in links)
    assert "url(" not in STYLE
    assert "@import" not in STYLE
    assert not any("style" in attributes for _, attributes in page.elements)  # the policy would refuse it


def test_every_control_and_picture_has_a_name() -> None:
    page = Page(html.render(batch(with_spectrum(report(weight("w"), weight("v"))))))
    html_tag, *_ = page.all("html")
    assert html_tag["lang"] == "en"
    images = [svg for svg in page.all("svg") if svg.get("aria-hidden") != "true"]
    assert len(images) == 4  # nullity, singular values, a spectrum of each weight
    assert all(image["role"] == "img" and image["aria-label"] for image in images)
    assert all(area["aria-label"] for area in page.all("div") if area.get("tabindex") == "0")
    assert len(page.all("label")) == len(page.all("input")) == 2
    identities = [attributes["id"] for _, attributes in page.elements if attributes.get("id")]
    assert len(identities) == len(set(identities))


def luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    """WCAG 2.2, success criterion 1.4.3."""
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_contrast_in_light_dark_and_print() -> None:
    themes = [dict(re.findall(r"--(\w+): (#[0-9a-f]{6})", block)) for block in re.findall(r":root \{(.*?)\}", STYLE, re.DOTALL)]
    assert len(themes) == 3
    for theme in themes:
        for text in ("ink", "faint", "link", "good", "stop", "lost"):  # text: at least 4.5
            assert contrast(theme[text], theme["back"]) >= 4.5, text
            assert contrast(theme[text], theme["soft"]) >= 4.5, text
        for shape in ("shape", "lost", "near", "bar"):  # parts of charts: at least 3
            assert contrast(theme[shape], theme["back"]) >= 3, shape


def test_a_huge_model_stays_below_two_megabytes_and_says_what_is_left_out() -> None:
    ranks = replace(profile(27, 8, 6, 7), sigma=tuple(0.9**n for n in range(8)))
    many = [weight(f"{'&' * 100}{number}", ranks) for number in range(7000)]
    text = html.render(batch(report(*many), report(*many[:40], file="small.onnx")))
    assert len(text.encode()) < markup.MOST_BYTES
    page = Page(text)
    assert "6,040 weights are left out of the charts and of this table" in page.text
    assert "The first 960 of 7,000; --format csv lists all." in page.text
    assert page.text.count("are left out") == 1  # of the small model nothing is


def test_what_was_not_analysed_stays_small_too() -> None:
    told = report(unsupported=tuple(unsupported("'" * 500) for _ in range(9000)))
    text = html.render(batch(told))
    assert len(text.encode()) < markup.MOST_BYTES
    assert "and 8,500 more; --format csv lists all" in Page(text).text


def test_hundreds_of_models_stay_small_too() -> None:
    text = html.render(batch(*(with_spectrum(report(weight("w" * 90), file=f"{number}.onnx")) for number in range(400))))
    assert len(text.encode()) < markup.MOST_BYTES
    page = Page(text)
    (left,) = re.findall(r"There was no room here for the sections of (\d+) models\.", page.text)
    assert [link["href"] for link in page.all("a")[1:]] == [f"#m{number}" for number in range(1, 401 - int(left))]
    assert sum("id" in section for section in page.all("section")) == 400 - int(left) > 100
    assert "399.onnx" in page.text


def test_the_table_is_that_of_the_other_formats() -> None:
    page = Page(html.render(batch(report(weight("stem", profile(27, 8, 6, 7, 8)), unsupported=(unsupported("quant"),)))))
    for cell in ("stem", "6|7|8", "21|20|19", "1.23", "0.000123", "1 dead, 3 duplicate, 2 unread"):
        assert cell in page.text
    assert "quant (QLinearConv): [unsupported-operator]" in page.text
    assert "Incomplete" in page.text


def test_several_models_have_sections_of_their_own() -> None:
    page = Page(html.render(batch(report(weight("a"), file="a.onnx"), report(file="b.onnx"), failures=(failure(),))))
    assert [section.get("id") for section in page.all("section")] == [None, None, "m1", "m2"]
    assert [link["href"] for link in page.all("a")] == ["#content", "#m1", "#m2"]
    assert "absent.onnx: error[file-not-found]: no such file; check the path" in page.text


def test_the_command_is_the_same_from_run_to_run(tmp_path: Path) -> None:
    matmul(tmp_path / "m.onnx", random(6, 4))
    one, two = (onnxnull("analyze", "m.onnx", "--format", "html", cwd=tmp_path, fresh=fresh) for fresh in (False, True))
    assert (one.returncode, one.stderr) == (0, "")
    assert one.stdout == two.stdout
    assert "Spectra around the cut-offs" in Page(one.stdout).text


def test_weights_without_spectra_are_told() -> None:
    assert "Singular values were not computed." in Page(html.render(batch(report(weight("w"))))).text
    mixed = with_spectrum(report(weight("w")))
    mixed = replace(mixed, weights=(*mixed.weights, weight("late")))
    assert "None of 1 weight: no time was left" in Page(html.render(batch(mixed))).text


def spotless(name: str, ranks: RankProfile) -> WeightReport:
    """A weight without dead, duplicate or unread parts."""
    return replace(weight(name, ranks), dead_outputs=0, duplicate_outputs=0, unread_inputs=0)


class TestMeaning:
    """The sentences claim what the numbers prove, and no more."""

    @staticmethod
    def titles(told: ModelReport) -> dict[str, Level]:
        return {finding.title: finding.level for finding in advice.advise(told)}

    @pytest.mark.parametrize(
        ("nullity", "reason", "level", "title"),
        [
            (Bounds(96, 96, proved=True), None, Level.ATTENTION, "The network ignores 50 % of input 'x'"),
            (Bounds(48, 96, proved=True), None, Level.ATTENTION, "The network ignores at least 25 % of input 'x'"),
            (Bounds(0, 96, proved=True), None, Level.OPEN, "Whether two values of input 'x' collide was not decided"),
            (Bounds(0, 0, proved=True), None, Level.GOOD, "No two values of input 'x' collide in the first layers"),
            (None, "a Relu reads it", Level.OPEN, "Whether two values of input 'x' collide is not known"),
        ],
    )
    def test_inputs(self, nullity: Bounds | None, reason: str | None, level: Level, title: str) -> None:
        told = replace(report(weight("x")), frontier=(frontier("x", nullity=nullity, reason=reason),))
        assert self.titles(told)[title] is level
        assert ("Different inputs can give" in advice.verdict(told)[1]) == (level is Level.ATTENTION)

    def test_an_incomplete_report_is_first_of_all_incomplete(self) -> None:
        told = replace(report(weight("x"), unsupported=(unsupported(),)), frontier=(frontier("x", nullity=Bounds(0, 0, True)),))
        assert advice.advise(told)[0].level is advice.verdict(told)[0] is Level.STOP
        assert "Do not take what follows for whole" in advice.verdict(told)[1]

    def test_lost_rank_is_told_apart_from_narrow_shapes(self) -> None:
        full = spotless("full", profile(27, 8, 8, 8))
        assert self.titles(report(full)) == {"1 of 1 weight narrow what they read": Level.NOTE}
        lost = self.titles(report(full, spotless("lost", profile(27, 8, 6, 7))))
        assert lost == {
            "1 weight of lower rank than the shape allows": Level.ATTENTION,
            "1 weight with directions that all but vanish": Level.ATTENTION,
            "2 of 2 weights narrow what they read": Level.NOTE,
        }
        square = self.titles(report(spotless("square", profile(8, 8, 8, 8))))
        assert square == {"No weight has a kernel": Level.GOOD}

    def test_parts_that_do_nothing_are_told_where_the_rank_does_not_show_them(self) -> None:
        wide = replace(spotless("wide", profile(8, 27, 8, 8)), dead_outputs=2, duplicate_outputs=1)
        (found,) = [f for f in advice.advise(report(wide)) if f.level is Level.ATTENTION]
        assert found.title == "1 weight with parts that do nothing"
        assert [line.split(" (")[0] for line in found.do] == ["Dead outputs", "Duplicate outputs"]

    def test_inputs_of_which_nothing_is_known_share_a_finding(self) -> None:
        many = tuple(frontier(f"x{number}", reason=f"of {number}") for number in range(6))
        told = replace(report(spotless("w", profile(27, 8, 8, 8))), frontier=many)
        (found,) = [f for f in advice.advise(told) if f.level is Level.OPEN]
        assert found.title == "Whether two values of 6 inputs collide is not known"
        assert "since of 0." in found.says
        assert "and 2 more" in found.says

    def test_an_input_that_nothing_reads_is_told(self) -> None:
        unread = replace(frontier("x", nullity=Bounds(192, 192, proved=True)), nodes=(), weights=())
        told = replace(report(spotless("w", profile(8, 8, 8, 8))), frontier=(unread,))
        assert self.titles(told)["Nothing reads input 'x'"] is Level.NOTE

    def test_what_is_too_close_to_call_is_open(self) -> None:
        ranks = replace(profile(8, 8, 8, 8), float32=rank(8, Certainty.AMBIGUOUS))
        assert self.titles(report(weight("w", ranks)))["The rank of 1 weight is too close to call"] is Level.OPEN

    def test_commands_survive_a_shell(self) -> None:
        told = replace(report(weight("x"), file="a b; rm -rf.onnx"), frontier=(frontier("x", nullity=Bounds(1, 1, True)),))
        commands = [command for finding in advice.advise(told) for command in finding.commands]
        assert commands
        assert all("'a b; rm -rf.onnx'" in command for command in commands)

    def test_real_models(self) -> None:
        verdicts = {name: advice.verdict(analyze(ROOT / "models" / f"{name}.onnx"))[0] for name in ("digits_vit", "digits_cnn")}
        assert verdicts == {"digits_vit": Level.ATTENTION, "digits_cnn": Level.GOOD}


def test_shares_of_the_room() -> None:
    assert analysis._share(10, [3, 20, 4]) == [3, 4, 3]
    assert analysis._share(10, [1, 20, 2]) == [1, 7, 2]
    assert analysis._share(100, [3, 20, 4]) == [3, 20, 4]
