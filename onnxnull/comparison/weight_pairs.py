"""The table of partner weights (verdicts, ranks, angles between kernels), shown beside what the graphs and runs say."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from onnxnull.analysis.results import Unsupported
from onnxnull.analysis.weights import Weight, find_weights, op_name
from onnxnull.comparison import angles
from onnxnull.comparison.features import features
from onnxnull.comparison.folded_scales import Folds, Surroundings
from onnxnull.comparison.input_links import Key
from onnxnull.comparison.judging import Judged, judge
from onnxnull.comparison.matching import Known, Match, match, matrix_of, moved, side_by_side
from onnxnull.comparison.results import KernelAngle, Pair, WeightSide
from onnxnull.comparison.verdicts import Matched, Verdict
from onnxnull.errors import Code, errors_of
from onnxnull.frontier import Frontier, find
from onnxnull.graph.constants import EvaluationError
from onnxnull.graph.flow import Flow
from onnxnull.graph.model import Model
from onnxnull.graph.quantization import quantized_from
from onnxnull.graph.types import dtype_name
from onnxnull.kernel.maps.linear_map import Array
from onnxnull.kernel.rank import ExactPolicy, Notion, RankProfile, rank_profile

Progress = Callable[[str], None]
"""Called with what comes next."""


@dataclass(frozen=True, slots=True, eq=False)
class Opened:
    """A model with everything that is needed of it."""

    model: Model
    flow: Flow
    known: list[Known]
    folds: Mapping[int, Folds]
    unsupported: list[Unsupported]
    fronts: tuple[Frontier, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Pairs:
    """The pairs; weights of either model in none; and how two nodes' uses of weights belong together."""

    pairs: tuple[Pair, ...]
    only: tuple[tuple[WeightSide, ...], tuple[WeightSide, ...]]
    judged: Mapping[tuple[Key, Key], Judged]


def pair_up(first: Opened, second: Opened, progress: Progress) -> Pairs:
    """Match the weights of two models and judge each pair."""
    matches = match(first.known, second.known)
    pairs: list[Pair] = []
    judged: dict[tuple[Key, Key], Judged] = {}
    ranks: dict[bytes, RankProfile] = {}
    for number, (found, elsewhere) in enumerate(zip(matches, moved(matches), strict=True), start=1):
        progress(f"weight {number} of {len(matches)}, {found.a[0].weight.name}")
        pair, verdict = _pair(found, first, second, ranks, elsewhere)
        pairs.append(pair)
        if len(found.a) == len(found.b) == 1:
            keys = [[(view.name, use.signature) for view, use in side[0].weight.uses] for side in (found.a, found.b)]
            judged |= {(one, other): verdict for one in keys[0] for other in keys[1]}
    used = {id(known) for found in matches for known in (*found.a, *found.b)}
    only = [tuple(_side((k,), None) for k in opened.known if id(k) not in used) for opened in (first, second)]
    return Pairs(tuple(pairs), (only[0], only[1]), judged)


def with_weights(model: Model, shapes: Mapping[str, Sequence[int]], progress: Progress) -> Opened:
    """The model at those of the shapes that are of its inputs, with its weights. Raises `OnnxnullError` with the file."""
    progress(f"reading {os.path.basename(model.file)}")
    with errors_of(model.parsed.path):
        names = {described.name for described in model.inputs}
        own = {name: shape for name, shape in shapes.items() if name in names}
        model = model.at(own) if own else model
        flow = model.flow
        weights, unsupported = find_weights(flow)
        surroundings = Surroundings(flow)
        known, folds = [], {}
        for number, weight in enumerate(weights):
            around = surroundings.folds(weight.node, weight.use)
            matrix = _matrix(weight)
            if isinstance(matrix, Unsupported):
                unsupported.append(matrix)
                continue
            one = Known(weight, features(matrix, around), number / max(1, len(weights) - 1))
            known.append(one)
            folds[id(one)] = around
        return Opened(model, flow, known, folds, unsupported, find(flow))


