"""The page of `onnxnull analyze --format html`: what it means, what to do, then pictures and every weight."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

from onnxnull.analysis.results import ModelReport
from onnxnull.report import advice, tables, words
from onnxnull.report.batch import Batch, Failure
from onnxnull.report.chart_data import ChartWeight, chart_weights
from onnxnull.report.html import charts
from onnxnull.report.html.markup import MOST_BYTES, Markup, page, tag
from onnxnull.report.html.parts import sortable, verdict

_ROWS = (2000, 1000, 500, 250, 120, 60, 30)
"""Weights (and as many that were not analysed) that a page lists and draws: the first number with which it is small enough."""
_MODELS = 1000
"""Models of the overview."""
_FRAME = 50_000
"""Bytes for the page around its sections."""
MOST_SPECTRA = 48
"""Spectra drawn one by one on a page."""
_NEAREST, _FAR = 6, 100.0
"""How many of a model are always drawn; those whose smallest singular value is further above the float32 cut-off are not."""


def render(batch: Batch) -> str:
    """The page of the batch, no larger than `MOST_BYTES`; what it leaves out it says."""
    models = len(batch.reports) + len(batch.failures)
    room = MOST_BYTES - _FRAME - len(_overview(batch, len(batch.reports)).encode())
    shares, kept = None, list[Markup]()
    for rows in _ROWS:
        wanted = (
            _share(rows, [len(r.weights) for r in batch.reports]),
            _share(rows, [len(r.unsupported) for r in batch.reports]),
        )
        if wanted != shares:
            shares, kept = wanted, _sections(batch, *wanted, room)
        if len(kept) == models:
            break
    body = [tag("h1", "What these models cannot see" if models > 1 else "What this model cannot see")]
    if models > 1:
        body.append(_overview(batch, len(kept) - len(batch.failures)))
    names = words.some([words.shown(report.model.file) for report in batch.reports] or ["onnxnull"], most=2)
    return page(f"What {names} cannot see", *body, *kept)


def _sections(batch: Batch, rows: Sequence[int], gaps: Sequence[int], room: int) -> list[Markup]:
    """A section for every failure and every model, until there is no room."""
    spectra = max(2, MOST_SPECTRA // max(1, len(batch.reports)))
    kept = []
    models = zip(range(1, len(rows) + 1), batch.reports, rows, gaps, strict=True)
    for section in chain(
        (_failed(failure) for failure in batch.failures),
        (_model(report, number, most, most_gaps, spectra) for number, report, most, most_gaps in models),
    ):
        room -= len(section.encode())
        if room < 0:
            break
        kept.append(section)
    return kept


def _share(most: int, wanted: Sequence[int]) -> list[int]:
    """How much of `most` each gets, but at least 3: small wishes are met, the large ones share what is left."""
    given = [0] * len(wanted)
    left, order = most, sorted(range(len(wanted)), key=lambda index: wanted[index])
    for place, index in enumerate(order):
        given[index] = min(wanted[index], max(3, left // (len(order) - place)))
        left = max(0, left - given[index])
    return given


def _failed(failure: Failure) -> Markup:
    told = verdict(advice.Level.STOP, words.failure(failure))
    return tag("section", tag("h2", words.shown(failure.file)), told, class_="model")


def _overview(batch: Batch, sections: int) -> Markup:
    """Table 1, and the way to the models that have a section."""
    items = []
    for number, report in enumerate(batch.reports[:_MODELS], start=1):
        level, sentence = advice.verdict(report)
        file = words.shown(report.model.file)
        link = tag("a", file, href=f"#m{number}") if number <= sections else file
        items.append(tag("li", link, f" · {level.value.lower()}: {sentence}"))
    table = tables.table1(batch)
    table = tables.TextTable(table.header, table.numeric, table.rows[:_MODELS])
    note = [tag("p", words.STAR, class_="faint")] if batch.failures or not all(r.complete for r in batch.reports) else []
    left = len(batch.reports) - max(0, sections)
    if left:
        note.append(tag("p", f"There was no room here for the sections of {words.count(left, 'model')}.", class_="faint"))
    return tag(
        "section",
        tag("ul", *items, class_="list"),
        sortable(table, "Table 1 of the paper"),
        tag("p", words.TABLE1_LEGEND, class_="faint"),
        *note,
    )


def _model(report: ModelReport, number: int, rows: int, gaps: int, spectra: int) -> Markup:
    identity = f"m{number}"
    file = words.shown(report.model.file)
    facts = words.headline(report).removeprefix(file).removeprefix(" · ")
    parts: list[Markup] = [tag("h2", file, id=f"{identity}-title"), tag("p", facts, class_="faint")]
    parts.append(verdict(*advice.verdict(report)))
    parts += map(_finding, advice.advise(report))
    if not report.complete:
        listed = [tag("li", words.unsupported(what)) for what in report.unsupported[:gaps]]
        if gaps < len(report.unsupported):
            listed.append(tag("li", f"and {len(report.unsupported) - gaps:,} more; --format csv lists all"))
        parts += [tag("h3", "Not analysed"), tag("ul", *listed, class_="list")]
    if report.weights:
        weights = chart_weights(report)
        parts += [*_charts(weights[:rows]), *_spectra(weights, spectra), *_weights(report, rows, identity)]
        parts += [tag("h3", "In the words of the paper"), *(tag("p", line) for line in words.summary(report))]
    parts.append(tag("p", f"SHA-256 of the file: {report.model.sha256}", class_="faint"))
    return tag("section", *parts, class_="model", id=identity, aria_labelledby=f"{identity}-title")


def _finding(found: advice.Advice) -> Markup:
    todo = [tag("ul", *(tag("li", line) for line in found.do))] if found.do else []
    commands = (tag("pre", tag("code", command)) for command in found.commands)
    title = tag("h4", found.title)
    level = tag("span", found.level.value, class_="level")
    return tag("div", level, title, tag("p", found.says), *todo, *commands, class_=f"finding {found.level.name.lower()}")


def _charts(weights: Sequence[ChartWeight]) -> list[Markup]:
    parts = [("shape-fill", "fewer outputs than inputs")]
    if any(weight.lost for weight in weights):
        parts.append(("lost-fill", "rank below what the shape allows"))
    if any(weight.near for weight in weights):
        parts.append(("near-fill", "at the float32 cut-off only"))
    told = "Weights in the order of the table below. Each bar: the share of what the weight reads that it cannot see, and why."
    drawn = tag("figure", charts.key(*parts), charts.nullity_bars(weights), tag("figcaption", told))
    found = [tag("h3", "Nullity per layer"), drawn]
    if any(weight.sigma for weight in weights):
        entries = [("bar-fill", "singular values: all, and darker the middle half")]
        if any(value <= weight.float32 for weight in weights for _, value in weight.sigma or ()):
            entries.append(("lost-fill", "those that count as 0 at the float32 cut-off"))
        entries += [("float32", "float32 cut-off"), ("float64", "float64 cut-off")]
        told = (
            "Relative to the largest of each weight, on a logarithmic scale. How strongly a weight passes a direction on; what "
            "lies below a line counts as unseen at that precision. 0: not resolved in double precision."
        )
        drawn = tag("figure", charts.key(*entries), charts.sigma_ranges(weights), tag("figcaption", told))
        found += [tag("h3", "Singular values per layer"), drawn]
    return found


def _spectra(weights: Sequence[ChartWeight], most: int) -> list[Markup]:
    known = [weight for weight in weights if weight.sigma]
    if not known:
        return [tag("p", "Singular values were not computed.", class_="faint")]
    ordered = sorted(known, key=lambda weight: weight.closest)  # a sort keeps the order of equals
    first = [weight for place, weight in enumerate(ordered[:most]) if place < _NEAREST or weight.closest < _FAR]
    told = ["From the weight that is nearest to losing rank. Across: the singular values in order; up: as above."]
    if len(first) < len(known):
        told.append(f"Not drawn one by one: {words.count(len(known) - len(first), 'weight')} further from it.")
    if len(known) < len(weights):
        told.append(f"None of {words.count(len(weights) - len(known), 'weight')}: no time was left, or the weight is 0.")
    figures = (tag("figure", _spectrum_caption(weight), charts.spectrum(weight)) for weight in first)
    return [
        tag("h3", "Spectra around the cut-offs"),
        tag("p", " ".join(told), class_="faint"),
        charts.key(("float32", "float32 cut-off"), ("float64", "float64 cut-off")),
        tag("div", *figures, class_="many"),
    ]


def _spectrum_caption(weight: ChartWeight) -> Markup:
    assert weight.sigma is not None
    smallest = weight.sigma[-1][1]
    told = f"σ min is {smallest:.2g} of σ max" if smallest > 0 else "σ min is 0 in double precision"
    return tag("figcaption", f"{weight.number} {words.shortened(weight.name, 40)}", tag("span", told))


def _weights(report: ModelReport, rows: int, identity: str) -> list[Markup]:
    table = tables.weights(report)
    kernels = [weight.nullity > 0 for weight in chart_weights(report)]
    controls = tag(
        "div",
        tag("label", "Filter ", tag("input", type="search", id=f"{identity}-filter", autocomplete="off")),
        tag("label", tag("input", type="checkbox", id=f"{identity}-kernel"), " only with a kernel"),
        tag("output", aria_live="polite", class_="faint"),
        class_="controls",
        hidden=True,
    )
    caption = "A row per weight. Press a column's name to sort by it."
    left = []
    if rows < len(table.rows):
        caption += f" The first {rows:,} of {len(table.rows):,}; --format csv lists all."
        left.append(
            tag("p", f"{len(table.rows) - rows:,} weights are left out of the charts and of this table.", class_="faint")
        )
    legend = tag("ul", *(tag("li", line) for line in words.legend(report)), class_="list faint")
    numbered = tables.numbered(table)
    shown = tables.TextTable(numbered.header, numbered.numeric, numbered.rows[:rows])
    return [tag("h3", "Every weight"), sortable(shown, caption, kernels[:rows], controls), *left, legend]
