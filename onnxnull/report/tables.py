"""The tables that text and Markdown show: headers, alignment, cells, and how they fit a narrow terminal."""

from __future__ import annotations

from dataclasses import dataclass, replace

from onnxnull.results import ModelReport
from onnxnull.report import words
from onnxnull.report.batch import Batch

_GAP = 2
"""Spaces between two columns."""


@dataclass(frozen=True, slots=True)
class Table:
    """Cells of text; the first column holds names.

    Attributes:
        numeric: for each column, whether it is aligned to the right.
        optional: headers of the columns that a narrow terminal may do without.
    """

    header: tuple[str, ...]
    numeric: tuple[bool, ...]
    rows: tuple[tuple[str, ...], ...]
    optional: frozenset[str] = frozenset()


def table1(batch: Batch) -> Table:
    """Table 1 of the paper, one row a model; a star marks a model that was not analysed completely."""
    header = ("Model", "n", "ν(θ)", "ν/n", "μ(θ)", "μ/n", "Σ nullity", "first nullity")
    rows = [(words.shown(r.model.file) + ("" if r.complete else " *"), *words.table1_cells(r.paper)) for r in batch.reports]
    rows += [(f"{words.shown(failure.file)} *", *("-",) * 7) for failure in batch.failures]
    return Table(header, (False, *(True,) * 7), tuple(rows))


def weights(report: ModelReport) -> Table:
    """One row per weight."""
    rows = tuple(
        (
            words.shown(weight.name),
            words.shown(weight.op),
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
    return Table(header, (False, False, *(True,) * 6, False), rows, optional=frozenset({"σ max", "σ min"}))


def fitted(table: Table, width: int, shortest: int = 24) -> tuple[Table, tuple[str, ...]]:
    """The table for a terminal of `width` columns, and the headers left out.

    First names lose their middle, down to `shortest` characters; then the optional columns go. The last column may fold.
    """
    table = _shorten_names(table, width, shortest)
    if _excess(table, width) <= 0 or not table.optional:
        return table, ()
    kept = [i for i, header in enumerate(table.header) if header not in table.optional]
    narrow = replace(
        table,
        header=tuple(table.header[i] for i in kept),
        numeric=tuple(table.numeric[i] for i in kept),
        rows=tuple(tuple(row[i] for i in kept) for row in table.rows),
    )
    return narrow, tuple(header for header in table.header if header in table.optional)


def _shorten_names(table: Table, width: int, shortest: int) -> Table:
    longest = max((len(row[0]) for row in table.rows), default=0)
    limit = max(shortest, longest - max(0, _excess(table, width)))
    return replace(table, rows=tuple((words.shortened(row[0], limit), *row[1:]) for row in table.rows))


def _excess(table: Table, width: int) -> int:
    """How many columns of the terminal the table is too wide."""
    from rich.cells import cell_len

    columns = zip(table.header, *table.rows, strict=True)
    return sum(max(map(cell_len, column)) + _GAP for column in columns) - _GAP - width
