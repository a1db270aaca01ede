"""What the pages share: tables, and the box with the verdict."""

from __future__ import annotations

from collections.abc import Sequence

from onnxnull.report.advice import Level
from onnxnull.report.html.markup import Markup, join, tag
from onnxnull.report.tables import TextTable


def verdict(level: Level, sentence: str, label: str | None = None) -> Markup:
    """What stands above everything; the label is the level's own word if None."""
    return tag("p", tag("span", label or level.value, class_="level"), sentence, class_=f"verdict {level.name.lower()}")


def table(content: TextTable, caption: str) -> Markup:
    """A table that scrolls by itself where the screen is narrow."""
    return _scrolling(content, caption, [None] * len(content.rows), class_="words")


def sortable(content: TextTable, caption: str, kernels: Sequence[bool] | None = None, *controls: Markup) -> Markup:
    """A table whose columns sort, with controls above it (see page.js).

    Args:
        kernels: which rows are of a weight with a kernel, for the control that shows only these.
    """
    marks = ["" if kernel else None for kernel in kernels or [False] * len(content.rows)]
    return tag("div", *controls, _scrolling(content, caption, marks), data_table="")


def _scrolling(content: TextTable, caption: str, marks: Sequence[str | None], class_: str | None = None) -> Markup:
    """The first column of words heads its row. `marks`: for each row its attribute data-kernel."""
    kinds = ["number" if numeric else None for numeric in content.numeric]
    names = content.numeric.index(False)
    head = (tag("th", title, scope="col", class_=kind) for title, kind in zip(content.header, kinds, strict=True))
    body = []
    for row, mark in zip(content.rows, marks, strict=True):
        cells = (
            tag("th", cell, scope="row") if index == names else tag("td", cell, class_=kinds[index])
            for index, cell in enumerate(row)
        )
        body.append(tag("tr", *cells, data_kernel=mark))
    told = tag("caption", tag("span", caption))
    drawn = tag("table", told, tag("thead", tag("tr", *head)), tag("tbody", join(body, "\n")), class_=class_)
    return tag("div", drawn, class_="scroll", tabindex=0, role="region", aria_label=caption)
