"""The pages in a real browser: nothing is loaded or refused, they fit a phone, tables sort and filter, keys and print work."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from onnxnull import analyze, replay
from onnxnull.evidence.pictures import for_page
from onnxnull.report import html
from onnxnull.report.html import collision as collision_page
from tests.cli.console import ROOT
from tests.collision.bundles import bundled, patch_model

from .batches import HOSTILE, batch, failure, hostile
from .chromium import DESKTOP, PHONE, Browser
from .test_html import with_spectrum

MODELS = ROOT / "models"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with Browser() as started:
        yield started


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """one.html, of a real model; many.html, with hostile names; replay.html, of a bundle with pictures."""
    folder = tmp_path_factory.mktemp("pages")
    one = analyze(MODELS / "digits_cnn.onnx", spectra=True)
    (folder / "one.html").write_text(html.render(batch(one)), encoding="utf-8")
    told = [with_spectrum(hostile(name)) for name in (*HOSTILE.values(), '"><img src=x onerror=alert(1)>')]
    (folder / "many.html").write_text(html.render(batch(one, *told, failures=(failure(),))), encoding="utf-8")
    bundled(folder / "evidence", patch_model(folder / "m.onnx"))
    sections = [
        collision_page.section_of(each, for_page(each.collision)) for each in replay(folder / "evidence") if each.collision
    ]
    (folder / "replay.html").write_text(collision_page.render_replay("evidence", sections), encoding="utf-8")
    return folder


PAGES = pytest.mark.parametrize("name", ["one", "many", "replay"])


@PAGES
@pytest.mark.parametrize("size", [PHONE, DESKTOP], ids=["phone", "desktop"])
def test_nothing_is_loaded_or_refused_and_nothing_is_cut_off(
    name: str, size: tuple[int, int], browser: Browser, pages: Path
) -> None:
    path = pages / f"{name}.html"
    browser.open(path, size)
    assert [url for url in browser.requests if not url.startswith("data:image/png")] == [path.resolve().as_uri()]
    assert browser.messages == []  # the policy would complain here, and so would a broken script
    assert browser.run("document.documentElement.scrollWidth") <= size[0]
    wide = browser.run(
        """Array.from(document.querySelectorAll("main *")).filter((element) => {
          if (element.closest(".scroll, svg")) return false;
          const box = element.getBoundingClientRect();
          return box.width > 0 && box.right > innerWidth + 0.5;
        }).map((element) => element.outerHTML.slice(0, 80))"""
    )
    assert wide == []
    small = browser.run('Array.from(document.querySelectorAll("svg text"), (t) => t.getBoundingClientRect().height)')
    assert all(height >= 10 for height in small)  # text in charts does not shrink with them


def test_pictures_are_shown(browser: Browser, pages: Path) -> None:
    browser.open(pages / "replay.html")
    shown = browser.run("Array.from(document.images, (image) => [image.naturalWidth, image.alt])")
    assert [width for width, _ in shown] == [8, 8, 8, 8]
    assert all(alt for _, alt in shown)


def test_the_policy_stops_what_would_be_smuggled_in(browser: Browser, pages: Path, tmp_path: Path) -> None:
    text = (pages / "one.html").read_text(encoding="utf-8")
    bad = '<script>document.title = "taken"</script><img src="https://example.invalid/x.png"><b style="color: red">x</b>'
    (tmp_path / "bad.html").write_text(text.replace("</main>", f"{bad}</main>"), encoding="utf-8")
    browser.open(tmp_path / "bad.html")
    assert "taken" not in browser.run("document.title")
    assert sum("Content Security Policy" in message for message in browser.messages) == 3
    assert browser.run("document.images[0].naturalWidth") == 0


def column(browser: Browser, number: int, *, visible: bool = False) -> list[str]:
    """The cells of a column of the weights table."""
    rows = '[...document.querySelector("#m1 .controls ~ .scroll table").tBodies[0].rows]'
    kept = ".filter((row) => !row.hidden)" if visible else ""
    found = browser.run(f"{rows}{kept}.map((row) => row.cells[{number}].textContent)")
    assert isinstance(found, list)
    return found


def number_of(cell: str) -> float:
    return float(cell.split("|")[0].replace(",", "").rstrip("~?"))


def press_header(browser: Browser, title: str) -> Any:
    """Press the column's button; how the column says it is sorted then."""
    header = f'[...document.querySelectorAll("#m1 .controls ~ .scroll th")].find((th) => th.textContent === "{title}")'
    return browser.run(f'{header}.querySelector("button").click(), {header}.getAttribute("aria-sort")')


