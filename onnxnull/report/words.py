"""The sentences and the cells that the formats for people share."""

from __future__ import annotations

from onnxnull.analysis import ModelReport, PaperSummary, WeightReport
from onnxnull.kernel.rank import Certainty, Notion, RankProfile

NOTIONS = tuple(Notion)
_MARKS = {Certainty.NUMERICAL: "~", Certainty.AMBIGUOUS: "?"}


def headline(report: ModelReport) -> str:
    """One line: what the file is."""
    model = report.model
    opset = ", ".join(f"{domain or 'ai.onnx'} {version}" for domain, version in sorted(model.opset.items()) if domain == "")
    shapes = (
        f"{i.name} {'×'.join('?' if d is None else str(d) for d in i.shape) or 'scalar'}" if i.shape is not None else i.name
        for i in model.inputs
    )
    return " · ".join(filter(None, (model.file, model.producer, f"opset {opset}", "; ".join(shapes))))


def summary(report: ModelReport) -> list[str]:
    """What was found, in sentences."""
    if not report.weights:
        return ["Nothing linear was analysed in this model."]
    paper, full = report.paper, report.full
    lines = []
    if paper.weights:
        lines.append(
            f"{paper.nu:,} of {paper.weights:,} weights have a kernel ({paper.nu_percent} %); {paper.mu:,} have fewer outputs "
            f"than inputs ({paper.mu_percent} %). Σ nullity {paper.nullity:,}; of the first weight {paper.first_nullity:,}. "
            "[paper: Conv and fully connected weights, im2col, float32 cut-off]"
        )
    lines.append(
        f"{full.rank_deficient:,} of {full.weights:,} linear weights have a kernel; Σ nullity {full.nullity:,}. "
        "[full: every linear weight, groups block-diagonal, float64 cut-off]"
    )
    moving = [weight.name for weight in report.weights if depends_on_notion(weight.ranks)]
    if moving:
        lines.append(f"{_count(len(moving), 'weight')} whose rank depends on the cut-off: {_some(moving)}.")
    for text, names in (
        ("with dead outputs", [w.name for w in report.weights if w.dead_outputs]),
        ("with duplicate outputs", [w.name for w in report.weights if w.duplicate_outputs]),
        ("with inputs that nothing reads", [w.name for w in report.weights if w.unread_inputs]),
    ):
        if names:
            lines.append(f"{_count(len(names), 'weight')} {text}: {_some(names)}.")
    return lines


def incomplete(report: ModelReport) -> str | None:
    """The sentence that a report must not be taken for whole; None if it is."""
    if report.complete:
        return None
    return f"INCOMPLETE: {_count(len(report.unsupported), 'weight')} not analysed."


def table1_cells(paper: PaperSummary) -> tuple[str, ...]:
    """n, ν, ν %, μ, μ %, Σ nullity, first nullity."""
    if not paper.weights:
        return ("0", "0", "-", "0", "-", "0", "-")
    return (
        f"{paper.weights}",
        f"{paper.nu}",
        f"{paper.nu_percent}%",
        f"{paper.mu}",
        f"{paper.mu_percent}%",
        f"{paper.nullity:,}",
        f"{paper.first_nullity:,}",
    )


def depends_on_notion(ranks: RankProfile) -> bool:
    """Whether the float32, the float64 and (where computed) the exact rank differ."""
    return len({found.value for notion in NOTIONS if (found := ranks.rank(notion)) is not None}) > 1


def rank_cell(ranks: RankProfile) -> str:
    """The rank, marked `~` where it is not proved and `?` where it is ambiguous; float32|float64|ℚ where they differ."""
    found = [(rank.value, _MARKS.get(rank.certainty, "")) for n in NOTIONS if (rank := ranks.rank(n)) is not None]
    return _join([f"{value:,}{mark}" for value, mark in found], [value for value, _ in found])


def nullity_cell(ranks: RankProfile) -> str:
    """The nullity; float32|float64|ℚ where they differ."""
    found = [value for n in NOTIONS if (value := ranks.nullity(n)) is not None]
    return _join([f"{value:,}" for value in found], found)


def notes(weight: WeightReport) -> str:
    """What is remarkable about a weight."""
    parts = []
    if weight.stacked is not None:
        parts.append(f"{weight.nodes[0].groups} groups" if weight.nodes[0].groups > 1 else "batched")
        parts.append(f"stacked nullity {nullity_cell(weight.stacked)}")
    for text, count in (
        ("dead", weight.dead_outputs),
        ("duplicate", weight.duplicate_outputs),
        ("unread", weight.unread_inputs),
    ):
        if count:
            parts.append(f"{count} {text}")
    if len(weight.nodes) > 1:
        parts.append(f"{len(weight.nodes)} nodes")
    return ", ".join(parts)


def legend(reports: list[ModelReport]) -> list[str]:
    """Explanations of the marks that occur."""
    profiles = [weight.ranks for report in reports for weight in report.weights]
    certainties = {rank.certainty for ranks in profiles for n in NOTIONS if (rank := ranks.rank(n)) is not None}
    lines = [f"{mark} {certainty.explanation}" for certainty, mark in _MARKS.items() if certainty in certainties]
    if any(depends_on_notion(ranks) for ranks in profiles):
        lines.append("a|b|c: at the float32 cut-off, at the float64 cut-off, exact over the rationals (where computed)")
    return lines


def _join(texts: list[str], values: list[int]) -> str:
    if len(set(values)) == 1:
        return max(texts, key=len)  # the weakest certainty's mark
    return "|".join(texts)


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _some(names: list[str], most: int = 4) -> str:
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"
