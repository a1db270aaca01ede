"""The sentences and the cells that the formats for people share."""

from __future__ import annotations

from onnxnull.analysis.results import (
    FrontierReport,
    LookupTable,
    ModelInfo,
    ModelReport,
    PaperSummary,
    Quantization,
    Unsupported,
    WeightReport,
)
from onnxnull.kernel.bounds import Bounds
from onnxnull.kernel.rank import Certainty, Notion, RankProfile
from onnxnull.report.batch import Failure

NOTIONS = tuple(Notion)
NAME = 120
"""Characters of a name that people are shown; the formats for programs hold it whole."""

_MARKS = {Certainty.NUMERICAL: "~", Certainty.AMBIGUOUS: "?"}


def shown(text: str, limit: int = NAME) -> str:
    """`text` from a file as people may see it: what does not print as an escape (`\\x1b`), the middle left out if long."""
    return shortened(printable(text), limit)


def printable(text: str) -> str:
    """`text` with an escape in place of each character that does not print: names come from outside."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def shortened(text: str, limit: int) -> str:
    """At most `limit` characters of `text`, its middle left out: names differ at both ends."""
    tail = (limit - 1) // 2
    return text if len(text) <= limit else f"{text[: limit - 1 - tail]}…{text[len(text) - tail :]}"


def headline(report: ModelReport) -> str:
    """One line: what the file is."""
    return described(report.model)


def described(model: ModelInfo) -> str:
    """One line: file, producer, opset, inputs."""
    opsets = (f"opset {shown(domain)} {version}".replace("  ", " ") for domain, version in sorted(model.opset.items()))
    shapes = []
    for i in model.inputs:
        dims = "" if i.shape is None else "×".join("?" if d is None else str(d) for d in i.shape) or "scalar"
        shapes.append(f"{shown(i.name)} {dims}".rstrip())
    parts = (shown(model.file), shown(model.producer), next(opsets, ""), some(shapes, "; "))
    return " · ".join(filter(None, parts))


def summary(report: ModelReport) -> list[str]:
    """What was found, in sentences."""
    if not report.weights:
        none = "This model holds no linear weight." if report.complete else "None of its linear weights was analysed."
        return [none, *tables(report)]
    paper, full = report.paper, report.full
    lines = [
        f"{full.rank_deficient:,} of {count(full.weights, 'linear weight')} {_have(full.rank_deficient)} a kernel; their "
        f"nullities sum to {full.nullity:,} (every linear weight, groups block-diagonal, float64 cut-off)."
    ]
    if paper.weights:
        lines.insert(
            0,
            f"{paper.nu:,} of {count(paper.weights, 'weight')} {_have(paper.nu)} a kernel ({paper.nu_percent} %); {paper.mu:,} "
            f"{_have(paper.mu)} fewer outputs than inputs ({paper.mu_percent} %). The nullities sum to {paper.nullity:,}; the "
            f"first weight's is {paper.first_nullity:,} (the paper's convention: Conv and fully connected weights as im2col "
            "matrices, groups stacked, float32 cut-off).",
        )
    for text, names in (
        ("a rank that depends on the cut-off", [w.name for w in report.weights if depends_on_notion(w.ranks)]),
        ("dead outputs", [w.name for w in report.weights if w.dead_outputs]),
        ("duplicate outputs", [w.name for w in report.weights if w.duplicate_outputs]),
        ("inputs that nothing reads", [w.name for w in report.weights if w.unread_inputs]),
    ):
        if names:
            lines.append(f"{count(len(names), 'weight')} with {text}: {some([shown(name) for name in names])}.")
    return lines + frontier(report) + tables(report)


def tables(report: ModelReport) -> list[str]:
    """The look-up tables, in a sentence."""
    if not report.tables:
        return []
    found = some([_table(table) for table in report.tables], "; ")
    return [f"{count(len(report.tables), 'look-up table')}, not counted as weights: {found}."]


def _table(table: LookupTable) -> str:
    sizes = f" {table.rows:,}×{table.columns:,}" if table.rows is not None and table.columns is not None else ""
    rank = f"row rank {rank_cell(table.ranks)}" if table.ranks is not None else f"no rank: {shown(table.reason or '', 300)}"
    return f"{shown(table.name)}{sizes} ({rank})"


def frontier(report: ModelReport) -> list[str]:
    """How the network reads its inputs, and what it cannot see of them: a sentence or two for each."""
    lines = [line for found in report.frontier for line in frontier_of(found, report)]
    caveat = report.model.caveat
    return lines if caveat is None else [*lines, f"{caveat[0].upper()}{shown(caveat[1:], 400)}."]


def frontier_of(found: FrontierReport, report: ModelReport) -> list[str]:
    """How the network reads one of its inputs; the first sentence is about the input, further ones about given data."""
    name = f"Input '{shown(found.input)}'"
    if not found.guaranteed:
        return [f"{name}: no collision is guaranteed, since {shown(found.reason or '', 300)}."]
    if not found.nodes:
        return [f"{name}: nothing reads its values{', only its shape' if found.sized else ''}."]
    through = f"{name} is read through {some([shown(node) for node in found.nodes])}"
    if found.quantizer is not None:
        through = f"{through}, behind its quantizer {shown(found.quantizer.node)}"
    bounds = found.input_nullity
    if bounds is None or found.inputs is None:
        return [f"{through}; what it cannot see is not known: {shown(found.reason or '', 300)}."]
    if bounds.upper == 0:
        patch = [w for w in report.weights if w.name in found.weights and _patch_nullity(w) > 0]
        contrast = f"patch nullity {_patch_nullity(patch[0]):,}, but injective" if len(patch) == 1 else "injective"
        steps = "" if found.quantizer is None else " in whole steps of the quantizer"
        return [f"{through}: {contrast}{steps} on {_sizes(found, report)}: no two of them collide there ({found.proof})."]
    what = "it ignores" if found.quantizer is None else "in whole steps of the quantizer, without saturation, it ignores"
    lines = [f"{through}: {what} {_interval(bounds, found.inputs)} of the input's {found.inputs:,} dimensions ({found.proof})."]
    shares = sorted(share.share for share in found.shares if share.share is not None)
    if len(shares) < len(found.shares):
        lines.append(f"For {count(len(found.shares) - len(shares), 'given input')} the share in that kernel was not found.")
    if shares:
        lines.append(
            f"Of the energy of {count(len(shares), 'given input')} it ignores {_percent(shares[len(shares) // 2])} (median; "
            f"{_percent(shares[0])} to {_percent(shares[-1])})."
        )
    return lines


def _sizes(found: FrontierReport, report: ModelReport) -> str:
    """ "227×227 images" where all layers of the frontier are convolutions of one size, else "its inputs"."""
    operators = [n.operator for w in report.weights for n in w.nodes if n.name in found.nodes]
    shapes = {None if o is None else o.input_shape[1:] for o in operators}
    shape = shapes.pop() if len(shapes) == 1 else None
    return f"{'×'.join(map(str, shape))} images" if shape is not None and len(shape) == 2 else "its inputs"


def _interval(bounds: Bounds, inputs: int) -> str:
    if bounds.lower == bounds.upper:
        return f"{bounds.lower:,} ({_percent(bounds.lower / inputs)})"
    return f"{bounds.lower:,} to {bounds.upper:,} ({_percent(bounds.lower / inputs)} to {_percent(bounds.upper / inputs)})"


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"


def _patch_nullity(weight: WeightReport) -> int:
    return weight.ranks.nullity(Notion.FLOAT64) or 0


def incomplete(report: ModelReport) -> str | None:
    """The sentence that a report must not be taken for whole; None if it is."""
    if report.complete:
        return None
    return f"INCOMPLETE: {count(len(report.unsupported), 'weight')} not analysed."


def unsupported(what: Unsupported) -> str:
    """One line: a weight that was not analysed, and why."""
    return f"{shown(what.node)} ({shown(what.op)}): [{what.code.code}] {shown(what.reason, 300)}"


def failure(what: Failure) -> str:
    """One line: a model that was not analysed at all, and why. As the error says it, but with the report's path."""
    return f"{shown(what.file)}: error[{what.error.code.code}]: {what.error.seen}; {what.error.remedy}"


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
    if len({value for value, _ in found}) == 1:
        weakest = max((mark for _, mark in found), key=("", *_MARKS.values()).index)
        return f"{found[0][0]:,}{weakest}"
    return "|".join(f"{value:,}{mark}" for value, mark in found)


