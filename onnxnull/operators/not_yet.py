"""Operators of no family whose linear weights are not analysed."""

from __future__ import annotations

from collections.abc import Iterator

from onnxnull.errors import Code
from onnxnull.graph.node import Node
from onnxnull.operators.linear_use import LinearUse, Refusal, holds_weights
from onnxnull.operators.refusals import refuses

_MICROSOFT = "com.microsoft"
_STREAMS = "streams mixed by constants: a linear weight that is not analysed yet"

refuses("HyperConnectionPreMix", reason=_STREAMS, domain=_MICROSOFT, operands=slice(1, 2))
refuses("HyperConnectionPostMix", reason=_STREAMS, domain=_MICROSOFT, operands=slice(2, 4))


@holds_weights("EPContext", "Snpe", domain=_MICROSOFT)
def compiled(node: Node) -> Iterator[LinearUse]:
    """A network that was compiled for an accelerator: whatever weights it has cannot be read."""
    raise Refusal(Code.OPERATOR, "a network compiled for an accelerator: the weights inside cannot be read")
    yield
