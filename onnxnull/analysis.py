"""`analyze(path)`: every linear weight of a model, its ranks and kernels, and how the network reads its inputs."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from onnxnull.errors import Code, OnnxnullError, one_line
from onnxnull.graph.limits import Limits
from onnxnull.graph.model import dtype_name, open_model
from onnxnull.kernel.rank import ExactPolicy, Notion, RankProfile, rank, rank_profile
from onnxnull.kernel.structure import dead_outputs, duplicate_outputs, nearly_dead_outputs, unread_inputs
from onnxnull.results import (
    Bounds,
    FrontierReport,
    FullSummary,
    KernelShare,
    ModelInfo,
    ModelReport,
    OperatorReport,
    PaperSummary,
    Quantization,
    QuantizerReport,
    Scales,
    Unsupported,
    WeightNode,
    WeightReport,
)

if TYPE_CHECKING:
    import numpy as np

    from onnxnull.frontier import Frontier, KernelProjector
    from onnxnull.graph.view import NodeView
    from onnxnull.inputs import Preprocessing, Sample
    from onnxnull.operators import LinearUse
    from onnxnull.weights import Weight

Progress = Callable[[int, int, str], None]
"""Called with (weights done, weights in all, name of the next one)."""

_Key = tuple[str, tuple[object, ...]]
"""A node's name and the signature of how it uses a weight: names of weights may repeat."""
_FRONT_WORK, _INNER_WORK = 2e9, 5e7
"""Multiply-adds that bounding one input nullity may spend: at the input frontier, where collisions are made, and elsewhere."""


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
    from onnxnull import frontier as frontiers
    from onnxnull.graph.flow import Flow
    from onnxnull.inputs import load_folder
    from onnxnull.tables import report_tables
    from onnxnull.weights import find_weights

    deadline = None if time_limit is None else time.monotonic() + time_limit
    model = open_model(path, input_shapes=input_shapes, limits=limits)
    try:
        samples = [] if data is None else load_folder(data[0], model.inputs, data[1])
        flow = Flow(model)
        found, unsupported = find_weights(flow)
        fronts = frontiers.find(flow)
    except OnnxnullError as error:
        error.file = os.fspath(path)
        raise
    work = {layer.node: _FRONT_WORK for front in fronts for layer in front.layers}

    def one(weight: Weight) -> WeightReport | Unsupported:
        return _analyze_weight(weight, exact, spectra, work, deadline)

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
    names = {(node.name, use.signature): weight.name for weight in found for node, use in weight.uses}
    reports = tuple(_frontier_report(front, analysed, names, samples, deadline) for front in fronts)
    return ModelReport(
        model=ModelInfo(model.file, model.sha256, model.producer, model.ir_version, model.opsets, model.inputs),
        paper=_paper_summary(weights),
        full=FullSummary(
            weights=len(weights),
            rank_deficient=sum(_nullity(w.ranks, Notion.FLOAT64) > 0 for w in weights),
            nullity=sum(_nullity(w.ranks, Notion.FLOAT64) for w in weights),
            input_nullity=_of_all_inputs(reports),
        ),
        weights=tuple(weights),
        frontier=reports,
        unsupported=tuple(unsupported),
        tables=report_tables(flow, deadline),
    )


