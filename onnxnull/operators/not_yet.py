"""Operators that hold linear weights which onnxnull does not analyse yet. Each is named in the report, with its weights."""

from __future__ import annotations

from collections.abc import Iterator

from onnxnull.errors import Code
from onnxnull.graph.view import NodeView
from onnxnull.operators.linear_use import LinearUse, Refusal, holds_weights, reads_positions, refuse_constant_operands

_ATTENTION = "quantized weights fused into an attention operator are not analysed yet"
_LEARNED_QUERIES = (
    "a constant query, key or value of this kind of attention is not analysed: what it meets is no single product"
)
_STREAMS = "streams mixed by constants: a linear weight that is not analysed yet"
_RESAMPLING = "resampling at constant positions is linear, and is not analysed yet"
_MICROSOFT = "com.microsoft"


def _refuse(
    *op_types: str,
    reason: str,
    domain: str = "",
    least_ranks: tuple[int, ...] = (2, 1),
    operands: slice = slice(None),
) -> None:
    """Refuse constant operands: name the matrices among them, or else the vectors, since packed weights are stored flat."""

    def uses(node: NodeView) -> Iterator[LinearUse]:
        for least_rank in least_ranks:
            for refusal in refuse_constant_operands(node, reason, least_rank=least_rank, operands=operands):
                raise refusal
        yield from ()

    holds_weights(*op_types, domain=domain)(uses)


_refuse("GridSample", "RoiAlign", "MaxRoiPool", reason=_RESAMPLING, least_ranks=(2,))
_refuse(
    *("MatMulBlockQuantizedFp4Weight", "MatMulFpQ4", "QMoE", "QOrderedMatMul"),
    reason="weights quantized in a layout of one kind of GPU are not analysed yet",
    domain=_MICROSOFT,
)
_refuse(
    *("QOrderedAttention", "QOrderedLongformerAttention"),
    reason=_ATTENTION,
    domain=_MICROSOFT,
)
_refuse("LinearAttention", reason=_LEARNED_QUERIES, operands=slice(3))
_refuse(
    *("DecoderMaskedMultiHeadAttention", "DynamicSparseAttention", "EngramGate", "GatedDeltaNet", "GroupQueryAttention"),
    "LinearAttention",
    *("PackedMultiHeadAttention", "PagedAttention", "SparseAttention", "SparsePagedAttention"),
    reason=_LEARNED_QUERIES,
    domain=_MICROSOFT,
    operands=slice(3),
)
_refuse("GridSample", "CropAndResize", reason=_RESAMPLING, domain=_MICROSOFT, least_ranks=(2,))
reads_positions("GridSample", "RoiAlign", "MaxRoiPool")
reads_positions("GridSample", "CropAndResize", domain=_MICROSOFT)
_refuse("HyperConnectionPreMix", reason=_STREAMS, domain=_MICROSOFT, operands=slice(1, 2))
_refuse("HyperConnectionPostMix", reason=_STREAMS, domain=_MICROSOFT, operands=slice(2, 4))


@holds_weights("EPContext", "Snpe", domain=_MICROSOFT)
def compiled(node: NodeView) -> Iterator[LinearUse]:
    """A network that was compiled for an accelerator: whatever weights it has cannot be read."""
    raise Refusal(Code.OPERATOR, "a network compiled for an accelerator: the weights inside cannot be read")
    yield
