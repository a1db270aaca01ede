"""The distinct linear weights of a model: stored constants as the matrices that nodes apply, each with all its nodes."""

from __future__ import annotations

import hashlib
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
        return self.measured()[0]

    def measured(self) -> tuple[np.ndarray, bool]:
        """`blocks()`, and whether that is the rational matrix of a quantized weight."""
        rational = self.use.rational_blocks()
        blocks = self.use.blocks() if rational is None else rational
        return blocks if self.use.scale != 0.0 else np.zeros_like(blocks), rational is not None


def find_weights(flow: Flow) -> tuple[list[Weight], list[Unsupported]]:
    """The distinct weights in graph order, and what cannot be analysed."""
    by_signature: dict[tuple[object, ...], Weight] = {}
    by_root: dict[object, list[Weight]] = {}
    digests = _Digests()
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
                known = next((s for s in siblings if digests.equal(s.uses[0][1], use, transposed=False)), None)
                if known is None:
                    name = (use.constant.root.name if use.constant.root else f"constant of {node.name}") + use.index
                    again = any(digests.equal(s.uses[0][1], use, transposed=True) for s in siblings)
                    known = Weight(f"{name} [{use.part}]" if use.part else name, [], again)
                    siblings.append(known)
                by_signature[use.signature] = known
            known.uses.append((node, use))
    weights = list({id(weight): weight for weight in by_signature.values()}.values())
    return weights, unsupported


class _Digests:
    """Tells whether uses of one stored constant, arranged in different ways, give one matrix; each is evaluated once."""

    def __init__(self) -> None:
        self._known: dict[tuple[tuple[object, ...], bool], bytes | None] = {}

    def equal(self, first: LinearUse, second: LinearUse, *, transposed: bool) -> bool:
        """Whether the matrix of `first`, or its transpose, is that of `second`."""
        g, q, p = second.shape
        # the experts of a mixture, the slices of a bank, two directions: apart in the node, whatever they hold
        if (first.part, first.index) != (second.part, second.index):
            return False
        if first.shape != ((g, p, q) if transposed else (g, q, p)) or first.scale != second.scale:
            return False
        one, other = self._of(first, transposed), self._of(second, False)
        return one is not None and one == other

    def _of(self, use: LinearUse, transposed: bool) -> bytes | None:
        key = use.signature, transposed
        if key not in self._known:
            try:
                blocks = use.blocks()
            except EvaluationError:
                self._known[key] = None
            else:
                array = np.ascontiguousarray(blocks.swapaxes(1, 2) if transposed else blocks)
                self._known[key] = hashlib.blake2b(array.view(np.uint8).data, key=str(array.dtype).encode()).digest()
        return self._known[key]


def op_name(node: NodeView) -> str:
    """Operator type, with its domain where that is not ONNX's own."""
    return f"{node.domain}.{node.op_type}" if node.domain not in ("", "ai.onnx") else node.op_type