def _analyze_weight(
    weight: Weight, exact: ExactPolicy, spectra: bool, work: Mapping[str, float], deadline: float | None
) -> WeightReport | Unsupported:
    import numpy as np

    from onnxnull.graph.constants import EvaluationError
    from onnxnull.graph.quantization import quantized_parts
    from onnxnull.weights import op_name

    node, use = weight.node, weight.use

    def refuse(code: Code, what: str) -> Unsupported:
        return Unsupported(node.name, op_name(node), code, f"weight {weight.name!r} {what}")

    if deadline is not None and time.monotonic() > deadline:
        return refuse(Code.TIME, "was not reached within the time limit")
    try:
        blocks = weight.blocks()
    except EvaluationError as error:
        return refuse(Code.CONSTANT, f"was not evaluated: {error}")
    if not _is_real(blocks):
        return refuse(Code.OPERATOR, f"has type {blocks.dtype}")
    if not np.isfinite(use.scale):
        return refuse(Code.NONFINITE, f"is multiplied by alpha = {use.scale}; {Code.NONFINITE.remedy}")
    if not np.isfinite(blocks).all():
        return refuse(Code.NONFINITE, f"holds {np.count_nonzero(~np.isfinite(blocks))} NaN or Inf; {Code.NONFINITE.remedy}")
    quantization = None
    try:
        unscaled = rank_profile(blocks, exact=exact, spectrum=spectra, deadline=deadline)
        ranks = _scaled(unscaled, use.scale)
        parts = quantized_parts(use.constant)
        if parts:
            quantization = _quantization(use, ranks, exact, deadline)
        stacked = None
        if len(blocks) > 1:
            g, q, p = blocks.shape
            side_by_side = blocks.transpose(1, 0, 2).reshape(1, q, g * p)
            stacked = _scaled(rank_profile(side_by_side, exact=ExactPolicy.NEVER, deadline=deadline), use.scale)
        nodes = tuple(
            WeightNode(n.name, op_name(n), u.groups, _operator(n, u, ranks, work.get(n.name, _INNER_WORK)))
            for n, u in weight.uses
        )
    except TimeoutError:
        return refuse(Code.TIME, "was not finished within the time limit")
    except _DoesNotFitError as error:
        return refuse(Code.INVALID_MODEL, f"does not fit what it reads: {error}")
    except EvaluationError as error:
        return refuse(Code.CONSTANT, f"was not evaluated: {error}")
    return WeightReport(
        name=weight.name,
        op=op_name(node),
        dtype=dtype_name(parts[0].codes.dtype if parts else use.constant.dtype),
        ranks=ranks,
        stacked=stacked,
        dead_outputs=dead_outputs(blocks),
        unread_inputs=unread_inputs(blocks),
        duplicate_outputs=duplicate_outputs(blocks),
        nodes=nodes,
        in_paper=any(u.paper for _, u in weight.uses) and not weight.again,
        quantization=quantization,
        nearly_dead_outputs=nearly_dead_outputs(blocks, _cut_off(unscaled)),
    )


def _quantization(use: LinearUse, ranks: RankProfile, exact: ExactPolicy, deadline: float | None) -> Quantization:
    """How the weight is quantized, and what that does to its ranks. Raises `EvaluationError`, `TimeoutError`."""
    import numpy as np

    from onnxnull.graph.quantization import Quantized

    scales, zeros = use.of_quantized(Quantized.scales), use.of_quantized(Quantized.zero_points)
    assert scales is not None
    assert zeros is not None
    shifted = bool(np.any(zeros))
    without = executed = None
    if shifted and exact is not ExactPolicy.NEVER:
        codes = use.of_quantized(Quantized.codes_scaled)
        assert codes is not None
        found = rank(codes, Notion.EXACT, exact=exact, deadline=deadline)
        without = found.value if found.certainty.is_proved else None
    if not use.integer and not _survives_rounding(ranks, use):
        profile = _scaled(rank_profile(use.blocks(), exact=exact, deadline=deadline), use.scale)
        if any(_value(profile, notion) != _value(ranks, notion) for notion in Notion):
            executed = profile
    return Quantization(_sharing(scales), int(np.count_nonzero(scales == 0)), shifted, without, executed)


def _survives_rounding(ranks: RankProfile, use: LinearUse) -> bool:
    """Whether rounding its entries cannot lower the full rank of a weight in any notion (Weyl: σ moves by ‖E‖ at most)."""
    import ml_dtypes

    if ranks.float32.value < min(ranks.inputs, ranks.outputs):
        return False
    # ‖E‖ ≤ u·‖W‖_F ≤ u·√n·σ_max; doubled for the rounding to float32 before that to the type, and for the digits of σ
    n, unit = min(ranks.inputs, ranks.outputs), float(ml_dtypes.finfo(use.constant.dtype.numpy()).eps)  # type: ignore[no-untyped-call]
    moved = unit * math.sqrt(n) * ranks.sigma_max
    cutoff = max(ranks.inputs, ranks.outputs) * Notion.FLOAT32.eps * (ranks.sigma_max + moved)
    return ranks.sigma_min - moved > 1.01 * cutoff


