"""`analyze(path)`: every linear weight of a model, its ranks and kernels, and the metrics of the paper's Table 1.

Notions: the paper's metrics use ranks at the float32 cut-off (which fits its table) and its own conventions, `paper`; the
truth about the same network is `full`: every linear weight, groups as the block-diagonal matrix they are, at the float64
cut-off, where a kernel vector makes a collision. The two are never mixed.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from onnxnull.errors import Code, OnnxnullError
from onnxnull.graph.limits import Limits
from onnxnull.graph.model import GraphInput, Model, dtype_name, open_model
from onnxnull.kernel.rank import ExactPolicy, Notion, RankProfile, rank_profile
from onnxnull.kernel.structure import dead_outputs, duplicate_outputs, unread_inputs

if TYPE_CHECKING:
    import numpy as np

    from onnxnull.graph.flow import NodeView
    from onnxnull.operators import LinearUse

Progress = Callable[[int, int, str], None]
"""Called with (weights done, weights in all, name of the next one)."""


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """What the file says of itself. `file` is the path as typed, only its last part where that was absolute."""

    file: str
    sha256: str
    producer: str
    ir_version: int
    opset: Mapping[str, int]
    inputs: tuple[GraphInput, ...]


@dataclass(frozen=True, slots=True)
class WeightNode:
    """A node that uses a weight."""

    name: str
    op: str
    groups: int


@dataclass(frozen=True, slots=True)
class WeightReport:
    """One linear weight: a stored constant as the matrix that its nodes apply.

    Attributes:
        name: of the stored constant, with the part in brackets where the node holds several ("R [reverse]").
        op: operator type of the first node that uses it.
        dtype: of the constant as the node reads it.
        ranks: of the block-diagonal matrix, inputs × outputs.
        stacked: the paper's matrix for grouped weights, all outputs over the inputs of one group; None for one group.
        dead_outputs: zero columns. unread_inputs: zero rows. duplicate_outputs: columns equal to an earlier one of their
            block, dead ones not counted.
        nodes: every node that applies this matrix, in the order of the graph.
        in_paper: whether the paper's metrics count it.
    """

    name: str
    op: str
    dtype: str
    ranks: RankProfile
    stacked: RankProfile | None
    dead_outputs: int
    unread_inputs: int
    duplicate_outputs: int
    nodes: tuple[WeightNode, ...]
    in_paper: bool

    @property
    def inputs(self) -> int:
        """q, rows of the block-diagonal matrix."""
        return self.ranks.inputs

    @property
    def outputs(self) -> int:
        """p, its columns."""
        return self.ranks.outputs

    @property
    def paper_ranks(self) -> RankProfile:
        """Ranks of the matrix that the paper looks at."""
        return self.stacked or self.ranks


@dataclass(frozen=True, slots=True)
class Unsupported:
    """A weight, or what may hold one, that was not analysed: the report is incomplete."""

    node: str
    op: str
    code: Code
    reason: str


@dataclass(frozen=True, slots=True)
class PaperSummary:
    """Table 1 of the paper (Eq. 6): weights of Conv and fully connected layers, at the float32 cut-off.

    Attributes:
        weights: n, how many; each stored constant once.
        nu: ν, how many have a kernel. mu: μ, how many have fewer outputs than inputs.
        nu_percent, mu_percent: truncated, as the paper does; 0 of 0 is 0.
        nullity: Σ nullity. first_nullity: of the first weight in graph order; None if there is none.
    """

    weights: int
    nu: int
    mu: int
    nu_percent: int
    mu_percent: int
    nullity: int
    first_nullity: int | None


@dataclass(frozen=True, slots=True)
class FullSummary:
    """Every linear weight, groups as block-diagonal matrices, at the float64 cut-off.

    Attributes:
        weights: how many. rank_deficient: how many have a kernel. nullity: Σ nullity.
    """

    weights: int
    rank_deficient: int
    nullity: int


@dataclass(frozen=True, slots=True)
class ModelReport:
    """What `analyze` found in one model."""

    model: ModelInfo
    paper: PaperSummary
    full: FullSummary
    weights: tuple[WeightReport, ...]
    unsupported: tuple[Unsupported, ...]

    @property
    def complete(self) -> bool:
        """Whether every linear weight was analysed."""
        return not self.unsupported


def analyze(
    path: str | os.PathLike[str],
    *,
    input_shapes: Mapping[str, Sequence[int]] | None = None,
    exact: ExactPolicy = ExactPolicy.CHEAP,
    limits: Limits | None = None,
    progress: Progress | None = None,
) -> ModelReport:
    """Analyse every linear weight of the ONNX file at `path`. The model is not executed.

    Args:
        path: the .onnx file.
        input_shapes: graph input → dimensions, for inputs whose shape the file leaves open.
        exact: for which weights to compute the rank over ℚ.
        limits: what the file may ask of this machine.
        progress: called before each weight.

    Returns:
        The report; weights that were not analysed are in `unsupported`.

    Raises:
        OnnxnullError: the file cannot be opened or breaks the rules of ONNX.
    """
    model = open_model(path, input_shapes=input_shapes, limits=limits)
    try:
        found, unsupported = _find(model)
    except OnnxnullError as error:
        error.file = os.fspath(path)
        raise
    weights: list[WeightReport] = []
    for done, weight in enumerate(found):
        if progress is not None:
            progress(done, len(found), weight.name)
        result = _analyze_weight(weight, exact)
        if isinstance(result, Unsupported):
            unsupported.append(result)
        else:
            weights.append(result)
    return ModelReport(
        model=ModelInfo(model.file, model.sha256, model.producer, model.ir_version, model.opsets, model.inputs),
        paper=_paper_summary(weights),
        full=FullSummary(
            weights=len(weights),
            rank_deficient=sum(_nullity(w.ranks, Notion.FLOAT64) > 0 for w in weights),
            nullity=sum(_nullity(w.ranks, Notion.FLOAT64) for w in weights),
        ),
        weights=tuple(weights),
        unsupported=tuple(unsupported),
    )


@dataclass(slots=True)
class _Found:
    """A weight and the nodes that use it, while the graph is read. `again`: its transpose came earlier."""

    name: str
    uses: list[tuple[NodeView, LinearUse]]
    again: bool = False


def _find(model: Model) -> tuple[list[_Found], list[Unsupported]]:
    """The distinct weights in graph order, and what cannot be analysed."""
    from onnxnull.graph.flow import Flow
    from onnxnull.operators import Refusal, linear_uses

    by_signature: dict[tuple[object, ...], _Found] = {}
    by_root: dict[object, list[_Found]] = {}
    unsupported: list[Unsupported] = []
    for node in Flow(model).nodes:
        for use in linear_uses(node):
            if isinstance(use, Refusal):
                unsupported.append(Unsupported(node.name, _op_name(node), use.code, use.reason))
                continue
            known = by_signature.get(use.signature)
            if known is None:
                root = use.constant.root or use.constant.signature
                siblings = by_root.setdefault(root, [])
                known = next((s for s in siblings if _same_matrix(s.uses[0][1], use, transposed=False)), None)
                if known is None:
                    name = use.constant.root.name if use.constant.root else f"constant of {node.name}"
                    again = any(_same_matrix(s.uses[0][1], use, transposed=True) for s in siblings)
                    known = _Found(f"{name} [{use.part}]" if use.part else name, [], again)
                    siblings.append(known)
                by_signature[use.signature] = known
            known.uses.append((node, use))
    weights = list({id(weight): weight for weight in by_signature.values()}.values())
    return weights, unsupported


def _same_matrix(first: LinearUse, second: LinearUse, *, transposed: bool) -> bool:
    """Whether two uses of one stored constant, arranged in different ways, give one matrix (or its transpose)."""
    import numpy as np

    from onnxnull.graph.constants import EvaluationError

    g, q, p = second.shape
    if first.shape != ((g, p, q) if transposed else (g, q, p)) or first.scale != second.scale:
        return False
    try:
        a, b = first.blocks(), second.blocks()
    except EvaluationError:
        return False
    return bool(np.array_equal(a, b.swapaxes(1, 2) if transposed else b))


def _analyze_weight(weight: _Found, exact: ExactPolicy) -> WeightReport | Unsupported:
    import numpy as np

    from onnxnull.graph.constants import EvaluationError

    node, use = weight.uses[0]
    try:
        blocks = use.blocks()
    except EvaluationError as error:
        return Unsupported(node.name, _op_name(node), Code.CONSTANT, f"weight {weight.name!r}: {error}")
    if not _is_real(blocks):
        return Unsupported(node.name, _op_name(node), Code.OPERATOR, f"weight {weight.name!r} has type {blocks.dtype}")
    if not np.isfinite(blocks).all():
        bad = int(np.count_nonzero(~np.isfinite(blocks)))
        reason = f"weight {weight.name!r} holds {bad} NaN or Inf; {Code.NONFINITE.remedy}"
        return Unsupported(node.name, _op_name(node), Code.NONFINITE, reason)
    if use.scale == 0.0:  # Gemm with alpha = 0: whatever the numbers, nothing passes
        blocks = np.zeros_like(blocks)
    ranks = _scaled(rank_profile(blocks, exact=exact), use.scale)
    stacked = None
    if len(blocks) > 1:
        side_by_side = blocks.transpose(1, 0, 2).reshape(1, blocks.shape[1], -1)
        stacked = _scaled(rank_profile(side_by_side, exact=ExactPolicy.NEVER), use.scale)
    return WeightReport(
        name=weight.name,
        op=_op_name(node),
        dtype=dtype_name(use.constant.dtype),
        ranks=ranks,
        stacked=stacked,
        dead_outputs=dead_outputs(blocks),
        unread_inputs=unread_inputs(blocks),
        duplicate_outputs=duplicate_outputs(blocks),
        nodes=tuple(WeightNode(n.name, _op_name(n), u.groups) for n, u in weight.uses),
        in_paper=any(u.paper for _, u in weight.uses) and not weight.again,
    )


def _is_real(blocks: np.ndarray) -> bool:
    """Floats of every width (NumPy's kind V: the ones of ml_dtypes) and integers; no strings, booleans, complex numbers."""
    return blocks.dtype.kind in "fiuV"


def _scaled(ranks: RankProfile, scale: float) -> RankProfile:
    """Ranks do not feel a factor; singular values do."""
    from dataclasses import replace

    if abs(scale) in (0.0, 1.0):
        return ranks
    return replace(ranks, sigma_max=ranks.sigma_max * abs(scale), sigma_min=ranks.sigma_min * abs(scale))


def _op_name(node: NodeView) -> str:
    return f"{node.domain}.{node.op_type}" if node.domain not in ("", "ai.onnx") else node.op_type


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
