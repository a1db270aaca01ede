"""Operators that multiply by the integers of a quantized weight: W = S∘(Wq − Z), S and Z per tensor or per output.

| operator | weight | scale | zero point | along |
|---|---|---|---|---|
| QLinearConv (opset 10; com.microsoft 1) | w, 3 | 4 | 5 | output channels |
| ConvInteger (10) | w, 1 | none | 3 | output channels |
| QLinearMatMul (10 to 21) | b, 3, or a, 0 | 4, 1 | 5, 2 | columns of b, rows of a |
| MatMulInteger (10) | B, 1, or A, 0 | none | 3, 2 | columns of B, rows of A |
| MatMulIntegerToFloat (com.microsoft) | B, 1, or A, 0 | 3, 2 | 5, 4 | columns of B, rows of A |
| MatMulInteger16 (com.microsoft) | B, 1, or A, 0 | none | none | |
| DynamicQuantizeMatMul (com.microsoft) | B, 1 | 2 | 3 | columns of B |
| QGemm (com.microsoft) | B, 3, or A, 0 | 4, 1 | 5, 2 | columns of B' |
| QAttention (com.microsoft) | weight, 1 | 4 | 7 | columns |
| DynamicQuantizeLSTM (com.microsoft) | W, 1, and R, 2 | 8, 10 | 9, 11 | gates |

They accumulate (Xq − Zx)·(Wq − Z) in integers, so what runs has exactly the kernel of the rational matrix. Sources: operator
specifications of ONNX; contrib operator schemas of onnxruntime 1.31.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from onnxnull.errors import Code
from onnxnull.graph.constants import Constant, derived
from onnxnull.graph.node import Node
from onnxnull.graph.quantization import Quantized
from onnxnull.kernel.maps.linear_map import LinearMap
from onnxnull.kernel.maps.primitives import Matrix
from onnxnull.operators.contraction.weights import gemm_use, matmul_use
from onnxnull.operators.convolution.weights import constant_filters, conv_use
from onnxnull.operators.linear_use import LinearUse, Refusal, constant_at, holds_weights, is_constant

if TYPE_CHECKING:
    import onnx_ir as ir

_MICROSOFT = "com.microsoft"


def quantized_constant(node: Node, weight: Constant, scale: int | None, zero_point: int | None, axis: int) -> Constant:
    """S∘(Wq − Z) of the weight of a node, whose scale and zero point are these inputs. Raises `Refusal`."""
    return Quantized(weight, parameter(node, scale), parameter(node, zero_point), axis).constant(float32())


def parameter(node: Node, index: int | None) -> Constant | None:
    """The scale or zero point at an input; None where it is left out. Raises `Refusal` where the network computes it."""
    if index is None or node.input(index) is None:
        return None
    constant = constant_at(node, index)
    if constant is None:
        operand = node.input(index)
        name = "" if operand is None else operand.name
        raise Refusal(Code.OPERATOR, f"the network computes {name!r}, a scale or zero point of a constant weight")
    return constant


def float32() -> ir.DataType:
    """The type that the products of integers become."""
    import onnx_ir as ir

    return ir.DataType.FLOAT


@holds_weights("QLinearConv")
@holds_weights("QLinearConv", domain=_MICROSOFT)
def qlinear_conv(node: Node) -> Iterator[LinearUse]:
    """The filters, input 3, one scale and zero point per tensor or output channel."""
    if node.attribute("channels_last", 0):
        raise Refusal(Code.OPERATOR, "QLinearConv with channels_last is not analysed yet")
    weight = constant_filters(node, 3)
    if weight is not None:
        yield conv_use(node, quantized_constant(node, weight, 4, 5, 0), integer=True)


@holds_weights("ConvInteger")
def conv_integer(node: Node) -> Iterator[LinearUse]:
    """The filters, input 1; the scale is a later node's."""
    weight = constant_filters(node)
    if weight is not None:
        yield conv_use(node, quantized_constant(node, weight, None, 3, 0), integer=True)


_Places = tuple[int, int | None, int | None]


def _products(*op_types: str, domain: str, left: _Places, right: _Places) -> None:
    """Register MatMul-like operators: where they hold the matrix, scale and zero point of each operand."""

    def uses(node: Node) -> Iterator[LinearUse]:
        a, b = left[0], right[0]
        if is_constant(node, a) and is_constant(node, b):
            return
        for (index, scale, zero), other, on_the_right in ((left, b, False), (right, a, True)):
            weight = constant_at(node, index)
            if weight is not None:
                axis = -1 if on_the_right or len(weight.shape) == 1 else -2
                constant = quantized_constant(node, weight, scale, zero, axis)
                yield matmul_use(node, constant, on_the_right=on_the_right, activation=other, integer=True)

    holds_weights(*op_types, domain=domain)(uses)