def _sharing(scales: np.ndarray) -> Scales:
    """What shares one scale, of scales arranged as the matrix is, (g, q, p)."""
    if scales.size == 0 or (scales == scales.flat[0]).all():
        return Scales.TENSOR
    if (scales == scales[:, :1]).all():
        return Scales.OUTPUT
    return Scales.INPUT if (scales == scales[:, :, :1]).all() else Scales.BLOCK


def _value(ranks: RankProfile, notion: Notion) -> int | None:
    found = ranks.rank(notion)
    return None if found is None else found.value


class _DoesNotFitError(Exception):
    """A node's attributes, its weight and its input do not go together: the model breaks the rules of the operator."""


def _operator(node: NodeView, use: LinearUse, ranks: RankProfile, work: float) -> OperatorReport | None:
    """Bounds on the input nullity of a convolution, where the shape of one sample is known and the image is not too large.

    Raises `_DoesNotFitError`.
    """
    from onnxnull.kernel.batched import Batched
    from onnxnull.kernel.convolution import Convolution, TransposedConvolution
    from onnxnull.kernel.im2col import TooLargeError
    from onnxnull.kernel.image_nullity import image_nullities
    from onnxnull.kernel.primitives import stripped
    from onnxnull.operators.registry import shape_at
    from onnxnull.weights import op_name

    shape = shape_at(node, use.activation) if use.on_images and use.activation is not None else None
    if shape is None or None in shape[1:]:
        return None
    try:
        linear_map, _ = stripped(use.linear_map(use.matrix(), (1, *(d for d in shape[1:] if d is not None))))
    except TooLargeError:
        return None
    except (ValueError, LookupError, ArithmeticError) as error:
        raise _DoesNotFitError(f"{node.name!r} ({op_name(node)}): {one_line(error)}") from None
    sample = linear_map.sample if isinstance(linear_map, Batched) else None
    if not isinstance(sample, Convolution | TransposedConvolution):
        return None
    float64, exact = image_nullities(sample, ranks=ranks, work=work)
    return OperatorReport(
        input_shape=sample.input_shape,
        unread=exact.unread,
        float64=Bounds(float64.lower, float64.upper, float64.proved),
        exact=Bounds(exact.lower, exact.upper, exact.proved),
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
            found = frontiers.joint_nullity(front, Notion.EXACT if front.quantizer else Notion.FLOAT64)
            bounds = Bounds(found.lower, found.upper, found.proved)
            own = [sample for sample in samples if sample.input == front.input.name and front.quantizer is None]
            shares = _shares(frontiers.KernelProjector(front), own, deadline) if own else ()
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


def _shares(projector: KernelProjector, samples: Sequence[Sample], deadline: float | None) -> tuple[KernelShare, ...]:
    """The share of each sample; None where the time was up or the projection did not converge."""
    from onnxnull.kernel.project import NotConvergedError

    def share(sample: Sample) -> float | None:
        if deadline is not None and time.monotonic() > deadline:
            return None
        try:
            return projector.share(sample.array)
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


def _cut_off(ranks: RankProfile) -> float:
    """Of singular values, in float32."""
    return ranks.sigma_max * max(ranks.inputs, ranks.outputs) * Notion.FLOAT32.eps


def _is_real(blocks: np.ndarray) -> bool:
    """Floats of every width (NumPy's kind V: the ones of ml_dtypes) and integers; no strings, booleans, complex numbers."""
    return blocks.dtype.kind in "fiuV"


def _scaled(ranks: RankProfile, scale: float) -> RankProfile:
    """Ranks do not feel a factor; singular values do."""
    if abs(scale) in (0.0, 1.0):
        return ranks
    factor = abs(scale)
    sigma = None if ranks.sigma is None else tuple(factor * value for value in ranks.sigma)
    return replace(ranks, sigma_max=ranks.sigma_max * factor, sigma_min=ranks.sigma_min * factor, sigma=sigma)


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
