"""HTML that escapes by construction, and the page around it: one file, no network, nothing that a name can break out of.

A `str` is text from anywhere and is escaped; only `Markup`, which `tag` returns, is taken as it is. The page forbids everything
by its Content-Security-Policy but its own style, its own script (both by their hashes) and pictures inside the file.
"""

from __future__ import annotations

import base64
import hashlib
import html
from collections.abc import Iterable
from importlib import resources

from onnxnull.report.words import printable
from onnxnull.version import __version__

MOST_BYTES = 2_000_000
"""No page is larger."""
_VOID = frozenset({"meta", "img", "input", "rect", "line", "path", "polyline", "circle", "br"})
"""Elements that are written without an end tag or, in SVG, without content."""


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


def escaped(text: str) -> Markup:
    """`text` as it may stand in an element or in a quoted attribute; what does not print becomes an escape (`\\x1b`)."""
    return text if isinstance(text, Markup) else Markup(html.escape(printable(text), quote=True))


def tag(name: str, /, *children: str, **attributes: str | float | bool | None) -> Markup:
    """An element. `class_="x"` is class="x", `aria_label` is aria-label; None and False leave one out, True is bare."""
    parts = [name]
    for key, value in attributes.items():
        written = key.rstrip("_").replace("_", "-")
        if value is True:
            parts.append(written)
        elif value is not None and value is not False:
            shown = f"{value:.5g}" if isinstance(value, float) else str(value)
            parts.append(f'{written}="{escaped(shown)}"')
    start = " ".join(parts)
    if name in _VOID and not children:
        return Markup(f"<{start}/>")
    return Markup(f"<{start}>{join(children)}</{name}>")


def join(parts: Iterable[str], separator: str = "") -> Markup:
    """The parts one after the other, text escaped."""
    return Markup(separator.join(map(escaped, parts)))


def picture(png: bytes, *, alt: str, **attributes: str | int | bool | None) -> Markup:
    """A PNG file inside the page."""
    return tag("img", src=f"data:image/png;base64,{base64.b64encode(png).decode('ascii')}", alt=alt, **attributes)


def page(title: str, *body: Markup) -> str:
    """The whole file."""
    style, script = _asset("style.css"), _asset("page.js")
    policy = (
        f"default-src 'none'; img-src data:; style-src {_source(style)}; script-src {_source(script)}; "
        "base-uri 'none'; form-action 'none'"
    )
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=policy),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("meta", name="generator", content=f"onnxnull {__version__}"),
        tag("title", title),
        Markup(f"<style>{style}</style>"),
    )
    content = tag(
        "body",
        tag("a", "To the content", class_="skip", href="#content"),
        tag("main", *body, id="content", tabindex="-1"),
        tag("footer", f"Made by onnxnull {__version__}. This file is complete: it loads nothing and sends nothing."),
        Markup(f"<script>{script}</script>"),
    )
    return f'<!DOCTYPE html>\n<html lang="en">{head}\n{content}</html>\n'


def _asset(name: str) -> str:
    return resources.files("onnxnull.report.html").joinpath(name).read_text(encoding="utf-8")


def _source(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode('ascii')}'"
