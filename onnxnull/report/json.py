"""The document `onnxnull.analysis/1` (`onnxnull.documents.analysis`) of a run over models."""

from __future__ import annotations

from onnxnull.analysis.results import (
    FrontierReport,
    LookupTable,
    ModelInfo,
    ModelReport,
    OddConstant,
    OperatorReport,
    Quantization,
    QuantizerReport,
    Unsupported,
    WeightReport,
)
from onnxnull.documents import analysis as documents
from onnxnull.documents.base import Bounds as BoundsEntry
from onnxnull.documents.base import digits, encode, error_entry, number, word
from onnxnull.kernel.bounds import Bounds
from onnxnull.kernel.rank import Rank, RankProfile
from onnxnull.ranges.results import OutputClaim
from onnxnull.report.batch import Batch


def render(batch: Batch) -> str:
    """The batch as JSON text."""
    document = documents.AnalysisDocument(
        schema="onnxnull.analysis/1",
        models=tuple(model(report) for report in batch.reports),
        errors=tuple(error_entry(failure.error.about(failure.file)) for failure in batch.failures),
    )
    return encode(document)


def model(report: ModelReport) -> documents.ModelReportEntry:
    """One entry of `models`."""
    paper, full = report.paper, report.full
    return documents.ModelReportEntry(
        model=described(report.model),
        summary=documents.SummaryEntry(
            paper=documents.PaperSummaryEntry(
                weights=paper.weights,
                nu=paper.nu,
                mu=paper.mu,
                nu_percent=paper.nu_percent,
                mu_percent=paper.mu_percent,
                nullity=paper.nullity,
                first_nullity=paper.first_nullity,
            ),
            full=documents.FullSummaryEntry(
                weights=full.weights,
                rank_deficient=full.rank_deficient,
                nullity=full.nullity,
                input_nullity=bounds_of(full.input_nullity),
            ),
        ),
        weights=tuple(weight_document(weight) for weight in report.weights),
        tables=tuple(_table(table) for table in report.tables),
        nonfinite=tuple(_odd(odd) for odd in report.nonfinite),
        unusual=tuple(_odd(odd) for odd in report.unusual),
        claims=tuple(_claim(claim) for claim in report.claims),
        frontier=tuple(_frontier(frontier) for frontier in report.frontier),
        unsupported=tuple(unsupported(what) for what in report.unsupported),
    )


def _odd(odd: OddConstant) -> documents.OddConstantEntry:
    return documents.OddConstantEntry(
        name=odd.name, node=odd.node, op=odd.op, what=odd.what, count=odd.count, entries=odd.entries
    )


def _claim(claim: OutputClaim) -> documents.OutputClaimEntry:
    return documents.OutputClaimEntry(
        output=claim.output,
        effect=word(claim.effect),
        node=claim.node or None,
        op=claim.op or None,
        constants=claim.constants,
        stored=claim.stored,
    )


def described(info: ModelInfo) -> documents.ModelEntry:
    """What the file says of itself."""
    return documents.ModelEntry(
        file=info.file,
        sha256=info.sha256,
        producer=info.producer,
        ir_version=info.ir_version,
        opset=dict(sorted(info.opset.items())),
        inputs=tuple(documents.GraphInputEntry(name=i.name, dtype=i.dtype, shape=i.shape) for i in info.inputs),
        overridable=tuple(info.overridable),
    )


def weight_document(weight: WeightReport) -> documents.WeightEntry:
    """One entry of `weights`."""
    stacked = weight.stacked
    return documents.WeightEntry(
        name=weight.name,
        op=weight.op,
        dtype=weight.dtype,
        inputs=weight.inputs,
        outputs=weight.outputs,
        rank=ranks_of(weight.ranks),
        nullity=_nullities(weight.ranks),
        stacked=None
        if stacked is None
        else documents.StackedMatrixEntry(
            inputs=stacked.inputs,
            outputs=stacked.outputs,
            rank=stacked.float32.value,
            nullity=stacked.inputs - stacked.float32.value,
        ),
        sigma_max=number(weight.ranks.sigma_max),
        sigma_min=number(weight.ranks.sigma_min),
        dead_outputs=weight.dead_outputs,
        nearly_dead_outputs=weight.nearly_dead_outputs,
        unread_inputs=weight.unread_inputs,
        duplicate_outputs=weight.duplicate_outputs,
        in_paper=weight.in_paper,
        quantization=_quantization(weight.quantization),
        nodes=tuple(
            documents.NodeEntry(
                name=n.name, op=n.op, groups=n.groups, operator=_operator(n.operator), condition=n.condition or None
            )
            for n in weight.nodes
        ),
    )