def nullity_cell(ranks: RankProfile) -> str:
    """The nullity; float32|float64|ℚ where they differ."""
    found = [value for n in NOTIONS if (value := ranks.nullity(n)) is not None]
    return f"{found[0]:,}" if len(set(found)) == 1 else "|".join(f"{value:,}" for value in found)


def notes(weight: WeightReport) -> str:
    """What is remarkable about a weight."""
    parts = list(dict.fromkeys(_briefly(node.condition) for node in weight.nodes if node.condition))
    if weight.stacked is not None:
        groups = max(node.groups for node in weight.nodes)
        parts.append(f"{groups:,} groups" if groups > 1 else "batched")
        parts.append(f"stacked nullity {nullity_cell(weight.stacked)}")
    for text, number in (
        ("dead", weight.dead_outputs),
        ("duplicate", weight.duplicate_outputs),
        ("unread", weight.unread_inputs),
    ):
        if number:
            parts.append(f"{number:,} {text}")
    if len(weight.nodes) > 1:
        parts.append(f"{len(weight.nodes):,} nodes")
    if weight.quantization is not None:
        parts += _quantized(weight, weight.quantization)
    operators = {(n.operator.float64, n.operator.inputs) for n in weight.nodes if n.operator is not None}
    if len(operators) == 1:
        bounds, inputs = operators.pop()
        extent = f"{bounds.lower:,}" if bounds.lower == bounds.upper else f"{bounds.lower:,}..{bounds.upper:,}"
        parts.append("injective on images" if bounds.upper == 0 else f"input nullity {extent} of {inputs:,}")
    return ", ".join(parts)


