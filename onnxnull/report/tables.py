"""The tables that text and Markdown show: headers, alignment, cells, and how they fit a narrow terminal."""

from __future__ import annotations

from dataclasses import dataclass, replace

from onnxnull.analysis.results import ModelReport
from onnxnull.report import words
from onnxnull.report.batch import Batch

_GAP = 2
"""Spaces between two columns."""
_SHORT, _SHORTEST, _WORDS = 24, 16, 20
"""Characters to which names are shortened before the first and the last column is left out, and words are folded."""


@dataclass(frozen=True, slots=True)
class TextTable:
    """Cells of text; the first column holds names.

    Attributes:
        numeric: for each column, whether it is aligned to the right.
        optional: headers of the columns that a narrow terminal may do without, in groups, the first to go first.
    """

    header: tuple[str, ...]
    numeric: tuple[bool, ...]
    rows: tuple[tuple[str, ...], ...]
    optional: tuple[tuple[str, ...], ...] = ()


def table1(batch: Batch) -> TextTable:
    """Table 1 of the paper, one row a model; a star marks a model that was not analysed completely."""
    header = ("Model", "n", "ν(θ)", "ν/n", "μ(θ)", "μ/n", "Σ nullity", "first nullity")
    rows = [(words.shown(r.model.file) + ("" if r.complete else " *"), *words.table1_cells(r.paper)) for r in batch.reports]
    rows += [(f"{words.shown(failure.file)} *", *("-",) * 7) for failure in batch.failures]
    return TextTable(header, (False, *(True,) * 7), tuple(rows))


def weights(report: ModelReport) -> TextTable:
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
    return TextTable(header, (False, False, *(True,) * 6, False), rows, optional=(("σ max", "σ min"), ("notes",)))


def numbered(table: TextTable) -> TextTable:
    """The same with a first column that counts the rows, as pictures beside it do."""
    rows = tuple((f"{number}", *row) for number, row in enumerate(table.rows, start=1))
    return TextTable(("#", *table.header), (True, *table.numeric), rows)


def fitted(table: TextTable, width: int) -> tuple[TextTable, tuple[str, ...]]:
    """The table for a terminal of `width` columns, and the headers left out.

    First names lose their middle, then the optional columns go, one group after the other, until the rest fits; a last
    column of words may fold. Where nothing fits, the narrowest: the terminal will fold it, which is better than to cut numbers.
    """
    left_out: tuple[str, ...] = ()
    steps: list[tuple[int, tuple[str, ...]]] = [(_SHORT, ())]
    steps += [(length, group) for group in table.optional for length in (_SHORT, _SHORTEST)]
    for shortest, group in steps:
        left_out += tuple(header for header in group if header not in left_out)
        kept = [i for i, header in enumerate(table.header) if header not in left_out]
        rows = tuple(tuple(row[i] for i in kept) for row in table.rows)
        header, numeric = tuple(table.header[i] for i in kept), tuple(table.numeric[i] for i in kept)
        narrow = _shorten_names(TextTable(header, numeric, rows), width, shortest)
        if least_width(narrow) <= width:
            break
    return narrow, left_out


def least_width(table: TextTable) -> int:
    """Columns of a terminal that the table needs, a last column of words folded."""
    from rich.cells import cell_len

    widths = [max(map(cell_len, column)) for column in zip(table.header, *table.rows, strict=True)]
    if not table.numeric[-1]:
        widths[-1] = min(widths[-1], _WORDS)
    return sum(widths) + _GAP * (len(widths) - 1)


def _shorten_names(table: TextTable, width: int, shortest: int) -> TextTable:
    longest = max((len(row[0]) for row in table.rows), default=0)
    limit = max(shortest, longest - max(0, least_width(table) - width))
    return replace(table, rows=tuple((words.shortened(row[0], limit), *row[1:]) for row in table.rows))
