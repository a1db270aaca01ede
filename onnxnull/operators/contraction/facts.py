"""Matrix products: biases, products and shapes."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from onnxnull.graph.contrib import gives_type, shaped_like
from onnxnull.graph.evaluable import EvaluationRule, Operands, evaluated
from onnxnull.graph.types import tensor_type
from onnxnull.operators.parameters import holds_parameters
from onnxnull.operators.products import Product, gives_product

if TYPE_CHECKING:
    import onnx
    import onnx_ir as ir

    from onnxnull.graph.node import Operand

_MICROSOFT = "com.microsoft"


def _products(node: ir.Node, operands: Operands, entries: int) -> float:
    """Products that a MatMul or a Gemm takes, in the time of a byte moved: of floats, eight are as fast."""
    first = operands[0]
    if first is None or not first.shape:
        return 0.0
    transposed = node.op_type == "Gemm" and "transA" in node.attributes and node.attributes["transA"].as_int() != 0
    return float(entries) * first.shape[0 if transposed else -1] * (1.0 if first.dtype.is_integer() else 0.125)


def _einsum_products(node: ir.Node, operands: Operands, _entries: int) -> float:
    """A plain loop over all labels; the axes behind `...` count once per operand."""
    sizes: dict[object, int] = {}
    terms = node.attributes["equation"].as_string().replace(" ", "").partition("->")[0].split(",")
    for term, constant in zip(terms, operands, strict=False):
        shape = constant.shape if constant is not None else ()
        before, _, after = term.partition("...")
        labels: list[object] = list(before)
        labels += [("...", position) for position in range(len(shape) - len(before) - len(after), 0, -1)]
        for axis, size in zip([*labels, *after], shape, strict=False):
            sizes[axis] = max(size, sizes.get(axis, 1))
    return float(min(math.prod(sizes.values()), 1 << 200))


evaluated("Gemm MatMul", EvaluationRule(products=_products))
evaluated("Einsum", EvaluationRule(products=_einsum_products))

holds_parameters("Gemm", inputs=(2,))
holds_parameters("FusedGemm", inputs=(2,), domain=_MICROSOFT)
gives_product(Product(-1), "Gemm", "MatMul")
gives_product(Product(None), "Einsum")
gives_product(Product(-1), "FusedMatMul", domain=_MICROSOFT)
gives_product(Product(None), "TransposeMatMul", domain=_MICROSOFT)
shaped_like("Gemm", "FusedGemm", operands=(0, 1))


@gives_type("FusedMatMul", "TransposeMatMul", domain=_MICROSOFT)
def transposed_product_type(node: ir.Node, inputs: tuple[Operand | None, ...]) -> onnx.TypeProto | None:
    """(..., m, k) by (..., k, n), the last two axes of either exchanged first where the node says so: (..., m, n)."""
    a, b = (*inputs, None, None)[:2]
    if a is None or b is None or a.dtype is None or a.shape is None or b.shape is None or min(len(a.shape), len(b.shape)) < 2:
        return None

    def asked(name: str) -> bool:
        return name in node.attributes and bool(node.attributes[name].as_int())

    if asked("transBatchA") or asked("transBatchB"):
        return None
    rows, columns = a.shape[-1 if asked("transA") else -2], b.shape[-2 if asked("transB") else -1]
    front = a.shape[:-2] if len(a.shape) >= len(b.shape) else b.shape[:-2]
    shorter = (b if len(a.shape) >= len(b.shape) else a).shape or ()
    if front[len(front) - len(shorter) + 2 :] != shorter[:-2]:
        return None
    return tensor_type(int(a.dtype), (*front, rows, columns))
