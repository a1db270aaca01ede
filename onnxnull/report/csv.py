"""CSV (RFC 4180): one row per weight; for several models, Table 1 of the paper with one row per model.

What was not analysed has a row too, with `error` in it. Empty cells were not computed. Characters that do not print are
escaped (`\\n`, `\\x1b`), so that a row is a line.
"""

from __future__ import annotations

import csv
import io

from onnxnull.analysis.results import ModelReport, Unsupported, WeightReport
from onnxnull.documents.base import number
from onnxnull.kernel.rank import Notion
from onnxnull.report.batch import Batch
from onnxnull.report.words import printable

TABLE1 = ("model", "weights", "nu", "nu_percent", "mu", "mu_percent", "nullity", "first_nullity", "complete", "error")
WEIGHTS = (
    *("file", "name", "op", "dtype", "inputs", "outputs", "groups"),
    *(f"{what}_{notion.value}" for notion in Notion for what in ("rank", "certainty", "nullity")),
    *("stacked_inputs", "stacked_outputs", "stacked_rank", "stacked_nullity", "sigma_max", "sigma_min"),
    *("dead_outputs", "unread_inputs", "duplicate_outputs", "in_paper", "nodes", "error"),
)


def render(batch: Batch) -> str:
    """The batch as CSV text."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    if len(batch.reports) + len(batch.failures) == 1:
        writer.writerow(WEIGHTS)
        for report in batch.reports:
            writer.writerows(_weight_row(report.model.file, weight) for weight in report.weights)
            writer.writerows(_unsupported_row(report.model.file, what) for what in report.unsupported)
        writer.writerows([printable(f.file), *[None] * (len(WEIGHTS) - 2), f.error.code.code] for f in batch.failures)
    else:
        writer.writerow(TABLE1)
        writer.writerows(_table1_row(report) for report in batch.reports)
        writer.writerows([printable(f.file), *[None] * (len(TABLE1) - 3), "false", f.error.code.code] for f in batch.failures)
    return text.getvalue()


def _table1_row(report: ModelReport) -> list[object]:
    p = report.paper
    errors = ";".join(dict.fromkeys(what.code.code for what in report.unsupported))
    return [
        *(printable(report.model.file), p.weights, p.nu, p.nu_percent, p.mu, p.mu_percent, p.nullity, p.first_nullity),
        *(str(report.complete).lower(), errors),
    ]


def _weight_row(file: str, weight: WeightReport) -> list[object]:
    ranks: list[object] = []
    for notion in Notion:
        rank = weight.ranks.rank(notion)
        ranks += [None] * 3 if rank is None else [rank.value, rank.certainty.value, weight.ranks.nullity(notion)]
    s = weight.stacked
    stacked = [None] * 4 if s is None else [s.inputs, s.outputs, s.float32.value, s.nullity(Notion.FLOAT32)]
    groups = max(node.groups for node in weight.nodes)
    return [
        *(printable(file), printable(weight.name), printable(weight.op), weight.dtype, weight.inputs, weight.outputs, groups),
        *ranks,
        *stacked,
        *(number(weight.ranks.sigma_max), number(weight.ranks.sigma_min)),
        *(weight.dead_outputs, weight.unread_inputs, weight.duplicate_outputs, str(weight.in_paper).lower()),
        *(";".join(printable(node.name) for node in weight.nodes), None),
    ]


def _unsupported_row(file: str, what: Unsupported) -> list[object]:
    empty = [None] * (len(WEIGHTS) - 5)
    return [
        printable(file),
        None,
        printable(what.op),
        *empty,
        printable(what.node),
        f"{what.code.code}: {printable(what.reason)}",
    ]
