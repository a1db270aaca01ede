"""Which ops over constants are not evaluated, and why: random ones, strings, and those whose work no output size bounds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from onnxnull.graph.constants import Constant

if TYPE_CHECKING:
    import onnx_ir as ir

RANDOM = frozenset({"Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"})
_WORK = 1 << 36
"""Most products that an Einsum over constants may take."""


def reason_against(node: ir.Node, version: int, operands: Sequence[Constant | None]) -> str | None:
    """Why this op on these constants is not evaluated; None where it may be. Random generators are the caller's."""
    if any(c is not None and c.dtype.is_string() for c in operands):
        return f"op {node.op_type}: strings are not evaluated"
    if node.op_type == "Dropout" and node.domain == "" and _trains(node, version, operands):
        return "op Dropout: it is random in training mode"
    if node.op_type == "Einsum" and _einsum_work(node, operands) > _WORK:
        return f"op Einsum: it takes more than {_WORK} products"
    return None


def _trains(node: ir.Node, version: int, operands: Sequence[Constant | None]) -> bool:
    """Dropout: attribute is_test up to opset 6, always inference up to opset 11, input training_mode (2) since."""
    if version < 7:
        return "is_test" not in node.attributes or node.attributes["is_test"].as_int() == 0
    mode = operands[2] if len(operands) > 2 else None
    return mode is not None and bool(mode.array().any())


def _einsum_work(node: ir.Node, operands: Sequence[Constant | None]) -> int:
    """Products that a plain loop over all labels takes; the axes behind `...` count once per operand."""
    sizes: dict[object, int] = {}
    terms = node.attributes["equation"].as_string().replace(" ", "").partition("->")[0].split(",")
    for term, constant in zip(terms, operands, strict=False):
        shape = constant.shape if constant is not None else ()
        before, _, after = term.partition("...")
        labels: list[object] = list(before)
        labels += [("...", position) for position in range(len(shape) - len(before) - len(after), 0, -1)]
        for label, size in zip([*labels, *after], shape, strict=False):
            sizes[label] = max(size, sizes.get(label, 1))
    return math.prod(sizes.values())
