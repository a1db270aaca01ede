"""Normalizations: parameters and shapes."""

from __future__ import annotations

from onnxnull.graph.contrib import shaped_like
from onnxnull.graph.evaluable import evaluated
from onnxnull.operators.flatness import is_flat
from onnxnull.operators.linear_use import holds_no_weight
from onnxnull.operators.parameters import holds_parameters
from onnxnull.operators.range_rules import tells_zeros_apart
from onnxnull.operators.traits import errs_relative_to_one

_MICROSOFT = "com.microsoft"

holds_parameters("BatchNormalization", inputs=(1, 2, 3, 4))
holds_parameters("GroupNormalization", "InstanceNormalization", "LayerNormalization", inputs=(1, 2))
holds_parameters("RMSNormalization", "SimplifiedLayerNormalization", inputs=(1,))
holds_parameters("SkipLayerNormalization", inputs=(2, 3, 4), domain=_MICROSOFT)
holds_parameters("SkipSimplifiedLayerNormalization", inputs=(2, 3), domain=_MICROSOFT)
holds_parameters("EmbedLayerNormalization", inputs=(5, 6), domain=_MICROSOFT)
shaped_like("Identity", "SkipLayerNormalization", "SkipSimplifiedLayerNormalization")

# The learned constants scale and shift channels.
_EVALUATED = """
BatchNormalization Hardmax InstanceNormalization LayerNormalization LogSoftmax LpNormalization MeanVarianceNormalization
RMSNormalization Softmax
"""
holds_no_weight(_EVALUATED)
evaluated(_EVALUATED)
holds_no_weight("GroupNormalization LRN SimplifiedLayerNormalization")
holds_no_weight(
    """
    BiasSoftmax BranchwiseRMSNorm GatedRMSNorm GroupNorm SkipGroupNorm SkipLayerNormalization
    SkipSimplifiedLayerNormalization
    """,
    domain=_MICROSOFT,
)

is_flat("Hardmax", "LogSoftmax", "Softmax")
tells_zeros_apart("BatchNormalization")
errs_relative_to_one("Softmax")
