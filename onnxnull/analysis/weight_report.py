"""One linear weight: its ranks in three notions, what is dead or unread in it, and its convolutions on whole images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from onnxnull.analysis.results import OperatorReport, Quantization, Scales, Unsupported, WeightNode, WeightReport
from onnxnull.errors import Code, one_line
from onnxnull.graph.types import dtype_name
from onnxnull.kernel.rank import ExactPolicy, Notion, RankProfile, rank, rank_profile
from onnxnull.kernel.structure import dead_outputs, duplicate_outputs, nearly_dead_outputs, unread_inputs

if TYPE_CHECKING:
    import numpy as np

    from onnxnull.analysis.weights import Weight
    from onnxnull.graph.node import Node
    from onnxnull.operators import LinearUse
    from onnxnull.workers import Unfinished

INNER_WORK = 5e7
"""Multiply-adds that bounding one input nullity may spend, away from the input frontier."""


def analyze_weight(
    weight: Weight, exact: ExactPolicy, spectra: bool, work: Mapping[str, float], deadline: float | None
) -> WeightReport | Unsupported:
    """What is known of a weight, or why it was not analysed. Raises `TimeoutError`.

    Args:
        spectra: whether all singular values are wanted.
        work: node → multiply-adds that bounding its input nullity may spend, where it is not `INNER_WORK`.
        deadline: instant of `time.monotonic()`.
    """
    import numpy as np

    from onnxnull.analysis.weights import op_name
    from onnxnull.graph.constants import EvaluationError
    from onnxnull.graph.quantization import quantized_from

    node, use = weight.node, weight.use
    refuse = partial(_refused, weight)
    try:
        blocks, quantized = weight.measured()
        runs = use.blocks() if quantized and not use.integer else blocks
    except EvaluationError as error:
        return refuse(Code.CONSTANT, f"was not evaluated: {error}")
    if not _is_real(blocks):
        return refuse(Code.OPERATOR, f"has type {blocks.dtype}")
    if not np.isfinite(use.scale):
        return refuse(Code.NONFINITE, f"is multiplied by alpha = {use.scale}; {Code.NONFINITE.remedy}")
    if not np.isfinite(blocks).all():
        return refuse(Code.NONFINITE, f"holds {np.count_nonzero(~np.isfinite(blocks))} NaN or Inf; {Code.NONFINITE.remedy}")
    if not np.isfinite(runs).all():
        lost = np.count_nonzero(~np.isfinite(runs))
        return refuse(Code.NONFINITE, f"holds {lost} NaN or Inf in the floats that run; {Code.NONFINITE.remedy}")
    quantization, source = None, quantized_from(use.constant) if quantized else None
    try:
        unscaled = rank_profile(blocks, exact=exact, spectrum=spectra, deadline=deadline)
        ranks = _scaled(unscaled, use.scale)
        if quantized:
            quantization = _quantization(use, blocks, runs, ranks, exact, deadline)
        stacked = None
        if len(blocks) > 1:
            g, q, p = blocks.shape
            side_by_side = blocks.transpose(1, 0, 2).reshape(1, q, g * p)
            stacked = _scaled(rank_profile(side_by_side, exact=ExactPolicy.NEVER, deadline=deadline), use.scale)
        nodes = tuple(
            WeightNode(n.name, op_name(n), u.groups, _operator(n, u, blocks, ranks, work.get(n.name, INNER_WORK)), u.condition)
            for n, u in weight.uses
        )
    except _DoesNotFitError as error:
        return refuse(Code.INVALID_MODEL, f"does not fit what it reads: {error}")
    except EvaluationError as error:
        return refuse(Code.CONSTANT, f"was not evaluated: {error}")
    return WeightReport(
        name=weight.name,
        op=op_name(node),
        dtype=dtype_name(use.constant.dtype if source is None else source.codes.dtype),
        ranks=ranks,
        stacked=stacked,
        dead_outputs=dead_outputs(runs),
        unread_inputs=unread_inputs(runs),
        duplicate_outputs=duplicate_outputs(runs),
        nodes=nodes,
        in_paper=any(u.paper for _, u in weight.uses) and not weight.tied,
        quantization=quantization,
        nearly_dead_outputs=nearly_dead_outputs(runs, _cut_off(unscaled)),
    )


def unfinished(weight: Weight, why: Unfinished) -> Unsupported:
    """A weight for which the time was up, or whose process was ended."""
    if why.died:
        return _refused(
            weight, Code.TOO_LARGE, "was not finished: its process was ended from outside, mostly for lack of memory"
        )
    return _refused(weight, Code.TIME, f"was not {'finished' if why.begun else 'reached'} within the time limit")


def _refused(weight: Weight, code: Code, what: str) -> Unsupported:
    from onnxnull.analysis.weights import op_name

    return Unsupported(weight.node.name, op_name(weight.node), code, f"weight {weight.name!r} {what}")


def _quantization(
    use: LinearUse,
    rational: np.ndarray,
    runs: np.ndarray,
    ranks: RankProfile,
    exact: ExactPolicy,
    deadline: float | None,
) -> Quantization:
    """How the weight is quantized, and what that does to its ranks. Raises `EvaluationError`, `TimeoutError`.

    Args:
        rational, runs: S∘(Wq − Z), and what the node multiplies by, (g, q, p).
    """
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
    if runs is not rational and not _survives(ranks, rational, runs, abs(use.scale)):
        profile = _scaled(rank_profile(runs, exact=exact, deadline=deadline), use.scale)
        if any(_value(profile, notion) != _value(ranks, notion) for notion in Notion):
            executed = profile
    return Quantization(_sharing(scales), int(np.count_nonzero(scales == 0)), shifted, without, executed)


def _survives(ranks: RankProfile, rational: np.ndarray, runs: np.ndarray, scale: float) -> bool:
    """Whether rounding its entries leaves a weight its full rank in every notion (Weyl: σ moves by ‖E‖ at most)."""
    import numpy as np

    if ranks.float32.value < min(ranks.inputs, ranks.outputs):
        return False
    # a little more, for the rounding of the norm and the digits of σ
    moved = 1.001 * scale * float(np.linalg.norm(runs.astype(np.float64) - rational))
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


def _operator(node: Node, use: LinearUse, ranked: np.ndarray, ranks: RankProfile, work: float) -> OperatorReport | None:
    """Bounds on the input nullity of a convolution, where the shape of one sample is known and the image is not too large.

    `ranks` are those of `ranked` (g, q, p), which may not be the floats that run. Raises `_DoesNotFitError`.
    """
    import numpy as np

    from onnxnull.analysis.weights import op_name
    from onnxnull.kernel.images.input_nullity import image_nullities
    from onnxnull.kernel.maps.batched import Batched
    from onnxnull.kernel.maps.convolution import Convolution, TransposedConvolution
    from onnxnull.kernel.maps.im2col import TooLargeError
    from onnxnull.kernel.maps.patches import stripped
    from onnxnull.operators.linear_use import shape_at

    shape = shape_at(node, use.activation) if use.on_images and use.activation is not None else None
    if shape is None or None in shape[1:]:
        return None
    matrix = use.matrix()
    try:
        linear_map, _ = stripped(use.linear_map(matrix, (1, *(d for d in shape[1:] if d is not None))))
    except TooLargeError:
        return None
    except (ValueError, LookupError, ArithmeticError) as error:
        raise _DoesNotFitError(f"{node.name!r} ({op_name(node)}): {one_line(error)}") from None
    sample = linear_map.sample if isinstance(linear_map, Batched) else None
    if not isinstance(sample, Convolution | TransposedConvolution):
        return None
    float64, exact = image_nullities(sample, ranks=ranks if np.array_equal(matrix, ranked) else None, work=work)
    return OperatorReport(
        input_shape=sample.input_shape,
        unread=exact.unread,
        float64=float64.bounds,
        exact=exact.bounds,
    )


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