def _briefly(condition: str) -> str:
    """A condition without its explanation, which the legend gives."""
    return " and ".join(part.partition(":")[0] for part in condition.split("; "))


def _quantized(weight: WeightReport, quantization: Quantization) -> list[str]:
    """How it is quantized, and what its scales, zero points and rounding do."""
    parts = [f"{weight.dtype} per {quantization.scales.value}"]
    if quantization.zero_scales:
        parts.append(f"{quantization.zero_scales:,} entries with scale 0")
    exact = weight.ranks.exact
    if quantization.rank_without is not None and exact is not None and quantization.rank_without != exact.value:
        parts.append(f"rank {quantization.rank_without:,} without zero points")
    if quantization.executed is not None:
        parts.append(f"rank {rank_cell(quantization.executed)} as the floats that run")
    return parts


def legend(report: ModelReport) -> list[str]:
    """Explanations of the columns, and of the marks and notes that occur."""
    weights = report.weights
    profiles = [weight.ranks for weight in weights]
    certainties = {rank.certainty for ranks in profiles for n in NOTIONS if (rank := ranks.rank(n)) is not None}

    def conditional(how: str) -> bool:
        return any(how in node.condition for weight in weights for node in weight.nodes)

    lines = {
        "nullity: inputs − rank, the dimension of what the weight cannot see (of one patch, where it is a convolution)": True,
        "a|b|c: at the float32 cut-off, at the float64 cut-off, exact over the rationals (where computed)": any(
            depends_on_notion(ranks) for ranks in profiles
        ),
        **{f"{mark} {certainty.explanation}": certainty in certainties for certainty, mark in _MARKS.items()},
        "σ min 0: at or below the float64 cut-off": any(ranks.sigma_min == 0 for ranks in profiles),
        "stacked: the paper's matrix of such a weight, the outputs of all blocks over the inputs of one": any(
            weight.stacked is not None for weight in weights
        ),
        "input nullity: dimension of what a convolution ignores of its whole input; a..b are bounds": any(
            n.operator is not None for weight in weights for n in weight.nodes
        ),
        "dead: outputs that are 0 for every input": any(weight.dead_outputs for weight in weights),
        "duplicate: outputs equal to an earlier one": any(weight.duplicate_outputs for weight in weights),
        "unread: inputs that no output reads": any(weight.unread_inputs for weight in weights),
        "chosen at run time: one of several that the network chooses among; its rank is its own": conditional("chosen"),
        "scaled at run time: times factors of its rows or columns; its ranks hold where no factor is 0": conditional("scaled"),
        "nodes: that use the same weight": any(len(weight.nodes) > 1 for weight in weights),
        "int8 per output (and the like): codes, what shares a scale; the ranks are those of scale·(code − zero point)": any(
            weight.quantization is not None for weight in weights
        ),
    }
    return [line for line, occurs in lines.items() if occurs]


STAR = "* not analysed, or not all of its weights were"
TABLE1_LEGEND = (
    "n: Conv and fully connected weights; ν(θ): those with a kernel; μ(θ): those with fewer outputs than inputs "
    "(the paper's convention: im2col matrices, groups stacked, float32 cut-off)"
)


def count(number: int, noun: str) -> str:
    """A number with its noun in the right form."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def some(items: list[str], separator: str = ", ", most: int = 4) -> str:
    """The first few of a list, and how many more there are."""
    shown_items = separator.join(items[:most])
    return shown_items if len(items) <= most else f"{shown_items} and {len(items) - most:,} more"


def _have(number: int) -> str:
    return "has" if number == 1 else "have"