def test_tables_sort(browser: Browser, pages: Path) -> None:
    browser.open(pages / "one.html")
    before = column(browser, 1)
    assert press_header(browser, "nullity") == "descending"
    nullities = [number_of(cell) for cell in column(browser, 6)]
    assert nullities == sorted(nullities, reverse=True)
    assert len(set(nullities)) > 2
    assert press_header(browser, "nullity") == "ascending"
    assert [number_of(cell) for cell in column(browser, 6)] == sorted(nullities)
    assert press_header(browser, "weight") == "ascending"
    assert column(browser, 1) == sorted(before, key=str.lower)
    assert browser.run('document.querySelectorAll("#m1 [aria-sort]").length') == 1
    assert press_header(browser, "#") == "descending"
    assert press_header(browser, "#") == "ascending"
    assert column(browser, 1) == before


def type_filter(browser: Browser, text: str) -> None:
    """Into the field above the weights table."""
    field = """document.querySelector('#m1 [type="search"]')"""
    browser.run(f'{field}.value = "{text}", {field}.dispatchEvent(new Event("input"))')


def test_tables_filter(browser: Browser, pages: Path) -> None:
    browser.open(pages / "one.html")
    everything = column(browser, 1)
    type_filter(browser, "Depthwise  WEIGHT")
    expected = [name for name in everything if "depthwise" in name]
    assert 0 < len(expected) < len(everything)
    assert column(browser, 1, visible=True) == expected
    said = 'document.querySelector("#m1 output").textContent'
    assert browser.run(said) == f"{len(expected)} of {len(everything)} shown"
    type_filter(browser, "")
    browser.run("""document.querySelector('#m1 [type="checkbox"]').click()""")
    assert column(browser, 1, visible=True) == [
        name for name, cell in zip(everything, column(browser, 6), strict=True) if number_of(cell) > 0
    ]


def test_everything_is_reached_by_keys(browser: Browser, pages: Path) -> None:
    browser.open(pages / "one.html", DESKTOP)
    here = "document.activeElement"
    reached = []
    for _ in range(20):
        browser.press("Tab", 9)
        reached.append(browser.run(f"{here}.type || ({here}.className || {here}.tagName)"))
        outline = browser.run(f"getComputedStyle({here}).outlineStyle")
        assert outline != "none", reached[-1]  # who uses keys sees where they are
        if reached[-1] == "button" and browser.run(f"{here}.textContent") == "nullity":
            break
    assert reached[0] == "skip"
    assert {"search", "checkbox", "scroll", "button"} < set(reached)
    browser.press("Enter", 13, "\r")
    nullities = [number_of(cell) for cell in column(browser, 6)]
    assert nullities == sorted(nullities, reverse=True)


def test_dark_mode_is_dark_and_print_is_light(browser: Browser, pages: Path) -> None:
    def mean() -> float:
        return float(np.mean(np.asarray(Image.open(io.BytesIO(browser.screenshot(whole=False))).convert("L"))))

    browser.open(pages / "one.html", dark=False)
    light = mean()
    browser.open(pages / "one.html", dark=True)
    dark = mean()
    browser.open(pages / "one.html", dark=True, media="print")
    printed = mean()
    assert dark < 60
    assert light > 180
    assert printed > 180


def test_print_is_whole(browser: Browser, pages: Path) -> None:
    browser.open(pages / "one.html", (700, 900), media="print")
    assert browser.run('getComputedStyle(document.querySelector(".controls")).display') == "none"
    cut = browser.run(
        '[...document.querySelectorAll(".scroll")].filter((each) => each.scrollWidth > each.clientWidth + 1).length'
    )
    assert cut == 0
    document = browser.pdf()
    assert document.startswith(b"%PDF-")
    assert document.count(b"/Type /Page\n") >= 2
