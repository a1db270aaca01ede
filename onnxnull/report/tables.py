"""The tables that text and Markdown show: headers, alignment and cells."""

from __future__ import annotations

from dataclasses import dataclass

from onnxnull.analysis import ModelReport
from onnxnull.report import words


@dataclass(frozen=True, slots=True)
class Table:
    """Cells of text. `numeric` says for each column whether it is aligned to the right."""

    header: tuple[str, ...]
    numeric: tuple[bool, ...]
    rows: tuple[tuple[str, ...], ...]


def table1(reports: tuple[ModelReport, ...]) -> Table:
    """Table 1 of the paper, one row a model; a star marks a model that was not analysed completely."""
    rows = ((r.model.file + ("" if r.complete else " *"), *words.table1_cells(r.paper)) for r in reports)
    header = ("Model", "n", "ν(θ)", "ν/n", "μ(θ)", "μ/n", "Σ nullity", "first nullity")
    return Table(header, (False, *(True,) * 7), tuple(rows))


def weights(report: ModelReport) -> Table:
    """One row per weight."""
    rows = tuple(
        (
            weight.name,
            weight.op,
            f"{weight.inputs:,}",
            f"{weight.outputs:,}",
            words.rank_cell(weight.ranks),
            words.nullity_cell(weight.ranks),
            f"{weight.ranks.sigma_max:.3g}",
            f"{weight.ranks.sigma_min:.3g}",
            words.notes(weight),
        )
        for weight in report.weights
    )
    header = ("weight", "op", "inputs", "outputs", "rank", "nullity", "σ max", "σ min", "notes")
    return Table(header, (False, False, *(True,) * 6, False), rows)
