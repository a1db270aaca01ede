"""Products that onnxruntime fuses with what stands around them (com.microsoft, opset 1), and SparseToDenseMatMul.

The weights are those of MatMul, Gemm, Conv and ConvTranspose; what is fused behind them (a bias, a residual, an activation)
holds none. Source: the operators' schemas in onnxruntime; how transposes go together, `matmul_helper.h` there.

FusedMatMul, TransposeMatMul, FusedMatMulActivation: alpha·A'·B', where transBatchA moves the first axis of A behind its batch
axes (rank 3 or more), and transA then exchanges the last two (nothing for vectors); B likewise. SparseToDenseMatMul: the same
without batches, A sparse. FusedGemm: Gemm, activated. GemmFastGelu: FastGelu(X·W + b).
FusedConv: activation(Conv(X, W) + B + Z). ConvTransposeWithDynamicPads: ConvTranspose whose pads are input 2.
NhwcFusedConv and NhwcConv read and write (N, *spatial, C). The filters of the first have Conv's layout, as its schema says;
those of the second are (M, *k, C/g), as onnxruntime's own conversion writes them (`fusion_nhwc_conv.py`) and its CUDA kernel
takes them (`conv.cc`: only the filters of the internal NHWC domain are packed), not as its schema, a copy of Conv's, says.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from onnxnull.errors import Code
from onnxnull.graph.constants import EvaluationError
from onnxnull.graph.node import Node
from onnxnull.kernel.maps.batched import Batched
from onnxnull.kernel.maps.contraction import ContractionMap, contraction_blocks
from onnxnull.kernel.maps.linear_map import LinearMap
from onnxnull.kernel.maps.primitives import Permute
from onnxnull.operators.activation.lowering import lowered_fast_gelu
from onnxnull.operators.contraction.weights import gemm, matmul, matmul_contraction
from onnxnull.operators.convolution.lowering import lowered_conv, lowered_conv_transpose
from onnxnull.operators.convolution.weights import conv, conv_blocks, conv_transpose, convolution_on, transposed_convolution_on
from onnxnull.operators.linear_use import LinearUse, Refusal, constant_at, holds_weights, is_constant, shape_at
from onnxnull.operators.lowering import Emitter, NotLowerableError, Site, lowering_of, lowers

Shape = tuple[int, ...]
_MICROSOFT = "com.microsoft"

holds_weights("FusedGemm", domain=_MICROSOFT)(gemm)
holds_weights("GemmFastGelu", domain=_MICROSOFT)(matmul)
holds_weights("FusedConv", domain=_MICROSOFT)(conv)


@holds_weights("FusedMatMul", "TransposeMatMul", "FusedMatMulActivation", "SparseToDenseMatMul", domain=_MICROSOFT)
def fused_matmul(node: Node) -> Iterator[LinearUse]:
    """A or B, whichever is constant."""
    if is_constant(node, 0) and is_constant(node, 1):
        return
    for index in (0, 1):
        weight = constant_at(node, index)
        if weight is None:
            continue
        given = shape_at(node, 1 - index)
        own = matmul_axes(node, index, len(weight.shape))
        theirs = matmul_axes(node, 1 - index, 2 if given is None else len(given))
        shape = tuple(weight.shape[axis] for axis in own)
        other = None if given is None else tuple(given[axis] for axis in theirs)
        if node.one_sample and any(size != 1 for size in shape[:-2]) and 1 in (other or ())[:-2]:
            raise Refusal(Code.SHAPE, f"a constant of shape {weight.shape} times an activation whose batch size is open")
        logical = matmul_contraction(shape, other, constant_on_the_right=index == 1)
        labels = logical.activation
        if len(labels) != len(theirs):  # an activation of unknown rank: its last two axes
            theirs = matmul_axes(node, 1 - index, len(labels))
        contraction = replace(logical, constant=_placed(logical.constant, own), activation=_placed(labels, theirs))
        yield LinearUse(
            constant=weight,
            activation=1 - index,
            shape=contraction.shape(weight.shape),
            arrange=partial(contraction_blocks, contraction),
            linear_map=partial(ContractionMap, contraction, weight.shape),
            paper=True,
            scale=float(node.attribute("alpha", 1.0)),
        )


def matmul_axes(node: Node, index: int, rank: int) -> Shape:
    """Axis i of what FusedMatMul multiplies is axis `matmul_axes[i]` of operand `index`, of this rank."""
    letter = "AB"[index]
    return transposed_axes(
        rank, bool(node.attribute(f"trans{letter}", 0)), batch=bool(node.attribute(f"transBatch{letter}", 0))
    )


def transposed_axes(rank: int, transposed: bool, *, batch: bool) -> Shape:
    """The permutation that `transA` and `transBatchA` ask for. Raises `Refusal` where the second is set for a matrix."""
    axes = list(range(rank))
    if batch:
        if rank < 3:
            raise Refusal(Code.INVALID_MODEL, f"FusedMatMul exchanges the batch axes of an operand of rank {rank}")
        axes = [*axes[1:-1], 0, axes[-1]]
    if transposed and rank > 1:
        axes[-2:] = axes[:-3:-1]
    return tuple(axes)


def _placed(labels: Shape, axes: Shape) -> Shape:
    """Labels of the permuted tensor's axes, as the tensor itself has them."""
    placed = [0] * len(labels)
    for label, axis in zip(labels, axes, strict=True):
        placed[axis] = label
    return tuple(placed)


