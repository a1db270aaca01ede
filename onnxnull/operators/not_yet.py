"""Operators that hold linear weights which onnxnull does not analyse yet. Each is named in the report, with its weights."""

from __future__ import annotations

from collections.abc import Iterator

from onnxnull.errors import Code
from onnxnull.graph.view import NodeView
from onnxnull.operators.registry import LinearUse, Refusal, holds_weights, refuse_constant_operands

_ATTENTION = "weights fused into an attention operator are not analysed yet"
_FUSED = "this fused operator is not analysed yet"
_CONVOLUTION = "this kind of convolution is not analysed yet"
_LEARNED_QUERIES = "a constant query, key or value is a linear weight that is not analysed yet"
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


_refuse("DeformConv", "CausalConvWithState", reason=_CONVOLUTION)
_refuse("GridSample", "RoiAlign", "MaxRoiPool", reason=_RESAMPLING, least_ranks=(2,))
_refuse(
    *("MatMulBlockQuantizedFp4Weight", "MatMulFpQ4", "QMoE", "QOrderedMatMul"),
    reason="weights quantized in a layout of one kind of GPU are not analysed yet",
    domain=_MICROSOFT,
)
_refuse(
    *("Attention", "AttnLSTM", "DecoderAttention", "DecoderMaskedSelfAttention", "LongformerAttention"),
    *("PackedAttention", "QOrderedAttention", "QOrderedLongformerAttention", "GatedRelativePositionBias"),
    reason=_ATTENTION,
    domain=_MICROSOFT,
)
_refuse("Attention", "LinearAttention", reason=_LEARNED_QUERIES, operands=slice(3))
_refuse("FlexAttention", reason=_LEARNED_QUERIES, domain="ai.onnx.preview", operands=slice(3))
_refuse(
    *("DecoderMaskedMultiHeadAttention", "DynamicSparseAttention", "GroupQueryAttention", "LinearAttention"),
    *("MultiHeadAttention", "PackedMultiHeadAttention", "PagedAttention", "SparseAttention", "SparsePagedAttention"),
    reason=_LEARNED_QUERIES,
    domain=_MICROSOFT,
    operands=slice(3),
)
_refuse(
    *("FusedConv", "FusedGemm", "FusedMatMul", "FusedMatMulActivation", "GemmFastGelu", "MoE", "NhwcConv", "NhwcFusedConv"),
    *("SparseToDenseMatMul", "TransposeMatMul"),
    reason=_FUSED,
    domain=_MICROSOFT,
)
_refuse(
    *("CausalConvWithState", "ConvTransposeWithDynamicPads", "VarlenCausalConvWithState", "WordConvEmbedding"),
    reason=_CONVOLUTION,
    domain=_MICROSOFT,
)
_refuse("GridSample", "CropAndResize", reason=_RESAMPLING, domain=_MICROSOFT, least_ranks=(2,))
# They may hold weights, and their specifications have not been read closely enough to say which.
_refuse(
    *("BeamSearch", "CDist", "EngramGate", "GatedDeltaNet", "GreedySearch", "HyperConnectionPostMix", "HyperConnectionPreMix"),
    *("Sampling", "Snpe", "WhisperBeamSearch", "ComplexMul", "ComplexMulConj", "DynamicTimeWarping", "EPContext"),
    reason="the operator may hold linear weights and has not been reviewed",
    domain=_MICROSOFT,
)


@holds_weights("LinearClassifier", "LinearRegressor", "SVMClassifier", "SVMRegressor", domain="ai.onnx.ml")
def machine_learning(node: NodeView) -> Iterator[LinearUse]:
    """The coefficients of ai.onnx.ml's linear and support vector models, attributes of the node."""
    if node.node.attributes.get("coefficients") is not None:
        raise Refusal(Code.OPERATOR, "coefficients of ai.onnx.ml operators are not analysed yet (attribute 'coefficients')")
    yield from ()