_products("QLinearMatMul", domain="", left=(0, 1, 2), right=(3, 4, 5))
_products("MatMulInteger", domain="", left=(0, None, 2), right=(1, None, 3))
_products("MatMulInteger16", domain=_MICROSOFT, left=(0, None, None), right=(1, None, None))
_products("MatMulIntegerToFloat", domain=_MICROSOFT, left=(0, 2, 4), right=(1, 3, 5))
_products("DynamicQuantizeMatMul", domain=_MICROSOFT, left=(0, None, None), right=(1, 2, 3))


@holds_weights("QGemm", domain=_MICROSOFT)
def qgemm(node: Node) -> Iterator[LinearUse]:
    """A or B, whichever is constant; the scale of A is one number."""
    if is_constant(node, 0) and is_constant(node, 3):
        return
    columns = 0 if node.attribute("transB", 0) else 1
    for index, other in ((0, 3), (3, 0)):
        weight = constant_at(node, index)
        if weight is not None:
            constant = quantized_constant(node, weight, index + 1, index + 2, columns)
            yield gemm_use(node, constant, on_the_right=index == 3, activation=other, integer=True)


@holds_weights("QAttention", domain=_MICROSOFT)
def qattention(node: Node) -> Iterator[LinearUse]:
    """The fused weight of query, key and value (input, 3·hidden), one matrix on the input."""
    weight = constant_at(node, 1)
    if weight is None:
        return
    if len(weight.shape) != 2:
        raise Refusal(Code.INVALID_MODEL, f"QAttention with a weight of shape {weight.shape}")
    yield _columns_use(quantized_constant(node, weight, 4, 7, 1), 0, weight.shape, as_one_block, "")


@holds_weights("DynamicQuantizeLSTM", domain=_MICROSOFT)
def dynamic_quantize_lstm(node: Node) -> Iterator[LinearUse]:
    """W (directions, input, 4·hidden) and R (directions, hidden, 4·hidden), each direction on its own."""
    direction = node.attribute("direction", "forward")
    names = ("forward", "reverse") if direction == "bidirectional" else (direction,)
    for index, scale, zero in ((1, 8, 9), (2, 10, 11)):
        weight = constant_at(node, index)
        if weight is None:
            continue
        if len(weight.shape) != 3 or weight.shape[0] != len(names) or weight.shape[2] % 4:
            raise Refusal(Code.INVALID_MODEL, f"DynamicQuantizeLSTM {direction} with a weight of shape {weight.shape}")
        scales, zeros = (_per_gate(parameter(node, i)) for i in (scale, zero))
        constant = Quantized(weight, scales, zeros).constant(float32())
        for number, name in enumerate(names):
            arrange = partial(one_direction, number)
            yield _columns_use(constant, 0 if index == 1 else None, weight.shape[1:], arrange, name)


def as_one_block(weight: np.ndarray) -> np.ndarray:
    """A matrix (q, p) as a stack of one."""
    return weight[None]


def one_direction(direction: int, weight: np.ndarray) -> np.ndarray:
    """One direction of W or R (directions, inputs, 4·hidden) as a block (1, inputs, 4·hidden)."""
    return weight[direction : direction + 1]


def before_the_inputs(values: np.ndarray) -> np.ndarray:
    """(directions,) or (directions, 4·hidden), one value each, as (directions, 1, 1 or 4·hidden)."""
    return values.reshape(values.shape[0], 1, -1)


def _per_gate(constant: Constant | None) -> Constant | None:
    if constant is None:
        return None
    if len(constant.shape) not in (1, 2):
        raise Refusal(Code.INVALID_MODEL, f"scales or zero points of shape {constant.shape}")
    shape = (constant.shape[0], 1, constant.shape[1] if len(constant.shape) == 2 else 1)
    return derived(partial(before_the_inputs), (constant,), constant.dtype, shape)


def _columns_use(
    constant: Constant, activation: int | None, shape: tuple[int, ...], arrange: Callable[[np.ndarray], np.ndarray], part: str
) -> LinearUse:
    """A matrix (inputs, outputs) on the last axis of an activation, inside a node that does more with the product."""
    inputs, outputs = shape
    return LinearUse(
        constant=constant,
        activation=activation,
        shape=(1, inputs, outputs),
        arrange=arrange if isinstance(arrange, partial) else partial(arrange),
        linear_map=_columns_map,
        paper=False,
        part=part,
        integer=True,
    )


def _columns_map(blocks: np.ndarray, activation: tuple[int, ...]) -> LinearMap:
    return Matrix(blocks[0], activation[:-1])
