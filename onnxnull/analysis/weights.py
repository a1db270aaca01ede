"""The distinct linear weights of a model: stored constants as the matrices that nodes apply, each with all its nodes."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np

from onnxnull.analysis.results import Unsupported
from onnxnull.graph.constants import EvaluationError
from onnxnull.graph.flow import Flow
from onnxnull.graph.node import Node
from onnxnull.operators import LinearUse, Refusal, linear_uses


@dataclass(frozen=True, slots=True, eq=False)
class Weight:
    """A stored constant as one matrix, and the nodes that apply it, in graph order.

    Attributes:
        name: of the stored constant, with the part in brackets where a node holds several.
        tied: whether its transpose came earlier (tied weights): one stored constant, which the paper counts once.
    """

    name: str
    uses: list[tuple[Node, LinearUse]]
    tied: bool

    @property
    def node(self) -> Node:
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
    alike = _Alike()
    unsupported: list[Unsupported] = []
    for node in flow.nodes:
        for use in linear_uses(node):
            if isinstance(use, Refusal):
                unsupported.append(Unsupported(node.name, op_name(node), use.code, use.reason))
                continue
            known = by_signature.get(use.signature) or alike.find(use)
            if known is None:
                name = (use.constant.root.name if use.constant.root else f"constant of {node.name}") + use.index
                tied = alike.find(use, transposed=True) is not None
                known = Weight(f"{name} [{use.part}]" if use.part else name, [], tied)
                alike.add(use, known)
            by_signature[use.signature] = known
            known.uses.append((node, use))
    weights = list({id(weight): weight for weight in by_signature.values()}.values())
    return weights, unsupported


class _Alike:
    """Tells whether uses of one stored constant, arranged in different ways, give one matrix.

    A matrix is evaluated, once, only where another of its shape is made of the same constant.
    """

    def __init__(self) -> None:
        self._alone: dict[tuple[object, ...], list[tuple[LinearUse, Weight]]] = {}
        self._by_digest: dict[tuple[object, ...], Weight] = {}
        self._digests: dict[tuple[tuple[object, ...], bool], bytes | None] = {}

    def add(self, use: LinearUse, weight: Weight) -> None:
        """Remember the first use of a weight."""
        self._alone.setdefault(_kind(use, transposed=False), []).append((use, weight))

    def find(self, use: LinearUse, *, transposed: bool = False) -> Weight | None:
        """The weight whose matrix, or its transpose, is that of `use`."""
        kind = _kind(use, transposed=transposed)
        if kind not in self._alone:
            return None
        for first, weight in self._alone[kind]:
            digest = self._digest(first, transposed=False)
            if digest is not None:
                self._by_digest.setdefault((kind, digest), weight)
        self._alone[kind].clear()
        digest = self._digest(use, transposed=transposed)
        return None if digest is None else self._by_digest.get((kind, digest))

    def _digest(self, use: LinearUse, *, transposed: bool) -> bytes | None:
        key = use.signature, transposed
        if key not in self._digests:
            self._digests[key] = _digest(use, transposed=transposed)
        return self._digests[key]


def _kind(use: LinearUse, *, transposed: bool) -> tuple[object, ...]:
    """What two uses have in common, besides the entries, if one has the matrix of the other, or its transpose.

    The experts of a mixture, the slices of a bank and two directions are apart in the node, whatever they hold.
    """
    g, q, p = use.shape
    shape = (g, p, q) if transposed else (g, q, p)
    return use.constant.root or use.constant.signature, use.part, use.index, use.scale, shape


def _digest(use: LinearUse, *, transposed: bool) -> bytes | None:
    """Of the matrix, or of its transpose; None where it cannot be evaluated."""
    try:
        blocks = use.blocks()
    except EvaluationError:
        return None
    array = np.ascontiguousarray(blocks.swapaxes(1, 2) if transposed else blocks)
    return hashlib.blake2b(array.view(np.uint8).data, key=str(array.dtype).encode()).digest()


def op_name(node: Node) -> str:
    """Operator type, with its domain where that is not ONNX's own."""
    return f"{node.domain}.{node.op_type}" if node.domain not in ("", "ai.onnx") else node.op_type
