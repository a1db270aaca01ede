"""Convolutions: biases, products and shapes."""

from __future__ import annotations

from onnxnull.graph.contrib import shaped_like
from onnxnull.operators.parameters import holds_parameters
from onnxnull.operators.products import Product, gives_product

_MICROSOFT = "com.microsoft"

holds_parameters("Conv", "ConvTranspose", inputs=(2,))
holds_parameters("DeformConv", inputs=(3,))
holds_parameters("FusedConv", inputs=(2,), domain=_MICROSOFT)
gives_product(Product(1, of_patches=True, may_be_transformed=True), "Conv")
gives_product(Product(1, may_be_transformed=True), "ConvTranspose")
gives_product(Product(1, may_be_transformed=True), "ConvTransposeWithDynamicPads", domain=_MICROSOFT)
shaped_like("Conv", "FusedConv", operands=(0, 1))
