"""The pages of `collide --format html` and `replay --format html`: the pair, what it means, and what was measured."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from onnxnull.collision.results import Change, Collision, Decision, Kind, Run, RunVerdict, Space
from onnxnull.report import collision_text, words
from onnxnull.report.advice import Level
from onnxnull.report.html import charts
from onnxnull.report.html.markup import MOST_BYTES, Markup, page, picture, tag
from onnxnull.report.html.parts import table, verdict
from onnxnull.report.tables import TextTable

if TYPE_CHECKING:
    from onnxnull.evidence.pictures import Shown
    from onnxnull.evidence.provenance import Facts
    from onnxnull.evidence.replay import Replayed

_ROOM = MOST_BYTES - 150_000
"""Bytes for sections in full; collisions beyond get a line each."""
_MOST_LINES, _MOST_ROWS = 300, 100
_TITLES = {
    "original": "original",
    "perturbation": "what was added",
    "colliding": "colliding",
    "control": "control",
    "mask-original": "labels of the original",
    "mask-colliding": "labels of the colliding one",
    "mask-control": "labels of the control",
}
_CONTROL = (
    "The control is as far from the original as the colliding one, in a direction that these layers see: what it does to the "
    "outputs is what a change of this size does when it is not hidden."
)


@dataclass(frozen=True, slots=True)
class Section:
    """A collision on a page: in full, in a line for where there is no room, and whether it holds."""

    full: Markup
    line: str
    holds: bool


def section(collision: Collision, pictures: Mapping[str, Shown], labels: Sequence[str] | None = None) -> Section:
    """A collision with its pictures, as `onnxnull.evidence.pictures.for_page` makes them."""
    full = tag("section", tag("h2", _title(collision)), *_body(collision, pictures, labels), class_="model")
    return Section(full, collision_text.row(collision), collision.holds)


def section_of(each: Replayed, pictures: Mapping[str, Shown]) -> Section:
    """A collision of a bundle that was verified again; the pictures are to be drawn from the arrays that were verified."""
    line = f"{words.shown(each.name)}: {'confirmed' if each.confirmed else 'NOT CONFIRMED'}"
    return Section(_replayed(each, pictures), line, each.confirmed)


def render(facts: Facts, sections: Sequence[Section], bundle: str | None = None, missing: Sequence[str] = ()) -> str:
    """The page of what a search found.

    Args:
        bundle: where the evidence was written, as typed.
        missing: in a line each, why there is no pair where one was looked for.
    """
    file = words.shown(facts.file)
    holding = sum(each.holds for each in sections)
    head = [
        tag("h1", f"Two inputs, one output: {file}"),
        tag("p", f"Pairs that hold on this machine: {holding:,} of {len(sections):,}."),
    ]
    if bundle is not None:
        said = "The evidence can be verified again, here or elsewhere, from its arrays and the model:"
        head += [
            tag("p", said),
            tag("pre", tag("code", f"onnxnull replay {shlex.quote(words.printable(bundle))} {shlex.quote(file)}")),
        ]
    head.append(tag("p", f"SHA-256 of the model: {facts.sha256}", class_="faint"))
    if missing:
        lines = [words.shown(line, 400) for line in missing[:_MOST_LINES]]
        if len(missing) > len(lines):
            lines.append(f"and {len(missing) - len(lines):,} more")
        listed = tag("ul", *(tag("li", line) for line in lines), class_="list")
        head.append(tag("section", tag("h2", "Where no pair was built"), listed, class_="model"))
    return page(f"Collisions in {file}", *head, *_fitting(sections))


def render_replay(bundle: str, sections: Sequence[Section], noun: str = "collision") -> str:
    """The page of a bundle that was verified again.

    Args:
        bundle: the folder as typed, only its last part where it is absolute.
        noun: what the sections are about: "collision" or "pair".
    """
    name = words.shown(bundle)
    confirmed = sum(each.holds for each in sections)
    level, title = (Level.GOOD, "Confirmed") if confirmed == len(sections) else (Level.STOP, "Not confirmed")
    told = f"{confirmed:,} of {words.count(len(sections), noun)} confirmed here."
    meaning = (
        "All hashes were checked before anything ran; then both inputs were run again, and nothing of what is recorded was "
        "taken over. Pictures are drawn from the arrays that were verified."
    )
    head = [
        tag("h1", f"Evidence, verified again: {name}"),
        verdict(level, told, title),
        tag("p", meaning),
    ]
    return page(f"Evidence {name}", *head, *_fitting(sections))


def _fitting(sections: Sequence[Section]) -> list[Markup]:
    """Sections as long as the page has room; a line for each of the others."""
    parts, left, size = [], [], 0
    for each in sections:
        size += len(each.full.encode())
        if size <= _ROOM:
            parts.append(each.full)
        else:
            left.append(each.line)
    if left:
        shown = [tag("li", line) for line in left[:_MOST_LINES]]
        if len(left) > len(shown):
            shown.append(tag("li", f"and {len(left) - len(shown):,} more"))
        told = f"No room on this page for the details of {words.count(len(left), 'pair')}"
        parts.append(tag("section", tag("h2", told), tag("ul", *shown, class_="list"), class_="model"))
    return parts


def _replayed(each: Replayed, pictures: Mapping[str, Shown]) -> Markup:
    from onnxnull.report.replay import attack_of

    parts = [tag("h2", words.shown(each.name))]
    parts += [tag("p", f"Not confirmed: {words.shown(objection, 300)}", class_="broken") for objection in each.objections]
    parts += [tag("p", f"Undecided: {words.shown(doubt, 400)}", class_="broken") for doubt in each.doubts]
    if each.decision is Decision.BROKEN and not each.objections:
        parts.append(tag("p", "Not confirmed: it is broken here.", class_="broken"))
    rows = tuple(
        (run.precision, _provider(run), "not recorded" if said is None else said.verdict.label, run.verdict.label)
        for run, said in each.pairs
    )
    if rows:
        header = ("precision", "provider", "recorded", "measured here")
        parts.append(table(TextTable(header, (False,) * 4, rows), "Verdicts, recorded and measured here"))
    parts += [tag("p", f"{said[0].upper()}{said[1:]}.") for said in [attack_of(each)] if said is not None]
    if each.collision is not None:
        parts.append(tag("p", "How the pair was made is what the bundle says; everything else here was measured now."))
        parts += _body(each.collision, pictures, None)
    return tag("section", *parts, class_="model")


def _title(collision: Collision) -> str:
    if collision.space is Space.INPUT:
        return words.shown(collision.source)
    return f"{words.shown(collision.source)}, in front of '{words.shown(collision.where)}'"


def _body(collision: Collision, pictures: Mapping[str, Shown], labels: Sequence[str] | None) -> list[Markup]:
    parts = [_verdict(collision)]
    parts += _pictures(pictures)
    parts += [tag("h3", "What it means"), *(tag("p", line) for line in _meaning(collision))]
    parts += [tag("h3", "What was built"), *(tag("p", line) for line in collision_text.facts(collision)[1:])]
    parts += [tag("h3", "What was measured"), *_measured(collision.runs), *_best(collision.runs, labels)]
    if collision.eight_bit is not None:
        found = collision.eight_bit
        moved = "; ".join(collision_text.moved(change) for change in found.outputs)
        parts.append(tag("p", f"Rounded to 8 bits a channel, run at {found.precision}: {moved}."))
    return parts + _trace(collision.runs)


def _verdict(collision: Collision) -> Markup:
    who = "The network" if collision.space is Space.INPUT else "This layer"
    if collision.decision is Decision.BROKEN:
        return verdict(Level.STOP, "A claim does not hold here: do not rely on this pair.", "Broken")
    if collision.decision is Decision.UNDECIDED:
        return verdict(Level.OPEN, "No claim fails, and nothing is shown: do not rely on this pair.", "Undecided")
    if collision.kind is Kind.NEAR_KERNEL:
        return verdict(Level.NOTE, f"{who} all but ignores this change. That is no collision.", "No collision")
    if all(run.verdict is RunVerdict.BITWISE for run in collision.runs):
        how = ": every output is the same to the last bit."
    elif collision.kind is Kind.FIBER:
        how = ": what was chosen to stay equal is, as far as each precision can tell."
    elif all(run.verdict in (RunVerdict.BITWISE, RunVerdict.ROUNDING) for run in collision.runs):
        how = ", but for rounding."
    else:
        how = "; how far rounding moves it is not bounded here."
    return verdict(Level.ATTENTION, f"{who} cannot tell these two apart{how}", "Collision")


def _meaning(collision: Collision) -> list[str]:
    if collision.decision is Decision.BROKEN:
        return ["What was measured contradicts what was to be shown; below is where."]
    if collision.decision is Decision.UNDECIDED:
        return ["Rounding drowns what was to be shown, or no control moves anything; below is where, and what to do."]
    if collision.kind is Kind.NEAR_KERNEL:
        return ["It runs along directions that the layers pass on very weakly; at a lower precision they count as unseen."]
    if collision.kind is Kind.QUANTIZER_CELL:
        return [
            "The quantizer rounds both to the same codes, so everything behind it is the same. That is a matter of its step, "
            "not of the weights: no kernel is claimed.",
            _CONTROL,
        ]
    if collision.kind is Kind.FIBER:
        return [
            "The second was found by a walk along the inputs that give the same values there, by gradients of the whole "
            "network. No layer need have a kernel for that.",
            _CONTROL,
        ]
    if collision.space is not Space.INPUT:
        return [
            "Two activations that this layer maps to one. No input need produce the second: it shows what the layer drops, "
            "not that an input of the network is affected.",
            _CONTROL,
        ]
    return [
        "What the layers that read the input pass on is the same for both, up to rounding; no later layer can tell them apart. "
        "The second was built from the weights of these layers alone.",
        _CONTROL,
        "If such inputs must be told apart, the first layers have to read more: at least as many outputs as inputs, or patches "
        "that overlap more. `onnxnull analyze` counts the dimensions that they ignore.",
    ]


def _pictures(pictures: Mapping[str, Shown]) -> list[Markup]:
    figures = []
    for name, title in _TITLES.items():
        if name not in pictures:
            continue
        found = pictures[name]
        lines = [*found.lines, *([f"shown at 1/{found.shrink} of its size"] if found.shrink > 1 else [])]
        said = [tag("span", words.shown(line, 60), tag("br")) for line in lines]
        spoken = f"{title}: {', '.join(lines)}" if lines else title
        figures.append(
            tag(
                "figure",
                picture(found.png, alt=spoken, class_="pixels"),
                tag("figcaption", tag("strong", title), tag("br"), *said),
            )
        )
    return [tag("div", *figures, class_="pictures")] if figures else []


def _measured(runs: Sequence[Run]) -> list[Markup]:
    """A table of what the layers computed, and one of what became of the outputs."""
    layers = [
        (
            _name(run),
            words.shown(check.node),
            collision_text.claim_words(check.kernel),
            collision_text.claim_words(check.runtime),
        )
        for run in runs
        for check in run.layers
    ]
    outputs = [
        (
            _name(run),
            words.shown(change.name),
            _moved(change),
            "-" if change.relative is None else f"{change.relative:.2g}",
            f"{control.max_abs:.3g}",
            _kept(change),
            _kept(control),
        )
        for run in runs
        for change, control in zip(run.outputs, run.control, strict=True)
    ]
    judged = [
        (
            _name(run),
            words.shown(each.name),
            "-" if each.enters is None else words.shown(each.enters),
            "; ".join(
                ["0, to the last bit" if each.bitwise else f"{each.moved.max_abs:.3g}", *collision_text.no_numbers(each)]
            ),
            _share(each.noise_ratio),
            _share(each.scale_ratio),
            _share(each.control_noise_ratio),
            _share(each.control_scale_ratio),
            "-" if each.margin is None else f"{each.margin:.3g}",
            "-" if each.ties is None else f"{each.ties:,}",
        )
        for run in runs
        for each in run.judged
    ]
    parts = [
        tag(
            "p",
            ". ".join([f"{_name(run)}: {run.verdict.label}, {collision_text.meaning(run)}", *map(words.shown, run.notes)])
            + ".",
        )
        for run in runs
    ]
    header = ("run", "output", "max |Δ|", "relative", "control", "kept", "control kept")
    numeric = (False, False, True, True, True, False, False)
    parts.append(_first(TextTable(header, numeric, tuple(outputs)), "Outputs: how far they moved from those of the original"))
    of_both = ("of its noise", "of its scale", "control: noise", "control: scale")
    titles = ("run", "tensor", "enters", "max |Δ|", *of_both, "least margin", "ties")
    caption = "The yardstick: noise is how far rounding moves it (at most 16), scale how far other inputs do"
    parts.append(_first(TextTable(titles, (False, False, False, *(True,) * 7), tuple(judged)), caption))
    columns = ("run", "layer", "kernel claim", "runtime claim")
    caption = "Layers that read it: the difference that reaches them, and what they computed of it"
    parts.append(_first(TextTable(columns, (False,) * 4, tuple(layers)), caption))
    return parts


def _best(runs: Sequence[Run], labels: Sequence[str] | None) -> list[Markup]:
    """The best classes of the three inputs at the last precision."""
    rows = [
        (words.shown(change.name), *line.strip().split(maxsplit=1))
        for run in runs[-1:]
        for change in run.outputs
        for line in collision_text.predictions(run, change.name, labels)
    ]
    if not rows:
        return []
    caption = f"Best classes and their scores, {_name(runs[-1])}"
    return [_first(TextTable(("output", "input", "best classes"), (False,) * 3, tuple(rows)), caption)]


def _first(content: TextTable, caption: str) -> Markup:
    """The table, or its first rows where it is long; then the caption says so."""
    count = len(content.rows)
    if count > _MOST_ROWS:
        content = replace(content, rows=content.rows[:_MOST_ROWS])
        caption += f"; the first {_MOST_ROWS} of {count:,}, --format json lists all"
    return table(content, caption)


def _trace(runs: Sequence[Run]) -> list[Markup]:
    traced = [run for run in runs if run.trace]
    if not traced:
        return []
    names = list(dict.fromkeys(step.tensor for run in traced for step in run.trace))
    place = {name: index for index, name in enumerate(names)}
    series, key = [], []
    for number, run in enumerate(traced[:3], start=1):
        kind = f"line line{number}"
        series.append((kind, [(place[step.tensor], step.max_abs) for step in run.trace]))
        series.append((f"{kind} thin", [(place[step.tensor], step.control) for step in run.trace]))
        key += [(kind, _name(run)), (f"{kind} thin", f"{_name(run)}, control")]
    told = f"max |Δ| of each tensor on the way, from {words.shown(names[0], 40)} to {words.shown(names[-1], 40)}."
    shown = [words.shown(name) for name in names]
    drawn = tag("figure", charts.key(*key), charts.trace(series, shown), tag("figcaption", told))
    return [tag("h3", "How the difference grows"), drawn]


def _moved(change: Change) -> str:
    return "0, to the last bit" if change.bitwise else f"{change.max_abs:.3g}"


def _share(ratio: float | None) -> str:
    return "-" if ratio is None else f"{ratio:.2g}"


def _kept(change: Change) -> str:
    return collision_text.kept(change).strip(" ()") or "-"


def _name(run: Run) -> str:
    return f"{run.precision} on {_provider(run)}"


def _provider(run: Run) -> str:
    return str(run.session.get("provider")).removesuffix("ExecutionProvider")