def _matrix(weight: Weight) -> Array | Unsupported:
    """The blocks; or why they are not analysed."""

    def refuse(code: Code, what: str) -> Unsupported:
        return Unsupported(weight.node.name, op_name(weight.node), code, f"weight {weight.name!r} {what}")

    dtype = weight.use.constant.dtype
    if dtype.is_string() or dtype.name in ("BOOL", "COMPLEX64", "COMPLEX128"):
        return refuse(Code.OPERATOR, f"has type {dtype_name(dtype)}")
    try:
        matrix = matrix_of(weight)
    except EvaluationError as error:
        return refuse(Code.CONSTANT, f"was not evaluated: {error}")
    if not np.isfinite(matrix).all():
        count = int(np.count_nonzero(~np.isfinite(matrix)))
        return refuse(Code.NONFINITE, f"holds {count} NaN or Inf; {Code.NONFINITE.remedy}")
    return matrix


def _pair(found: Match, a: Opened, b: Opened, ranks: dict[bytes, RankProfile], elsewhere: bool) -> tuple[Pair, Judged]:
    """The verdict on partners, their ranks and the angle between their kernels."""
    folds = [
        opened.folds[id(parts[0])] if len(parts) == 1 and len(other) == 1 else Folds()
        for opened, parts, other in ((a, found.a, found.b), (b, found.b, found.a))
    ]
    matrices = [side_by_side(parts) for parts in (found.a, found.b)]
    types = [_dtype(parts[0].weight) for parts in (found.a, found.b)]
    content = found.matched is Matched.CONTENT  # for the others, matching has looked for an order in vain
    judged = judge(matrices[0], matrices[1], (types[0], types[1]), (folds[0], folds[1]), rearranged=content)
    close, order = judged.closeness, judged.alignment
    sides = [_side(parts, _ranks(parts, m, ranks)) for parts, m in zip((found.a, found.b), matrices, strict=True)]
    pair = Pair(
        a=sides[0],
        b=sides[1],
        matched=found.matched if close.verdict is Verdict.DIFFERENT else Matched.CONTENT,
        verdict=close.verdict,
        inputs=order.inputs,
        outputs=order.outputs,
        moved=elsewhere,
        scale=close.scale,
        difference=close.difference,
        steps=close.steps,
        rounding=close.rounding,
        angle=_angle(judged, sides[0], sides[1]),
    )
    return pair, judged


def _ranks(parts: Sequence[Known], matrix: Array, done: dict[bytes, RankProfile]) -> RankProfile:
    """Ranks of one weight, or of several side by side; those of equal numbers once."""
    key = b"".join(part.features.digest for part in parts)
    if key not in done:
        done[key] = rank_profile(matrix, exact=ExactPolicy.NEVER)
    return done[key]


def _angle(judged: Judged, a: WeightSide, b: WeightSide) -> KernelAngle:
    nullities = [side.ranks.nullity(Notion.FLOAT64) if side.ranks is not None else None for side in (a, b)]
    if 0 in nullities:
        none = "neither has a kernel" if nullities == [0, 0] else "only one of them has a kernel"
        return KernelAngle(None, reason=none)
    if judged.closeness.verdict is Verdict.IDENTICAL:
        return KernelAngle(0.0)
    return angles.kernel_angle(judged.a, judged.b)


def _side(parts: Sequence[Known], ranks: RankProfile | None) -> WeightSide:
    weights = [part.weight for part in parts]
    g, q, _ = parts[0].features.shape
    return WeightSide(
        names=tuple(weight.name for weight in weights),
        nodes=tuple(weight.node.name for weight in weights),
        ops=tuple(op_name(weight.node) for weight in weights),
        dtype=_dtype(weights[0]),
        inputs=g * q,
        outputs=g * sum(part.features.shape[2] for part in parts),
        ranks=ranks,
    )


def _dtype(weight: Weight) -> str:
    """Of the constant; of its codes where it is quantized."""
    quantized = quantized_from(weight.use.constant)
    return dtype_name(weight.use.constant.dtype if quantized is None else quantized.codes.dtype)
