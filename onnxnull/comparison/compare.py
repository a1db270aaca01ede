"""`compare(a, b)`: do two ONNX files hold the same network?"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from onnxnull.comparison import angles, inputs, lookups
from onnxnull.comparison.crossing import Running, Subject, agreement, crossings
from onnxnull.comparison.features import features
from onnxnull.comparison.folding import Folds, Surroundings
from onnxnull.comparison.judging import Judged, judge
from onnxnull.comparison.matching import Known, Match, match, matrix_of, moved, side_by_side
from onnxnull.comparison.numbering import digest, equal_graphs
from onnxnull.comparison.operators import input_pair
from onnxnull.comparison.results import Agreement, Comparison, Crossing, KernelAngle, Pair, Side
from onnxnull.comparison.structure import unlike
from onnxnull.comparison.verdicts import Factors, Matched, Order, Verdict
from onnxnull.errors import Code, OnnxnullError
from onnxnull.frontier import Frontier, find
from onnxnull.graph.constants import EvaluationError, Stored
from onnxnull.graph.flow import Flow
from onnxnull.graph.limits import Limits
from onnxnull.graph.model import Model, open_model
from onnxnull.graph.quantization import quantized_from
from onnxnull.graph.types import dtype_name
from onnxnull.kernel.maps.linear_map import Array
from onnxnull.kernel.rank import ExactPolicy, Notion, RankProfile, rank_profile
from onnxnull.results import ModelInfo, Unsupported
from onnxnull.weights import Weight, find_weights, op_name

Progress = Callable[[str], None]
"""Called with what comes next."""
_LEAST_LIMIT, _AMPLIFIED = 1e-3, 200.0
"""Outputs may be apart by this share of what another random input changes, and by so many times the weights' differences
(root of the sum of their squares); a heuristic: 48 was seen, of a text classifier rounded to float16."""
_TELLING, _MOST_LIMIT = 0.25, 0.5
"""The largest allowed share within which outputs settle that two networks are the same; and the share above which they are
different where the weights may cost more than that. Classes in another order change 1 and more, int8 weights 0.05 to 0.4."""


@dataclass(frozen=True, slots=True, eq=False)
class _Opened:
    """A model with everything that is needed of it."""

    path: str
    model: Model
    known: list[Known]
    folds: Mapping[int, Folds]
    unsupported: list[Unsupported]
    fronts: tuple[Frontier, ...]
    tables: list[lookups.Table]
    shapes: Mapping[str, Sequence[int]]


def compare(
    a: str | os.PathLike[str],
    b: str | os.PathLike[str],
    *,
    input_shapes: Mapping[str, Sequence[int]] | None = None,
    running: Running | None = None,
    limits: Limits | None = None,
    progress: Progress = lambda _: None,
) -> Comparison:
    """Compare the networks in two ONNX files.

    Args:
        a, b: the .onnx files.
        input_shapes: graph input → dimensions, for inputs whose shape a file leaves open; of either model.
        running: how to run both, for collisions of one on the other and for their outputs; None: neither is executed.
        limits: what the files may ask of this machine.
        progress: called with what comes next.

    Returns:
        Pairs of weights with their verdicts, weights without a partner, what was not analysed, the inputs and the runs.

    Raises:
        OnnxnullError: a file cannot be opened or breaks the rules of ONNX; `file` says which.
    """
    first, second = (_open(path, input_shapes or {}, limits, progress) for path in (a, b))
    if input_shapes:
        _check_names(input_shapes, first.model, second.model)
    progress("matching the weights")
    matches = match(first.known, second.known)
    pairs: list[Pair] = []
    judged: dict[tuple[inputs.Key, inputs.Key], Judged] = {}
    ranks: dict[bytes, RankProfile] = {}
    for number, (found, elsewhere) in enumerate(zip(matches, moved(matches), strict=True), start=1):
        progress(f"weight {number} of {len(matches)}, {found.a[0].weight.name}")
        pair, verdict = _pair(found, first, second, ranks, elsewhere)
        pairs.append(pair)
        if len(found.a) == len(found.b) == 1:
            keys = [[(view.name, use.signature) for view, use in side[0].weight.uses] for side in (found.a, found.b)]
            judged |= {(one, other): verdict for one in keys[0] for other in keys[1]}
    progress("comparing the inputs")
    links = inputs.links(first.fronts, second.fronts, judged)
    read = tuple(
        input_pair(link, *(next(f for f in o.fronts if f.input is i) for o, i in ((first, link.a), (second, link.b))))
        for link in links
    )
    used = {id(known) for found in matches for known in (*found.a, *found.b)}
    only = [tuple(_side((k,), None) for k in opened.known if id(k) not in used) for opened in (first, second)]
    crossed: tuple[Crossing, ...] = ()
    agreed: Agreement | None = None
    if running is not None:
        subjects = [Subject(o.path, o.model.inputs, o.shapes, running, limits, progress) for o in (first, second)]
        needed = _needed(pairs, complete=not any(only))
        crossed = crossings(subjects[0], subjects[1], links, same=needed is not None)
        tells = needed is None or needed <= _TELLING
        agreed = agreement(subjects[0], subjects[1], links, needed if tells else _MOST_LIMIT)
        if not tells and agreed.outputs and all(output.ratio <= _TELLING for output in agreed.outputs):
            agreed = replace(agreed, limit=_TELLING)  # nearer than other networks come
        elif not tells:
            agreed = replace(agreed, needed=needed)
    return Comparison(
        a=_info(first.model),
        b=_info(second.model),
        pairs=tuple(pairs),
        only_a=only[0],
        only_b=only[1],
        unsupported_a=tuple(first.unsupported),
        unsupported_b=tuple(second.unsupported),
        inputs=read,
        crossings=crossed,
        agreement=agreed,
        tables=tuple(lookups.side_by_side(first.tables, second.tables)),
        equal=equal_graphs(first.model, second.model, _alike(matches, pairs)),
    )


def _alike(matches: Sequence[Match], pairs: Sequence[Pair]) -> tuple[dict[int, bytes], dict[int, bytes]]:
    """For each model, stored tensor → one number for both of a pair of weights that are the same in the same order."""
    numbers: tuple[dict[int, bytes], dict[int, bytes]] = ({}, {})
    for place, (found, pair) in enumerate(zip(matches, pairs, strict=True)):
        order = {pair.inputs, pair.outputs} == {Order.SAME} and not pair.moved
        close = pair.verdict is not Verdict.DIFFERENT and pair.scale.factors is Factors.NONE
        if not (order and close and len(found.a) == len(found.b) == 1):
            continue
        sources = [side[0].weight.use.constant.source for side in (found.a, found.b)]
        for source, side in zip(sources, numbers, strict=True):
            if isinstance(source, Stored) and all(isinstance(each, Stored) for each in sources):
                side[id(source.tensor)] = digest("weight", str(place))
    return numbers


def _open(
    path: str | os.PathLike[str], shapes: Mapping[str, Sequence[int]], limits: Limits | None, progress: Progress
) -> _Opened:
    progress(f"reading {os.path.basename(path)}")
    try:
        own = {}
        if shapes:
            names = {described.name for described in open_model(path, limits=limits).inputs}
            own = {name: shape for name, shape in shapes.items() if name in names}
        model = open_model(path, input_shapes=own, limits=limits)
        flow = Flow(model)
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
        return _Opened(os.fspath(path), model, known, folds, unsupported, find(flow), lookups.tables(flow), own)
    except OnnxnullError as error:
        error.file = error.file or os.fspath(path)
        raise


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


def _check_names(shapes: Mapping[str, Sequence[int]], a: Model, b: Model) -> None:
    names = [described.name for model in (a, b) for described in model.inputs]
    for name in shapes:
        if name not in names:
            known = ", ".join(repr(n) for n in dict.fromkeys(names)) or "none"
            raise OnnxnullError(Code.INPUT_SHAPE, f"neither model has an input {name!r}; inputs are {known}")


def _pair(found: Match, a: _Opened, b: _Opened, ranks: dict[bytes, RankProfile], elsewhere: bool) -> tuple[Pair, Judged]:
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
        unlike=tuple(unlike(*([part.weight for part in parts] for parts in (found.a, found.b)))),
    )
    return pair, judged


def _ranks(parts: Sequence[Known], matrix: Array, done: dict[bytes, RankProfile]) -> RankProfile:
    """Ranks of one weight, or of several side by side; those of equal numbers once."""
    key = b"".join(part.features.digest for part in parts)
    if key not in done:
        done[key] = rank_profile(matrix, exact=ExactPolicy.NEVER)
    return done[key]


def _angle(judged: Judged, a: Side, b: Side) -> KernelAngle:
    nullities = [side.ranks.nullity(Notion.FLOAT64) if side.ranks is not None else None for side in (a, b)]
    if 0 in nullities:
        none = "neither has a kernel" if nullities == [0, 0] else "only one of them has a kernel"
        return KernelAngle(None, reason=none)
    if judged.closeness.verdict is Verdict.IDENTICAL:
        return KernelAngle(0.0)
    return angles.kernel_angle(judged.a, judged.b)


def _side(parts: Sequence[Known], ranks: RankProfile | None) -> Side:
    weights = [part.weight for part in parts]
    g, q, _ = parts[0].features.shape
    return Side(
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


def _needed(pairs: Sequence[Pair], *, complete: bool) -> float | None:
    """How far the outputs may be apart because of the weights; None where these are different anyway."""
    if not complete or not pairs or any(pair.verdict is Verdict.DIFFERENT for pair in pairs):
        return None
    return max(_LEAST_LIMIT, _AMPLIFIED * math.hypot(*(pair.difference for pair in pairs)))


def _info(model: Model) -> ModelInfo:
    return ModelInfo(model.file, model.sha256, model.producer, model.ir_version, model.opsets, model.inputs, model.overridable)
