"""Matrix products: biases, products and shapes."""

from __future__ import annotations

from onnxnull.graph.contrib import shaped_like
from onnxnull.operators.parameters import holds_parameters
from onnxnull.operators.products import Product, gives_product

_MICROSOFT = "com.microsoft"

holds_parameters("Gemm", inputs=(2,))
holds_parameters("FusedGemm", inputs=(2,), domain=_MICROSOFT)
gives_product(Product(-1), "Gemm", "MatMul")
gives_product(Product(None), "Einsum")
gives_product(Product(-1), "FusedMatMul", domain=_MICROSOFT)
gives_product(Product(None), "TransposeMatMul", domain=_MICROSOFT)
shaped_like("Gemm", "FusedGemm", operands=(0, 1))
