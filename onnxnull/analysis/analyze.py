"""`analyze(path)`: every linear weight of a model, its ranks and kernels, and how the network reads its inputs."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onnxnull.analysis.frontier_report import LATE, Use, front_kernel, frontier_report, uses_of
from onnxnull.analysis.results import (
    FrontierReport,
    FullSummary,
    ModelInfo,
    ModelReport,
    PaperSummary,
    Unsupported,
    WeightReport,
)
from onnxnull.analysis.weight_report import analyze_weight, unfinished
from onnxnull.errors import Code, errors_of
from onnxnull.graph.limits import Limits
from onnxnull.graph.model import open_model
from onnxnull.kernel.bounds import Bounds
from onnxnull.kernel.rank import ExactPolicy, Notion, RankProfile
from onnxnull.machine import one_blas_thread, workers_for
from onnxnull.workers import Unfinished, run_tasks

if TYPE_CHECKING:
    from onnxnull.analysis.weights import Weight
    from onnxnull.graph.model import Model
    from onnxnull.inputs import Preprocessing

Progress = Callable[[int, int, str], None]
"""Called with (weights done, weights in all, name of the next one)."""

_FRONT_WORK = 2e9
"""Multiply-adds that bounding one input nullity may spend at the input frontier, where collisions are made."""


def analyze(
    path: str | os.PathLike[str],
    *,
    input_shapes: Mapping[str, Sequence[int]] | None = None,
    exact: ExactPolicy = ExactPolicy.CHEAP,
    data: tuple[Path, Preprocessing] | None = None,
    spectra: bool = False,
    jobs: int | None = None,
    time_limit: float | None = None,
    limits: Limits | None = None,
    progress: Progress | None = None,
) -> ModelReport:
    """Analyse every linear weight of the ONNX file at `path`. The model is not executed.

    Args:
        path: the .onnx file.
        input_shapes: graph input → dimensions, for inputs whose shape the file leaves open.
        exact: for which weights to compute the rank over ℚ.
        data: a folder of real inputs and how to read images: what share of their energy can the network not see?
        spectra: whether to compute all singular values of every weight, for pictures (`ranks.sigma`); None for the weights for
            which there was no time left.
        jobs: how many processes work side by side, which end with the time limit whatever they do; 0 for as many as this
            process may use. None: everything in this process. The report is the same, to the bit.
        time_limit: in seconds; what was not finished then is listed in `unsupported`. Without `jobs` (or without `fork`, which
            only Linux has) it is looked at between the steps of the computation.
        limits: what the file may ask of this machine.
        progress: called after each weight, with the name of what comes next.

    Returns:
        The report; weights that were not analysed are in `unsupported`.

    Raises:
        OnnxnullError: the file cannot be opened or breaks the rules of ONNX, or a sample does not fit an input.
    """
    deadline = None if time_limit is None else time.monotonic() + time_limit
    model = open_model(path, input_shapes=input_shapes, limits=limits)
    with errors_of(path):
        return analyze_model(model, exact=exact, data=data, spectra=spectra, jobs=jobs, deadline=deadline, progress=progress)


@one_blas_thread()
def analyze_model(
    model: Model,
    *,
    exact: ExactPolicy = ExactPolicy.CHEAP,
    data: tuple[Path, Preprocessing] | None = None,
    spectra: bool = False,
    jobs: int | None = None,
    deadline: float | None = None,
    progress: Progress | None = None,
) -> ModelReport:
    """As `analyze`, of a model that is open, until `deadline`, a time of `time.monotonic`. Its errors name no file."""
    from onnxnull import frontier as frontiers
    from onnxnull.analysis.nonfinite import ConstantFindings, constant_findings
    from onnxnull.analysis.tables import find_tables, report_table, unranked_table
    from onnxnull.analysis.weights import find_weights
    from onnxnull.inputs import load_folder

    samples = [] if data is None else load_folder(data[0], model.inputs, data[1])
    flow = model.flow
    found, unsupported = find_weights(flow)
    fronts = frontiers.find(flow)
    tables = find_tables(flow, {u.constant.root for weight in found for _, u in weight.uses if u.index and u.constant.root})
    work = {layer.node: _FRONT_WORK for front in fronts for layer in front.layers}
    tasks: list[Callable[[], Any]] = [
        *(partial(analyze_weight, weight, exact, spectra, work, deadline) for weight in found),
        partial(constant_findings, flow),
        *(partial(report_table, table, deadline) for table in tables),
    ]
    processes = workers_for(max(map(_memory, found), default=0.0)) if jobs == 0 else jobs
    results = iter(
        run_tasks(
            tasks,
            jobs=processes,
            deadline=deadline,
            costs=[*map(_work, found), *[_FRONT_WORK] * (len(tasks) - len(found))],
            progress=partial(_told, progress, [weight.name for weight in found], set()),
        )
    )
    weights: list[WeightReport] = []
    analysed: set[Use] = set()
    for weight, result in zip(found, results, strict=False):
        report = unfinished(weight, result) if isinstance(result, Unfinished) else result.value
        if isinstance(report, Unsupported):
            unsupported.append(report)
        else:
            weights.append(report)
            analysed.update((node.name, use.signature) for node, use in weight.uses)
    result = next(results)
    constants: ConstantFindings = ConstantFindings.unknown() if isinstance(result, Unfinished) else result.value
    names = {(node.name, use.signature): weight.name for weight in found for node, use in weight.uses}
    found_tables = tuple(
        unranked_table(table, begun=result.begun) if isinstance(result, Unfinished) else result.value
        for table, result in zip(tables, results, strict=True)
    )
    # a weight that could not be analysed has no kernel to join
    bounded = [front for front in fronts if front.guaranteed and analysed.issuperset(uses_of(front))]
    kernels = run_tasks([partial(front_kernel, one, samples, deadline) for one in bounded], jobs=processes, deadline=deadline)
    by_input = {front.input.name: kernel for front, kernel in zip(bounded, kernels, strict=True)}
    reports = [frontier_report(front, names, by_input.get(front.input.name)) for front in fronts]
    unsupported += [Unsupported(report.input, "input", Code.TIME, LATE) for report in reports if report.reason == LATE]
    return ModelReport(
        model=ModelInfo(
            model.file, model.sha256, model.producer, model.ir_version, model.opsets, model.inputs, model.overridable
        ),
        paper=_paper_summary(weights),
        full=FullSummary(
            weights=len(weights),
            rank_deficient=sum(_nullity(w.ranks, Notion.FLOAT64) > 0 for w in weights),
            nullity=sum(_nullity(w.ranks, Notion.FLOAT64) for w in weights),
            input_nullity=_of_all_inputs(reports),
        ),
        weights=tuple(weights),
        frontier=tuple(reports),
        unsupported=(*unsupported, *constants.undecided),
        tables=found_tables,
        nonfinite=constants.nonfinite,
        unusual=constants.unusual,
        claims=constants.claims,
        outputs=constants.outputs,
        unread_nodes=constants.unread,
    )


def _told(progress: Progress | None, names: Sequence[str], done: set[int], index: int) -> None:
    """Say that one more weight is done, and which is the first that is not."""
    if index < len(names) and progress is not None:
        done.add(index)
        upcoming = (name for other, name in enumerate(names) if other not in done)
        progress(len(done), len(names), next(upcoming, "the input frontier"))


def _work(weight: Weight) -> float:
    """Multiply-adds of a Gram product of the weight, in whole."""
    g, q, p = weight.use.shape
    return float(g) * q * p * min(q, p)


def _memory(weight: Weight) -> float:
    """Bytes that analysing the weight may take: in two types, a few Gram matrices, and what a process has anyway."""
    _, q, p = weight.use.shape
    return 16.0 * math.prod(weight.use.shape) + 40.0 * min(q, p) ** 2 + 3e8


def _of_all_inputs(reports: Sequence[FrontierReport]) -> Bounds | None:
    """Bounds for all inputs together: the sum, where no layer reads two of them; else the joint kernel was not computed.

    None where a quantizer reads an input first: its whole steps are no continuous kernel.
    """
    known = [report.input_nullity for report in reports if report.input_nullity is not None and report.quantizer is None]
    nodes = [node for report in reports for node in report.nodes]
    if not reports or len(known) < len(reports) or len(set(nodes)) < len(nodes):
        return None
    return Bounds(sum(b.lower for b in known), sum(b.upper for b in known), all(b.proved for b in known))


def _nullity(ranks: RankProfile, notion: Notion) -> int:
    found = ranks.nullity(notion)
    assert found is not None, "both numerical notions are always computed"
    return found


def _paper_summary(weights: Sequence[WeightReport]) -> PaperSummary:
    counted = [weight.paper_ranks for weight in weights if weight.in_paper]
    nullities = [_nullity(ranks, Notion.FLOAT32) for ranks in counted]
    n = len(counted)
    nu = sum(nullity > 0 for nullity in nullities)
    mu = sum(ranks.outputs < ranks.inputs for ranks in counted)
    return PaperSummary(
        weights=n,
        nu=nu,
        mu=mu,
        nu_percent=100 * nu // max(n, 1),
        mu_percent=100 * mu // max(n, 1),
        nullity=sum(nullities),
        first_nullity=nullities[0] if nullities else None,
    )