def _quantization(quantization: Quantization | None) -> documents.QuantizationEntry | None:
    if quantization is None:
        return None
    executed = quantization.executed
    return documents.QuantizationEntry(
        scales=word(quantization.scales),
        zero_scales=quantization.zero_scales,
        zero_points=quantization.zero_points,
        rank_without_zero_points=quantization.rank_without,
        executed=None
        if executed is None
        else documents.ExecutedRanksEntry(rank=ranks_of(executed), nullity=_nullities(executed)),
    )


def _table(table: LookupTable) -> documents.TableEntry:
    return documents.TableEntry(
        name=table.name,
        dtype=table.dtype,
        rows=table.rows,
        columns=table.columns,
        rank=None if table.ranks is None else ranks_of(table.ranks),
        reason=table.reason,
        nodes=tuple(table.nodes),
    )


def _operator(operator: OperatorReport | None) -> documents.OperatorEntry | None:
    if operator is None:
        return None
    float64 = operator.float64
    return documents.OperatorEntry(
        input_shape=tuple(operator.input_shape),
        unread=operator.unread,
        float64=(float64.lower, float64.upper),
        exact=bounds_of(operator.exact),
        proved=documents.ProvedBoundsEntry(
            float64=float64.proved, exact=None if operator.exact is None else operator.exact.proved
        ),
    )


def _frontier(frontier: FrontierReport) -> documents.FrontierEntry:
    return documents.FrontierEntry(
        input=frontier.input,
        inputs=frontier.inputs,
        nodes=tuple(frontier.nodes),
        weights=tuple(frontier.weights),
        guaranteed=frontier.guaranteed,
        reason=frontier.reason,
        quantizer=_quantizer(frontier.quantizer),
        input_nullity=bounds_of(frontier.input_nullity),
        proved=None if frontier.input_nullity is None else frontier.input_nullity.proved,
        data=tuple(
            documents.DataShareEntry(file=share.file, kernel_share=None if share.share is None else number(share.share))
            for share in frontier.shares
        ),
    )


def _quantizer(quantizer: QuantizerReport | None) -> documents.QuantizerEntry | None:
    if quantizer is None:
        return None
    return documents.QuantizerEntry(
        node=quantizer.node,
        scale="dynamic" if quantizer.scale is None else digits(quantizer.scale),
        zero_point="dynamic" if quantizer.zero_point is None else quantizer.zero_point,
        range=(quantizer.low, quantizer.high),
    )


def unsupported(what: Unsupported) -> documents.UnsupportedEntry:
    """A weight that was not analysed, and why."""
    return documents.UnsupportedEntry(node=what.node, op=what.op, code=what.code.code, reason=what.reason)


def bounds_of(bounds: Bounds | None) -> BoundsEntry | None:
    """[lower, upper]."""
    return None if bounds is None else (bounds.lower, bounds.upper)


def ranks_of(ranks: RankProfile) -> documents.RanksEntry:
    """Value and certainty in every notion."""
    return documents.RanksEntry(
        float32=_rank(ranks.float32), float64=_rank(ranks.float64), exact=None if ranks.exact is None else _rank(ranks.exact)
    )


def _nullities(ranks: RankProfile) -> documents.NullitiesEntry:
    exact = ranks.exact
    return documents.NullitiesEntry(
        float32=ranks.inputs - ranks.float32.value,
        float64=ranks.inputs - ranks.float64.value,
        exact=None if exact is None else ranks.inputs - exact.value,
    )


def _rank(rank: Rank) -> documents.RankEntry:
    return documents.RankEntry(value=rank.value, certainty=word(rank.certainty))