@holds_weights("NhwcFusedConv", domain=_MICROSOFT)
def nhwc_fused_conv(node: Node) -> Iterator[LinearUse]:
    """The filters, input 1, (M, C/g, *k)."""
    for use in conv(node):
        yield replace(use, linear_map=partial(_channels_last, node, use.constant.shape[2:]))


@holds_weights("NhwcConv", domain=_MICROSOFT)
def nhwc_conv(node: Node) -> Iterator[LinearUse]:
    """The filters, input 1, (M, *k, C/g)."""
    for use in conv(node):
        outputs, *kernel, channels = use.constant.shape
        yield replace(
            use,
            shape=(use.groups, channels * math.prod(kernel), outputs // use.groups),
            arrange=partial(nhwc_blocks, use.groups),
            linear_map=partial(_channels_last, node, tuple(kernel)),
        )


def nhwc_blocks(groups: int, weight: np.ndarray) -> np.ndarray:
    """Filters (M, *k, C/g) as blocks (g, C/g·∏k, M/g), rows in the order of Conv's."""
    return conv_blocks(groups, np.moveaxis(weight, -1, 1))


def _channels_last(node: Node, kernel: Shape, blocks: np.ndarray, activation: Shape) -> LinearMap:
    """The convolution between two transpositions."""
    axes = len(activation)
    image = (activation[-1], *activation[1:-1])
    convolution = Batched(convolution_on(node, kernel, blocks, image), activation[0])
    first = Permute(activation, (0, axes - 1, *range(1, axes - 1)))
    return Permute(convolution.output_shape, (0, *range(2, axes), 1)) @ convolution @ first


@holds_weights("ConvTransposeWithDynamicPads", domain=_MICROSOFT)
def conv_transpose_with_pads(node: Node) -> Iterator[LinearUse]:
    """The filters, input 1, where the pads, input 2, are constant."""
    if node.input(2) is None:
        yield from conv_transpose(node)
        return
    for use in conv_transpose(node):
        pads = constant_at(node, 2)
        if pads is None:
            raise Refusal(Code.OPERATOR, "a transposed convolution whose pads the network computes")
        try:
            values = tuple(int(pad) for pad in np.asarray(pads.array()).ravel())
        except EvaluationError as error:
            raise Refusal(Code.CONSTANT, f"its pads were not evaluated: {error}") from None
        if len(values) != 2 * (len(use.constant.shape) - 2):
            raise Refusal(Code.INVALID_MODEL, f"{len(values)} pads of a convolution with filters {use.constant.shape}")
        yield replace(use, linear_map=partial(_padded, node, use.constant.shape[2:], values))


def _padded(node: Node, kernel: Shape, pads: Shape, blocks: np.ndarray, activation: Shape) -> LinearMap:
    return Batched(transposed_convolution_on(node, kernel, blocks, activation[1:], pads=pads), activation[0])


# To double: the plain operators, then what is fused behind them.

_PARAMETERS = {"LeakyRelu": ("alpha",), "HardSigmoid": ("alpha", "beta"), "Elu": ("alpha",), "ThresholdedRelu": ("alpha",)}


@lowers("FusedMatMul", "TransposeMatMul", "FusedMatMulActivation", domain=_MICROSOFT)
def lowered_fused_matmul(site: Site, emit: Emitter) -> str:
    """Transpose, MatMul, alpha, activation."""
    sides = []
    for index, letter in enumerate("AB"):
        flipped, batch = (bool(site.attribute(f"{name}{letter}", 0)) for name in ("trans", "transBatch"))
        name = site.inputs[index]
        sides.append(
            emit.transpose(name, transposed_axes(site.rank(index), flipped, batch=batch)) if flipped or batch else name
        )
    product = emit.op("MatMul", *sides)
    alpha = site.attribute("alpha", 1.0)
    return _activated(site, emit, product if alpha == 1.0 else emit.mul(product, alpha))


@lowers("FusedGemm", domain=_MICROSOFT)
def lowered_fused_gemm(site: Site, emit: Emitter) -> str:
    """Gemm and its activation."""
    kept = {name: value for name, value in site.attributes.items() if name in ("alpha", "beta", "transA", "transB")}
    return _activated(site, emit, emit.op("Gemm", *site.inputs[:3], **kept))


@lowers("GemmFastGelu", domain=_MICROSOFT)
def lowered_gemm_fast_gelu(site: Site, emit: Emitter) -> str:
    """MatMul and FastGelu."""
    product = emit.op("MatMul", *site.inputs[:2])
    return _text(lowered_fast_gelu(replace(site, inputs=(product, *site.inputs[2:])), emit))


@lowers("FusedConv", domain=_MICROSOFT)
def lowered_fused_conv(site: Site, emit: Emitter) -> str:
    """Conv, the residual Z, its activation."""
    product = _text(lowered_conv(site, emit))
    residual = site.input(3)
    return _activated(site, emit, product if residual is None else emit.add(product, residual))


@lowers("NhwcConv", "NhwcFusedConv", domain=_MICROSOFT)
def lowered_nhwc_conv(site: Site, emit: Emitter) -> str:
    """The same between two transpositions."""
    weight, shape = site.inputs[1], site.shape(1)
    axes = site.rank(1)
    if site.op_type == "NhwcConv":
        order = (0, axes - 1, *range(1, axes - 1))
        weight = emit.transpose(weight, order)
        shape = None if shape is None else tuple(shape[axis] for axis in order)
    image = emit.transpose(site.inputs[0], (0, axes - 1, *range(1, axes - 1)))
    plain = replace(
        site,
        inputs=(image, weight, site.input(2) or ""),
        shapes=(None, shape, None),
        constants=(None, emit.known(weight), site.constant(2)),
    )
    product = emit.transpose(_text(lowered_conv(plain, emit)), (0, *range(2, axes), 1))
    residual = site.input(3)
    return _activated(site, emit, product if residual is None else emit.add(product, residual))


@lowers("ConvTransposeWithDynamicPads", domain=_MICROSOFT)
def lowered_conv_transpose_with_pads(site: Site, emit: Emitter) -> str:
    """ConvTranspose, where the pads are constant."""
    attributes = dict(site.attributes)
    if site.input(2) is not None:
        pads = site.constant(2)
        if pads is None:
            raise NotLowerableError("pads that the network computes")
        attributes["pads"] = [int(pad) for pad in pads.ravel()]
    bias = (site.input(3) or "", site.constant(3))
    plain = replace(
        site,
        attributes=attributes,
        inputs=(*site.inputs[:2], bias[0]),
        shapes=(*site.shapes[:2], None),
        constants=(*site.constants[:2], bias[1]),
    )
    return _text(lowered_conv_transpose(plain, emit))


def _activated(site: Site, emit: Emitter, x: str) -> str:
    """`activation` of x, with activation_params (FusedConv) or activation_alpha, _beta, _gamma."""
    name = site.attribute("activation", "")
    given = site.attribute("activation_params", None) or [
        site.attributes[key] for key in ("activation_alpha", "activation_beta", "activation_gamma") if key in site.attributes
    ]
    if not name:
        return x
    if name in ("Relu", "Sigmoid", "Tanh"):
        return emit.op(name, x)
    if name == "Clip" and len(given) == 2:
        low, high = (emit.constant(float(bound)) for bound in given)
        return emit.op("Min", emit.op("Max", x, low), high)
    function = lowering_of(name) if name in _PARAMETERS else None
    if function is None:
        raise NotLowerableError(f"activation {name}")
    attributes = dict(zip(_PARAMETERS[name], given, strict=False))
    plain = replace(site, op_type=name, domain="", inputs=(x,), attributes=attributes, shapes=(None,), constants=(None,))
    return _text(function(plain, emit))


def _text(result: str | Sequence[str]) -> str:
    return result if isinstance(result, str) else result[0]
