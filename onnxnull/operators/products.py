"""Operators whose first output is the product with their weight, and how they compute it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from onnxnull.graph.operator_facts import Named, OperatorFacts, operator_of


@dataclass(frozen=True, slots=True)
class Product:
    """How an operator gives the product with its weight.

    Attributes:
        channels: the axis of the output that the weight's outputs lie along; None where it depends.
        of_codes: whether codes are multiplied by codes, in integers, and the output is what is made of the sums; else the
            output is the product itself, plus a bias.
        of_patches: whether the node reads patches of its activation, as far apart as its attribute `strides` says.
        may_be_transformed: whether cuDNN may compute it by Winograd's or Fourier transforms.
    """

    channels: int | None
    of_codes: bool = False
    of_patches: bool = False
    may_be_transformed: bool = False


PRODUCTS: OperatorFacts[Product] = OperatorFacts("kind of product")
gives_product = PRODUCTS.add
"""Register how these operators give the product with their weight."""


def product_called(op_type: str) -> Product | None:
    """The same by the operator's name alone, whichever domain it is of."""
    return PRODUCTS.get(("", op_type)) or PRODUCTS.get(("com.microsoft", op_type))


_INTEGER: OperatorFacts[bool] = OperatorFacts("note on integer arithmetic")
computes_on_codes = partial(_INTEGER.add, True)
"""Note that these operators compute on quantized activations."""


def is_integer_arithmetic(node: Named) -> bool:
    """Whether a node computes on quantized activations."""
    return operator_of(node) in _INTEGER
