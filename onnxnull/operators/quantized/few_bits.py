"""Weights packed in a few bits, dequantized by the node before it multiplies: MatMulNBits and its relatives of com.microsoft.

MatMulNBits: B (N, ⌈K/block⌉, block·bits/8), bytes whose bits, lowest first, hold the codes of a block one after the other; the
last block may be padded. Y = A·Wᵀ, W = S∘(Wq − Z) of shape (N, K). Scales (N, ⌈K/block⌉); zero points packed like B along the
blocks, or one number of A's type each, or 2^(bits−1) where they are left out; g_idx (K) gives each input its block (with it,
the CPU kernel of onnxruntime 1.31 takes the default zero point, whatever is given [measured]; here the given one counts).

MatMulBnb4: codes of four bits, the higher half of a byte first, number the values of a table (FP4 or NF4); the weight (N, K) is
flattened, and so many of its entries in a row share one scale, `absmax`.

Sources: contrib operator schemas of onnxruntime 1.31; Dettmers et al., *QLoRA* (2023), appendix E, for NF4.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from onnxnull.errors import Code
from onnxnull.graph.constants import Constant, derived, known
from onnxnull.graph.contrib import gives_type
from onnxnull.graph.node import Node, Operand
from onnxnull.graph.quantization import Quantized
from onnxnull.graph.types import tensor_type
from onnxnull.operators.contraction.weights import gemm_use, matmul_use
from onnxnull.operators.linear_use import LinearUse, Refusal, constant_at, holds_weights
from onnxnull.operators.quantized.weights import parameter

if TYPE_CHECKING:
    import onnx
    import onnx_ir as ir

_MICROSOFT = "com.microsoft"
# Values of the codes; FP4 has a sign, two bits of exponent and one of mantissa, normalised to 1.
_FP4 = (0.0, 0.0052083333, 0.66666667, 1.0, 0.33333333, 0.5, 0.16666667, 0.25)
_NF4 = (
    *(-1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635, -0.18477343022823334),
    *(-0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224),
    *(0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0),
)
_TABLES = ((*_FP4, *(-value for value in _FP4)), _NF4)


@gives_type("MatMulNBits", domain=_MICROSOFT)
def packed_product_type(node: ir.Node, inputs: tuple[Operand | None, ...]) -> onnx.TypeProto | None:
    """(..., K) becomes (..., N) in the type of A."""
    a = inputs[0] if inputs else None
    if a is None or a.dtype is None or not a.shape or "N" not in node.attributes:
        return None
    return tensor_type(int(a.dtype), (*a.shape[:-1], node.attributes["N"].as_int()))


@holds_weights("MatMulNBits", domain=_MICROSOFT)
def matmul_nbits(node: Node) -> Iterator[LinearUse]:
    """B, input 1, with scales (2), zero points (3) and g_idx (4)."""
    yield from _use_of(node, 0, _packed(node, (1, 2, 3, 4), int(node.attribute("N", 0))))


@holds_weights("MatMulNBitsMlp", domain=_MICROSOFT)
def matmul_nbits_mlp(node: Node) -> Iterator[LinearUse]:
    """Gate (inputs 3 and 4) and up (6 and 7) on one activation, which the node may normalise first."""
    for place in ((3, 4), (6, 7)):
        yield from _use_of(node, None, _packed(node, (*place, None, None), int(node.attribute("N", 0))))


@holds_weights("MatMulNBitsQkv", domain=_MICROSOFT)
def matmul_nbits_qkv(node: Node) -> Iterator[LinearUse]:
    """Query (inputs 3 and 4), key (6 and 7) and value (9 and 10) on one activation, which the node normalises first."""
    for place, outputs in (((3, 4), "Nq"), ((6, 7), "Nkv"), ((9, 10), "Nkv")):
        yield from _use_of(node, None, _packed(node, (*place, None, None), int(node.attribute(outputs, 0))))


@holds_weights("MatMulBnb4", domain=_MICROSOFT)
def matmul_bnb4(node: Node) -> Iterator[LinearUse]:
    """B, input 1, with its scales (2)."""
    codes, absmax = constant_at(node, 1), parameter(node, 2)
    if codes is None or absmax is None:
        return
    outputs, inputs, block = (int(node.attribute(name, 0)) for name in ("N", "K", "block_size"))
    kind = int(node.attribute("quant_type", 1))
    if min(outputs, inputs, block) < 1 or kind not in (0, 1):
        raise Refusal(Code.INVALID_MODEL, f"MatMulBnb4 with N={outputs}, K={inputs}, block_size={block}, quant_type={kind}")
    count = outputs * inputs
    if codes.size != -(-count // 2) or absmax.size != -(-count // block):
        raise Refusal(Code.INVALID_MODEL, f"MatMulBnb4 with {codes.size} bytes and {absmax.size} scales for {count} entries")
    shape = (outputs, inputs)
    values = derived(partial(from_table, kind, shape), (codes,), absmax.dtype, shape)
    scales = derived(partial(repeated, block, shape), (absmax,), absmax.dtype, shape)
    yield from _use_of(node, 0, Quantized(values, scales, None), transposed=bool(node.attribute("transB", 1)))


@holds_weights("MatMulBlockQuantizedFp8Weight", domain=_MICROSOFT)
def matmul_block_fp8(node: Node) -> Iterator[LinearUse]:
    """B (N, K), input 1, in float8 with one scale (2) per block of inputs."""
    codes, scales = constant_at(node, 1), parameter(node, 2)
    if codes is not None and scales is not None:
        if len(codes.shape) != 2:
            raise Refusal(Code.INVALID_MODEL, f"{node.op_type} with a weight of shape {codes.shape}")
        yield from _use_of(node, 0, Quantized(codes, scales, None, 1, int(node.attribute("block_size", 128))))


@holds_weights("GemmFloat8", domain=_MICROSOFT)
def gemm_float8(node: Node) -> Iterator[LinearUse]:
    """A or B, whichever is constant, with its scale (3 or 4) where it is in float8."""
    for index in (0, 1):
        weight = constant_at(node, index)
        if weight is not None and constant_at(node, 1 - index) is None:
            scale = parameter(node, 3 + index)
            constant = weight if scale is None else Quantized(weight, scale, None).constant(scale.dtype)
            yield gemm_use(node, constant, on_the_right=index == 1, activation=1 - index)


def _use_of(node: Node, activation: int | None, quantized: Quantized | None, *, transposed: bool = True) -> Iterator[LinearUse]:
    """Codes (outputs, inputs), dequantized in the type of their scales and multiplied with an activation as MatMul does."""
    if quantized is not None and quantized.scale is not None:
        from dataclasses import replace

        constant = quantized.constant(quantized.scale.dtype)
        use = matmul_use(node, constant, on_the_right=True, activation=activation or 0, transposed=transposed)
        yield replace(use, activation=activation)


def _packed(node: Node, places: tuple[int, int, int | None, int | None], outputs: int) -> Quantized | None:
    """Codes, scales and zero points of one weight (N, K); None where it is no constant. Raises `Refusal`."""
    at_codes, at_scales, at_zeros, at_order = places
    packed = constant_at(node, at_codes)
    if packed is None:
        return None
    inputs, bits, block = (int(node.attribute(name, default)) for name, default in (("K", 0), ("bits", 4), ("block_size", 0)))
    if min(inputs, outputs, block) < 1 or not 1 <= bits <= 8 or block * bits % 8:
        raise Refusal(Code.INVALID_MODEL, f"{node.op_type} with N={outputs}, K={inputs}, bits={bits}, block_size={block}")
    if int(node.attribute("weight_prepacked", 0)):
        raise Refusal(Code.OPERATOR, "its codes are packed for one kind of GPU (weight_prepacked)")
    blocks = -(-inputs // block)
    if packed.dtype.name != "UINT8" or packed.size != outputs * blocks * block * bits // 8:
        raise Refusal(
            Code.INVALID_MODEL, f"{node.op_type}: {packed.dtype.name} {packed.shape} holds no {outputs}×{inputs} codes"
        )
    scales = parameter(node, at_scales)
    if scales is None or scales.size != outputs * blocks:
        raise Refusal(Code.INVALID_MODEL, f"{node.op_type}: {outputs * blocks} scales are needed")
    shape, grid = (outputs, inputs), (outputs, blocks)
    codes = derived(partial(unpacked, bits, outputs, blocks * block, inputs), (packed,), packed.dtype, shape)
    scales = derived(partial(reshaped, grid), (scales,), scales.dtype, grid)
    zeros = _zero_points(node, None if at_zeros is None else parameter(node, at_zeros), bits, grid)
    order = None if at_order is None else parameter(node, at_order)
    if order is None:
        return Quantized(codes, scales, zeros, 1, block)
    if order.size < inputs:
        raise Refusal(Code.INVALID_MODEL, f"{node.op_type}: g_idx has {order.size} entries for {inputs} inputs")
    scales = derived(partial(taken, shape), (scales, order), scales.dtype, shape)
    if zeros.size > 1:
        zeros = derived(partial(taken, shape), (zeros, order), zeros.dtype, shape)
    return Quantized(codes, scales, zeros)


def _zero_points(node: Node, given: Constant | None, bits: int, grid: tuple[int, int]) -> Constant:
    """Z, one for each block (outputs, blocks) or for all. Raises `Refusal`."""
    outputs, blocks = grid
    if given is None:
        return known(np.asarray(1 << (bits - 1), dtype=np.float32), "the default zero point")
    row = -(-blocks * bits // 8)
    if given.dtype.name == "UINT8" and given.size == outputs * row:
        return derived(partial(unpacked, bits, outputs, row * 8 // bits, blocks), (given,), given.dtype, grid)
    if given.dtype.is_floating_point() and given.size == math.prod(grid):
        return derived(partial(reshaped, grid), (given,), given.dtype, grid)
    raise Refusal(
        Code.INVALID_MODEL, f"{node.op_type}: {given.dtype.name} {given.shape} holds no {outputs}×{blocks} zero points"
    )


def unpacked(bits: int, rows: int, stored: int, kept: int, packed: np.ndarray) -> np.ndarray:
    """The first `kept` of the `stored` codes of every row, from bytes whose lowest bits come first; uint8 (rows, kept)."""
    data = packed.reshape(rows, -1)
    if bits == 8:
        return np.ascontiguousarray(data[:, :kept])
    if 8 % bits == 0:
        shifts = np.arange(0, 8, bits, dtype=np.uint8)
        codes = (data[:, :, None] >> shifts) & np.uint8((1 << bits) - 1)
        return np.ascontiguousarray(codes.reshape(rows, -1)[:, :kept])
    single = np.unpackbits(data, axis=1, bitorder="little")[:, : stored * bits].reshape(rows, stored, bits)
    return np.packbits(single, axis=2, bitorder="little")[:, :kept, 0]


def reshaped(shape: tuple[int, ...], array: np.ndarray) -> np.ndarray:
    """The same entries in another shape."""
    return array.reshape(shape)


def taken(shape: tuple[int, int], values: np.ndarray, order: np.ndarray) -> np.ndarray:
    """For every row and input the value of that input's block: values (rows, blocks), order (inputs or more)."""
    return np.take(values, order.ravel()[: shape[1]], axis=1)


def from_table(kind: int, shape: tuple[int, int], packed: np.ndarray) -> np.ndarray:
    """The values that the codes number: FP4 (kind 0) or NF4 (1)."""
    data = packed.ravel().view(np.uint8)
    codes = np.stack([data >> 4, data & 15], axis=1).ravel()[: math.prod(shape)]
    return np.array(_TABLES[kind], dtype=np.float32)[codes].reshape(shape)


def repeated(block: int, shape: tuple[int, int], scales: np.ndarray) -> np.ndarray:
    """The scale of every entry of a weight, of which so many in row-major order share one."""
    return np.take(scales.ravel(), np.arange(math.prod(shape)) // block).reshape(shape)
