"""Normalizations: parameters and shapes."""

from __future__ import annotations

from onnxnull.graph.contrib import shaped_like
from onnxnull.graph.evaluable import evaluated
from onnxnull.graph.node import Node
from onnxnull.operators.flatness import is_flat
from onnxnull.operators.linear_use import holds_no_weight
from onnxnull.operators.parameters import holds_parameters
from onnxnull.operators.range_rules import Operands, tells_zeros_apart
from onnxnull.operators.traits import errs_relative_to_one

_MICROSOFT = "com.microsoft"

holds_parameters("BatchNormalization", factors=(1, 3), inputs=(2, 4))
holds_parameters("GroupNormalization", "InstanceNormalization", "LayerNormalization", factors=(1,), inputs=(2,))
holds_parameters("RMSNormalization", "SimplifiedLayerNormalization", factors=(1,))
holds_parameters("SkipLayerNormalization", factors=(2,), inputs=(3, 4), domain=_MICROSOFT)
holds_parameters("SkipSimplifiedLayerNormalization", factors=(2,), inputs=(3,), domain=_MICROSOFT)
holds_parameters("EmbedLayerNormalization", factors=(5,), inputs=(6,), domain=_MICROSOFT)
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
errs_relative_to_one("Softmax")


@tells_zeros_apart("BatchNormalization")
def _divides_by_zero(node: Node, of: Operands) -> bool:
    """A variance that is 0 with ε has a sign that decides between Inf and −Inf."""
    variance = of(4)
    return variance is None or not bool((variance.lo + float(node.attribute("epsilon", 1e-5)) > 0).all())
