"""The distinct linear weights of a model: stored constants as the matrices that nodes apply, each with all its nodes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from onnxnull.graph.constants import EvaluationError
from onnxnull.graph.flow import Flow
from onnxnull.graph.view import NodeView
from onnxnull.operators import LinearUse, Refusal, linear_uses
from onnxnull.results import Unsupported


@dataclass(frozen=True, slots=True, eq=False)
class Weight:
    """A stored constant as one matrix, and the nodes that apply it, in graph order.

    Attributes:
        name: of the stored constant, with the part in brackets where a node holds several.
        again: whether its transpose came earlier (tied weights): one stored constant, which the paper counts once.
    """

    name: str
    uses: list[tuple[NodeView, LinearUse]]
    again: bool

    @property
    def node(self) -> NodeView:
        """The first node that uses it."""
        return self.uses[0][0]

    @property
    def use(self) -> LinearUse:
        """How the first node uses it."""
        return self.uses[0][1]

    def blocks(self) -> np.ndarray:
        """The matrix whose rank is meant, (g, q, p): of a quantized weight the rational one, S∘(Wq − Z), in float64.

        Zero where the node multiplies it by 0. Raises `EvaluationError`.
        """
        rational = self.use.rational_blocks()
        blocks = self.use.blocks() if rational is None else rational
        return blocks if self.use.scale != 0.0 else np.zeros_like(blocks)


def find_weights(flow: Flow) -> tuple[list[Weight], list[Unsupported]]:
    """The distinct weights in graph order, and what cannot be analysed."""
    by_signature: dict[tuple[object, ...], Weight] = {}
    by_root: dict[object, list[Weight]] = {}
    unsupported: list[Unsupported] = []
    for node in flow.nodes:
        for use in linear_uses(node):
            if isinstance(use, Refusal):
                unsupported.append(Unsupported(node.name, op_name(node), use.code, use.reason))
                continue
            known = by_signature.get(use.signature)
            if known is None:
                root = use.constant.root or use.constant.signature
                siblings = by_root.setdefault(root, [])
                known = next((s for s in siblings if _same_matrix(s.uses[0][1], use, transposed=False)), None)
                if known is None:
                    name = use.constant.root.name if use.constant.root else f"constant of {node.name}"
                    again = any(_same_matrix(s.uses[0][1], use, transposed=True) for s in siblings)
                    known = Weight(f"{name} [{use.part}]" if use.part else name, [], again)
                    siblings.append(known)
                by_signature[use.signature] = known
            known.uses.append((node, use))
    weights = list({id(weight): weight for weight in by_signature.values()}.values())
    return weights, unsupported


def _same_matrix(first: LinearUse, second: LinearUse, *, transposed: bool) -> bool:
    """Whether two uses of one stored constant, arranged in different ways, give one matrix (or its transpose)."""
    g, q, p = second.shape
    if first.part != second.part:  # the experts of a mixture, two directions: apart in the node, whatever they hold
        return False
    if first.shape != ((g, p, q) if transposed else (g, q, p)) or first.scale != second.scale:
        return False
    try:
        a, b = first.blocks(), second.blocks()
    except EvaluationError:
        return False
    return bool(np.array_equal(a, b.swapaxes(1, 2) if transposed else b))


def op_name(node: NodeView) -> str:
    """Operator type, with its domain where that is not ONNX's own."""
    return f"{node.domain}.{node.op_type}" if node.domain not in ("", "ai.onnx") else node.op_type
