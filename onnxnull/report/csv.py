"""CSV (RFC 4180): one row per weight; for several models, Table 1 of the paper with one row per model."""

from __future__ import annotations

import csv
import io

from onnxnull.analysis import ModelReport, WeightReport
from onnxnull.kernel.rank import Notion
from onnxnull.report.batch import Batch
from onnxnull.report.json import number

TABLE1 = ("model", "weights", "nu", "nu_percent", "mu", "mu_percent", "nullity", "first_nullity", "complete")
WEIGHTS = (
    *("file", "name", "op", "dtype", "inputs", "outputs", "groups"),
    *(f"{what}_{notion.value}" for notion in Notion for what in ("rank", "certainty", "nullity")),
    *("stacked_inputs", "stacked_outputs", "stacked_rank", "stacked_nullity", "sigma_max", "sigma_min"),
    *("dead_outputs", "unread_inputs", "duplicate_outputs", "in_paper", "nodes"),
)


def render(batch: Batch) -> str:
    """The batch as CSV text. Empty cells were not computed."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    if len(batch.reports) + len(batch.failures) > 1:
        writer.writerow(TABLE1)
        writer.writerows(_table1_row(report) for report in batch.reports)
    else:
        writer.writerow(WEIGHTS)
        writer.writerows(_weight_row(report.model.file, weight) for report in batch.reports for weight in report.weights)
    return text.getvalue()


def _table1_row(report: ModelReport) -> list[object]:
    p = report.paper
    complete = str(report.complete).lower()
    return [report.model.file, p.weights, p.nu, p.nu_percent, p.mu, p.mu_percent, p.nullity, p.first_nullity, complete]


def _weight_row(file: str, weight: WeightReport) -> list[object]:
    ranks: list[object] = []
    for notion in Notion:
        rank = weight.ranks.rank(notion)
        ranks += [None] * 3 if rank is None else [rank.value, rank.certainty.value, weight.ranks.nullity(notion)]
    s = weight.stacked
    stacked = [None] * 4 if s is None else [s.inputs, s.outputs, s.float32.value, s.nullity(Notion.FLOAT32)]
    return [
        *(file, weight.name, weight.op, weight.dtype, weight.inputs, weight.outputs, weight.nodes[0].groups),
        *ranks,
        *stacked,
        *(number(weight.ranks.sigma_max), number(weight.ranks.sigma_min)),
        *(weight.dead_outputs, weight.unread_inputs, weight.duplicate_outputs, str(weight.in_paper).lower()),
        ";".join(node.name for node in weight.nodes),
    ]
