"""`analyze(path)`: every linear weight of a model, its ranks and kernels, and how the network reads its inputs."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from onnxnull.analysis.results import (
    FrontierReport,
    FullSummary,
    KernelShare,
    ModelInfo,
    ModelReport,
    PaperSummary,
    QuantizerReport,
    Unsupported,
    WeightReport,
)
from onnxnull.analysis.weight_report import analyze_weight
from onnxnull.errors import errors_of
from onnxnull.graph.limits import Limits
from onnxnull.graph.model import open_model
from onnxnull.kernel.bounds import Bounds
from onnxnull.kernel.rank import ExactPolicy, Notion, RankProfile

if TYPE_CHECKING:
    from onnxnull.analysis.weights import Weight
    from onnxnull.frontier import Frontier, JointKernel
    from onnxnull.graph.model import Model
    from onnxnull.inputs import Preprocessing, Sample

Progress = Callable[[int, int, str], None]
"""Called with (weights done, weights in all, name of the next one)."""

_Key = tuple[str, tuple[object, ...]]
"""A node's name and the signature of how it uses a weight: names of weights may repeat."""
_FRONT_WORK = 2e9
"""Multiply-adds that bounding one input nullity may spend at the input frontier, where collisions are made."""


def analyze(
    path: str | os.PathLike[str],
    *,
    input_shapes: Mapping[str, Sequence[int]] | None = None,
    exact: ExactPolicy = ExactPolicy.CHEAP,
    data: tuple[Path, Preprocessing] | None = None,
    spectra: bool = False,
    jobs: int = 1,
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
        jobs: how many weights to analyse at a time; each holds its matrix in memory.
        time_limit: in seconds; what was not finished then is listed in `unsupported`.
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


def analyze_model(
    model: Model,
    *,
    exact: ExactPolicy = ExactPolicy.CHEAP,
    data: tuple[Path, Preprocessing] | None = None,
    spectra: bool = False,
    jobs: int = 1,
    deadline: float | None = None,
    progress: Progress | None = None,
) -> ModelReport:
    """As `analyze`, of a model that is open, until `deadline`, a time of `time.monotonic`. Its errors name no file."""
    from onnxnull import frontier as frontiers
    from onnxnull.analysis.nonfinite import constant_findings
    from onnxnull.analysis.tables import report_tables
    from onnxnull.analysis.weights import find_weights
    from onnxnull.inputs import load_folder

    samples = [] if data is None else load_folder(data[0], model.inputs, data[1])
    flow = model.flow
    found, unsupported = find_weights(flow)
    fronts = frontiers.find(flow)
    work = {layer.node: _FRONT_WORK for front in fronts for layer in front.layers}

    def one(weight: Weight) -> WeightReport | Unsupported:
        return analyze_weight(weight, exact, spectra, work, deadline)

    weights: list[WeightReport] = []
    upcoming = [weight.name for weight in found] + ["the input frontier"]
    analysed: set[_Key] = set()
    for done, (weight, result) in enumerate(zip(found, _in_order(one, found, jobs), strict=True), start=1):
        if progress is not None:
            progress(done, len(found), upcoming[done])
        if isinstance(result, Unsupported):
            unsupported.append(result)
        else:
            weights.append(result)
            analysed.update((node.name, use.signature) for node, use in weight.uses)
    banks = {use.constant.root for weight in found for _, use in weight.uses if use.index and use.constant.root}
    names = {(node.name, use.signature): weight.name for weight in found for node, use in weight.uses}
    constants = constant_findings(flow)
    reports = tuple(_frontier_report(front, analysed, names, samples, deadline) for front in fronts)
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
        frontier=reports,
        unsupported=(*unsupported, *constants.undecided),
        tables=report_tables(flow, deadline, banks),
        nonfinite=constants.nonfinite,
        unusual=constants.unusual,
        claims=constants.claims,
        outputs=constants.outputs,
        unread_nodes=constants.unread,
    )


def _frontier_report(
    front: Frontier,
    analysed: set[_Key],
    names: Mapping[_Key, str],
    samples: Sequence[Sample],
    deadline: float | None,
) -> FrontierReport:
    from onnxnull import frontier as frontiers
    from onnxnull.graph.constants import EvaluationError
    from onnxnull.operators.steps import UnknownShapeError

    reason, bounds, rounds = front.obstacle, None, front.quantizer
    shares: tuple[KernelShare, ...] = ()
    keys = [(layer.node, layer.use.signature) for layer in front.layers]
    read = tuple(dict.fromkeys(names[key] for key in keys))
    if front.guaranteed and not analysed.issuperset(keys):
        reason = "a weight that reads it was not analysed"
    elif front.guaranteed:
        try:
            bounds = frontiers.joint_nullity(front, Notion.EXACT if front.quantizer else Notion.FLOAT64)
            own = [sample for sample in samples if sample.input == front.input.name and front.quantizer is None]
            shares = _shares(frontiers.JointKernel(front), own, deadline) if own else ()
        except (UnknownShapeError, EvaluationError) as error:
            reason = str(error)
    return FrontierReport(
        input=front.input.name,
        inputs=front.entries,
        nodes=tuple(dict.fromkeys(layer.node for layer in front.layers)),
        weights=read,
        guaranteed=front.guaranteed,
        reason=reason,
        input_nullity=bounds,
        shares=shares,
        quantizer=None
        if rounds is None
        else QuantizerReport(rounds.node, rounds.scale, rounds.zero_point, rounds.low, rounds.high),
        sized=front.sized,
    )


def _in_order(
    function: Callable[[Weight], WeightReport | Unsupported], items: Sequence[Weight], jobs: int
) -> Iterator[WeightReport | Unsupported]:
    """The results in the order of the items; with several jobs, side by side in threads (BLAS lets go of the interpreter)."""
    if jobs <= 1:
        yield from map(function, items)
        return
    with ThreadPoolExecutor(jobs) as pool:
        yield from pool.map(function, items)


def _shares(kernel: JointKernel, samples: Sequence[Sample], deadline: float | None) -> tuple[KernelShare, ...]:
    """The share of each sample; None where the time was up or the projection did not converge."""
    from onnxnull.kernel.project import NotConvergedError

    def share(sample: Sample) -> float | None:
        if deadline is not None and time.monotonic() > deadline:
            return None
        try:
            return kernel.share(sample.array)
        except NotConvergedError:
            return None

    return tuple(KernelShare(sample.file, share(sample)) for sample in samples)


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
